/* keys.c - the master key, and the data keys that it wraps.
 *
 * The master key derives one wrapping key (HKDF, salted with the install's id) and is not kept.
 * Data keys lie in the database wrapped by AES-256-GCM, bound to install, tenant, purpose, id and
 * version.  Unwrapped tenant keys are cached in locked memory.  Nothing here knows a secret.
 */
#include "vault.h"

#include <stdlib.h>
#include <string.h>

enum {
    SEALS_MAX = 1 << 20, /* of one key with random nonces: collision odds stay under 2^-57 */
    CACHE_SLOTS = 256,   /* tenants' keys unwrapped; a page of locked memory each */
};

struct cached {
    row_id id, tenant;
    struct secret *key;
};

struct keys {
    struct store *store;
    row_id install;
    struct secret *wrapping;
    struct secret *install_keys[INSTALL_KEYS];
    struct cached cache[CACHE_SLOTS];
};

struct data_key {
    row_id id;
    const char *tenant, *purpose;
    uint64_t version, seals;
    struct secret *key;
};

static const char *const install_purposes[INSTALL_KEYS] = {"row-mac", "token", "pepper", "csrf"};
static const char check_text[] = "seks vault";

static void data_key_free(struct data_key *key)
{
    secret_free(&key->key);
}

static enum status derive_wrapping(struct view master, const char *install,
                                   struct secret **ret_key)
{
    CLEANUP(secret_free) struct secret *key = secret_new(NULL, CRYPTO_KEY_BYTES);
    if (!key) {
        return STATUS_INTERNAL;
    }
    enum status status = crypto_hkdf(master, view_text(install), VIEW("seks vault wrapping key 1"),
                                     secret_data(key), CRYPTO_KEY_BYTES);
    if (status == STATUS_OK) {
        *ret_key = TAKE(key);
    }
    return status;
}

/* ---- whose database it is ---- */

static void check_aad(const char *install, struct buffer *aad)
{
    crypto_aad_field(aad, VIEW("seks master key check 1"));
    crypto_aad_field(aad, view_text(install));
}

static enum status check_opens(struct view wrapping, const char *install, struct view check)
{
    CLEANUP(buffer_free) struct buffer aad = BUFFER_EMPTY;
    CLEANUP(secret_free) struct secret *plain = NULL;
    check_aad(install, &aad);
    enum status status = crypto_open(wrapping, buffer_view(&aad), check, &plain);
    if (status == STATUS_DENIED) {
        log_error("keys", "the master key is not the one that this database was made with");
    }
    return status;
}

enum status keys_peek(const char *path, struct view master)
{
    CLEANUP(buffer_free) struct buffer check = BUFFER_EMPTY;
    CLEANUP(secret_free) struct secret *wrapping = NULL;
    row_id install;
    enum status status = store_peek(path, install, &check);
    if (status == STATUS_NOT_FOUND) {
        return STATUS_OK; /* a new database; keys_open() checks again */
    }
    if (status == STATUS_OK) {
        status = derive_wrapping(master, install, &wrapping);
    }
    if (status == STATUS_OK) {
        status = check_opens(secret_view(wrapping), install, buffer_view(&check));
    }
    return status;
}

/* ---- wrapping ---- */

static void wrap_aad(const struct keys *keys, const struct data_key *key, struct buffer *aad)
{
    uint8_t version[8];
    for (size_t i = 0; i < sizeof version; i++) {
        version[i] = (uint8_t)(key->version >> (56 - 8 * i));
    }
    crypto_aad_field(aad, VIEW("seks data key 1"));
    crypto_aad_field(aad, view_text(keys->install));
    crypto_aad_field(aad, view_text(key->tenant));
    crypto_aad_field(aad, view_text(key->purpose));
    crypto_aad_field(aad, view_text(key->id));
    crypto_aad_field(aad, view_of(version, sizeof version));
}

