/* keys.c - the data keys: found, made, renewed and unwrapped under the master key.
 *
 * Data keys lie in the database, wrapped.  Those of tenants are cached unwrapped in locked memory.
 * A key that is there and does not open is an error, never a reason to make another.
 */
#include "kek.h"

#include <stdlib.h>
#include <string.h>

enum { CACHE_SLOTS = 256 }; /* tenants' keys unwrapped; a page of locked memory each */

struct cached {
    row_id id, tenant;
    struct secret *key;
};

struct keys {
    struct store *store;
    row_id install;
    struct kek kek;
    struct secret *install_keys[INSTALL_KEYS];
    struct cached cache[CACHE_SLOTS];
};

static const char *const install_purposes[INSTALL_KEYS] = {"row-mac", "token", "pepper", "csrf"};
static const char secret_purpose[] = "secret";

/* ---- whose database it is ---- */

struct keks {
    struct kek current, previous; /* previous: `wrapping` NULL when there is none */
};

static void keks_free(struct keks *keks)
{
    kek_free(&keks->current);
    kek_free(&keks->previous);
}

static enum status keks_derive(const struct masters *masters, const char *install,
                               struct keks *keks)
{
    enum status status = kek_derive(masters->current, install, &keks->current);
    if (status == STATUS_OK && masters->previous.size) {
        status = kek_derive(masters->previous, install, &keks->previous);
    }
    return status;
}

/* Which of the two the install's check is sealed under, or NULL. */
static const struct kek *check_owner(const struct keks *keks, const struct install *install)
{
    if (kek_opens(&keks->current, install) == STATUS_OK) {
        return &keks->current;
    }
    if (keks->previous.wrapping && kek_opens(&keks->previous, install) == STATUS_OK) {
        return &keks->previous;
    }
    return NULL;
}

static enum status census(struct store *store, const struct keks *keks, bool check_opens)
{
    uint64_t all = 0, strange = 0;
    enum status status = STATUS_OK;
    if (store->version >= FORM_WITH_KEKS) {
        status = data_key_census(store, keks->current.id, keks->previous.id, &all, &strange);
    }
    if (status == STATUS_OK && check_opens && strange == 0) {
        return STATUS_OK;
    }
    if (status != STATUS_OK) {
        return status;
    }
    log_error("keys", "the master key is not the one that this database was made with: %llu of %llu "
                      "data keys are under one that is neither in master.key nor in "
                      "master.key.previous", (unsigned long long)strange, (unsigned long long)all);
    return STATUS_DENIED;
}

enum status keys_check(struct store *store, const struct masters *masters)
{
    CLEANUP(keks_free) struct keks keks = {0};
    struct install install;
    enum status status = install_read(store, &install);
    if (status == STATUS_OK) {
        status = keks_derive(masters, install.id, &keks);
    }
    if (status == STATUS_NOT_FOUND) {
        return STATUS_OK; /* a first start that was cut short: there is no key yet */
    }
    return status == STATUS_OK ? census(store, &keks, check_owner(&keks, &install) != NULL)
                               : status;
}

/* ---- making and reading ---- */

/* Makes the key of VERSION and stores it wrapped. */
static enum status make_key(struct keys *keys, const char *tenant, const char *purpose,
                            uint64_t version, struct data_key_row *ret_row,
                            struct secret **ret_key)
{
    CLEANUP(secret_free) struct secret *key = secret_new(NULL, CRYPTO_KEY_BYTES);
    struct data_key_row row = {.version = version, .created_ms = clock_wall_ms()};
    if (!key || !view_copy(view_text(tenant), row.tenant, sizeof row.tenant) ||
        !view_copy(view_text(purpose), row.purpose, sizeof row.purpose)) {
        return STATUS_INTERNAL;
    }
    id_new("dky", row.id);
    crypto_random(secret_data(key), CRYPTO_KEY_BYTES);
    enum status status = kek_wrap(&keys->kek, keys->install, secret_view(key), &row);
    if (status == STATUS_OK) {
        status = data_key_insert(keys->store, &row);
    }
    if (status == STATUS_OK) {
        *ret_row = row;
        *ret_key = TAKE(key);
    }
    return status;
}

