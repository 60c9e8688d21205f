/* store.c - opens the database file, brings it to the newest form, and begins and ends transactions.
 *
 * One connection, exclusive, write-ahead log, every commit on disk before it counts.  It is opened in
 * two steps: first it is only looked at, and a caller who finds that it is not his closes it again
 * with not a byte changed, the write-ahead log of a killed process included.
 */
#include "store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
    /* 3: each data key names the master key that wraps it. */
    "ALTER TABLE install ADD COLUMN kek TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE data_keys ADD COLUMN kek TEXT NOT NULL DEFAULT '';",
    "ALTER TABLE install ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE install ADD COLUMN restored_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE install ADD COLUMN epoch_mac BLOB NOT NULL DEFAULT x'';",
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

/* ---- looking ---- */

static enum status cannot_open(struct store *store, const char *path)
{
    static const struct {
        int code;
        enum status status;
        const char *text;
    } rows[] = {
        {SQLITE_BUSY, STATUS_UNAVAILABLE, "it is in use: is another vault running?"},
        {SQLITE_NOTADB, STATUS_INVALID, "its header is damaged, or it is no database"},
        {SQLITE_CORRUPT, STATUS_INVALID, "it is damaged"},
        {SQLITE_READONLY, STATUS_UNAVAILABLE, "it cannot be written"},
    };
    int code = store->db ? sqlite3_errcode(store->db) & 0xff : SQLITE_NOMEM;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].code == code) {
            log_error("store", "cannot use %s: %s", path, rows[i].text);
            return rows[i].status;
        }
    }
    log_error("store", "cannot use %s: %s", path,
              store->db ? sqlite3_errmsg(store->db) : "no memory");
    return STATUS_UNAVAILABLE;
}

static enum status connect_to(struct store *store, const char *path, int flags)
{
    flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    if (sqlite3_open_v2(path, &store->db, flags, NULL) != SQLITE_OK ||
        sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) != SQLITE_OK ||
        run(store, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF;"
                   "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY") != SQLITE_OK) {
        return cannot_open(store, path);
    }
    if (sqlite3_db_readonly(store->db, "main") == 1) {
        log_error("store", "cannot use %s: it cannot be written", path);
        return STATUS_UNAVAILABLE;
    }
    return STATUS_OK;
}

/* ACT on the name of the write-ahead log that belongs to PATH. */
static int on_wal(const char *path, int (*act)(const char *name))
{
    CLEANUP(buffer_free) struct buffer name = BUFFER_EMPTY;
    buffer_append_text(&name, path);
    buffer_append(&name, "-wal", sizeof "-wal");
    return name.failed ? -1 : act((const char *)name.data);
}

static int exists(const char *name)
{
    return access(name, F_OK);
}

/* The first read takes the lock and, in memory, what is in the write-ahead log. */
static enum status look(struct store *store, const char *path, bool clean)
{
    int64_t version = pragma_number(store->db, "PRAGMA user_version");
    int64_t tables = pragma_number(store->db, "SELECT count(*) FROM sqlite_schema");
    if (version < 0 || tables < 0) {
        return cannot_open(store, path);
    }
    store->clean = clean; /* locked: nobody else writes a log now */
    if (tables == 0) {
        return STATUS_NOT_FOUND; /* a first start that was cut short */
    }
    if (version == 0 || version > VERSION) {
        log_error("store", "cannot use %s: it has form %lld; this program knows 1 to %d", path,
                  (long long)version, (int)VERSION);
        return STATUS_INVALID;
    }
    if (!sound(store->db)) {
        log_error("store", "cannot use %s: it is damaged", path);
        return STATUS_INVALID;
    }
    store->version = (unsigned)version;
    return STATUS_OK;
}

enum status store_open(const char *path, struct store **ret_store)
{
    struct stat info;
    if (stat(path, &info) != 0 && errno == ENOENT) {
        return STATUS_NOT_FOUND;
    }
    CLEANUP(store_close) struct store *store = calloc(1, sizeof *store);
    if (!store) {
        return STATUS_INTERNAL;
    }
    bool clean = on_wal(path, exists) != 0;
    enum status status = connect_to(store, path, 0);
    if (status == STATUS_OK) {
        status = look(store, path, clean);
    }
    if (status == STATUS_OK) {
        *ret_store = TAKE(store);
    }
    return status;
}


/* ---- using ---- */

static enum status migrate(struct store *store)
{
    int64_t version = pragma_number(store->db, "PRAGMA user_version");
    if (version < 0) {
        return STATUS_INTERNAL;
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
    store->version = VERSION;
    return STATUS_OK;
}

enum status store_begin_use(struct store *store)
{
    const char *path = sqlite3_db_filename(store->db, "main");
    store->clean = false;
    if (sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL) != SQLITE_OK ||
        run(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                   "PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON;"
                   "BEGIN EXCLUSIVE; COMMIT") != SQLITE_OK) {
        return cannot_open(store, path);
    }
    if (chmod(path, 0600) != 0) {
        log_error("store", "cannot make %s private: %s", path, strerror(errno));
        return STATUS_DENIED;
    }
    return migrate(store);
}

enum status store_create(const char *path, struct store **ret_store)
{
    CLEANUP(store_close) struct store *store = calloc(1, sizeof *store);
    if (!store) {
        return STATUS_INTERNAL;
    }
    enum status status = connect_to(store, path, SQLITE_OPEN_CREATE);
    if (status == STATUS_OK) {
        status = store_begin_use(store);
    }
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
    if ((*store)->clean && (*store)->db) { /* looking made an empty log */
        (void)on_wal(sqlite3_db_filename((*store)->db, "main"), unlink);
    }
    if (sqlite3_close((*store)->db) != SQLITE_OK) {
        log_error("store", "the database did not close: %s", sqlite3_errmsg((*store)->db));
    }
    secret_free(&(*store)->mac_key);
    free((*store)->hot);
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