/* Makes a key of VERSION and stores it wrapped; KEY's tenant and purpose are set. */
static enum status make_key(struct keys *keys, uint64_t version, struct data_key *key)
{
    static const char sql[] = "INSERT INTO data_keys (id, tenant, purpose, version, wrapped,"
                              " seals, created_ms) VALUES (?, ?, ?, ?, ?, 0, ?)";
    CLEANUP(query_end) struct query query = query_new(keys->store, sql);
    CLEANUP(buffer_free) struct buffer aad = BUFFER_EMPTY;
    CLEANUP(buffer_free) struct buffer wrapped = BUFFER_EMPTY;
    id_new("dky", key->id);
    key->version = version;
    key->seals = 0;
    secret_free(&key->key);
    key->key = secret_new(NULL, CRYPTO_KEY_BYTES);
    if (!key->key) {
        return STATUS_INTERNAL;
    }
    crypto_random(secret_data(key->key), CRYPTO_KEY_BYTES);
    wrap_aad(keys, key, &aad);
    enum status status = crypto_seal(secret_view(keys->wrapping), buffer_view(&aad),
                                     secret_view(key->key), &wrapped);
    if (status != STATUS_OK) {
        return status;
    }
    query_text(&query, key->id);
    query_text(&query, key->tenant);
    query_text(&query, key->purpose);
    query_number(&query, key->version);
    query_bytes(&query, buffer_view(&wrapped));
    query_number(&query, clock_wall_ms());
    return query_run(&query);
}

/* Takes id, version, seals and the wrapped key from QUERY's next row. */
static enum status read_key(struct keys *keys, struct query *query, struct data_key *key)
{
    CLEANUP(buffer_free) struct buffer aad = BUFFER_EMPTY;
    if (!query_row(query)) {
        return query->status == STATUS_OK ? STATUS_NOT_FOUND : query->status;
    }
    query_get_text(query, key->id, sizeof key->id);
    key->version = query_get_number(query);
    key->seals = query_get_number(query);
    wrap_aad(keys, key, &aad);
    enum status status = crypto_open(secret_view(keys->wrapping), buffer_view(&aad),
                                     query_get_view(query), &key->key);
    if (status == STATUS_OK && secret_size(key->key) != CRYPTO_KEY_BYTES) {
        return STATUS_DENIED;
    }
    return status;
}

static enum status newest_key(struct keys *keys, struct data_key *key)
{
    static const char sql[] = "SELECT id, version, seals, wrapped FROM data_keys"
                              " WHERE tenant = ? AND purpose = ? ORDER BY version DESC LIMIT 1";
    CLEANUP(query_end) struct query query = query_new(keys->store, sql);
    query_text(&query, key->tenant);
    query_text(&query, key->purpose);
    return read_key(keys, &query, key);
}

/* ---- opening ---- */

static enum status insert_install(struct keys *keys, struct view master)
{
    static const char sql[] = "INSERT INTO install (one, id, master_check, created_ms)"
                              " VALUES (1, ?, ?, ?)";
    CLEANUP(query_end) struct query query = query_new(keys->store, sql);
    CLEANUP(buffer_free) struct buffer aad = BUFFER_EMPTY;
    CLEANUP(buffer_free) struct buffer check = BUFFER_EMPTY;
    id_new("ins", keys->install);
    enum status status = derive_wrapping(master, keys->install, &keys->wrapping);
    check_aad(keys->install, &aad);
    if (status == STATUS_OK) {
        status = crypto_seal(secret_view(keys->wrapping), buffer_view(&aad),
                             view_text(check_text), &check);
    }
    if (status != STATUS_OK) {
        return status;
    }
    query_text(&query, keys->install);
    query_bytes(&query, buffer_view(&check));
    query_number(&query, clock_wall_ms());
    return query_run(&query);
}

static enum status load_install(struct keys *keys, struct view master)
{
    static const char sql[] = "SELECT id, master_check FROM install";
    CLEANUP(query_end) struct query query = query_new(keys->store, sql);
    if (!query_row(&query)) {
        return query.status == STATUS_OK ? STATUS_NOT_FOUND : query.status;
    }
    query_get_text(&query, keys->install, sizeof keys->install);
    enum status status = derive_wrapping(master, keys->install, &keys->wrapping);
    if (status != STATUS_OK) {
        return status;
    }
    return check_opens(secret_view(keys->wrapping), keys->install, query_get_view(&query));
}

static enum status load_install_keys(struct keys *keys, bool make)
{
    for (size_t i = 0; i < INSTALL_KEYS; i++) {
        CLEANUP(data_key_free) struct data_key key = {.tenant = "",
                                                      .purpose = install_purposes[i]};
        enum status status = make ? make_key(keys, 1, &key) : newest_key(keys, &key);
        if (status != STATUS_OK) {
            log_error("keys", "the key for %s does not open: %s", install_purposes[i],
                      status_name(status));
            return status;
        }
        keys->install_keys[i] = TAKE(key.key);
    }
    return STATUS_OK;
}

