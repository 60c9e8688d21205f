/* store.c - opens the database file, brings it to the newest form, and begins and ends transactions.
 *
 * One connection, exclusive, write-ahead log, every commit on disk before it counts.  Before it is
 * opened for writing at all, store_peek() lets the caller see whose master key it is.
 */
#include "store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"

/* Row n brings user_version n to n + 1.  Rows are only ever added. */
static const char *const migrations[] = {
    "CREATE TABLE install (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL,"
    " master_check BLOB NOT NULL, created_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE data_keys (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, purpose TEXT NOT NULL,"
    " version INTEGER NOT NULL, wrapped BLOB NOT NULL, seals INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, UNIQUE (tenant, purpose, version)) STRICT;"
    "CREATE TABLE accounts (id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE,"
    " password TEXT NOT NULL, created_ms INTEGER NOT NULL, mac BLOB NOT NULL) STRICT;"
    "CREATE TABLE sessions (hash BLOB PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (id)"
    " ON DELETE CASCADE, created_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,"
    " mac BLOB NOT NULL) STRICT;"
    "CREATE INDEX sessions_account ON sessions (account);"
    "CREATE TABLE account_keys (id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES"
    " accounts (id) ON DELETE CASCADE, name TEXT NOT NULL, hash BLOB NOT NULL UNIQUE,"
    " last4 TEXT NOT NULL, created_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL,"
    " mac BLOB NOT NULL) STRICT;"
    "CREATE INDEX account_keys_account ON account_keys (account);"
    "CREATE TABLE agents (id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (id)"
    " ON DELETE CASCADE, name TEXT NOT NULL, direct INTEGER NOT NULL, names BLOB NOT NULL,"
    " hash BLOB NOT NULL UNIQUE, created_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL,"
    " mac BLOB NOT NULL, UNIQUE (account, name)) STRICT;"
    "CREATE TABLE tokens (id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (id)"
    " ON DELETE CASCADE, agent TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,"
    " provider TEXT NOT NULL, secret TEXT NOT NULL, hash BLOB NOT NULL UNIQUE,"
    " last4 TEXT NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,"
    " lifetime_s INTEGER NOT NULL, used_ms INTEGER NOT NULL, mac BLOB NOT NULL) STRICT;"
    "CREATE INDEX tokens_account ON tokens (account);"
    "CREATE INDEX tokens_agent ON tokens (agent);"
    "CREATE TABLE dead_tokens (hash BLOB PRIMARY KEY, token TEXT NOT NULL, account TEXT NOT NULL"
    " REFERENCES accounts (id) ON DELETE CASCADE, agent TEXT NOT NULL, provider TEXT NOT NULL,"
    " died_ms INTEGER NOT NULL) STRICT;"
    "CREATE INDEX dead_tokens_account ON dead_tokens (account);"
    "CREATE TABLE secrets (id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (id)"
    " ON DELETE CASCADE, name TEXT NOT NULL, provider TEXT NOT NULL, version INTEGER NOT NULL,"
    " data_key TEXT NOT NULL, blob BLOB NOT NULL, created_ms INTEGER NOT NULL,"
    " updated_ms INTEGER NOT NULL, UNIQUE (account, name)) STRICT;",
    "ALTER TABLE secrets ADD COLUMN used_ms INTEGER NOT NULL DEFAULT 0",
};
enum { VERSION = sizeof migrations / sizeof migrations[0] };

static int run(struct store *store, const char *sql)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL);
}

/* The first value of the first row, or -1. */
static int64_t pragma_number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int64_t number = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
        number = sqlite3_column_int64(statement, 0);
    }
    (void)sqlite3_finalize(statement); /* repeats step's failure */
    return number;
}

static bool sound(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    bool good = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &statement, NULL) ==
                    SQLITE_OK &&
                sqlite3_step(statement) == SQLITE_ROW &&
                strcmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0;
    (void)sqlite3_finalize(statement);
    return good;
}

static enum status read_install(sqlite3 *db, char *ret_id, struct buffer *ret_check)
{
    sqlite3_stmt *statement = NULL;
    enum status status = STATUS_NOT_FOUND;
    if (sqlite3_prepare_v2(db, "SELECT id, master_check FROM install", -1, &statement, NULL) ==
            SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
        const void *id = sqlite3_column_blob(statement, 0);
        struct view text = view_of(id, (size_t)sqlite3_column_bytes(statement, 0));
        const void *check = sqlite3_column_blob(statement, 1);
        buffer_append(ret_check, check, (size_t)sqlite3_column_bytes(statement, 1));
        status = view_copy(text, ret_id, ID_SIZE_MAX + 1) ? STATUS_OK : STATUS_INVALID;
    }
    (void)sqlite3_finalize(statement);
    return status;
}

