/* store.c - opens the one kind of database or the other; transactions, and the same one again. */
#include "store_engine.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { AGAIN_MAX = 12 }; /* each waits longer: all of them up to half a second */

bool store_is_remote(const char *where)
{
    static const char *const prefixes[] = {"postgres://", "postgresql://", "conninfo:"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        if (strncmp(where, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

enum status store_open(const char *where, struct store **ret_store)
{
    return store_is_remote(where) ? store_pg_open(where, ret_store)
                                  : store_sqlite_open(where, ret_store);
}

enum status store_create(const char *where, struct store **ret_store)
{
    return store_is_remote(where) ? store_pg_create(where, ret_store)
                                  : store_sqlite_create(where, ret_store);
}

enum status store_begin_use(struct store *store)
{
    return store->engine->begin_use(store);
}

void store_close(struct store **store)
{
    if (!*store) {
        return;
    }
    for (size_t i = 0; i < (*store)->prepared_count; i++) {
        (*store)->engine->drop((*store)->prepared[i].statement);
    }
    (*store)->engine->close(*store);
    secret_free(&(*store)->mac_key);
    free((*store)->hot);
    free(*store);
    *store = NULL;
}

/* ---- transactions ---- */

static enum status begin(struct store *store, enum store_kind kind)
{
    store->again = store->unsure = false;
    enum status status = store->engine->begin(store, kind);
    store->in_transaction = status == STATUS_OK;
    return status;
}

enum status store_begin(struct store *store)
{
    return begin(store, STORE_CHANGES);
}

enum status store_begin_quiet(struct store *store)
{
    return begin(store, STORE_QUIET);
}

enum status store_end(struct store *store, enum status status)
{
    if (status == STATUS_OK) {
        status = store->engine->commit(store);
    }
    if (status != STATUS_OK && store->in_transaction) {
        store->engine->rollback(store); /* the first failure is the one to tell */
    }
    store->in_transaction = false;
    return status;
}

/* Half a millisecond at first, twice that each time, and not the same for two that met. */
static void pause_before(int try)
{
    uint8_t random;
    crypto_random(&random, sizeof random);
    long us = (500L << (try < 7 ? try : 7)) * (128 + random) / 256;
    const struct timespec pause = {0, us * 1000};
    (void)nanosleep(&pause, NULL); /* a signal only makes it earlier */
}

static enum status transact(struct store *store, enum store_kind kind, store_work *work, void *arg)
{
    enum status status = STATUS_INTERNAL;
    for (int try = 0; try < AGAIN_MAX; try++) {
        status = begin(store, kind);
        if (status == STATUS_OK) {
            status = work(arg);
            status = store_end(store, status);
        }
        if (status == STATUS_OK || !store->again) {
            return status;
        }
        store->repeated++;
        pause_before(try);
    }
    return STATUS_BUSY;
}

enum status store_transact(struct store *store, store_work *work, void *arg)
{
    return transact(store, STORE_CHANGES, work, arg);
}

enum status store_transact_adding(struct store *store, store_work *work, void *arg)
{
    return transact(store, STORE_ADDS, work, arg);
}

enum status store_transact_quiet(struct store *store, store_work *work, void *arg)
{
    return transact(store, STORE_QUIET, work, arg);
}

void store_checkpoint(struct store *store)
{
    store->engine->checkpoint(store);
}

enum status store_exec(struct store *store, const char *sql)
{
    return store->engine->exec(store, sql);
}

/* ---- several vaults ---- */

bool store_is_shared(const struct store *store)
{
    return store->engine->shared;
}

enum status store_refresh(struct store *store, struct store_state *ret_state)
{
    *ret_state = (struct store_state){.moved = false};
    return store_is_shared(store) ? store->engine->refresh(store, ret_state) : STATUS_OK;
}

void store_stale(struct store *store)
{
    if (store_is_shared(store)) {
        store->engine->stale(store);
    }
}

enum status store_watch(struct store *store, struct loop *loop, const struct store_events *events,
                        void *arg)
{
    return store_is_shared(store) ? store->engine->watch(store, loop, events, arg) : STATUS_OK;
}

bool store_is_away(const struct store *store)
{
    return store_is_shared(store) && store->engine->is_away(store);
}