static enum status unwrap(struct keys *keys, const struct data_key_row *row,
                          struct secret **ret_key)
{
    CLEANUP(secret_free) struct secret *key = NULL;
    enum status status = kek_unwrap(&keys->kek, keys->install, row, &key);
    if (status == STATUS_OK && secret_size(key) != CRYPTO_KEY_BYTES) {
        status = STATUS_DENIED;
    }
    if (status != STATUS_OK) {
        log_error("keys", "data key %s does not open: %s", row->id, status_name(status));
        return status;
    }
    *ret_key = TAKE(key);
    return STATUS_OK;
}

static enum status load_install_key(struct keys *keys, size_t which)
{
    struct data_key_row row;
    enum status status = data_key_newest(keys->store, "", install_purposes[which], &row);
    if (status == STATUS_NOT_FOUND) {
        log_error("keys", "the key for %s is not in the database", install_purposes[which]);
        return STATUS_INVALID;
    }
    return status == STATUS_OK ? unwrap(keys, &row, &keys->install_keys[which]) : status;
}

/* ---- opening ---- */

static enum status make_install(struct keys *keys, struct view master)
{
    struct install install = {0};
    struct data_key_row row;
    id_new("ins", install.id);
    memcpy(keys->install, install.id, sizeof keys->install);
    enum status status = kek_derive(master, install.id, &keys->kek);
    if (status == STATUS_OK) {
        status = kek_make_check(&keys->kek, &install);
    }
    if (status == STATUS_OK) {
        status = install_insert(keys->store, &install);
    }
    for (size_t i = 0; i < INSTALL_KEYS && status == STATUS_OK; i++) {
        status = make_key(keys, "", install_purposes[i], 1, &row, &keys->install_keys[i]);
    }
    return status;
}

static void forget_install(struct keys *keys)
{
    for (size_t i = 0; i < INSTALL_KEYS; i++) {
        secret_free(&keys->install_keys[i]);
    }
    kek_free(&keys->kek);
}

struct first_start {
    struct keys *keys;
    struct view master;
};

/* STATUS_CONFLICT: another vault has made it meanwhile. */
static enum status make_first(void *arg)
{
    const struct first_start *first = arg;
    struct install install;
    forget_install(first->keys); /* of a try before */
    enum status status = install_read(first->keys->store, &install);
    if (status != STATUS_NOT_FOUND) {
        return status == STATUS_OK ? STATUS_CONFLICT : status;
    }
    return make_install(first->keys, first->master);
}

static enum status first_start(struct keys *keys, struct view master)
{
    struct first_start first = {keys, master};
    enum status status = store_transact(keys->store, make_first, &first);
    if (status == STATUS_OK) {
        store_checkpoint(keys->store);
    }
    return status;
}

struct adoption {
    struct store *store;
    const struct install *install;
};

static enum status name_keys(void *arg)
{
    const struct adoption *it = arg;
    enum status status = data_key_adopt(it->store, it->install->kek);
    return status == STATUS_OK ? install_set_check(it->store, it->install) : status;
}

/* A database of an older form until now does not say yet whose its keys are. */
static enum status adopt(struct store *store, const struct keks *keks, struct install *install)
{
    const struct kek *owner = check_owner(keks, install);
    if (!owner) {
        return STATUS_DENIED;
    }
    memcpy(install->kek, owner->id, sizeof install->kek);
    struct adoption it = {store, install};
    return store_transact(store, name_keys, &it);
}

