/* providers_deny.c - whether a call is on its provider's deny list: by path, query and headers.
 *
 * A call is judged in every spelling that some server on the way may read as another one.  The vault
 * judges what the gateway says of a request, the proxy what it sends. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/providers.h"
#include "common/providers_table.h"

enum { DECODE_ROUNDS = 3 }; /* a path is refused elsewhere for dots that two rounds uncover */

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

/* ---- one rule ---- */

static bool in_list(const char **patterns, struct view text)
{
    for (; patterns && *patterns; patterns++) {
        if (pattern_match_as(*patterns, text, true)) {
            return true;
        }
    }
    return false;
}

/* METHODS is "*" or names with commas between. */
static bool method_listed(const char *methods, struct view method)
{
    while (*methods) {
        size_t size = strcspn(methods, ",");
        struct view one = view_of(methods, size);
        if (view_is(one, "*") || (one.size == method.size &&
                                  strncasecmp(methods, (const char *)method.data, size) == 0)) {
            return true;
        }
        methods += size + (methods[size] == ',');
    }
    return false;
}

static bool value_judged(const struct deny_rule *rule, struct view value)
{
    return (!rule->value || pattern_match_as(rule->value, value, true)) &&
           !in_list(rule->unless, value);
}

/* PART decoded once, `+` being a space. */
static void decode_part(struct view part, struct buffer *out)
{
    buffer_clear(out);
    for (size_t i = 0; i < part.size; i++) {
        buffer_append_byte(out, part.data[i] == '+' ? ' ' : part.data[i]);
    }
    (void)decode_once(out);
}

static bool query_judged(const struct deny_rule *rule, struct view target)
{
    CLEANUP(buffer_free) struct buffer name = BUFFER_EMPTY;
    CLEANUP(buffer_free) struct buffer value = BUFFER_EMPTY;
    const uint8_t *mark = target.size ? memchr(target.data, '?', target.size) : NULL;
    size_t at = mark ? (size_t)(mark - target.data) + 1 : target.size;
    while (at < target.size) {
        const uint8_t *end = memchr(target.data + at, '&', target.size - at);
        size_t size = end ? (size_t)(end - target.data) - at : target.size - at;
        const uint8_t *equals = memchr(target.data + at, '=', size);
        size_t name_size = equals ? (size_t)(equals - target.data) - at : size;
        decode_part(view_of(target.data + at, name_size), &name);
        decode_part(equals ? view_of(equals + 1, size - name_size - 1) : view_of(NULL, 0), &value);
        if (name.failed || value.failed || (in_list(rule->queries, buffer_view(&name)) &&
                                            value_judged(rule, buffer_view(&value)))) {
            return true;
        }
        at += size + 1;
    }
    return false;
}

