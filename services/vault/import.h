/* import.h - moving in: the database of an upstream SEKS Broker, read and mapped.
 *
 * import_source.c  opens the export, an SQLite file or an SQL dump, and finds which form it has
 * import.c         its rows as ours
 * command_import.c the command */
#ifndef VAULT_IMPORT_H
#define VAULT_IMPORT_H

#include <sqlite3.h>

#include "commands.h"

/* An export, in memory or read-only; its tables and columns by the names that they have. */
struct import_source {
    sqlite3 *db;
    const char *accounts;  /* "accounts", or "clients" in the older form */
    const char *owner;     /* "account_id" or "client_id" */
    bool hashed;           /* agents' tokens are there as SHA-256 only */
    bool has_status, has_tokens, has_access;
};

/* STATUS_INVALID, with a line on standard error, for what is no export or of an unknown form. */
MUST_USE enum status import_source_open(const char *path, struct import_source *ret_source);
void import_source_close(struct import_source *source);
/* Appends how many rows of which tables are not taken over ("3 of sessions, 12 of audit_log"), or
 * nothing. */
void import_source_left(const struct import_source *source, struct buffer *text);

struct import {
    const struct import_source *source;
    struct store *store;
    struct keys *keys;
    const struct providers *providers;
    const struct secret *old_key; /* under which the export's secrets are sealed */
    bool accept_wider;            /* secrets of some agents become usable by the account's others */
    struct import_counts {
        uint64_t accounts, agents, secrets, tokens, copies, problems;
    } counts;
};

/* Takes all rows over, in a transaction of the caller; each problem is a line on standard error and
 * leaves its row out. */
MUST_USE enum status import_run(struct import *import);

#endif
