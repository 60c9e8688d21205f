/* pg.c - the store as a PostgreSQL database that several vaults share.
 *
 * A transaction first counts the one row of seks_store up, which locks it: what decides runs one after the
 * other, whatever isolation the database has by default, and where it tells two of them that they met
 * (40001), all of it runs again.  What was read before is good for as long as that count stands; it is read
 * anew after calls came in and before any of them is decided.
 */
#include "pg.h"

#include <stdlib.h>
#include <string.h>

static const struct store_engine engine;

/* ---- the connection ---- */

void pg_lost(struct pg_store *store, const char *why)
{
    if (!store->conn) {
        return;
    }
    char line[256] = "";
    const char *text = why ? why : PQerrorMessage(store->conn);
    (void)view_copy(view_of(text, strnlen(text, sizeof line - 1)), line, sizeof line);
    line[strcspn(line, "\n")] = 0;
    log_warn("store", "the connection to PostgreSQL is given up: %s", line[0] ? line : "it is closed");
    PQfinish(store->conn);
    store->conn = NULL;
    store->fresh = false;
    store->base.lost++;
    if (store->connector) {
        pg_connector_want(store->connector);
        store->events.lost(store->arg);
    }
}

static void connected(void *arg)
{
    struct pg_store *store = arg;
    PGconn *conn = pg_connector_take(store->connector);
    if (!conn) {
        return;
    }
    PQfinish(store->conn);
    store->conn = conn;
    store->connection++;
    log_info("store", "connected to PostgreSQL again");
    store->events.back(store->arg);
}

static enum status pg_watch(struct store *base, struct loop *loop, const struct store_events *events,
                            void *arg)
{
    struct pg_store *store = pg_of(base);
    store->loop = loop;
    store->events = *events;
    store->arg = arg;
    return pg_connector_new(store->where, loop, connected, store, &store->connector);
}

static bool pg_is_away(const struct store *store)
{
    return ((const struct pg_store *)store)->conn == NULL;
}

/* ---- opening ---- */

static void pg_close(struct store *base)
{
    struct pg_store *store = pg_of(base);
    pg_connector_free(&store->connector);
    PQfinish(store->conn);
    free(store->where);
}

static void pg_free(struct pg_store **store)
{
    struct store *base = *store ? &(*store)->base : NULL;
    store_close(&base);
    *store = NULL;
}

static enum status connect_to(const char *where, struct pg_store **ret_store)
{
    CLEANUP(pg_free) struct pg_store *store = calloc(1, sizeof *store);
    if (!store) {
        return STATUS_INTERNAL;
    }
    store->base.engine = &engine;
    store->connection = 1;
    store->where = strdup(where);
    store->conn = store->where ? pg_connect(where) : NULL;
    if (!store->conn) {
        return STATUS_UNAVAILABLE;
    }
    *ret_store = TAKE(store);
    return STATUS_OK;
}

