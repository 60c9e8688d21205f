/* request.c - turns a call into what libcurl sends: URL, headers, and the credential last.
 *
 * The credential is put into a header (or, for rows that say so, the query) here and nowhere else;
 * every copy that is ours is wiped. */
#include "services/proxy/request.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/target.h"
#include "services/proxy/chunks.h"
#include "services/proxy/spare.h"
#include "services/proxy/tracing.h"

enum { HEADER_LINE_MAX = HEADER_NAME_MAX + HEADER_VALUE_MAX + 4, LINES_BYTES = 2000 /* of most requests */ };

/* Lines of headers and their places in the list, from the first byte on. */
struct lines {
    struct lines *next;
    size_t size, used;
    struct curl_slist room[]; /* for its alignment */
};

static struct spares spare_lines = {.size = sizeof(struct lines) + LINES_BYTES};

void request_wipe(struct request *request)
{
    while (request->lines) {
        struct lines *lines = request->lines;
        request->lines = lines->next;
        if (lines->size == LINES_BYTES) {
            spare_give(&spare_lines, lines);
        } else {
            explicit_bzero(lines, sizeof *lines + lines->size);
            free(lines);
        }
    }
    request->headers = request->last_header = NULL;
    buffer_wipe(&request->url);
    chunks_free(&request->chunks);
}

/* SIZE bytes of what is one of the list's places, or NULL for want of memory. */
static struct curl_slist *take_room(struct request *request, size_t size)
{
    struct lines *lines = request->lines;
    if (!lines || size > lines->size - lines->used) {
        bool usual = size <= LINES_BYTES;
        lines = usual ? spare_take(&spare_lines) : calloc(1, sizeof *lines + size);
        if (!lines) {
            return NULL;
        }
        lines->size = usual ? LINES_BYTES : size;
        lines->next = request->lines;
        request->lines = lines;
    }
    struct curl_slist *place = lines->room + lines->used / sizeof *place;
    lines->used += size;
    return place;
}

/* LINE ends with its NUL. */
static enum status append_line(struct request *request, struct view line)
{
    size_t places = 1 + (line.size + sizeof(struct curl_slist) - 1) / sizeof(struct curl_slist);
    struct curl_slist *place = take_room(request, places * sizeof *place);
    if (!place) {
        return STATUS_INTERNAL;
    }
    place->data = (char *)(place + 1);
    place->next = NULL;
    memcpy(place->data, line.data, line.size);
    *(request->last_header ? &request->last_header->next : &request->headers) = place;
    request->last_header = place;
    return STATUS_OK;
}

/* Adds "NAME: VALUE"; libcurl spells an empty value "NAME;". */
enum status request_add_header(struct request *request, struct view name, struct view value)
{
    static struct buffer line = {.max = HEADER_LINE_MAX}; /* kept: a call has a dozen of these */
    if (!header_name_safe(name) || !header_value_safe(value)) {
        return STATUS_INVALID;
    }
    buffer_append_view(&line, name);
    buffer_append_text(&line, value.size ? ": " : ";");
    buffer_append_view(&line, value);
    buffer_append_byte(&line, 0);
    enum status status = line.failed ? STATUS_INVALID : append_line(request, buffer_view(&line));
    explicit_bzero(line.data, line.size);
    buffer_clear(&line);
    return status;
}

struct view request_find_header(struct list headers, const char *name)
{
    struct header_row row;
    while (proto_list_next(&header_row_schema, &headers, &row)) {
        if (view_is_nocase(row.name, name)) {
            return row.value;
        }
    }
    return (struct view){NULL, 0};
}

/* Without the one that is to hold the key, those of the client's own signature where we sign, and those
 * that a TRACE replaces. */
static bool is_ours_to_set(const struct auth_rule *rule, const struct call_trace *trace,
                           struct view name)
{
    return (rule->type == AUTH_HEADER && view_is_nocase(name, rule->name)) ||
           (rule->type == AUTH_SIGV4 && request_sign_drops(name)) ||
           (trace && tracing_replaces(name));
}