/* `immutable` keeps SQLite from locking, recovering or creating anything beside the file.  The
 * install row is written once and checkpointed at once, so the file alone is enough. */
enum status store_peek(const char *path, char *ret_id, struct buffer *ret_check)
{
    sqlite3 *db = NULL;
    struct stat info;
    enum status status = STATUS_NOT_FOUND;
    if (stat(path, &info) != 0 || info.st_size == 0) {
        return STATUS_NOT_FOUND;
    }
    char *uri = sqlite3_mprintf("file:%s?immutable=1", path);
    if (uri && sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) ==
                   SQLITE_OK) {
        status = read_install(db, ret_id, ret_check);
    }
    (void)sqlite3_close(db); /* read-only: nothing to lose */
    sqlite3_free(uri);
    return status;
}

static enum status migrate(struct store *store)
{
    int64_t version = pragma_number(store->db, "PRAGMA user_version");
    if (version < 0 || version > VERSION) {
        log_error("store", "the database has version %lld; this program knows up to %d",
                  (long long)version, (int)VERSION);
        return STATUS_INVALID;
    }
    for (; version < VERSION; version++) {
        char stamp[64];
        (void)snprintf(stamp, sizeof stamp, "PRAGMA user_version = %d", (int)version + 1);
        if (run(store, "BEGIN IMMEDIATE") != SQLITE_OK ||
            run(store, migrations[version]) != SQLITE_OK || run(store, stamp) != SQLITE_OK ||
            run(store, "COMMIT") != SQLITE_OK) {
            log_error("store", "migration %d failed: %s", (int)version + 1,
                      sqlite3_errmsg(store->db));
            return STATUS_INTERNAL;
        }
    }
    return STATUS_OK;
}

static enum status configure(struct store *store, const char *path)
{
    if (run(store, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                   "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;"
                   "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
                   "PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON") != SQLITE_OK ||
        run(store, "BEGIN EXCLUSIVE; COMMIT") != SQLITE_OK) {
        log_error("store", "cannot use %s: %s (is another vault running?)", path,
                  sqlite3_errmsg(store->db));
        return STATUS_UNAVAILABLE;
    }
    if (!sound(store->db)) {
        log_error("store", "%s is damaged", path);
        return STATUS_INVALID;
    }
    return migrate(store);
}

enum status store_open(const char *path, struct store **ret_store)
{
    CLEANUP(store_close) struct store *store = calloc(1, sizeof *store);
    if (!store) {
        return STATUS_INTERNAL;
    }
    if (sqlite3_open_v2(path, &store->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                            SQLITE_OPEN_NOFOLLOW,
                        NULL) != SQLITE_OK) {
        log_error("store", "cannot open %s: %s", path,
                  store->db ? sqlite3_errmsg(store->db) : "no memory");
        return STATUS_UNAVAILABLE;
    }
    if (chmod(path, 0600) != 0) {
        log_error("store", "cannot make %s private: %s", path, strerror(errno));
        return STATUS_DENIED;
    }
    enum status status = configure(store, path);
    if (status == STATUS_OK) {
        *ret_store = TAKE(store);
    }
    return status;
}

void store_close(struct store **store)
{
    if (!*store) {
        return;
    }
    for (size_t i = 0; i < (*store)->prepared_count; i++) {
        (void)sqlite3_finalize((*store)->prepared[i].statement);
    }
    if (sqlite3_close((*store)->db) != SQLITE_OK) {
        log_error("store", "the database did not close: %s", sqlite3_errmsg((*store)->db));
    }
    secret_free(&(*store)->mac_key);
    free(*store);
    *store = NULL;
}

static const char begin_sql[] = "BEGIN IMMEDIATE";
static const char commit_sql[] = "COMMIT";
static const char rollback_sql[] = "ROLLBACK";

static enum status run_prepared(struct store *store, const char *sql)
{
    CLEANUP(query_end) struct query query = query_new(store, sql);
    return query_run(&query);
}

enum status store_begin(struct store *store)
{
    return run_prepared(store, begin_sql);
}

enum status store_end(struct store *store, enum status status)
{
    if (status == STATUS_OK) {
        status = run_prepared(store, commit_sql);
    }
    if (status != STATUS_OK && sqlite3_get_autocommit(store->db) == 0) {
        (void)run_prepared(store, rollback_sql); /* the first failure is the one to tell */
    }
    return status;
}

void store_checkpoint(struct store *store)
{
    if (sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) !=
        SQLITE_OK) {
        log_warn("store", "checkpoint: %s", sqlite3_errmsg(store->db));
    }
}
