/* providers.c - looks providers up and reads request targets by their rows.
 *
 * Never reads a file and never changes a row (providers_load.c makes them). */
#include "common/providers.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/providers_table.h"

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
bool pattern_match_as(const char *pattern, struct view text, bool fold)
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
    return pattern_match_as(pattern, text, false);
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
