/* kek.h - a master key at work: the key that it derives for wrapping, and what it wraps.
 *
 * For keys.c and rewrap.c.  The master key itself is not kept. */
#ifndef VAULT_KEK_H
#define VAULT_KEK_H

#include "vault.h"

struct kek {
    char id[KEK_ID_MAX + 1]; /* tells master keys of an install apart and says nothing of them */
    struct secret *wrapping;
};

/* For MASTER in the install INSTALL (an id): both are HKDF outputs, salted with the install. */
MUST_USE enum status kek_derive(struct view master, const char *install, struct kek *ret_kek);
void kek_free(struct kek *kek);

/* Sets KEY's `wrapped` and `kek`; its other columns are authenticated. */
MUST_USE enum status kek_wrap(const struct kek *kek, const char *install, struct view plain,
                              struct data_key_row *key);
/* STATUS_DENIED when KEY is not as it was wrapped. */
MUST_USE enum status kek_unwrap(const struct kek *kek, const char *install,
                                const struct data_key_row *key, struct secret **ret_plain);

/* Sets INSTALL's `check` and `kek`; its id is set. */
MUST_USE enum status kek_make_check(const struct kek *kek, struct install *install);
/* STATUS_DENIED when the check is another master key's. */
MUST_USE enum status kek_opens(const struct kek *kek, const struct install *install);

/* ---- rewrap.c ---- */

/* Wraps every data key, and the install's check, under TO instead of FROM, in one transaction; each
 * one is opened again and compared before it commits.  On any failure nothing has changed.
 * RET_COUNT: the keys that were not under TO yet. */
MUST_USE enum status rewrap_all(struct store *store, const struct kek *from, const struct kek *to,
                                uint64_t *ret_count);

#endif
