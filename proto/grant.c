/* grant.c - seals and opens grants; never keeps or logs what is in one. */
#include "proto/grant.h"

#include "common/crypto.h"

static void append_number(struct buffer *aad, uint64_t number)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    }
    crypto_aad_field(aad, view_of(bytes, sizeof bytes));
}

static enum status binding_aad(const struct grant_binding *binding, struct buffer *aad)
{
    crypto_aad_field(aad, VIEW("seks grant 2"));
    crypto_aad_field(aad, binding->request);
    crypto_aad_field(aad, binding->tenant);
    crypto_aad_field(aad, binding->token_id);
    crypto_aad_field(aad, binding->agent);
    crypto_aad_field(aad, binding->provider);
    crypto_aad_field(aad, binding->proxy);
    crypto_aad_field(aad, binding->method);
    crypto_aad_field(aad, binding->target);
    crypto_aad_field(aad, binding->headers);
    append_number(aad, binding->expires_ms);
    append_number(aad, binding->shard);
    return aad->failed ? STATUS_INTERNAL : STATUS_OK;
}

enum status grant_seal(struct view grant_key, const struct grant_binding *binding,
                       struct list credentials, struct buffer *ret_grant)
{
    CLEANUP(buffer_free) struct buffer aad = BUFFER_EMPTY;
    CLEANUP(buffer_wipe) struct buffer plain = BUFFER_EMPTY;
    struct grant_content content = {credentials};
    enum status status = proto_encode(&grant_content_schema, &content, &plain);
    if (status == STATUS_OK) {
        status = binding_aad(binding, &aad);
    }
    if (status != STATUS_OK) {
        return status;
    }
    return crypto_seal(grant_key, buffer_view(&aad), buffer_view(&plain), ret_grant);
}

enum status grant_open(struct view grant_key, const struct grant_binding *binding,
                       struct view grant, uint64_t now_ms, struct secret **ret_content,
                       struct list *ret_credentials)
{
    CLEANUP(buffer_free) struct buffer aad = BUFFER_EMPTY;
    CLEANUP(secret_free) struct secret *plain = NULL;
    struct grant_content content;
    if (binding->expires_ms <= now_ms || binding->expires_ms > now_ms + 2 * GRANT_LIFE_MS) {
        return STATUS_DENIED;
    }
    enum status status = binding_aad(binding, &aad);
    if (status == STATUS_OK) {
        status = crypto_open(grant_key, buffer_view(&aad), grant, &plain);
    }
    if (status == STATUS_OK) {
        status = proto_decode(&grant_content_schema, secret_view(plain), &content);
    }
    if (status != STATUS_OK) {
        return status;
    }
    *ret_credentials = content.credentials;
    *ret_content = TAKE(plain);
    return STATUS_OK;
}
