/* sigv4.c - derives what a proxy needs to sign AWS requests of one day, region and service, so that
 * the secret access key itself never leaves the vault. */
#include "vault.h"

#include <string.h>

enum status sigv4_key(struct view secret, struct view date, struct view region,
                      struct view service, uint8_t *ret_key)
{
    CLEANUP(buffer_wipe) struct buffer first = BUFFER_EMPTY;
    const struct view steps[] = {date, region, service, VIEW("aws4_request")};
    buffer_append_text(&first, "AWS4");
    buffer_append_view(&first, secret);
    if (first.failed) {
        return STATUS_INTERNAL;
    }
    struct view key = buffer_view(&first);
    uint8_t made[CRYPTO_HASH_BYTES];
    enum status status = STATUS_OK;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && status == STATUS_OK; i++) {
        status = crypto_hmac(key, steps[i], made);
        memcpy(ret_key, made, sizeof made);
        key = view_of(ret_key, sizeof made);
    }
    explicit_bzero(made, sizeof made);
    return status;
}