/* Whatever is under the previous master key goes under the current one. */
static enum status leave_previous(struct store *store, const struct keks *keks)
{
    uint64_t count = 0;
    if (!keks->previous.wrapping) {
        return STATUS_OK;
    }
    enum status status = rewrap_all(store, &keks->previous, &keks->current, &count);
    if (status == STATUS_OK && count > 0) {
        log_info("keys", "%llu data keys are now under the new master key %s; "
                         "master.key.previous is not needed any more, but for older backups",
                 (unsigned long long)count, keks->current.id);
    }
    return status;
}

static enum status load(struct keys *keys, const struct masters *masters,
                        struct install *install)
{
    CLEANUP(keks_free) struct keks keks = {0};
    memcpy(keys->install, install->id, sizeof keys->install);
    enum status status = keks_derive(masters, install->id, &keks);
    if (status == STATUS_OK && !install->kek[0]) {
        status = adopt(keys->store, &keks, install);
    }
    if (status == STATUS_OK) {
        status = leave_previous(keys->store, &keks);
    }
    if (status == STATUS_OK) {
        keys->kek = keks.current;
        keks.current.wrapping = NULL;
    }
    for (size_t i = 0; i < INSTALL_KEYS && status == STATUS_OK; i++) {
        status = load_install_key(keys, i);
    }
    return status;
}

