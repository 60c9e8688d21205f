/* commands.h - what an operator runs on the vault's host: seks-vault COMMAND.
 *
 * commands.c        the table, and what all have in common
 * command_rotate.c  rotate-master; command_keys.c rotate-keys
 * command_backup.c  backup, restore
 * command_import.c  import
 * command_move.c    migrate-store
 * command_split.c   split-master, join-master, passphrase-master, unseal
 *
 * Where a vault runs on the data directory they ask it (control.c); else they open the database
 * themselves.  Results go to standard output, everything else to standard error. */
#ifndef VAULT_COMMANDS_H
#define VAULT_COMMANDS_H

#include <stdarg.h>

#include "proto/control_client.h"
#include "vault.h"

struct command_options {
    const char *data, *keys; /* directories, as the daemon has them */
    const char *word;        /* what follows the command, unless it is an option; or NULL */
    bool replace;
    const char *old_key, *providers; /* files, for import */
    bool skip, accept_wider;
    uint64_t shares, threshold; /* for split-master */
    const char *store;
    bool store_allow_insecure;
    char *where; /* of those two, what store_open() takes */
    const char *from, *to; /* stores, for migrate-store */
};

/* Runs the command that argv[1] names; main's exit status. */
int commands_run(int argc, char **argv);

/* A line on standard error. */
void command_say(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
/* For all: what went wrong, in a line; yields STATUS. */
MUST_USE enum status command_fail(enum status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Asks the running vault; a refusal has been printed. */
MUST_USE enum status command_ask(const struct command_options *options, const char *command,
                                 const char *text, const struct secret *secret,
                                 struct control_reply *ret_reply);

enum status command_rotate_master(const struct command_options *options);
enum status command_rotate_keys(const struct command_options *options);
enum status command_backup(const struct command_options *options);
enum status command_restore(const struct command_options *options);
enum status command_split_master(const struct command_options *options);
enum status command_join_master(const struct command_options *options);
enum status command_passphrase_master(const struct command_options *options);
enum status command_migrate_store(const struct command_options *options);
enum status command_unseal(const struct command_options *options);
enum status command_import(const struct command_options *options);

#endif