static enum status copy_headers(struct request *request, const struct proxy_call *message,
                                const struct auth_rule *rule, const struct call_trace *trace)
{
    struct header_row row;
    struct list headers = message->headers;
    CLEANUP(buffer_free) struct buffer connection = BUFFER_EMPTY;
    while (proto_list_next(&header_row_schema, &headers, &row)) {
        if (view_is_nocase(row.name, "connection")) {
            buffer_append_view(&connection, row.value);
            buffer_append_byte(&connection, ',');
        }
    }
    enum status status = connection.failed ? STATUS_INTERNAL : STATUS_OK;
    headers = message->headers;
    while (status == STATUS_OK && proto_list_next(&header_row_schema, &headers, &row)) {
        if (!header_name_safe(row.name) || !header_value_plain(row.value)) {
            status = STATUS_INVALID;
        } else if (header_goes_up(row.name, buffer_view(&connection)) &&
                   !is_ours_to_set(rule, trace, row.name)) {
            status = request_add_header(request, row.name, row.value);
        }
    }
    return status;
}

static enum status add_defaults(struct request *request, const struct provider *provider,
                                struct list headers)
{
    enum status status = STATUS_OK;
    bool agent = request_find_header(headers, "user-agent").size > 0;
    for (size_t i = 0; i < provider->default_header_count && status == STATUS_OK; i++) {
        const struct provider_header *header = &provider->default_headers[i];
        agent = agent || view_is_nocase(view_text(header->name), "user-agent");
        if (request_find_header(headers, header->name).size == 0) {
            status = request_add_header(request, view_text(header->name), view_text(header->value));
        }
    }
    if (status == STATUS_OK && !agent) {
        status = request_add_header(request, VIEW("User-Agent"), VIEW("seks-broker/" SEKS_VERSION));
    }
    return status;
}

static enum status add_prefixed(struct request *request, const char *name, const char *prefix,
                                struct view key)
{
    CLEANUP(buffer_wipe) struct buffer value = BUFFER_EMPTY;
    buffer_append_text(&value, prefix);
    buffer_append_view(&value, key);
    return value.failed ? STATUS_INTERNAL
                        : request_add_header(request, view_text(name), buffer_view(&value));
}

static enum status add_basic(struct request *request, const char *user, struct view key)
{
    CLEANUP(buffer_wipe) struct buffer pair = BUFFER_EMPTY;
    CLEANUP(buffer_wipe) struct buffer value = BUFFER_EMPTY;
    buffer_append_text(&pair, user);
    buffer_append_byte(&pair, ':');
    buffer_append_view(&pair, key);
    size_t size = sodium_base64_ENCODED_LEN(pair.size, sodium_base64_VARIANT_ORIGINAL);
    uint8_t *room = buffer_room(&value, size);
    if (pair.failed || !room) {
        return STATUS_INTERNAL;
    }
    sodium_bin2base64((char *)room, size, pair.data, pair.size, sodium_base64_VARIANT_ORIGINAL);
    return add_prefixed(request, "Authorization", "Basic ", view_of(room, size - 1));
}

