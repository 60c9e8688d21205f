/* seal.c - a secret's value sealed under its tenant's data key, and opened again.
 *
 * Tenant, id, name, version and data key are authenticated with it, so a blob that is moved to
 * another row, tenant or version does not open.  Never touches the secrets' table.
 */
#include "vault.h"

static enum status secret_aad(struct keys *keys, const struct secret_row *row,
                              struct buffer *aad)
{
    uint8_t version[8];
    for (size_t i = 0; i < sizeof version; i++) {
        version[i] = (uint8_t)(row->version >> (56 - 8 * i));
    }
    crypto_aad_field(aad, VIEW("seks secret 1"));
    crypto_aad_field(aad, view_text(keys_install_id(keys)));
    crypto_aad_field(aad, view_text(row->account));
    crypto_aad_field(aad, view_text(row->id));
    crypto_aad_field(aad, view_text(row->name));
    crypto_aad_field(aad, view_of(version, sizeof version));
    crypto_aad_field(aad, view_text(row->data_key));
    return aad->failed ? STATUS_INTERNAL : STATUS_OK;
}

enum status seal_secret(struct keys *keys, struct secret_row *row, struct view value,
                        struct buffer *ret_blob)
{
    CLEANUP(buffer_free) struct buffer aad = BUFFER_EMPTY;
    struct view key;
    enum status status = keys_for_seal(keys, row->account, row->data_key, &key);
    if (status == STATUS_OK) {
        status = secret_aad(keys, row, &aad);
    }
    if (status != STATUS_OK) {
        return status;
    }
    return crypto_seal(key, buffer_view(&aad), value, ret_blob);
}

enum status open_secret(struct keys *keys, const struct secret_row *row, struct view blob,
                        struct secret **ret_value)
{
    CLEANUP(buffer_free) struct buffer aad = BUFFER_EMPTY;
    struct view key;
    enum status status = keys_for_open(keys, row->account, row->data_key, &key);
    if (status == STATUS_OK) {
        status = secret_aad(keys, row, &aad);
    }
    if (status == STATUS_OK) {
        status = crypto_open(key, buffer_view(&aad), blob, ret_value);
    }
    if (status == STATUS_DENIED || status == STATUS_NOT_FOUND) {
        log_error("seal", "secret %s does not open: the row is not as the vault wrote it", row->id);
        return STATUS_INTERNAL;
    }
    return status;
}
