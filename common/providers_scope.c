/* providers_scope.c - what a target of a sigv4 row names: a service, a region, for S3 a bucket.
 *
 * The vault derives its key from it and the proxy its host, so both use this one reading.  What does
 * not look exactly as AWS names things is refused before it is part of a host or a scope. */
#include <string.h>

#include "common/providers.h"

enum { REGION_MAX = 32, BUCKET_MIN = 3, BUCKET_MAX = 63 };

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

static bool digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
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
        if (!digit(region.data[at])) {
            return false;
        }
    }
    return true;
}

static bool region_listed(const struct auth_rule *rule, struct view region)
{
    for (const char **at = rule->regions; at && *at; at++) {
        if (view_is(region, *at)) {
            return true;
        }
    }
    return false;
}

/* ^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$ without two dots in a row ("Bucket naming rules" of the S3 user
 * guide). */
static bool bucket_valid(struct view bucket)
{
    if (bucket.size < BUCKET_MIN || bucket.size > BUCKET_MAX) {
        return false;
    }
    for (size_t i = 0; i < bucket.size; i++) {
        uint8_t byte = bucket.data[i];
        bool inside = i > 0 && i + 1 < bucket.size;
        bool mark = inside && (byte == '-' || (byte == '.' && bucket.data[i - 1] != '.'));
        if (!lower(byte) && !digit(byte) && !mark) {
            return false;
        }
    }
    return true;
}

static bool bucket_good(const struct signing_scope *scope, const char **ret_why)
{
    struct view rest = scope->rest;
    struct view bucket = take_segment(&rest);
    bool names_key = rest.size > 0 && rest.data[0] == '/';
    if (bucket.size == 0 ? !names_key : bucket_valid(bucket)) {
        return true;
    }
    *ret_why = "the path must be /s3/<region>/<bucket>/<key>, a bucket being 3 to 63 of a-z, 0-9, . and -";
    return false;
}

enum status signing_scope(const struct auth_rule *rule, struct view target,
                          struct signing_scope *ret_scope, const char **ret_why)
{
    struct signing_scope scope = {.service = take_segment(&target)};
    scope.region = take_segment(&target);
    scope.rest = target;
    for (size_t i = 0; i < rule->service_count; i++) {
        if (view_is(scope.service, rule->services[i].name)) {
            scope.sign_as = rule->services[i].sign_as;
        }
    }
    if (!scope.sign_as) {
        *ret_why = "this service may not be called";
        return STATUS_DENIED;
    }
    if (!region_valid(scope.region) && !region_listed(rule, scope.region)) {
        *ret_why = "the path must begin /<service>/<region>/";
        return STATUS_INVALID;
    }
    scope.objects = strcmp(scope.sign_as, "s3") == 0;
    if (scope.objects && !bucket_good(&scope, ret_why)) {
        return STATUS_INVALID;
    }
    *ret_scope = scope;
    return STATUS_OK;
}

enum status signing_origin(const struct provider *provider, const struct signing_scope *scope,
                           struct buffer *ret_origin)
{
    const struct {
        const char *name;
        struct view value;
    } places[] = {{"{service}", scope->service}, {"{region}", scope->region}};
    const char *at = provider->origin;
    for (size_t i = 0; i < provider->region_origin_count; i++) {
        if (pattern_match(provider->region_origins[i].name, scope->region)) {
            at = provider->region_origins[i].value;
            break;
        }
    }
    while (*at) {
        size_t used = 0;
        for (size_t i = 0; i < sizeof places / sizeof places[0] && !used; i++) {
            if (strncmp(at, places[i].name, strlen(places[i].name)) == 0) {
                buffer_append_view(ret_origin, places[i].value);
                used = strlen(places[i].name);
            }
        }
        if (!used) {
            buffer_append_byte(ret_origin, (uint8_t)*at);
            used = 1;
        }
        at += used;
    }
    return ret_origin->failed ? STATUS_INTERNAL : STATUS_OK;
}
