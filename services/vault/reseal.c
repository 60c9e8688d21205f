/* reseal.c - moves secrets to the newest version of their tenant's data key, a few at a time.
 *
 * What is left to do is read from the tables: a tenant with two versions of its data key has secrets
 * under the older one, or none any more, and then the older one goes.  So it can be killed anywhere.
 * Each one is opened again and compared before it counts.
 */
#include "vault.h"

#include <string.h>

enum { BATCH = 32 }; /* secrets in one transaction: some milliseconds */

static enum status reseal_one(struct store *store, struct keys *keys, struct secret_row *row,
                              struct view blob)
{
    CLEANUP(secret_free) struct secret *value = NULL;
    CLEANUP(secret_free) struct secret *again = NULL;
    CLEANUP(buffer_free) struct buffer sealed = BUFFER_EMPTY;
    enum status status = open_secret(keys, row, blob, &value);
    if (status == STATUS_OK) {
        status = seal_secret(keys, row, secret_view(value), &sealed);
    }
    if (status == STATUS_OK) {
        status = open_secret(keys, row, buffer_view(&sealed), &again);
    }
    if (status == STATUS_OK && !secret_equal(secret_view(value), secret_view(again))) {
        status = STATUS_INTERNAL;
    }
    return status == STATUS_OK ? secret_row_update(store, row, buffer_view(&sealed)) : status;
}

/* The next secret of the tenant that is under an older version: STATUS_NOT_FOUND when none is left.
 * One that does not open stays as it is, and with it the older versions. */
static enum status reseal_next(struct reseal *pass, struct store *store, struct keys *keys)
{
    CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
    struct secret_row row;
    enum status status =
        secret_row_after(store, pass->tenant, pass->name, pass->newest, &row, &blob);
    if (status != STATUS_OK) {
        return status;
    }
    memcpy(pass->name, row.name, sizeof pass->name);
    status = reseal_one(store, keys, &row, buffer_view(&blob));
    if (status == STATUS_INTERNAL || status == STATUS_DENIED) {
        pass->stuck++;
        return STATUS_OK;
    }
    pass->sealed += status == STATUS_OK;
    return status;
}

/* Up to BATCH secrets; RET_DONE: the tenant has no more. */
static enum status reseal_batch(struct reseal *pass, struct store *store, struct keys *keys,
                                bool *ret_done)
{
    enum status status = STATUS_OK;
    for (int i = 0; i < BATCH && status == STATUS_OK; i++) {
        status = reseal_next(pass, store, keys);
    }
    *ret_done = status == STATUS_NOT_FOUND;
    if (!*ret_done) {
        return status;
    }
    return pass->stuck ? STATUS_OK : data_key_drop_older(store, pass->tenant, pass->newest);
}

static enum status begin_tenant(struct reseal *pass, struct store *store)
{
    struct data_key_row key;
    enum status status = data_key_superseded(store, pass->tenant, pass->tenant);
    if (status == STATUS_OK) {
        status = data_key_newest(store, pass->tenant, "secret", &key);
    }
    if (status == STATUS_OK) {
        memcpy(pass->newest, key.id, sizeof pass->newest);
        pass->name[0] = 0;
        pass->stuck = 0;
        pass->in_tenant = true;
    }
    return status;
}

/* One step, which is one transaction. */
struct reseal_work {
    struct reseal *pass;
    struct store *store;
    struct keys *keys;
    bool done;
};

/* A version for a tenant whose newest one has had its year, or its number of seals. */
static enum status renew_worn(void *arg)
{
    const struct reseal_work *work = arg;
    row_id tenant;
    enum status status = data_key_worn(work->store, clock_wall_ms() - KEY_LIFE_MS, KEY_SEALS_MAX - 1,
                                       tenant);
    return status == STATUS_OK ? keys_renew(work->keys, tenant) : status;
}

/* The tenant may have had another version since the last step: then all of its secrets are to be looked
 * at again, and the one that was the newest goes with the others. */
