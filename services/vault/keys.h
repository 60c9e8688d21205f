/* keys.h - the keys of the database under the master key, and secrets sealed under those. */
#ifndef VAULT_KEYS_H
#define VAULT_KEYS_H

#include "common/secret.h"
#include "store.h"

struct keys;

/* ---- keys.c ---- */

enum install_key { INSTALL_ROW_MAC, INSTALL_TOKEN, INSTALL_PEPPER, INSTALL_CSRF, INSTALL_KEYS };

enum { MASTER_KEY_BYTES = 32 };
enum { KEY_SEALS_MAX = 1 << 20 }; /* with random nonces: collision odds stay under 2^-57 */
#define KEY_LIFE_MS (365ull * 24 * 60 * 60 * 1000) /* of a tenant's data key, before a new version */

/* PREVIOUS is empty but while the master key is being changed. */
struct masters {
    struct view current, previous;
};

/* Whether every data key is under one of MASTERS; reads only.  STATUS_DENIED with a log line that
 * says how many are not. */
MUST_USE enum status keys_check(struct store *store, const struct masters *masters);
/* After keys_check() and store_begin_use(): makes the keys of a new database, wraps what is under
 * the previous master key under the current one. */
MUST_USE enum status keys_open(struct store *store, const struct masters *masters,
                               struct keys **ret_keys);
/* Puts all under another MASTER key, or nothing; RET_COUNT: data keys wrapped anew. */
MUST_USE enum status keys_rotate(struct keys *keys, struct view master, uint64_t *ret_count);
/* Another vault has put all under another master key: takes that on, if it is one of MASTERS.
 * STATUS_DENIED when it is not. */
MUST_USE enum status keys_follow(struct keys *keys, const struct masters *masters);
const char *keys_kek(const struct keys *keys); /* the id of the master key in use */
/* Whether MASTER is the one in use. */
bool keys_under(const struct keys *keys, struct view master);
void keys_free(struct keys **keys);
struct view keys_install(const struct keys *keys, enum install_key which);
const char *keys_install_id(const struct keys *keys);
/* The tenant's newest data key, made or renewed when need be; counts one seal.  RET_ID takes a
 * row_id.  Inside the caller's transaction. */
MUST_USE enum status keys_for_seal(struct keys *keys, const char *tenant, char *ret_id,
                                   struct view *ret_key);
MUST_USE enum status keys_for_open(struct keys *keys, const char *tenant, const char *id,
                                   struct view *ret_key);
/* A new version of the tenant's data key, for what is sealed from now on; STATUS_NOT_FOUND when it
 * has none.  Inside the caller's transaction. */
MUST_USE enum status keys_renew(struct keys *keys, const char *tenant);
/* The same for every tenant that has one; in a transaction of the caller. */
MUST_USE enum status keys_renew_all(struct keys *keys, uint64_t *ret_count);
MUST_USE enum status keys_erase(struct keys *keys, const char *tenant);
/* Forgets unwrapped keys, after a rollback for instance. */
void keys_forget(struct keys *keys);

/* ---- seal.c ---- */

/* Seals VALUE for ROW, whose id, account, name and version are set; sets data_key. */
MUST_USE enum status seal_secret(struct keys *keys, struct secret_row *row, struct view value,
                                 struct buffer *ret_blob);
MUST_USE enum status open_secret(struct keys *keys, const struct secret_row *row,
                                 struct view blob, struct secret **ret_value);

#endif