/* Appends a query parameter with the value percent-encoded. */
static enum status add_query(struct request *request, const char *name, struct view key)
{
    static const char digits[] = "0123456789ABCDEF";
    bool has_query = memchr(request->url.data, '?', request->url.size) != NULL;
    buffer_append_byte(&request->url, has_query ? '&' : '?');
    buffer_append_text(&request->url, name);
    buffer_append_byte(&request->url, '=');
    for (size_t i = 0; i < key.size; i++) {
        uint8_t byte = key.data[i];
        bool plain = (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
                     memchr("-._~", byte, 4) != NULL;
        if (plain) {
            buffer_append_byte(&request->url, byte);
            continue;
        }
        buffer_append_byte(&request->url, '%');
        buffer_append_byte(&request->url, (uint8_t)digits[byte >> 4]);
        buffer_append_byte(&request->url, (uint8_t)digits[byte & 15]);
    }
    return request->url.failed ? STATUS_INTERNAL : STATUS_OK;
}

static enum status add_credential(struct request *request, const struct auth_rule *rule,
                                  struct view key)
{
    switch (rule->type) {
    case AUTH_BEARER:
        return add_prefixed(request, "Authorization", "Bearer ", key);
    case AUTH_HEADER:
        return request_add_header(request, view_text(rule->name), key);
    case AUTH_BASIC:
        return add_basic(request, rule->name ? rule->name : "", key);
    case AUTH_QUERY:
        return add_query(request, rule->name, key);
    case AUTH_SIGV4:
        break;
    }
    return STATUS_INTERNAL; /* request_sign() does these */
}

/* "Content-Length: 0" for a method that could have a body: some servers answer 411 without it. */
static enum status add_empty_length(struct request *request, const struct proxy_call *message)
{
    bool may_have_body = view_is(message->method, "POST") || view_is(message->method, "PUT") ||
                         view_is(message->method, "PATCH");
    if (message->body_size != 0 || !may_have_body) {
        return STATUS_OK;
    }
    return request_add_header(request, VIEW("Content-Length"), VIEW("0"));
}

/* "Expect:" with nothing behind it keeps libcurl from waiting a second before each upload. */
static enum status drop_expect(struct request *request)
{
    return append_line(request, view_of("Expect:", sizeof "Expect:"));
}

bool request_needs_body(const struct provider *provider, const struct proxy_call *message)
{
    const struct auth_rule *rule = provider_auth(provider, message->target);
    return rule && rule->type == AUTH_SIGV4 && message->body_size != 0 &&
           request_sign_needs_body(rule, message);
}

static enum status build_headers(const struct provider *provider,
                                 const struct proxy_call *message, const struct auth_rule *rule,
                                 const struct call_trace *trace, struct request *request)
{
    enum status status = copy_headers(request, message, rule, trace);
    if (status == STATUS_OK && trace) {
        status = tracing_add_headers(trace, request);
    }
    if (status == STATUS_OK) {
        status = add_defaults(request, provider, message->headers);
    }
    if (status == STATUS_OK) {
        status = drop_expect(request);
    }
    return status == STATUS_OK ? add_empty_length(request, message) : status;
}

/* The vault has judged the headers that the gateway told it of; these are the ones that are sent. */
static enum status judge_headers(const struct provider *provider,
                                 const struct proxy_call *message, const char **ret_why)
{
    struct call_header headers[JUDGED_HEADERS_MAX];
    struct header_row row;
    struct list list = message->headers;
    struct provider_call call = {message->method, message->target, headers, 0};
    while (provider->judges_headers && proto_list_next(&header_row_schema, &list, &row)) {
        if (!provider_judges_header(provider, row.name)) {
            continue;
        }
        if (call.header_count == JUDGED_HEADERS_MAX) {
            return STATUS_TOO_LARGE;
        }
        headers[call.header_count++] = (struct call_header){row.name, row.value};
    }
    return call.header_count ? provider_judge(provider, &call, ret_why) : STATUS_OK;
}

/* The origin and the target, and the key of CREDENTIALS where RULE wants it. */
static enum status add_key(const struct provider *provider, const struct auth_rule *rule,
                           struct view target, struct list credentials, struct request *request)
{
    struct grant_row key;
    if (!proto_list_next(&grant_row_schema, &credentials, &key)) {
        return STATUS_DENIED;
    }
    buffer_append_text(&request->url, provider->origin);
    buffer_append_view(&request->url, target);
    enum status status = add_credential(request, rule, key.value);
    buffer_append_byte(&request->url, 0);
    return request->url.failed ? STATUS_INTERNAL : status;
}

enum status request_build(const struct provider *provider, const struct proxy_call *message,
                          struct list credentials, struct view body,
                          const struct call_trace *trace, struct request *ret_request,
                          const char **ret_why)
{
    CLEANUP(buffer_free) struct buffer target = BUFFER_EMPTY;
    struct request request = {.url = BUFFER_EMPTY, .body_size = message->body_size};
    *ret_why = NULL;
    enum status status = header_name_safe(message->method)
                             ? provider_target(provider, message->target, &target)
                             : STATUS_INVALID;
    if (status != STATUS_OK) {
        return status;
    }
    const struct auth_rule *rule = provider_auth(provider, buffer_view(&target));
    if (!rule) {
        return STATUS_DENIED;
    }
    bool sign = rule->type == AUTH_SIGV4;
    if (!target_plain(message->target, sign)) {
        return STATUS_INVALID;
    }
    status = judge_headers(provider, message, ret_why);
    if (status == STATUS_OK) {
        status = build_headers(provider, message, rule, trace, &request);
    }
    if (status == STATUS_OK) {
        status = sign ? request_sign(provider, rule, message, credentials, body, &request, ret_why)
                      : add_key(provider, rule, buffer_view(&target), credentials, &request);
    }
    if (status != STATUS_OK) {
        request_wipe(&request);
        return status;
    }
    *ret_request = request;
    return STATUS_OK;
}