static enum status still_newest(struct reseal *pass, struct store *store)
{
    struct data_key_row key;
    enum status status = data_key_newest(store, pass->tenant, "secret", &key);
    if (status == STATUS_OK && strcmp(key.id, pass->newest) != 0) {
        memcpy(pass->newest, key.id, sizeof pass->newest);
        pass->name[0] = 0;
        pass->stuck = 0;
    }
    return status;
}

static enum status batch(void *arg)
{
    struct reseal_work *work = arg;
    struct reseal before = *work->pass;
    keys_forget(work->keys); /* what a try before it made and lost */
    enum status status = still_newest(work->pass, work->store);
    if (status == STATUS_NOT_FOUND) { /* the tenant is gone */
        work->done = true;
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        status = reseal_batch(work->pass, work->store, work->keys, &work->done);
    }
    if (status != STATUS_OK) {
        *work->pass = before;
    }
    return status;
}

enum status reseal_step(struct reseal *pass, struct store *store, struct keys *keys)
{
    struct reseal_work work = {pass, store, keys, false};
    if (!pass->worn_done) {
        enum status status = store_transact(store, renew_worn, &work);
        pass->worn_done = status == STATUS_NOT_FOUND;
        return pass->worn_done ? STATUS_OK : status;
    }
    if (!pass->in_tenant) {
        return begin_tenant(pass, store); /* STATUS_NOT_FOUND: the pass is over */
    }
    const struct reseal before = *pass;
    enum status status = store_transact(store, batch, &work);
    if (status != STATUS_OK) {
        *pass = before; /* what a commit that failed took back */
    }
    if (status != STATUS_OK || work.done) {
        keys_forget(keys); /* what was dropped, or made and rolled back */
        pass->in_tenant = false;
        pass->tenants += status == STATUS_OK;
    }
    return status;
}

/* ---- in the daemon ---- */

enum { STEP_MS = 1, LOOK_MS = 60 * 60 * 1000 };

static void step(void *arg);

static void schedule(struct vault *vault)
{
    vault->resealing = loop_once(vault->loop, STEP_MS, step, vault) >= 0;
}

static void step(void *arg)
{
    struct vault *vault = arg;
    struct reseal *pass = &vault->reseal;
    enum status status = reseal_step(pass, vault->store, vault->keys);
    if (status == STATUS_OK) {
        schedule(vault);
        return;
    }
    vault->resealing = false;
    if (status != STATUS_NOT_FOUND) {
        log_error("keys", "re-sealing stopped: %s; it goes on within the hour",
                  status_name(status));
        return;
    }
    if (pass->tenants > 0) {
        store_checkpoint(vault->store); /* the older keys go from disk */
        log_info("keys", "%llu secrets of %llu tenants are under new data keys",
                 (unsigned long long)pass->sealed, (unsigned long long)pass->tenants);
    }
    vault->counters.resealed += pass->sealed;
    if (vault->reseal_again) {
        reseal_kick(vault);
    }
}

void reseal_kick(struct vault *vault)
{
    if (vault->resealing || vault->door != DOOR_OPEN) {
        vault->reseal_again = vault->resealing; /* the pass may be past what has changed */
        return;
    }
    vault->reseal_again = false;
    vault->reseal = (struct reseal){.in_tenant = false};
    schedule(vault);
}

static void look(void *arg)
{
    reseal_kick(arg);
}

enum status reseal_open(struct vault *vault)
{
    return loop_every(vault->loop, LOOK_MS, look, vault) < 0 ? STATUS_INTERNAL : STATUS_OK;
}

struct renewal {
    struct keys *keys;
    const char *tenant;
    uint64_t tenants;
};

static enum status renew(void *arg)
{
    struct renewal *renewal = arg;
    keys_forget(renewal->keys);
    if (!renewal->tenant[0]) {
        return keys_renew_all(renewal->keys, &renewal->tenants);
    }
    renewal->tenants = 1;
    return keys_renew(renewal->keys, renewal->tenant);
}

enum status reseal_begin(struct vault *vault, const char *tenant, uint64_t *ret_tenants)
{
    struct renewal renewal = {vault->keys, tenant, 0};
    enum status status = store_transact(vault->store, renew, &renewal);
    *ret_tenants = renewal.tenants;
    if (status == STATUS_OK) {
        reseal_kick(vault);
    }
    return status;
}
