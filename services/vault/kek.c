/* kek.c - derives the wrapping key of a master key; wraps and unwraps data keys with it.
 *
 * A wrapped key is bound to install, tenant, purpose, id and version.  Never touches the database.
 */
#include "kek.h"

#include <stdio.h>
#include <string.h>

enum { KEK_ID_BYTES = 8 };

static const char check_text[] = "seks vault";

void kek_free(struct kek *kek)
{
    secret_free(&kek->wrapping);
}

enum status kek_derive(struct view master, const char *install, struct kek *ret_kek)
{
    CLEANUP(secret_free) struct secret *key = secret_new(NULL, CRYPTO_KEY_BYTES);
    uint8_t id[KEK_ID_BYTES];
    char hex[2 * KEK_ID_BYTES + 1];
    if (!key) {
        return STATUS_INTERNAL;
    }
    enum status status = crypto_hkdf(master, view_text(install), VIEW("seks vault wrapping key 1"),
                                     secret_data(key), CRYPTO_KEY_BYTES);
    if (status == STATUS_OK) {
        status = crypto_hkdf(master, view_text(install), VIEW("seks master key id 1"), id,
                             sizeof id);
    }
    if (status != STATUS_OK) {
        return status;
    }
    hex_encode(view_of(id, sizeof id), hex);
    (void)snprintf(ret_kek->id, sizeof ret_kek->id, "kek_%s", hex);
    secret_free(&ret_kek->wrapping);
    ret_kek->wrapping = TAKE(key);
    return STATUS_OK;
}

static void wrap_aad(const char *install, const struct data_key_row *key, struct buffer *aad)
{
    uint8_t version[8];
    for (size_t i = 0; i < sizeof version; i++) {
        version[i] = (uint8_t)(key->version >> (56 - 8 * i));
    }
    crypto_aad_field(aad, VIEW("seks data key 1"));
    crypto_aad_field(aad, view_text(install));
    crypto_aad_field(aad, view_text(key->tenant));
    crypto_aad_field(aad, view_text(key->purpose));
    crypto_aad_field(aad, view_text(key->id));
    crypto_aad_field(aad, view_of(version, sizeof version));
}

enum status kek_wrap(const struct kek *kek, const char *install, struct view plain,
                     struct data_key_row *key)
{
    CLEANUP(buffer_free) struct buffer aad = BUFFER_EMPTY;
    CLEANUP(buffer_free) struct buffer wrapped = BUFFER_EMPTY;
    wrap_aad(install, key, &aad);
    enum status status =
        crypto_seal(secret_view(kek->wrapping), buffer_view(&aad), plain, &wrapped);
    if (status != STATUS_OK || aad.failed || wrapped.size != sizeof key->wrapped) {
        return status != STATUS_OK ? status : STATUS_INTERNAL;
    }
    memcpy(key->wrapped, wrapped.data, sizeof key->wrapped);
    memcpy(key->kek, kek->id, sizeof key->kek);
    return STATUS_OK;
}

enum status kek_unwrap(const struct kek *kek, const char *install,
                       const struct data_key_row *key, struct secret **ret_plain)
{
    CLEANUP(buffer_free) struct buffer aad = BUFFER_EMPTY;
    wrap_aad(install, key, &aad);
    if (aad.failed) {
        return STATUS_INTERNAL;
    }
    return crypto_open(secret_view(kek->wrapping), buffer_view(&aad),
                       view_of(key->wrapped, sizeof key->wrapped), ret_plain);
}

/* ---- whose database it is ---- */

static void check_aad(const struct install *install, struct buffer *aad)
{
    crypto_aad_field(aad, VIEW("seks master key check 1"));
    crypto_aad_field(aad, view_text(install->id));
}

enum status kek_make_check(const struct kek *kek, struct install *install)
{
    CLEANUP(buffer_free) struct buffer aad = BUFFER_EMPTY;
    CLEANUP(buffer_free) struct buffer check = BUFFER_EMPTY;
    check_aad(install, &aad);
    enum status status = crypto_seal(secret_view(kek->wrapping), buffer_view(&aad),
                                     view_text(check_text), &check);
    if (status != STATUS_OK || check.size > sizeof install->check) {
        return status != STATUS_OK ? status : STATUS_INTERNAL;
    }
    memcpy(install->check, check.data, check.size);
    install->check_size = check.size;
    memcpy(install->kek, kek->id, sizeof install->kek);
    return STATUS_OK;
}

enum status kek_opens(const struct kek *kek, const struct install *install)
{
    CLEANUP(buffer_free) struct buffer aad = BUFFER_EMPTY;
    CLEANUP(secret_free) struct secret *plain = NULL;
    check_aad(install, &aad);
    return crypto_open(secret_view(kek->wrapping), buffer_view(&aad),
                       view_of(install->check, install->check_size), &plain);
}
