/* rows_keys.c - the installation's own row and the wrapped data keys: rows in and out.  Sees no key
 * that is not wrapped; needs no MAC, because what matters is associated data of what is wrapped. */
#include "store.h"

#include <string.h>

#include "common/clock.h"

#define DATA_KEY_SELECT                                                                       \
    "SELECT id, tenant, purpose, version, seals, created_ms, kek, wrapped FROM data_keys "

/* ---- the installation ---- */

enum status install_insert(struct store *store, const struct install *install)
{
    static const char sql[] = "INSERT INTO install (one, id, kek, master_check, created_ms)"
                              " VALUES (1, ?, ?, ?, ?)";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, install->id);
    query_text(&query, install->kek);
    query_bytes(&query, view_of(install->check, install->check_size));
    query_number(&query, clock_wall_ms());
    return query_run(&query);
}

enum status install_read(struct store *store, struct install *ret)
{
    static const char sql[] = "SELECT id, master_check, kek FROM install";
    static const char older_sql[] = "SELECT id, master_check, '' FROM install";
    CLEANUP(query_end) struct query query =
        query_new(store, store->version < FORM_WITH_KEKS ? older_sql : sql);
    enum status status = query_only_row(&query);
    if (status != STATUS_OK) {
        return status;
    }
    query_get_text(&query, ret->id, sizeof ret->id);
    struct view check = query_get_view(&query);
    if (check.size > sizeof ret->check) {
        return STATUS_INVALID;
    }
    memcpy(ret->check, check.data, check.size);
    ret->check_size = check.size;
    query_get_text(&query, ret->kek, sizeof ret->kek);
    return STATUS_OK;
}

enum status install_set_check(struct store *store, const struct install *install)
{
    static const char sql[] = "UPDATE install SET kek = ?, master_check = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, install->kek);
    query_bytes(&query, view_of(install->check, install->check_size));
    return query_run_one(&query);
}

enum status install_set_moved(struct store *store, const char *place)
{
    static const char sql[] = "UPDATE install SET moved = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, place);
    return query_run_one(&query);
}

enum status install_moved(struct store *store, char *ret)
{
    static const char sql[] = "SELECT moved FROM install";
    ret[0] = 0;
    if (store->version < FORM_WITH_MOVED) {
        return STATUS_OK;
    }
    CLEANUP(query_end) struct query query = query_new(store, sql);
    enum status status = query_only_row(&query);
    if (status == STATUS_OK) {
        query_get_text(&query, ret, MOVED_MAX);
    }
    return status;
}

/* ---- the epoch ---- */

static enum status epoch_mac(struct store *store, const struct epoch_row *row, uint8_t *ret)
{
    struct row_mac mac = row_mac_new("epoch");
    row_mac_number(&mac, row->epoch);
    row_mac_number(&mac, row->restored_ms);
    return row_mac_make(store, &mac, ret);
}

enum status epoch_read(struct store *store, struct epoch_row *ret)
{
    static const char sql[] = "SELECT epoch, restored_ms, epoch_mac FROM install";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    uint8_t mac[CRYPTO_HASH_BYTES];
    enum status status = query_only_row(&query);
    if (status != STATUS_OK) {
        return status;
    }
    ret->epoch = query_get_number(&query);
    ret->restored_ms = query_get_number(&query);
    if (ret->epoch == 0 && ret->restored_ms == 0) {
        return STATUS_OK; /* none yet: nothing was ever signed, and no claim is older */
    }
    return query_mac_matches(&query, epoch_mac(store, ret, mac), mac);
}

enum status epoch_write(struct store *store, const struct epoch_row *row)
{
    static const char sql[] = "UPDATE install SET epoch = ?, restored_ms = ?, epoch_mac = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    uint8_t mac[CRYPTO_HASH_BYTES];
    enum status status = epoch_mac(store, row, mac);
    if (status != STATUS_OK) {
        return status;
    }
    query_number(&query, row->epoch);
    query_number(&query, row->restored_ms);
    query_bytes(&query, hash_view(mac));
    return query_run_one(&query);
}

/* ---- data keys ---- */

static struct view wrapped_view(const struct data_key_row *key)
{
    return view_of(key->wrapped, sizeof key->wrapped);
}

enum status data_key_insert(struct store *store, const struct data_key_row *key)
{
    static const char sql[] = "INSERT INTO data_keys (id, tenant, purpose, version, seals,"
                              " created_ms, kek, wrapped) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, key->id);
    query_text(&query, key->tenant);
    query_text(&query, key->purpose);
    query_number(&query, key->version);
    query_number(&query, key->seals);
    query_number(&query, key->created_ms);
    query_text(&query, key->kek);
    query_bytes(&query, wrapped_view(key));
    return query_run(&query);
}

