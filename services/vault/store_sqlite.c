/* store_sqlite.c - the store as one SQLite file: opens it, brings it to the newest form, runs statements.
 *
 * One connection, exclusive, write-ahead log, every commit on disk before it counts.  It is opened in
 * two steps: first it is only looked at, and a caller who finds that it is not his closes it again
 * with not a byte changed, the write-ahead log of a killed process included.
 */
#include "store_engine.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

struct sqlite_store {
    struct store base; /* first */
    sqlite3 *db;
    bool clean;        /* only looked at, and there was no write-ahead log */
};

static struct sqlite_store *of(struct store *store)
{
    return (struct sqlite_store *)store;
}

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
    /* 5: where the install went, by seks-vault migrate-store. */
    "ALTER TABLE install ADD COLUMN moved TEXT NOT NULL DEFAULT '';",
};
enum { VERSION = sizeof migrations / sizeof migrations[0] };
_Static_assert((int)VERSION == (int)STORE_FORM, "both engines have the same forms");

static int run(struct sqlite_store *store, const char *sql)
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

static enum status cannot_open(struct sqlite_store *store, const char *path)
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

static enum status connect_to(struct sqlite_store *store, const char *path, int flags)
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

/* Of a database whose install went elsewhere the rows are of no use any more: they would be older. */
static enum status still_here(struct sqlite_store *store, const char *path)
{
    char place[MOVED_MAX];
    enum status status = install_moved(&store->base, place);
    if (status != STATUS_OK || !place[0]) {
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    log_error("store", "cannot use %s: it was moved to %s by seks-vault migrate-store; start the vault "
                       "with --store for that one", path, place);
    return STATUS_INVALID;
}

/* The first read takes the lock and, in memory, what is in the write-ahead log. */
static enum status look(struct sqlite_store *store, const char *path, bool clean)
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
    store->base.version = (unsigned)version;
    return still_here(store, path);
}

/* ---- the store of this engine ---- */

static const struct store_engine engine;

static struct sqlite_store *sqlite_new(void)
{
    struct sqlite_store *store = calloc(1, sizeof *store);
    if (store) {
        store->base.engine = &engine;
    }
    return store;
}

static void sqlite_free(struct sqlite_store **store)
{
    struct store *base = *store ? &(*store)->base : NULL;
    store_close(&base);
    *store = NULL;
}

enum status store_sqlite_open(const char *path, struct store **ret_store)
{
    struct stat info;
    if (stat(path, &info) != 0 && errno == ENOENT) {
        return STATUS_NOT_FOUND;
    }
    CLEANUP(sqlite_free) struct sqlite_store *store = sqlite_new();
    if (!store) {
        return STATUS_INTERNAL;
    }
    bool clean = on_wal(path, exists) != 0;
    enum status status = connect_to(store, path, 0);
    if (status == STATUS_OK) {
        status = look(store, path, clean);
    }
    if (status == STATUS_OK) {
        *ret_store = &TAKE(store)->base;
    }
    return status;
}


/* ---- using ---- */

static enum status migrate(struct sqlite_store *store)
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
    store->base.version = VERSION;
    return STATUS_OK;
}

static enum status sqlite_begin_use(struct store *base)
{
    struct sqlite_store *store = of(base);
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

enum status store_sqlite_create(const char *path, struct store **ret_store)
{
    CLEANUP(sqlite_free) struct sqlite_store *store = sqlite_new();
    if (!store) {
        return STATUS_INTERNAL;
    }
    enum status status = connect_to(store, path, SQLITE_OPEN_CREATE);
    if (status == STATUS_OK) {
        status = sqlite_begin_use(&store->base);
    }
    if (status == STATUS_OK) {
        *ret_store = &TAKE(store)->base;
    }
    return status;
}

static void sqlite_close(struct store *base)
{
    struct sqlite_store *store = of(base);
    if (store->clean && store->db) { /* looking made an empty log */
        (void)on_wal(sqlite3_db_filename(store->db, "main"), unlink);
    }
    if (sqlite3_close(store->db) != SQLITE_OK) {
        log_error("store", "the database did not close: %s", sqlite3_errmsg(store->db));
    }
}

sqlite3 *store_sqlite_db(struct store *store)
{
    return store->engine == &engine ? of(store)->db : NULL;
}

/* ---- statements ---- */

/* A broken disk fails every write: once a second is enough. */
static void complain(struct sqlite_store *store)
{
    static struct log_limit limit;
    uint64_t count;
    if (log_due(&limit, &count)) {
        log_error("store", "the disk: %s (error %d, %llu times)", sqlite3_errmsg(store->db),
                  sqlite3_extended_errcode(store->db), (unsigned long long)count);
    }
}

static enum status outcome(struct sqlite_store *store, int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return STATUS_OK;
    case SQLITE_CONSTRAINT:
        return STATUS_CONFLICT;
    case SQLITE_FULL:
        return STATUS_STORAGE_FULL;
    case SQLITE_TOOBIG:
        return STATUS_TOO_LARGE;
    case SQLITE_READONLY: /* the disk: what only reads goes on */
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        complain(store);
        return STATUS_UNAVAILABLE;
    }
    log_error("store", "%s", sqlite3_errmsg(store->db));
    return STATUS_INTERNAL;
}

