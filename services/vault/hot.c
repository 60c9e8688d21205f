/* hot.c - the rows that every call needs, kept in memory as they were read and found good.
 *
 * There is one source of truth: a row counts only while the database has not changed since it was read,
 * which the engine knows: SQLite by its own count, PostgreSQL by the count of changes that was read after
 * the call came in.  Inside a transaction, which may still be taken back, nothing is kept and nothing is
 * used.  So a revoked token is dead at the next call, as without this file. */
#include "store_engine.h"

#include <stdlib.h>
#include <string.h>

enum {
    SLOTS = 256,         /* of each kind; a row has one place and whoever is there makes room */
    HOT_BLOB_MAX = 1024, /* longer secrets are read each time */
};

struct hot {
    struct {
        uint64_t at; /* changes_now() when it was read; 0: empty */
        struct token row;
    } tokens[SLOTS];
    struct {
        uint64_t at;
        row_id account, id;
    } agents[SLOTS];
    struct {
        uint64_t at;
        struct secret_row row;
        size_t blob_size;
        uint8_t blob[HOT_BLOB_MAX];
    } secrets[SLOTS];
};

/* 0 when nothing may be kept or used now. */
static uint64_t changes_now(struct store *store)
{
    if (store->in_transaction) {
        return 0;
    }
    if (!store->hot) {
        store->hot = calloc(1, sizeof *store->hot);
    }
    return store->hot ? store->engine->changes(store) : 0;
}

/* FNV-1a: names are chosen by their owners, who only slow themselves down by what collides. */
static size_t slot_of(const char *account, struct view name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *account; account++) {
        hash = (hash ^ (uint8_t)*account) * 0x100000001b3u;
    }
    for (size_t i = 0; i < name.size; i++) {
        hash = (hash ^ name.data[i]) * 0x100000001b3u;
    }
    return (hash ^ hash >> 32) % SLOTS;
}

enum status hot_token(struct store *store, struct view hash, struct token *ret)
{
    uint64_t now = changes_now(store);
    if (now == 0 || hash.size != CRYPTO_HASH_BYTES) {
        return token_by_hash(store, hash, ret);
    }
    size_t slot = hash.data[0] % SLOTS;
    if (store->hot->tokens[slot].at == now &&
        memcmp(store->hot->tokens[slot].row.hash, hash.data, hash.size) == 0) {
        *ret = store->hot->tokens[slot].row;
        return STATUS_OK;
    }
    enum status status = token_by_hash(store, hash, ret);
    if (status == STATUS_OK) {
        store->hot->tokens[slot].row = *ret;
        store->hot->tokens[slot].at = now;
    }
    return status;
}

enum status hot_agent(struct store *store, const char *account, const char *id)
{
    CLEANUP(agent_free) struct agent agent = {0};
    uint64_t now = changes_now(store);
    if (now == 0) {
        return agent_by_id(store, account, id, &agent);
    }
    size_t slot = slot_of(account, view_text(id));
    if (store->hot->agents[slot].at == now && strcmp(store->hot->agents[slot].id, id) == 0 &&
        strcmp(store->hot->agents[slot].account, account) == 0) {
        return STATUS_OK;
    }
    enum status status = agent_by_id(store, account, id, &agent);
    if (status == STATUS_OK) {
        memcpy(store->hot->agents[slot].account, agent.account, sizeof agent.account);
        memcpy(store->hot->agents[slot].id, agent.id, sizeof agent.id);
        store->hot->agents[slot].at = now;
    }
    return status;
}

enum status hot_secret(struct store *store, const char *account, struct view name,
                       struct secret_row *ret, struct buffer *ret_blob)
{
    uint64_t now = changes_now(store);
    if (now == 0) {
        return secret_row_by_name(store, account, name, ret, ret_blob);
    }
    size_t slot = slot_of(account, name);
    if (store->hot->secrets[slot].at == now && view_is(name, store->hot->secrets[slot].row.name) &&
        strcmp(store->hot->secrets[slot].row.account, account) == 0) {
        *ret = store->hot->secrets[slot].row;
        buffer_append(ret_blob, store->hot->secrets[slot].blob,
                      store->hot->secrets[slot].blob_size);
        return ret_blob->failed ? STATUS_INTERNAL : STATUS_OK;
    }
    enum status status = secret_row_by_name(store, account, name, ret, ret_blob);
    if (status == STATUS_OK && ret_blob->size <= HOT_BLOB_MAX && !ret_blob->failed) {
        store->hot->secrets[slot].row = *ret;
        store->hot->secrets[slot].blob_size = ret_blob->size;
        memcpy(store->hot->secrets[slot].blob, ret_blob->data, ret_blob->size);
        store->hot->secrets[slot].at = now;
    }
    return status;
}