static struct view trim(struct view text)
{
    while (text.size && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = view_of(text.data + 1, text.size - 1);
    }
    while (text.size && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

static bool header_judged(const struct deny_rule *rule, const struct provider_call *call)
{
    for (size_t i = 0; i < call->header_count; i++) {
        if (pattern_match_as(rule->header, call->headers[i].name, true) &&
            value_judged(rule, trim(call->headers[i].value))) {
            return true;
        }
    }
    return false;
}

static bool rule_denies(const struct deny_rule *rule, const struct provider_call *call,
                        struct view path)
{
    return method_listed(rule->method, call->method) && pattern_match_as(rule->path, path, true) &&
           (!rule->queries || query_judged(rule, call->target)) &&
           (!rule->header || header_judged(rule, call));
}

/* ---- a call ---- */

static struct view path_of(struct view target)
{
    const uint8_t *query = target.size > 0 ? memchr(target.data, '?', target.size) : NULL;
    return query ? view_of(target.data, (size_t)(query - target.data)) : target;
}

static bool denied(const struct provider *provider, const struct provider_call *call,
                   struct view path)
{
    for (size_t i = 0; i < provider->deny_count; i++) {
        if (rule_denies(&provider->deny[i], call, path)) {
            return true;
        }
    }
    return false;
}

bool provider_denies(const struct provider *provider, const struct provider_call *call)
{
    CLEANUP(buffer_free) struct buffer path = BUFFER_EMPTY;
    CLEANUP(buffer_free) struct buffer folded = BUFFER_EMPTY;
    if (provider_target(provider, path_of(call->target), &path) != STATUS_OK) {
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
        if (denied(provider, call, buffer_view(&folded))) {
            return true;
        }
    }
    return false;
}

bool provider_judges_header(const struct provider *provider, struct view name)
{
    for (size_t i = 0; i < provider->deny_count; i++) {
        const char *header = provider->deny[i].header;
        if (header && pattern_match_as(header, name, true)) {
            return true;
        }
    }
    return in_list(provider->target_headers, name);
}

/* ---- a second object, named by a header ---- */

/* No control byte and no segment of dots, decoded as often as may be. */
static bool source_plain(struct view source)
{
    CLEANUP(buffer_free) struct buffer text = BUFFER_EMPTY;
    buffer_append_view(&text, source);
    bool more = !text.failed;
    for (int round = 0; more && round < DECODE_ROUNDS; round++) {
        more = decode_once(&text);
        size_t dots = 0, begin = 0;
        for (size_t i = 0; i <= text.size; i++) {
            uint8_t byte = i < text.size ? text.data[i] : '/';
            if (byte < 0x20 || byte == 0x7f) {
                return false;
            }
            if (byte == '/' || byte == '\\' || byte == '?') {
                if (dots > 0 && dots < 3 && i - begin == dots) {
                    return false;
                }
                begin = i + 1;
                dots = 0;
            } else {
                dots += byte == '.';
            }
        }
    }
    return !text.failed;
}

static enum status judge_source(const struct provider *provider, const struct auth_rule *rule,
                                const struct signing_scope *scope, struct view source)
{
    CLEANUP(buffer_free) struct buffer target = BUFFER_EMPTY;
    struct signing_scope second;
    const char *why;
    buffer_append_byte(&target, '/');
    buffer_append_view(&target, scope->service);
    buffer_append_byte(&target, '/');
    buffer_append_view(&target, scope->region);
    if (source.size == 0 || source.data[0] != '/') {
        buffer_append_byte(&target, '/');
    }
    buffer_append_view(&target, source);
    if (target.failed || !source_plain(source) ||
        signing_scope(rule, buffer_view(&target), &second, &why) != STATUS_OK) {
        return STATUS_INVALID;
    }
    struct view rest = path_of(second.rest);
    if (rest.size < 2 || !memchr(rest.data + 1, '/', rest.size - 1)) {
        return STATUS_INVALID; /* a bucket is no object */
    }
    const struct provider_call call = {.method = VIEW("GET"), .target = buffer_view(&target)};
    return provider_denies(provider, &call) ? STATUS_DENIED : STATUS_OK;
}

enum status provider_judge(const struct provider *provider, const struct provider_call *call,
                           const char **ret_why)
{
    const struct auth_rule *rule = provider_auth(provider, call->target);
    struct signing_scope scope;
    enum status status = provider_denies(provider, call) ? STATUS_DENIED : STATUS_OK;
    *ret_why = "this broker does not pass on calls that mint or reveal credentials, or open data to "
               "others";
    for (size_t i = 0; i < call->header_count && status == STATUS_OK; i++) {
        if (!in_list(provider->target_headers, call->headers[i].name)) {
            continue;
        }
        if (!rule || rule->type != AUTH_SIGV4) {
            return STATUS_INVALID; /* providers_check.c lets no such row in */
        }
        status = signing_scope(rule, call->target, &scope, ret_why);
        if (status == STATUS_OK) {
            *ret_why = "the object to copy from must be <bucket>/<key>, and one that may be read";
            status = judge_source(provider, rule, &scope, trim(call->headers[i].value));
        }
    }
    return status;
}
