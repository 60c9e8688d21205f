/* store_engine.h - what a kind of database does for store.c, query.c and hot.c.
 *
 * store_sqlite.c and pg.c (with pg_query.c, pg_connect.c and pg_form.c) are the two.  An engine's own
 * struct begins with `struct store`. */
#ifndef VAULT_STORE_ENGINE_H
#define VAULT_STORE_ENGINE_H

#include "store.h"

enum store_kind { STORE_CHANGES, STORE_ADDS, STORE_QUIET }; /* the three ways in store.h */

struct store_engine {
    bool shared; /* several vaults at once */

    enum status (*begin_use)(struct store *store);
    void (*close)(struct store *store); /* statements first; frees what is its own, not STORE */
    enum status (*begin)(struct store *store, enum store_kind kind);
    enum status (*commit)(struct store *store);
    void (*rollback)(struct store *store);
    void (*checkpoint)(struct store *store);
    enum status (*exec)(struct store *store, const char *sql);
    /* A number that is another one after each change, never 0; 0: not known now. */
    uint64_t (*changes)(struct store *store);

    /* Of a shared one alone; else NULL. */
    enum status (*refresh)(struct store *store, struct store_state *ret_state);
    void (*stale)(struct store *store);
    enum status (*watch)(struct store *store, struct loop *loop, const struct store_events *events,
                         void *arg);
    bool (*is_away)(const struct store *store);

    /* Statements are kept until `drop`; one runs once at a time. */
    void *(*prepare)(struct store *store, const char *sql);
    void (*drop)(void *statement);
    enum status (*bind_text)(struct query *query, struct view text);
    enum status (*bind_bytes)(struct query *query, struct view bytes);
    enum status (*bind_number)(struct query *query, uint64_t number);
    bool (*row)(struct query *query); /* sets `status` */
    uint64_t (*changed)(struct query *query); /* rows, by the statement that just ran */
    struct view (*get_view)(struct query *query, int column);
    uint64_t (*get_number)(struct query *query, int column);
    void (*reset)(void *statement);
};

/* The openings; as store_open() and store_create(). */
enum status store_sqlite_open(const char *path, struct store **ret_store);
enum status store_sqlite_create(const char *path, struct store **ret_store);
enum status store_pg_open(const char *where, struct store **ret_store);
enum status store_pg_create(const char *where, struct store **ret_store);

/* The connection, for store_copy.c; NULL for another engine. */
struct sqlite3;
struct sqlite3 *store_sqlite_db(struct store *store);

#endif
