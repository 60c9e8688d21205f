/* sigv4.c - derives what a proxy needs to sign AWS requests of one day, region and service, so that
 * the secret access key itself never leaves the vault. */
#include "vault.h"

#include <string.h>

enum { REGION_MAX = 32, SCOPE_PART_MAX = 63 };

/* The segment of PATH after its first slash; PATH becomes what follows. */
static struct view take_segment(struct view *path)
{
    if (path->size == 0 || path->data[0] != '/') {
        return view_of(NULL, 0);
    }
    struct view rest = view_of(path->data + 1, path->size - 1);
    size_t size = 0;
    while (size < rest.size && rest.data[size] != '/' && rest.data[size] != '?') {
        size++;
    }
    *path = view_of(rest.data + size, rest.size - size);
    return view_of(rest.data, size);
}

static bool lower(uint8_t byte)
{
    return byte >= 'a' && byte <= 'z';
}

/* ^[a-z]{2}(-[a-z]+)+-[0-9]+$ */
static bool region_valid(struct view region)
{
    size_t at = 2, words = 0;
    if (region.size > REGION_MAX || region.size < 2 || !lower(region.data[0]) ||
        !lower(region.data[1])) {
        return false;
    }
    while (at + 1 < region.size && region.data[at] == '-' && lower(region.data[at + 1])) {
        for (at++; at < region.size && lower(region.data[at]); at++) {
        }
        words++;
    }
    if (words == 0 || at + 1 >= region.size || region.data[at] != '-') {
        return false;
    }
    for (at++; at < region.size; at++) {
        if (region.data[at] < '0' || region.data[at] > '9') {
            return false;
        }
    }
    return true;
}

enum status sigv4_scope(const struct auth_rule *rule, struct view target,
                        struct view *ret_service, struct view *ret_region)
{
    struct view service = take_segment(&target);
    struct view region = take_segment(&target);
    const char **allowed = rule->services;
    while (allowed && *allowed && !view_is(service, *allowed)) {
        allowed++;
    }
    if (!allowed || !*allowed) {
        return STATUS_DENIED;
    }
    if (!region_valid(region)) {
        return STATUS_INVALID;
    }
    *ret_service = service;
    *ret_region = region;
    return STATUS_OK;
}

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