static enum status first_start(struct keys *keys, struct view master)
{
    enum status status = store_begin(keys->store);
    if (status == STATUS_OK) {
        status = insert_install(keys, master);
        if (status == STATUS_OK) {
            status = load_install_keys(keys, true);
        }
        status = store_end(keys->store, status);
    }
    if (status == STATUS_OK) {
        store_checkpoint(keys->store); /* store_peek() reads the file alone */
    }
    return status;
}

enum status keys_open(struct store *store, struct view master, struct keys **ret_keys)
{
    CLEANUP(keys_free) struct keys *keys = calloc(1, sizeof *keys);
    if (!keys) {
        return STATUS_INTERNAL;
    }
    keys->store = store;
    enum status status = load_install(keys, master);
    if (status == STATUS_NOT_FOUND) {
        status = first_start(keys, master);
    } else if (status == STATUS_OK) {
        status = load_install_keys(keys, false);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct view mac_key = keys_install(keys, INSTALL_ROW_MAC);
    store->mac_key = secret_new(mac_key.data, mac_key.size);
    *ret_keys = TAKE(keys);
    return store->mac_key ? STATUS_OK : STATUS_INTERNAL;
}

void keys_free(struct keys **keys)
{
    if (!*keys) {
        return;
    }
    keys_forget(*keys);
    for (size_t i = 0; i < INSTALL_KEYS; i++) {
        secret_free(&(*keys)->install_keys[i]);
    }
    secret_free(&(*keys)->wrapping);
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

static struct view cache_key(struct keys *keys, struct data_key *key)
{
    struct cached *slot = slot_of(keys, key->id);
    secret_free(&slot->key);
    (void)view_copy(view_text(key->id), slot->id, sizeof slot->id);             /* both are ids */
    (void)view_copy(view_text(key->tenant), slot->tenant, sizeof slot->tenant);
    slot->key = TAKE(key->key);
    return secret_view(slot->key);
}

static enum status count_seal(struct keys *keys, const struct data_key *key)
{
    static const char sql[] = "UPDATE data_keys SET seals = seals + 1 WHERE id = ?";
    CLEANUP(query_end) struct query query = query_new(keys->store, sql);
    query_text(&query, key->id);
    return query_run_one(&query);
}

enum status keys_for_seal(struct keys *keys, const char *tenant, char *ret_id,
                          struct view *ret_key)
{
    CLEANUP(data_key_free) struct data_key key = {.tenant = tenant, .purpose = "secret"};
    enum status status = newest_key(keys, &key);
    if (status == STATUS_NOT_FOUND) {
        status = make_key(keys, 1, &key);
    } else if (status == STATUS_OK && key.seals >= SEALS_MAX - 1) {
        status = make_key(keys, key.version + 1, &key);
    }
    if (status == STATUS_OK) {
        status = count_seal(keys, &key);
    }
    if (status != STATUS_OK) {
        return status;
    }
    (void)view_copy(view_text(key.id), ret_id, sizeof(row_id)); /* an id fits an id */
    *ret_key = cache_key(keys, &key);
    return STATUS_OK;
}

enum status keys_for_open(struct keys *keys, const char *tenant, const char *id,
                          struct view *ret_key)
{
    static const char sql[] = "SELECT id, version, seals, wrapped FROM data_keys"
                              " WHERE tenant = ? AND purpose = ? AND id = ?";
    struct cached *slot = slot_of(keys, id);
    if (slot->key && strcmp(slot->id, id) == 0 && strcmp(slot->tenant, tenant) == 0) {
        *ret_key = secret_view(slot->key);
        return STATUS_OK;
    }
    CLEANUP(query_end) struct query query = query_new(keys->store, sql);
    CLEANUP(data_key_free) struct data_key key = {.tenant = tenant, .purpose = "secret"};
    query_text(&query, tenant);
    query_text(&query, key.purpose);
    query_text(&query, id);
    enum status status = read_key(keys, &query, &key);
    if (status == STATUS_OK) {
        *ret_key = cache_key(keys, &key);
    }
    return status;
}

enum status keys_erase(struct keys *keys, const char *tenant)
{
    static const char sql[] = "DELETE FROM data_keys WHERE tenant = ? AND tenant <> ''";
    CLEANUP(query_end) struct query query = query_new(keys->store, sql);
    keys_forget(keys);
    query_text(&query, tenant);
    return query_run(&query);
}