static enum status still_here(struct pg_store *store)
{
    char place[MOVED_MAX];
    enum status status = install_moved(&store->base, place);
    if (status != STATUS_OK || !place[0]) {
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    log_error("store", "cannot use this database: its install was moved to %s by seks-vault "
                       "migrate-store; start the vault on that one", place);
    return STATUS_INVALID;
}

static enum status look(struct pg_store *store)
{
    uint64_t form = 0;
    enum status status = pg_form(store, &form);
    if (status != STATUS_OK) {
        return status;
    }
    if (form > STORE_FORM) {
        log_error("store", "cannot use this database: it has form %llu; this program knows up to %d",
                  (unsigned long long)form, (int)STORE_FORM);
        return STATUS_INVALID;
    }
    store->base.version = (unsigned)form;
    return still_here(store);
}

enum status store_pg_open(const char *where, struct store **ret_store)
{
    CLEANUP(pg_free) struct pg_store *store = NULL;
    enum status status = connect_to(where, &store);
    if (status == STATUS_OK) {
        status = look(store);
    }
    if (status == STATUS_OK) {
        *ret_store = &TAKE(store)->base;
    }
    return status;
}

enum status store_pg_create(const char *where, struct store **ret_store)
{
    CLEANUP(pg_free) struct pg_store *store = NULL;
    enum status status = connect_to(where, &store);
    if (status == STATUS_OK) {
        status = pg_migrate(store);
    }
    if (status == STATUS_OK) {
        *ret_store = &TAKE(store)->base;
    }
    return status;
}

static enum status pg_begin_use(struct store *base)
{
    return pg_migrate(pg_of(base));
}

/* ---- transactions ---- */

static enum status pg_exec(struct store *base, const char *sql)
{
    struct pg_store *store = pg_of(base);
    PGresult *result = pg_run(store, sql);
    enum status status = pg_outcome(store, result);
    PQclear(result);
    return status;
}

static enum status pg_begin(struct store *base, enum store_kind kind)
{
    static const char *const sql[] = {
        [STORE_CHANGES] = "BEGIN; UPDATE seks_store SET changes = changes + 1",
        [STORE_ADDS] = "BEGIN; SELECT form FROM seks_store FOR UPDATE", /* the same lock */
        [STORE_QUIET] = "BEGIN",
    };
    struct pg_store *store = pg_of(base);
    store->fresh = store->fresh && kind != STORE_CHANGES; /* what follows changes it */
    enum status status = pg_exec(base, sql[kind]);
    if (status != STATUS_OK && store->conn) {
        (void)pg_exec(base, "ROLLBACK"); /* a lock that was not had leaves a transaction behind */
    }
    return status;
}

/* In a transaction that has failed COMMIT succeeds, as a rollback. */
static enum status pg_commit(struct store *base)
{
    struct pg_store *store = pg_of(base);
    bool there = store->conn != NULL;
    PGresult *result = pg_run(store, "COMMIT");
    enum status status = pg_outcome(store, result);
    base->unsure = there && (!result || (status != STATUS_OK && !store->conn));
    if (status == STATUS_OK && strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        log_error("store", "a transaction failed and was taken back");
        status = STATUS_INTERNAL;
    }
    PQclear(result);
    return status;
}

static void pg_rollback(struct store *base)
{
    struct pg_store *store = pg_of(base);
    if (store->conn && PQtransactionStatus(store->conn) != PQTRANS_IDLE) {
        (void)pg_exec(base, "ROLLBACK"); /* the first failure is the one to tell */
    }
}

static void pg_checkpoint(struct store *store)
{
    (void)store; /* the server's own matter */
}

/* ---- the count of changes ---- */

static uint64_t pg_changes(struct store *base)
{
    struct pg_store *store = pg_of(base);
    return store->fresh ? store->changes + 1 : 0;
}

static enum status pg_refresh(struct store *base, struct store_state *ret_state)
{
    static const char sql[] = "SELECT s.changes, i.kek, i.moved FROM seks_store AS s, install AS i";
    struct pg_store *store = pg_of(base);
    char moved[MOVED_MAX];
    CLEANUP(query_end) struct query query = query_new(base, sql);
    enum status status = query_only_row(&query);
    if (status != STATUS_OK) {
        store->fresh = false;
        return status == STATUS_NOT_FOUND ? STATUS_INTERNAL : status;
    }
    store->changes = query_get_number(&query);
    query_get_text(&query, ret_state->kek, sizeof ret_state->kek);
    query_get_text(&query, moved, sizeof moved);
    ret_state->moved = moved[0] != 0;
    store->fresh = true;
    return STATUS_OK;
}

static void pg_stale(struct store *base)
{
    pg_of(base)->fresh = false;
}

static const struct store_engine engine = {
    .shared = true,
    .begin_use = pg_begin_use,
    .close = pg_close,
    .begin = pg_begin,
    .commit = pg_commit,
    .rollback = pg_rollback,
    .checkpoint = pg_checkpoint,
    .exec = pg_exec,
    .changes = pg_changes,
    .refresh = pg_refresh,
    .stale = pg_stale,
    .watch = pg_watch,
    .is_away = pg_is_away,
    .prepare = pg_prepare,
    .drop = pg_drop,
    .bind_text = pg_bind_text,
    .bind_bytes = pg_bind_bytes,
    .bind_number = pg_bind_number,
    .row = pg_row,
    .changed = pg_changed,
    .get_view = pg_get_view,
    .get_number = pg_get_number,
    .reset = pg_reset,
};