static void *sqlite_prepare(struct store *store, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v3(of(store)->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) !=
        SQLITE_OK) {
        log_error("store", "cannot prepare a statement: %s", sqlite3_errmsg(of(store)->db));
        return NULL;
    }
    return statement;
}

static void sqlite_drop(void *statement)
{
    (void)sqlite3_finalize(statement); /* repeats the failure that step reported */
}

static void sqlite_reset(void *statement)
{
    (void)sqlite3_reset(statement); /* repeats the failure that step reported */
    (void)sqlite3_clear_bindings(statement);
}

static enum status sqlite_bind_text(struct query *query, struct view text)
{
    return outcome(of(query->store),
                   sqlite3_bind_text(query->statement, ++query->parameter,
                                     text.data ? (const char *)text.data : "", (int)text.size,
                                     SQLITE_TRANSIENT));
}

static enum status sqlite_bind_bytes(struct query *query, struct view bytes)
{
    return outcome(of(query->store),
                   sqlite3_bind_blob(query->statement, ++query->parameter,
                                     bytes.data ? (const void *)bytes.data : "", (int)bytes.size,
                                     SQLITE_TRANSIENT));
}

static enum status sqlite_bind_number(struct query *query, uint64_t number)
{
    return outcome(of(query->store),
                   sqlite3_bind_int64(query->statement, ++query->parameter, (int64_t)number));
}

static bool sqlite_row(struct query *query)
{
    int code = sqlite3_step(query->statement);
    query->status = outcome(of(query->store), code);
    return code == SQLITE_ROW;
}

static uint64_t sqlite_changed(struct query *query)
{
    return (uint64_t)sqlite3_changes64(of(query->store)->db);
}

static struct view sqlite_get_view(struct query *query, int column)
{
    const void *data = sqlite3_column_blob(query->statement, column);
    return view_of(data, (size_t)sqlite3_column_bytes(query->statement, column));
}

static uint64_t sqlite_get_number(struct query *query, int column)
{
    return (uint64_t)sqlite3_column_int64(query->statement, column);
}

/* ---- transactions ---- */

static enum status run_prepared(struct store *store, const char *sql)
{
    CLEANUP(query_end) struct query query = query_new(store, sql);
    return query_run(&query);
}

static enum status sqlite_begin(struct store *store, enum store_kind kind)
{
    static const char sql[] = "BEGIN IMMEDIATE";
    (void)kind; /* there is one writer, and SQLite counts rows itself */
    return run_prepared(store, sql);
}

static enum status sqlite_commit(struct store *store)
{
    static const char sql[] = "COMMIT";
    return run_prepared(store, sql);
}

static void sqlite_rollback(struct store *store)
{
    static const char sql[] = "ROLLBACK";
    if (sqlite3_get_autocommit(of(store)->db) == 0) {
        (void)run_prepared(store, sql); /* the first failure is the one to tell */
    }
}

static enum status sqlite_exec(struct store *store, const char *sql)
{
    return outcome(of(store), run(of(store), sql));
}

static void sqlite_checkpoint(struct store *store)
{
    if (sqlite3_wal_checkpoint_v2(of(store)->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) !=
        SQLITE_OK) {
        log_warn("store", "checkpoint: %s", sqlite3_errmsg(of(store)->db));
    }
}

/* SQLite counts each row that this connection inserts, updates or deletes, and no other connection can (it
 * is locked exclusively); inside a transaction, which may still be taken back, nothing counts. */
static uint64_t sqlite_changes(struct store *store)
{
    sqlite3 *db = of(store)->db;
    return sqlite3_get_autocommit(db) == 0 ? 0 : (uint64_t)sqlite3_total_changes64(db) + 1;
}

static const struct store_engine engine = {
    .shared = false,
    .begin_use = sqlite_begin_use,
    .close = sqlite_close,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .checkpoint = sqlite_checkpoint,
    .exec = sqlite_exec,
    .changes = sqlite_changes,
    .prepare = sqlite_prepare,
    .drop = sqlite_drop,
    .bind_text = sqlite_bind_text,
    .bind_bytes = sqlite_bind_bytes,
    .bind_number = sqlite_bind_number,
    .row = sqlite_row,
    .changed = sqlite_changed,
    .get_view = sqlite_get_view,
    .get_number = sqlite_get_number,
    .reset = sqlite_reset,
};
