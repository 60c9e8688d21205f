/* commands.c - finds the operator's command and its options, and runs it. */
#include "commands.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct command_options options;

static const struct option option_rows[] = {
    {"data", OPTION_TEXT, &options.data, "DIR where vault.db is", true},
    {"keys", OPTION_TEXT, &options.keys, "DIR with master.key and the other keys", true},
    {"replace", OPTION_FLAG, &options.replace, "restore over a database that is there", false},
    {"old-key", OPTION_TEXT, &options.old_key, "FILE with the old broker's master key (import)",
     false},
    {"providers", OPTION_TEXT, &options.providers, "FILE with the operator's providers (import)",
     false},
    {"shares", OPTION_NUMBER, &options.shares, "COUNT of shares (split-master)", false},
    {"threshold", OPTION_NUMBER, &options.threshold, "COUNT that is enough (split-master)", false},
    {"skip", OPTION_FLAG, &options.skip, "leave out what cannot be taken (import)", false},
    {"accept-wider-access", OPTION_FLAG, &options.accept_wider,
     "take secrets that were kept for some agents (import)", false},
    {"store", OPTION_TEXT, &options.store, "URL or FILE, as the vault has it", false},
    {"from", OPTION_TEXT, &options.from, "STORE that is left: sqlite, or a URL or FILE (migrate-store)",
     false},
    {"to", OPTION_TEXT, &options.to, "STORE that is filled (migrate-store)", false},
    {"store-allow-insecure", OPTION_FLAG, &options.store_allow_insecure, "as the vault has it", false},
    {NULL, OPTION_FLAG, NULL, NULL, false},
};

static const struct command {
    const char *name;
    const char *word; /* what has to follow it, or NULL */
    const char *help;
    enum status (*run)(const struct command_options *options);
} commands[] = {
    {"rotate-master", NULL, "make a new master key and put all data keys under it",
     command_rotate_master},
    {"split-master", NULL, "print the master key as shares, so that its file can go",
     command_split_master},
    {"join-master", NULL, "make the file again, from shares on standard input",
     command_join_master},
    {"passphrase-master", NULL, "lock the master key with a passphrase, so that its file can go",
     command_passphrase_master},
    {"unseal", NULL, "give the vault that runs sealed a share, or its passphrase, from standard input",
     command_unseal},
    {"rotate-keys", "ACCOUNT", "seal an account's secrets (its email or id, or all) under a new key",
     command_rotate_keys},
    {"backup", "FILE", "copy the database, also while the vault runs", command_backup},
    {"import", "FILE", "take over an upstream broker's database or dump; the vault must be stopped",
     command_import},
    {"migrate-store", NULL, "move all to another store, --from STORE --to STORE; vaults must be stopped",
     command_migrate_store},
    {"restore", "FILE", "put a backup in place; the vault must be stopped", command_restore},
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

void command_say(const char *format, va_list args)
{
    fputs("seks-vault: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

enum status command_fail(enum status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    command_say(format, args);
    va_end(args);
    return status;
}

enum status command_ask(const struct command_options *with, const char *command,
                        const char *text, const struct secret *secret,
                        struct control_reply *ret_reply)
{
    enum status status = control_ask_vault(with->data, command, text, secret, ret_reply);
    if (status != STATUS_OK) {
        return command_fail(status, "the vault on %s does not answer", with->data);
    }
    if (ret_reply->status != STATUS_OK) {
        return command_fail(ret_reply->status, "%s", ret_reply->text[0]
                                                         ? ret_reply->text
                                                         : status_text(ret_reply->status));
    }
    return STATUS_OK;
}

static int usage(void)
{
    fprintf(stderr, "usage: seks-vault [options] runs the vault (see --help), and\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(stderr, "  seks-vault %s %s%s--data DIR --keys DIR   %s\n", commands[i].name,
                commands[i].word ? commands[i].word : "", commands[i].word ? " " : "",
                commands[i].help);
    }
    return 2;
}

/* The commands hold keys too. */
static void harden(void)
{
    const struct rlimit none = {0, 0};
    umask(077);
    (void)setrlimit(RLIMIT_CORE, &none); /* the next line does the same */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int commands_run(int argc, char **argv)
{
    const struct command *command = NULL;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            command = &commands[i];
        }
    }
    if (!command) {
        fprintf(stderr, "seks-vault: no command \"%s\"\n", argv[1]);
        return usage();
    }
    int used = 1;
    if (argc > 2 && argv[2][0] != '-') {
        options.word = argv[2];
        used = 2;
    }
    if (!command->word != !options.word) {
        return usage();
    }
    harden();
    master_take_environment();
    log_open("seks-vault", LEVEL_WARN);
    if (options_parse("seks-vault", option_rows, argc - used, argv + used) != STATUS_OK) {
        return 2;
    }
    if (store_where(options.data, options.store, options.store_allow_insecure, &options.where) !=
        STATUS_OK) {
        return 2;
    }
    enum status status = command->run(&options);
    free(options.where);
    return status == STATUS_OK ? 0 : 1;
}
