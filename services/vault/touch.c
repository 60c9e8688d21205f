/* touch.c - when sessions, keys, agents, tokens and secrets were last used.
 *
 * Kept in memory and written every few seconds in one transaction: a use must not cost a commit.
 * What a crash loses is seconds of a display, nothing that decides.
 */
#include "vault.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS = 1024 };

struct slot {
    bool used;
    enum touch_kind kind;
    uint8_t id[CRYPTO_HASH_BYTES]; /* an id's text, or a session's hash */
    size_t id_size;
    uint64_t at_ms;
};

struct touches {
    struct store *store;
    size_t used;
    struct slot slots[SLOTS];
};
_Static_assert((int)ID_SIZE_MAX <= (int)CRYPTO_HASH_BYTES, "an id must fit");

struct touches *touches_new(struct store *store)
{
    struct touches *touches = calloc(1, sizeof *touches);
    if (touches) {
        touches->store = store;
    }
    return touches;
}

void touches_free(struct touches **touches)
{
    if (*touches) {
        touches_write(*touches);
    }
    free(*touches);
    *touches = NULL;
}

static enum status write_slot(struct store *store, const struct slot *slot)
{
    static const char *const updates[] = {
        [TOUCH_SESSION] = "UPDATE sessions SET last_ms = ? WHERE hash = ? AND last_ms < ?",
        [TOUCH_KEY] = "UPDATE account_keys SET used_ms = ? WHERE id = ? AND used_ms < ?",
        [TOUCH_AGENT] = "UPDATE agents SET seen_ms = ? WHERE id = ? AND seen_ms < ?",
        [TOUCH_TOKEN] = "UPDATE tokens SET used_ms = ? WHERE id = ? AND used_ms < ?",
        [TOUCH_SECRET] = "UPDATE secrets SET used_ms = ? WHERE id = ? AND used_ms < ?",
    };
    CLEANUP(query_end) struct query query = query_new(store, updates[slot->kind]);
    struct view id = view_of(slot->id, slot->id_size);
    query_number(&query, slot->at_ms);
    if (slot->kind == TOUCH_SESSION) {
        query_bytes(&query, id);
    } else {
        query_view(&query, id);
    }
    query_number(&query, slot->at_ms); /* another vault may have seen a later use */
    return query_run(&query);
}

void touches_write(struct touches *touches)
{
    if (touches->used == 0) {
        return;
    }
    enum status status = store_begin_quiet(touches->store);
    if (status == STATUS_OK) {
        for (size_t i = 0; i < SLOTS && status == STATUS_OK; i++) {
            if (touches->slots[i].used) {
                status = write_slot(touches->store, &touches->slots[i]);
            }
        }
        status = store_end(touches->store, status);
    }
    if (status != STATUS_OK) {
        log_warn("touch", "the times of last use were not written: %s", status_name(status));
    }
    for (size_t i = 0; i < SLOTS; i++) {
        touches->slots[i].used = false;
    }
    touches->used = 0;
}

void touch(struct touches *touches, enum touch_kind kind, struct view id, uint64_t now_ms)
{
    struct slot *slot = &touches->slots[view_mix(kind, id) % SLOTS];
    if (id.size > sizeof slot->id) {
        return;
    }
    bool same = slot->used && slot->kind == kind &&
                view_equal(view_of(slot->id, slot->id_size), id);
    if (slot->used && !same) {
        touches_write(touches); /* two share a slot: make room */
    }
    if (!same) {
        slot->used = true;
        slot->kind = kind;
        slot->id_size = id.size;
        memcpy(slot->id, id.data, id.size);
        touches->used++;
    }
    slot->at_ms = now_ms;
}
