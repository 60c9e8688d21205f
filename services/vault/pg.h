/* pg.h - the store on PostgreSQL, over libpq: shared by the files of that engine and nobody else.
 *
 * pg.c          the engine: transactions, the count of changes, coming back
 * pg_query.c    one statement: parameters, a wait that ends, rows, what a failure means
 * pg_connect.c  one connection, and the thread that makes the next one while the loop goes on
 * pg_form.c     the tables
 *
 * One connection, for one thread uses the store.  A statement is waited for in the loop's thread, never
 * longer than PG_WAIT_MS. */
#ifndef VAULT_PG_H
#define VAULT_PG_H

#include <libpq-fe.h>

#include "common/log.h"
#include "store_engine.h"

enum {
    PG_STATEMENT_MS = 3000, /* the server ends a statement itself */
    PG_WAIT_MS = 4000,      /* for one that does not: then the connection is given up */
    PG_IDLE_MS = 5000,      /* a transaction whose vault does not go on is ended by the server */
    PG_PARAMETERS_MAX = 16,
};

struct pg_connector;

struct pg_store {
    struct store base; /* first */
    char *where;
    PGconn *conn;            /* NULL: away */
    uint64_t connection;     /* counts them: a statement is prepared anew on each */
    unsigned statements;     /* counts them, for their names */
    uint64_t changes;        /* as last read */
    bool fresh;              /* in this turn of the loop */
    struct pg_connector *connector; /* NULL until somebody watches */
    struct loop *loop;
    struct store_events events;
    void *arg;
};

static inline struct pg_store *pg_of(struct store *store)
{
    return (struct pg_store *)store;
}

/* ---- pg_connect.c ---- */

/* WHERE as libpq's parameters with the defaults that are ours; PQconninfoFree().  NULL: malformed, and
 * a sentence in RET_WHY (to be freed with PQfreemem(), may be NULL). */
PQconninfoOption *pg_parameters(const char *where, char **ret_why);
/* The value of the parameter, or "". */
const char *pg_parameter(const PQconninfoOption *options, const char *name);
/* Connects and sets the session up, some seconds at worst for each host; NULL with a log line. */
PGconn *pg_connect(const char *where);
/* A thread that connects when it is told to, and again until it has: then MADE runs in the loop. */
MUST_USE enum status pg_connector_new(const char *where, struct loop *loop, loop_fn *made, void *arg,
                                      struct pg_connector **ret_connector);
void pg_connector_free(struct pg_connector **connector);
void pg_connector_want(struct pg_connector *connector);
PGconn *pg_connector_take(struct pg_connector *connector); /* the caller's; NULL: none yet */

/* ---- pg_query.c ---- */

/* Runs SQL without parameters and yields the first failure or the last result; NULL when the connection is
 * lost.  PQclear(). */
PGresult *pg_run(struct pg_store *store, const char *sql);
/* What RESULT (NULL: lost) means. */
enum status pg_outcome(struct pg_store *store, const PGresult *result);
/* Whether it failed with this SQLSTATE. */
bool pg_failed_with(const PGresult *result, const char *state);
void *pg_prepare(struct store *store, const char *sql);
void pg_drop(void *statement);
enum status pg_bind_text(struct query *query, struct view text);
enum status pg_bind_bytes(struct query *query, struct view bytes);
enum status pg_bind_number(struct query *query, uint64_t number);
bool pg_row(struct query *query);
uint64_t pg_changed(struct query *query);
struct view pg_get_view(struct query *query, int column);
uint64_t pg_get_number(struct query *query, int column);
void pg_reset(void *statement);

/* ---- pg.c ---- */

/* The connection is of no use any more: another one is looked for. */
void pg_lost(struct pg_store *store, const char *why);

/* ---- pg_form.c ---- */

/* Which form the database has; STATUS_NOT_FOUND: none yet. */
MUST_USE enum status pg_form(struct pg_store *store, uint64_t *ret_form);
/* Makes the tables, or brings them to the newest form; several vaults may do so at once. */
MUST_USE enum status pg_migrate(struct pg_store *store);

#endif
