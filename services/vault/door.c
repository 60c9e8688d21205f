/* door.c - whether gateways are served: records are taken, held for a moment, or refused.
 *
 * They are held while the audit log is asked how new the database has to be, a few milliseconds at
 * each start.  A refusal says why, and so does /readyz, here and at every gateway.
 */
#include "vault.h"

#include <stdlib.h>
#include <string.h>

enum { HELD_MAX = 2048, HELD_BYTES_MAX = 16 << 10, LOOK_MS = 200, LOOKS_UNTOLD = 25 };

struct held_record {
    struct held_record *next;
    struct channel_peer *peer;
    size_t size;
    uint8_t bytes[];
};

void door_tell(const struct vault *vault, struct channel_peer *peer)
{
    const struct vault_state state = {view_text(vault->closed_because), vault->away,
                                      vault->leaving, audit_shards(vault->audit)};
    vault_send(peer, &vault_state_schema, &state);
}

void door_tell_all(const struct vault *vault)
{
    struct channel_peer *peer = NULL;
    while (vault->gateways && (peer = channel_next_peer(vault->gateways, peer)) != NULL) {
        door_tell(vault, peer);
    }
}

static void look_around(void *arg)
{
    struct vault *vault = arg;
    bool away = !audit_up(vault->audit) || vault->door == DOOR_CHECKING;
    if (away != vault->away || ++vault->looks % LOOKS_UNTOLD == 0) {
        vault->away = away;
        door_tell_all(vault); /* now and then all the same: a connection that broke may have lost the last word */
    }
}

enum status door_look_around(struct vault *vault)
{
    vault->away = true; /* until the first look */
    return loop_every(vault->loop, LOOK_MS, look_around, vault) < 0 ? STATUS_INTERNAL : STATUS_OK;
}

void door_leave(struct vault *vault)
{
    vault->leaving = true;
    door_tell_all(vault);
}

static void refuse_authorize(struct vault *vault, struct channel_peer *peer, struct view record)
{
    struct vault_authorize in;
    if (proto_decode(&vault_authorize_schema, record, &in) == STATUS_OK) {
        const struct vault_grant grant = {.call = in.call,
                                          .status = status_to_wire(STATUS_UNAVAILABLE),
                                          .detail = view_text(vault->closed_because)};
        vault_send(peer, &vault_grant_schema, &grant);
    }
}

static void refuse_ask(struct vault *vault, struct channel_peer *peer, struct view record)
{
    struct vault_ask in;
    if (proto_decode(&vault_ask_schema, record, &in) == STATUS_OK) {
        const struct vault_answer answer = {.call = in.call,
                                            .status = status_to_wire(STATUS_UNAVAILABLE),
                                            .http = (uint64_t)status_http(STATUS_UNAVAILABLE),
                                            .detail = view_text(vault->closed_because)};
        vault_send(peer, &vault_answer_schema, &answer);
    }
}

static void refuse(struct vault *vault, struct channel_peer *peer, struct view record)
{
    vault->counters.unavailable++;
    if (proto_id(record) == VAULT_AUTHORIZE) {
        refuse_authorize(vault, peer, record);
    } else {
        refuse_ask(vault, peer, record);
    }
}

static void held_free(struct held_record *held)
{
    explicit_bzero(held->bytes, held->size); /* tokens and session ids are in it */
    free(held);
}

/* What finds no room is asked again by its gateway, or given up. */
static void hold(struct vault *vault, struct channel_peer *peer, struct view record)
{
    struct held_record **end = &vault->held;
    struct held_record *held = NULL;
    if (vault->held_count < HELD_MAX && record.size <= HELD_BYTES_MAX) {
        held = malloc(sizeof *held + record.size);
    }
    if (!held) {
        refuse(vault, peer, record);
        return;
    }
    *held = (struct held_record){.peer = peer, .size = record.size};
    memcpy(held->bytes, record.data, record.size);
    while (*end) {
        end = &(*end)->next;
    }
    *end = held;
    vault->held_count++;
}

/* With a store that other vaults change too, what came in this turn waits for its end: then one look at
 * the store serves all of it.  What finds no room takes a look of its own. */
static bool admit_shared(struct vault *vault, struct channel_peer *peer, struct view record)
{
    if (vault->taking) {
        return true;
    }
    if (vault->held_count < HELD_MAX && record.size <= HELD_BYTES_MAX) {
        hold(vault, peer, record);
        return false;
    }
    door_turn(vault);
    bool looked = vault->door == DOOR_OPEN && shared_look(vault);
    store_stale(vault->store);
    if (!looked) {
        hold(vault, peer, record);
    }
    return looked;
}

bool door_admits(struct vault *vault, struct channel_peer *peer, struct view record)
{
    if (vault->door == DOOR_OPEN) {
        return !store_is_shared(vault->store) || admit_shared(vault, peer, record);
    }
    if (vault->door == DOOR_CHECKING) {
        hold(vault, peer, record);
    } else {
        refuse(vault, peer, record);
    }
    return false;
}

static void release(struct vault *vault)
{
    struct held_record *held = TAKE(vault->held);
    vault->held_count = 0;
    while (held) {
        struct held_record *next = held->next;
        struct view record = view_of(held->bytes, held->size);
        if (vault->door == DOOR_OPEN || vault->taking) { /* the store may have gone away meanwhile */
            vault_take_record(vault, held->peer, record);
        } else {
            refuse(vault, held->peer, record);
        }
        held_free(held);
        held = next;
    }
}

void door_turn(void *arg)
{
    struct vault *vault = arg;
    if (vault->door != DOOR_OPEN || !vault->held || !shared_look(vault)) {
        return;
    }
    vault->taking = true;
    release(vault);
    vault->taking = false;
    store_stale(vault->store);
}

void door_wait(struct vault *vault, const char *because)
{
    vault->door = DOOR_CHECKING;
    if (!view_copy(view_text(because), vault->closed_because, sizeof vault->closed_because)) {
        vault->closed_because[0] = 0;
    }
}

void door_again(struct vault *vault, struct channel_peer *peer, struct view record)
{
    hold(vault, peer, record);
}

void door_set(struct vault *vault, enum door door, const char *because)
{
    bool same = because == vault->closed_because;
    vault->door = door;
    if (!same &&
        !view_copy(view_text(because), vault->closed_because, sizeof vault->closed_because)) {
        vault->closed_because[0] = 0;
    }
    if (!same) {
        door_tell_all(vault); /* first, so that who is refused knows that others are to be asked */
    }
    release(vault);
}

void door_forget(struct vault *vault, const struct channel_peer *peer)
{
    struct held_record **at = &vault->held;
    while (*at) {
        struct held_record *held = *at;
        if (peer && held->peer != peer) {
            at = &held->next;
            continue;
        }
        *at = held->next;
        vault->held_count--;
        held_free(held);
    }
}
