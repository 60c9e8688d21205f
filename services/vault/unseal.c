/* unseal.c - a vault that starts without its master key, and gets it from people.
 *
 * Shares come one by one over the control socket, sealed like every secret, and wait in locked memory
 * until there are enough.  Gateways are refused meanwhile and told why.  A wrong passphrase, or shares
 * that do not fit, leave it sealed and the shares forgotten.
 */
#include "vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "seal_plan.h"

struct unseal {
    struct vault *vault;
    struct seal_plan plan;
    struct secret *shares; /* room for `threshold` of struct share */
    unsigned count;
};

static struct share *shares_of(struct unseal *unseal)
{
    return (struct share *)(void *)secret_data(unseal->shares);
}

static void say_sealed(struct unseal *unseal)
{
    char text[STATE_MAX + 1];
    if (unseal->plan.threshold) {
        (void)snprintf(text, sizeof text, "the vault is sealed: %u of %u shares are given (seks "
                       "unseal)", unseal->count, unseal->plan.threshold);
    } else {
        (void)snprintf(text, sizeof text, "the vault is sealed: it needs its passphrase (seks "
                       "unseal)");
    }
    door_set(unseal->vault, DOOR_SEALED, text);
}

static void forget(struct unseal *unseal)
{
    if (unseal->shares) {
        explicit_bzero(secret_data(unseal->shares), secret_size(unseal->shares));
    }
    unseal->count = 0;
}

enum status unseal_open(struct vault *vault)
{
    struct unseal *unseal = calloc(1, sizeof *unseal);
    if (!unseal) {
        return STATUS_INTERNAL;
    }
    unseal->vault = vault;
    vault->unseal = unseal;
    enum status status = seal_plan_read(vault->options.keys, &unseal->plan);
    if (status == STATUS_OK && unseal->plan.threshold) {
        unseal->shares = secret_new(NULL, unseal->plan.threshold * sizeof(struct share));
        status = unseal->shares ? STATUS_OK : STATUS_INTERNAL;
    }
    if (status == STATUS_OK) {
        say_sealed(unseal);
        log_info("unseal", "%s", vault->closed_because);
    }
    return status;
}

void unseal_close(struct vault *vault)
{
    if (vault->unseal) {
        secret_free(&vault->unseal->shares);
    }
    free(vault->unseal);
    vault->unseal = NULL;
}

/* One more share; STATUS_OK with *RET_MASTER still NULL while more are needed. */
static enum status take_share(struct unseal *unseal, struct view text, const char **ret_why,
                              struct secret **ret_master)
{
    struct share *share = &shares_of(unseal)[unseal->count];
    if (share_read(text, share) != STATUS_OK) {
        *ret_why = "that is not a share, or it is mistyped";
        return STATUS_INVALID;
    }
    if (memcmp(share->id, unseal->plan.id, sizeof share->id) != 0 ||
        share->threshold != unseal->plan.threshold) {
        *ret_why = "that share is of another master key";
        return STATUS_INVALID;
    }
    for (unsigned i = 0; i < unseal->count; i++) {
        if (shares_of(unseal)[i].x == share->x) {
            *ret_why = "that share was given already";
            return STATUS_CONFLICT;
        }
    }
    if (++unseal->count < unseal->plan.threshold) {
        return STATUS_OK;
    }
    enum status status = seal_plan_join(&unseal->plan, shares_of(unseal), ret_master);
    *ret_why = "the shares do not fit together: begin again with all of them";
    return status;
}

static enum status take_word(struct unseal *unseal, struct view word, const char **ret_why,
                             struct secret **ret_master)
{
    if (unseal->plan.threshold) {
        return take_share(unseal, word, ret_why, ret_master);
    }
    *ret_why = "that is not the passphrase";
    return seal_plan_unlock(&unseal->plan, word, ret_master);
}

/* The master key is here: from now on a vault as any other.  One that has its database and cannot
 * begin to serve ends, to come back sealed: a second try would open the database twice. */
static enum status use_master(struct vault *vault, const struct secret *master)
{
    const struct masters masters = {secret_view(master), {NULL, 0}};
    enum status status = vault_use_database(vault, &masters);
    if (status != STATUS_OK) {
        return status;
    }
    status = vault_serve(vault);
    if (status != STATUS_OK) {
        log_error("unseal", "the vault cannot begin to serve, and ends");
        loop_stop(vault->loop);
    }
    return status;
}

enum status unseal_take(struct vault *vault, struct view word, const char **ret_why)
{
    CLEANUP(secret_free) struct secret *master = NULL;
    struct unseal *unseal = vault->unseal;
    *ret_why = "";
    if (!unseal) {
        *ret_why = "the vault is not sealed";
        return STATUS_OK;
    }
    enum status status = take_word(unseal, word, ret_why, &master);
    if (status != STATUS_OK && (status == STATUS_DENIED || status == STATUS_INTERNAL)) {
        forget(unseal);
    }
    if (status == STATUS_OK && master) {
        log_info("unseal", "the master key is here");
        status = use_master(vault, master);
        *ret_why = status == STATUS_OK ? "the vault is unsealed"
                                       : "the master key is right, and the database cannot be used; "
                                         "the vault's log says why";
    }
    if (status == STATUS_OK && master) {
        unseal_close(vault);
        return status;
    }
    if (master) {
        forget(unseal);
    }
    say_sealed(unseal);
    return status;
}