enum status keys_open(struct store *store, const struct masters *masters, struct keys **ret_keys)
{
    CLEANUP(keys_free) struct keys *keys = calloc(1, sizeof *keys);
    struct install install;
    if (!keys) {
        return STATUS_INTERNAL;
    }
    keys->store = store;
    enum status status = install_read(store, &install);
    bool first = status == STATUS_NOT_FOUND;
    if (first) {
        status = first_start(keys, masters->current);
    }
    if (first && status == STATUS_CONFLICT) {
        first = false;
        status = install_read(store, &install);
    }
    if (!first && status == STATUS_OK) {
        forget_install(keys);
        status = load(keys, masters, &install);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct view mac_key = keys_install(keys, INSTALL_ROW_MAC);
    secret_free(&store->mac_key);
    store->mac_key = secret_new(mac_key.data, mac_key.size);
    *ret_keys = TAKE(keys);
    return store->mac_key ? STATUS_OK : STATUS_INTERNAL;
}

enum status keys_rotate(struct keys *keys, struct view master, uint64_t *ret_count)
{
    CLEANUP(kek_free) struct kek next = {0};
    enum status status = kek_derive(master, keys->install, &next);
    if (status == STATUS_OK) {
        status = rewrap_all(keys->store, &keys->kek, &next, ret_count);
    }
    if (status == STATUS_OK) {
        kek_free(&keys->kek);
        keys->kek = next;
        next.wrapping = NULL;
    }
    return status;
}

enum status keys_follow(struct keys *keys, const struct masters *masters)
{
    CLEANUP(keks_free) struct keks keks = {0};
    struct install install;
    enum status status = install_read(keys->store, &install);
    if (status == STATUS_OK) {
        status = keks_derive(masters, keys->install, &keks);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct kek *both[] = {&keks.current, &keks.previous};
    for (size_t i = 0; i < sizeof both / sizeof both[0]; i++) {
        if (both[i]->wrapping && strcmp(both[i]->id, install.kek) == 0 &&
            kek_opens(both[i], &install) == STATUS_OK) {
            kek_free(&keys->kek);
            keys->kek = *both[i];
            both[i]->wrapping = NULL;
            return STATUS_OK;
        }
    }
    return STATUS_DENIED;
}

const char *keys_kek(const struct keys *keys)
{
    return keys->kek.id;
}

bool keys_under(const struct keys *keys, struct view master)
{
    CLEANUP(kek_free) struct kek kek = {0};
    return kek_derive(master, keys->install, &kek) == STATUS_OK &&
           strcmp(kek.id, keys->kek.id) == 0;
}

void keys_free(struct keys **keys)
{
    if (!*keys) {
        return;
    }
    keys_forget(*keys);
    forget_install(*keys);
    free(*keys);
    *keys = NULL;
}

struct view keys_install(const struct keys *keys, enum install_key which)
{
    return secret_view(keys->install_keys[which]);
}

const char *keys_install_id(const struct keys *keys)
{
    return keys->install;
}

/* ---- the tenants' keys ---- */

void keys_forget(struct keys *keys)
{
    for (size_t i = 0; i < CACHE_SLOTS; i++) {
        secret_free(&keys->cache[i].key);
    }
}

/* An id has one slot; whoever is in it makes room. */
static struct cached *slot_of(struct keys *keys, const char *id)
{
    return &keys->cache[token_crc32(view_text(id)) % CACHE_SLOTS];
}

static struct view cache_key(struct keys *keys, const struct data_key_row *row,
                             struct secret *key)
{
    struct cached *slot = slot_of(keys, row->id);
    secret_free(&slot->key);
    memcpy(slot->id, row->id, sizeof slot->id);
    memcpy(slot->tenant, row->tenant, sizeof slot->tenant);
    slot->key = key;
    return secret_view(slot->key);
}

enum status keys_renew(struct keys *keys, const char *tenant)
{
    CLEANUP(secret_free) struct secret *key = NULL;
    struct data_key_row row;
    enum status status = data_key_newest(keys->store, tenant, secret_purpose, &row);
    if (status != STATUS_OK) {
        return status;
    }
    return make_key(keys, tenant, secret_purpose, row.version + 1, &row, &key);
}

enum status keys_renew_all(struct keys *keys, uint64_t *ret_count)
{
    row_id tenant = "";
    uint64_t count = 0;
    enum status status = data_key_tenant_after(keys->store, "", tenant);
    for (; status == STATUS_OK; count++) {
        status = keys_renew(keys, tenant);
        if (status == STATUS_OK) {
            status = data_key_tenant_after(keys->store, tenant, tenant);
        }
    }
    *ret_count = count;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static bool worn(const struct data_key_row *row)
{
    return row->seals >= KEY_SEALS_MAX - 1 || row->created_ms + KEY_LIFE_MS <= clock_wall_ms();
}

enum status keys_for_seal(struct keys *keys, const char *tenant, char *ret_id,
                          struct view *ret_key)
{
    CLEANUP(secret_free) struct secret *key = NULL;
    struct data_key_row row;
    enum status status = data_key_newest(keys->store, tenant, secret_purpose, &row);
    if (status == STATUS_NOT_FOUND) {
        status = make_key(keys, tenant, secret_purpose, 1, &row, &key);
    } else if (status == STATUS_OK && worn(&row)) {
        status = make_key(keys, tenant, secret_purpose, row.version + 1, &row, &key);
    } else if (status == STATUS_OK) {
        status = unwrap(keys, &row, &key);
    }
    if (status == STATUS_OK) {
        status = data_key_count_seal(keys->store, row.id);
    }
    if (status != STATUS_OK) {
        return status;
    }
    memcpy(ret_id, row.id, sizeof row.id);
    *ret_key = cache_key(keys, &row, TAKE(key));
    return STATUS_OK;
}

enum status keys_for_open(struct keys *keys, const char *tenant, const char *id,
                          struct view *ret_key)
{
    CLEANUP(secret_free) struct secret *key = NULL;
    struct data_key_row row;
    struct cached *slot = slot_of(keys, id);
    if (slot->key && strcmp(slot->id, id) == 0 && strcmp(slot->tenant, tenant) == 0) {
        *ret_key = secret_view(slot->key);
        return STATUS_OK;
    }
    enum status status = data_key_by_id(keys->store, tenant, secret_purpose, id, &row);
    if (status == STATUS_OK) {
        status = unwrap(keys, &row, &key);
    }
    if (status == STATUS_OK) {
        *ret_key = cache_key(keys, &row, TAKE(key));
    }
    return status;
}

enum status keys_erase(struct keys *keys, const char *tenant)
{
    keys_forget(keys);
    return data_key_erase(keys->store, tenant);
}