static enum status data_key_read(struct query *query, struct data_key_row *ret)
{
    enum status status = query_only_row(query);
    if (status != STATUS_OK) {
        return status;
    }
    query_get_text(query, ret->id, sizeof ret->id);
    query_get_text(query, ret->tenant, sizeof ret->tenant);
    query_get_text(query, ret->purpose, sizeof ret->purpose);
    ret->version = query_get_number(query);
    ret->seals = query_get_number(query);
    ret->created_ms = query_get_number(query);
    query_get_text(query, ret->kek, sizeof ret->kek);
    query_get_bytes(query, ret->wrapped, sizeof ret->wrapped); /* zeroes, when it was changed */
    return STATUS_OK;
}

enum status data_key_newest(struct store *store, const char *tenant, const char *purpose,
                            struct data_key_row *ret)
{
    static const char sql[] = DATA_KEY_SELECT
        "WHERE tenant = ? AND purpose = ? ORDER BY version DESC LIMIT 1";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, tenant);
    query_text(&query, purpose);
    return data_key_read(&query, ret);
}

enum status data_key_by_id(struct store *store, const char *tenant, const char *purpose,
                           const char *id, struct data_key_row *ret)
{
    static const char sql[] = DATA_KEY_SELECT "WHERE tenant = ? AND purpose = ? AND id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, tenant);
    query_text(&query, purpose);
    query_text(&query, id);
    return data_key_read(&query, ret);
}

enum status data_key_after(struct store *store, const char *id, struct data_key_row *ret)
{
    static const char sql[] = DATA_KEY_SELECT "WHERE id > ? ORDER BY id LIMIT 1";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, id);
    return data_key_read(&query, ret);
}

enum status data_key_set_wrapped(struct store *store, const struct data_key_row *key)
{
    static const char sql[] = "UPDATE data_keys SET kek = ?, wrapped = ? WHERE id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, key->kek);
    query_bytes(&query, wrapped_view(key));
    query_text(&query, key->id);
    return query_run_one(&query);
}

enum status data_key_count_seal(struct store *store, const char *id)
{
    static const char sql[] = "UPDATE data_keys SET seals = seals + 1 WHERE id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, id);
    return query_run_one(&query);
}

enum status data_key_erase(struct store *store, const char *tenant)
{
    static const char sql[] = "DELETE FROM data_keys WHERE tenant = ? AND tenant <> ''";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, tenant);
    return query_run(&query);
}

enum status data_key_census(struct store *store, const char *kek, const char *other,
                            uint64_t *ret_all, uint64_t *ret_strange)
{
    static const char sql[] =
        "SELECT count(*), count(CASE WHEN kek NOT IN (?, ?) THEN 1 END) FROM data_keys";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, kek);
    query_text(&query, other);
    enum status status = query_only_row(&query);
    if (status == STATUS_OK) {
        *ret_all = query_get_number(&query);
        *ret_strange = query_get_number(&query);
    }
    return status;
}

static enum status read_tenant(struct query *query, char *ret)
{
    enum status status = query_only_row(query);
    if (status == STATUS_OK) {
        query_get_text(query, ret, sizeof(row_id));
    }
    return status;
}

enum status data_key_tenant_after(struct store *store, const char *tenant, char *ret)
{
    static const char sql[] =
        "SELECT tenant FROM data_keys WHERE tenant > ? ORDER BY tenant LIMIT 1";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, tenant);
    return read_tenant(&query, ret);
}

enum status data_key_superseded(struct store *store, const char *tenant, char *ret)
{
    static const char sql[] = "SELECT tenant FROM data_keys WHERE tenant > ? GROUP BY tenant"
                              " HAVING count(*) > 1 ORDER BY tenant LIMIT 1";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, tenant);
    return read_tenant(&query, ret);
}

enum status data_key_worn(struct store *store, uint64_t before_ms, uint64_t seals, char *ret)
{
    static const char sql[] =
        "SELECT tenant FROM data_keys AS one WHERE tenant <> ''"
        " AND (created_ms < ? OR seals >= ?) AND NOT EXISTS (SELECT 1 FROM data_keys AS other"
        " WHERE other.tenant = one.tenant AND other.version > one.version) LIMIT 1";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_number(&query, before_ms);
    query_number(&query, seals);
    return read_tenant(&query, ret);
}

enum status data_key_drop_older(struct store *store, const char *tenant, const char *newest)
{
    static const char sql[] =
        "DELETE FROM data_keys WHERE tenant = ? AND id <> ? AND tenant <> '' AND version <"
        " (SELECT newest.version FROM data_keys AS newest WHERE newest.id = ?)";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, tenant);
    query_text(&query, newest);
    query_text(&query, newest);
    return query_run(&query);
}

enum status data_key_adopt(struct store *store, const char *kek)
{
    static const char sql[] = "UPDATE data_keys SET kek = ? WHERE kek = ''";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, kek);
    return query_run(&query);
}
