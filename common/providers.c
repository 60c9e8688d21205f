/* providers.c - looks providers up and judges request targets by their rows.
 *
 * Never reads a file and never changes a row (providers_load.c makes them). */
#include "common/providers.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/providers_table.h"

enum { DECODE_ROUNDS = 3 }; /* a path is refused elsewhere for dots that two rounds uncover */

static bool named(const struct provider *row, struct view name)
{
    if (view_is(name, row->name)) {
        return true;
    }
    for (const char **alias = row->aliases; *alias; alias++) {
        if (view_is(name, *alias)) {
            return true;
        }
    }
    return false;
}

const struct provider *providers_find(const struct providers *providers, struct view name)
{
    for (size_t i = 0; i < providers->count; i++) {
        if (named(&providers->rows[i], name)) {
            return &providers->rows[i];
        }
    }
    return NULL;
}

size_t providers_count(const struct providers *providers)
{
    return providers->count;
}

const struct provider *providers_at(const struct providers *providers, size_t index)
{
    return index < providers->count ? &providers->rows[index] : NULL;
}

/* Greedy with one step back: linear in practice, at worst pattern times text, both short. */
static bool matches(const char *pattern, struct view text, bool fold)
{
    const char *star = NULL;
    size_t at = 0, star_at = 0;
    while (at < text.size) {
        int a = (unsigned char)*pattern, b = text.data[at];
        if (*pattern == '*') {
            star = pattern++;
            star_at = at;
        } else if (a != 0 && (a == b || (fold && tolower(a) == tolower(b)))) {
            pattern++;
            at++;
        } else if (star) {
            pattern = star + 1;
            at = ++star_at;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}

bool pattern_match(const char *pattern, struct view text)
{
    return matches(pattern, text, false);
}

static struct view path_of(struct view target)
{
    const uint8_t *query = target.size > 0 ? memchr(target.data, '?', target.size) : NULL;
    return query ? view_of(target.data, (size_t)(query - target.data)) : target;
}

static bool begins_with_prefix(struct view path, const char *prefix)
{
    size_t size = strlen(prefix);
    return view_starts(path, prefix) && (path.size == size || path.data[size] == '/');
}

enum status provider_target(const struct provider *provider, struct view target,
                            struct buffer *ret_target)
{
    if (target.size > 0 && target.data[0] != '/' && target.data[0] != '?') {
        return STATUS_INVALID;
    }
    const char *prefix = provider->path_prefix;
    struct view path = path_of(target);
    if (prefix && !begins_with_prefix(path, prefix)) {
        buffer_append_text(ret_target, prefix);
    } else if (path.size == 0) {
        buffer_append_byte(ret_target, '/');
    }
    buffer_append_view(ret_target, target);
    return ret_target->failed ? STATUS_INTERNAL : STATUS_OK;
}

static int hex_digit(uint8_t c)
{
    return isdigit(c) ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : -1;
}

/* Decodes percent escapes in place once; an escape that is none stays.  True if one was there. */
static bool decode_once(struct buffer *path)
{
    size_t to = 0;
    bool found = false;
    for (size_t at = 0; at < path->size; at++, to++) {
        uint8_t c = path->data[at];
        int high = c == '%' && path->size - at > 2 ? hex_digit(path->data[at + 1]) : -1;
        int low = high >= 0 ? hex_digit(path->data[at + 2]) : -1;
        if (low >= 0) {
            c = (uint8_t)(high * 16 + low);
            at += 2;
            found = true;
        }
        path->data[to] = c;
    }
    path->size = to;
    return found;
}

/* In place: `\` is `/`, segments lose what follows a `;`, and empty and `.` segments go, so that
 * spellings that some server takes for the same path become the same bytes. */
static void fold(struct buffer *path)
{
    size_t to = 0, at = 0;
    while (at < path->size) {
        size_t begin = at;
        while (at < path->size && path->data[at] != '/' && path->data[at] != '\\') {
            at++;
        }
        const uint8_t *cut = memchr(path->data + begin, ';', at - begin);
        size_t size = cut ? (size_t)(cut - (path->data + begin)) : at - begin;
        at++; /* past the slash */
        if (size == 0 || (size == 1 && path->data[begin] == '.')) {
            continue;
        }
        /* The path begins with a slash, so `to` is always behind `begin`. */
        path->data[to++] = '/';
        memmove(path->data + to, path->data + begin, size);
        to += size;
    }
    path->size = to;
}

static bool denied(const struct provider *provider, struct view method, struct view path)
{
    for (size_t i = 0; i < provider->deny_count; i++) {
        const struct deny_rule *rule = &provider->deny[i];
        if ((strcmp(rule->method, "*") == 0 || view_is_nocase(method, rule->method)) &&
            matches(rule->path, path, true)) {
            return true;
        }
    }
    return false;
}

bool provider_denies(const struct provider *provider, struct view method, struct view target)
{
    CLEANUP(buffer_free) struct buffer path = BUFFER_EMPTY;
    CLEANUP(buffer_free) struct buffer folded = BUFFER_EMPTY;
    if (provider_target(provider, path_of(target), &path) != STATUS_OK) {
        return true; /* what cannot be judged is not let through */
    }
    /* Decoded once is what the provider sees; decoded again is what a second server behind its
     * first may see. */
    bool more = true;
    for (int round = 0; more && round < DECODE_ROUNDS; round++) {
        more = decode_once(&path);
        buffer_clear(&folded);
        buffer_append_view(&folded, buffer_view(&path));
        if (folded.failed) {
            return true;
        }
        fold(&folded);
        if (denied(provider, method, buffer_view(&folded))) {
            return true;
        }
    }
    return false;
}

const struct auth_rule *provider_auth(const struct provider *provider, struct view target)
{
    struct view path = path_of(target);
    for (size_t i = 0; i < provider->auth_count; i++) {
        const struct auth_rule *rule = &provider->auth[i];
        if (!rule->path || pattern_match(rule->path, path)) {
            return rule;
        }
    }
    return NULL;
}
