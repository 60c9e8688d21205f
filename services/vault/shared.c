/* shared.c - what a vault has to notice of others that work on the same database.
 *
 * Nothing of what decides is kept between two looks at the store: whatever another vault committed before a
 * call came in, this one knows when it decides.  A connection that is lost closes the door for a moment, in
 * which calls wait; it opens once there is another one and the audit log has said that what answers now is
 * not older than what was.
 */
#include "vault.h"

#include <string.h>

enum {
    AWAY_TOLD_MS = 2000,      /* so long calls are held before they are refused */
    FORGET_MS = 60 * 1000,    /* data keys of tenants that another vault erased leave the memory */
};

static const char away_text[] = "the vault's database does not answer";

/* ---- the connection ---- */

static void tell_away(void *arg)
{
    struct vault *vault = arg;
    vault->away_timer = -1;
    if (vault->door == DOOR_CHECKING) {
        door_set(vault, DOOR_CHECKING, away_text); /* who waits is refused, for others may serve it */
        door_tell_all(vault);
        vault->away_timer = loop_once(vault->loop, AWAY_TOLD_MS, tell_away, vault);
    }
}

static void lost(void *arg)
{
    struct vault *vault = arg;
    if (vault->door != DOOR_OPEN) {
        return;
    }
    door_wait(vault, away_text);
    if (vault->away_timer < 0) {
        vault->away_timer = loop_once(vault->loop, AWAY_TOLD_MS, tell_away, vault);
    }
}

static void back(void *arg)
{
    epoch_again(arg);
}

/* ---- what others did ---- */

static void stop_serving(struct vault *vault, const char *because)
{
    log_error("shared", "%s: this vault ends", because);
    door_wait(vault, because); /* what waits is asked again, of the next one */
    loop_stop(vault->loop);    /* which is started by whoever keeps it */
}

static bool follow_master(struct vault *vault)
{
    struct master master = {NULL, NULL};
    enum status status = master_read(vault->options.keys, &master);
    const struct masters masters = master_views(&master);
    if (status == STATUS_OK) {
        status = keys_follow(vault->keys, &masters);
    }
    master_free(&master);
    if (status == STATUS_UNAVAILABLE) {
        return false; /* the store went away; the next look */
    }
    if (status != STATUS_OK) {
        stop_serving(vault, "another vault has put the database under a master key that is not in this "
                            "one's master.key");
        return false;
    }
    log_info("shared", "another vault has changed the master key; this one follows: %s",
             keys_kek(vault->keys));
    return true;
}

bool shared_look(struct vault *vault)
{
    struct store_state state;
    enum status status = store_refresh(vault->store, &state);
    if (status != STATUS_OK) {
        lost(vault); /* away, or so slow that it is as good as away */
        if (!store_is_away(vault->store)) {
            back(vault);
        }
        return false;
    }
    if (state.moved) {
        stop_serving(vault, "the database was moved by seks-vault migrate-store");
        return false;
    }
    return strcmp(state.kek, keys_kek(vault->keys)) == 0 || follow_master(vault);
}

static void forget(void *arg)
{
    struct vault *vault = arg;
    keys_forget(vault->keys);
    throttle_prune(vault->throttle);
}

/* ---- opening ---- */

enum status shared_open(struct vault *vault)
{
    static const struct store_events events = {lost, back};
    vault->away_timer = vault->forget_timer = -1;
    if (!store_is_shared(vault->store)) {
        return STATUS_OK;
    }
    vault->forget_timer = loop_every(vault->loop, FORGET_MS, forget, vault);
    enum status status = vault->forget_timer < 0 ? STATUS_INTERNAL : STATUS_OK;
    if (status == STATUS_OK) {
        status = throttle_share(vault->throttle, vault->store,
                                keys_install(vault->keys, INSTALL_TOKEN));
    }
    return status == STATUS_OK ? store_watch(vault->store, vault->loop, &events, vault) : status;
}

void shared_close(struct vault *vault)
{
    if (!vault->store || !store_is_shared(vault->store)) {
        return;
    }
    loop_unevery(vault->loop, vault->forget_timer);
    loop_unevery(vault->loop, vault->away_timer);
}
