/* seal_plan.h - how a master key comes back that is not in a file: from shares, or by a passphrase.
 *
 * KEYS/master.unseal says which, and holds nothing that is of use by itself.  A vault that finds it, and
 * no master.key, starts sealed (unseal.c).  seal_plan.c reads and writes it, and shares as text. */
#ifndef VAULT_SEAL_PLAN_H
#define VAULT_SEAL_PLAN_H

#include "common/shamir.h"
#include "vault.h"

enum {
    MASTER_ID_BYTES = 8,
    SHARE_TEXT_MAX = 128,
    PASSPHRASE_MIN = 12, /* bytes: a good deal more than a password, for it can be tried offline */
};

struct seal_plan {
    unsigned threshold, count; /* of shares; both 0: a passphrase */
    uint8_t id[MASTER_ID_BYTES]; /* of the master key: tells whether what came back is it */
    uint8_t salt[CRYPTO_SALT_BYTES], sealed[WRAPPED_KEY_BYTES]; /* passphrase */
};

struct share {
    unsigned threshold, x;
    uint8_t id[MASTER_ID_BYTES];
    uint8_t bytes[MASTER_KEY_BYTES]; /* secret */
};

MUST_USE enum status seal_plan_id(struct view master, uint8_t *ret_id);
/* STATUS_NOT_FOUND without a line when DIR has none; STATUS_INVALID. */
MUST_USE enum status seal_plan_read(const char *dir, struct seal_plan *ret);
/* Replaces the one that DIR has, at once. */
MUST_USE enum status seal_plan_write(const char *dir, const struct seal_plan *plan);

/* Seals MASTER under PASSPHRASE into RET, or opens it again: STATUS_DENIED for another passphrase. */
MUST_USE enum status seal_plan_lock(struct view master, struct view passphrase,
                                    struct seal_plan *ret);
MUST_USE enum status seal_plan_unlock(const struct seal_plan *plan, struct view passphrase,
                                      struct secret **ret_master);
/* Joins PLAN's threshold of SHARES; STATUS_DENIED when what comes of them is not the master key. */
MUST_USE enum status seal_plan_join(const struct seal_plan *plan, const struct share *shares,
                                    struct secret **ret_master);

/* "seks-share-1-T-X-ID-DIGITS-CHECK", with its NUL; wipe it. */
void share_text(const struct share *share, char *ret_text);
/* STATUS_INVALID for a mistyped one. */
MUST_USE enum status share_read(struct view text, struct share *ret);

#endif
