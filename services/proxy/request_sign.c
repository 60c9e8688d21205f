/* request_sign.c - builds a request whose credential is a signature: host, path, query, headers.
 *
 * What is signed is what is sent: the URL is put together from the canonical path and query, the
 * headers are read back from the list that libcurl gets.  Whatever the client signed with its fake
 * secret is dropped first. */
#include "services/proxy/request.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "services/proxy/chunks.h"
#include "services/proxy/sigv4.h"

#define DATA_SIZE_MAX ((uint64_t)1 << 46) /* 64 TiB: no object is larger, and sums do not overflow */

/* What stands for the body in the signature, and what has to happen to the body for it. */
struct payload {
    const char *name;
    bool streams;  /* aws-chunked: the length may be unknown */
    bool resigned; /* each chunk is signed */
    bool trailer;
};

static const struct payload payloads[] = {
    {"UNSIGNED-PAYLOAD", false, false, false},
    {"STREAMING-UNSIGNED-PAYLOAD-TRAILER", true, false, true},
    {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", true, true, false},
    {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", true, true, true},
};
static const struct payload hashed = {"", false, false, false};

struct signing {
    const struct proxy_call *message;
    struct request *request;
    struct signing_scope scope;
    struct sigv4_scope sign;
    const struct payload *payload;
    char hash[SIGV4_HEX_SIZE]; /* of the body, where the client did not say it */
    struct view payload_text;
    struct buffer origin, path, query;
    char signature[SIGV4_HEX_SIZE];
    const char **why;
};

static void signing_free(struct signing *signing)
{
    buffer_free(&signing->origin);
    buffer_free(&signing->path);
    buffer_free(&signing->query);
    explicit_bzero(signing->signature, sizeof signing->signature);
}

static enum status refuse(const struct signing *signing, enum status status, const char *why)
{
    *signing->why = why;
    return status;
}

bool request_sign_drops(struct view name)
{
    static const char *const own[] = {"x-amz-date", "date", "x-amz-security-token",
                                      "x-amz-content-sha256", "x-amzn-trace-id"};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (view_is_nocase(name, own[i])) {
            return true;
        }
    }
    return name.size >= 8 && strncasecmp((const char *)name.data, "amz-sdk-", 8) == 0;
}

/* ---- the body ---- */

static bool is_hash(struct view text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (!((byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f'))) {
            return false;
        }
    }
    return text.size == SIGV4_HEX_SIZE - 1;
}

static const struct payload *find_payload(struct view name)
{
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        if (view_is(name, payloads[i].name)) {
            return &payloads[i];
        }
    }
    return is_hash(name) ? &hashed : NULL;
}

bool request_sign_needs_body(const struct auth_rule *rule, const struct proxy_call *message)
{
    struct signing_scope scope;
    const char *why;
    return request_find_header(message->headers, "x-amz-content-sha256").size == 0 &&
           signing_scope(rule, message->target, &scope, &why) == STATUS_OK && !scope.objects;
}

/* S3 takes a body that is not signed, the other services want its hash. */
static enum status choose_payload(struct signing *signing, struct view body)
{
    struct view given = request_find_header(signing->message->headers, "x-amz-content-sha256");
    bool empty = signing->message->body_size == 0;
    if (given.size == 0 && signing->scope.objects) {
        given = empty ? VIEW(SIGV4_EMPTY_HASH) : VIEW("UNSIGNED-PAYLOAD");
    } else if (given.size == 0) {
        if (sigv4_hash(body, signing->hash) != STATUS_OK) {
            return STATUS_INTERNAL;
        }
        given = view_text(signing->hash);
    }
    signing->payload = find_payload(given);
    signing->payload_text = given;
    if (!signing->payload) {
        return refuse(signing, STATUS_INVALID, "this value of x-amz-content-sha256 is not supported");
    }
    if (signing->scope.objects && !signing->payload->streams &&
        signing->request->body_size == BODY_SIZE_UNKNOWN) {
        return refuse(signing, STATUS_LENGTH_REQUIRED,
                      "S3 needs the length of the body in advance (Content-Length)");
    }
    return STATUS_OK;
}

static enum status read_size(struct view text, uint64_t *ret_size)
{
    uint64_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || size > DATA_SIZE_MAX) {
            return STATUS_INVALID;
        }
        size = size * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret_size = size;
    return text.size && size <= DATA_SIZE_MAX ? STATUS_OK : STATUS_INVALID;
}

static enum status plan_chunks(struct signing *signing, struct chunks_plan *ret_plan)
{
    struct list headers = signing->message->headers;
    struct view size = request_find_header(headers, "x-amz-decoded-content-length");
    *ret_plan = (struct chunks_plan){
        .scope = &signing->sign,
        .seed = signing->signature,
        .chunk_size = CHUNKS_DATA_BYTES,
        .trailer = signing->payload->trailer,
        .trailers = request_find_header(headers, "x-amz-trailer"),
    };
    if (read_size(size, &ret_plan->data_size) != STATUS_OK) {
        return refuse(signing, size.size ? STATUS_INVALID : STATUS_LENGTH_REQUIRED,
                      "x-amz-decoded-content-length must say how many bytes are sent");
    }
    signing->request->body_size = chunks_body_size(ret_plan);
    return STATUS_OK;
}

/* ---- the URL ---- */

/* A signature in the query would stand beside the one in the header. */
static bool has_signature(struct view query)
{
    for (size_t at = 0; at < query.size;) {
        const uint8_t *end = memchr(query.data + at, '&', query.size - at);
        size_t next = end ? (size_t)(end - query.data) + 1 : query.size;
        if (query.size - at >= 6 && strncasecmp((const char *)query.data + at, "X-Amz-", 6) == 0) {
            return true;
        }
        at = next;
    }
    return false;
}

static enum status build_url(const struct provider *provider, struct signing *signing)
{
    struct view path = signing->scope.rest, query = {NULL, 0};
    const uint8_t *mark = path.size ? memchr(path.data, '?', path.size) : NULL;
    if (mark) {
        query = view_of(mark + 1, path.size - (size_t)(mark - path.data) - 1);
        path.size = (size_t)(mark - path.data);
    }
    if (path.size == 0) {
        path = VIEW("/");
    }
    if (signing->scope.objects) {
        sigv4_path(path, &signing->path);
    } else {
        buffer_append_view(&signing->path, path); /* "%2F" inside a segment has to stay */
    }
    enum status status = sigv4_query(query, &signing->query);
    if (status == STATUS_OK && has_signature(buffer_view(&signing->query))) {
        return refuse(signing, STATUS_INVALID, "a signature in the query is not passed on");
    }
    if (status == STATUS_OK) {
        status = signing_origin(provider, &signing->scope, &signing->origin);
    }
    struct buffer *url = &signing->request->url;
    buffer_append_view(url, buffer_view(&signing->origin));
    buffer_append_view(url, buffer_view(&signing->path));
    buffer_append_text(url, signing->query.size ? "?" : "");
    buffer_append_view(url, buffer_view(&signing->query));
    buffer_append_byte(url, 0);
    return url->failed || signing->path.failed ? STATUS_INTERNAL : status;
}

/* As libcurl writes the Host header: without the scheme's own port. */
static struct view host_of(const struct buffer *origin)
{
    const char *scheme_end = "://";
    const uint8_t *at = memmem(origin->data, origin->size, scheme_end, strlen(scheme_end));
    struct view host = view_of(at + 3, origin->size - (size_t)(at + 3 - origin->data));
    const char *port = view_starts(buffer_view(origin), "https:") ? ":443" : ":80";
    size_t size = strlen(port);
    if (host.size > size && memcmp(host.data + host.size - size, port, size) == 0) {
        host.size -= size;
    }
    return host;
}

/* ---- the signature ---- */

static struct view credential(struct list credentials, const char *name)
{
    struct grant_row row;
    while (name && proto_list_next(&grant_row_schema, &credentials, &row)) {
        if (view_is(row.name, name)) {
            return row.value;
        }
    }
    return (struct view){NULL, 0};
}

/* The key is for the day on which the vault made it, which may have just ended. */
static void set_time(struct view date, char ret_time[SIGV4_TIME_SIZE])
{
    char now[CLOCK_TEXT_SIZE], day[9];
    clock_text(clock_wall_ms(), now); /* 2026-01-31T12:00:00.000Z */
    (void)snprintf(day, sizeof day, "%.4s%.2s%.2s", now, now + 5, now + 8);
    int order = memcmp(day, date.data, 8);
    (void)snprintf(ret_time, SIGV4_TIME_SIZE, "%.8sT%.2s%.2s%.2sZ", (const char *)date.data,
                   order > 0 ? "23" : order < 0 ? "00" : now + 11,
                   order > 0 ? "59" : order < 0 ? "00" : now + 14,
                   order > 0 ? "59" : order < 0 ? "00" : now + 17);
}

static enum status set_scope(const struct provider *provider, struct list credentials,
                             struct signing *signing)
{
    struct view date = credential(credentials, "date");
    signing->sign = (struct sigv4_scope){
        .key = credential(credentials, "signing-key"),
        .access_key_id = credential(credentials, provider->secrets[0]),
        .region = signing->scope.region,
        .service = view_text(signing->scope.sign_as),
    };
    if (signing->sign.key.size != 32 || date.size != 8 || signing->sign.access_key_id.size == 0) {
        return STATUS_DENIED;
    }
    set_time(date, signing->sign.time);
    return STATUS_OK;
}

/* Nothing on the way may change these; the others some proxy or libcurl may. */
static bool is_signed(struct view name)
{
    return view_is_nocase(name, "content-type") || view_is_nocase(name, "content-md5") ||
           view_is_nocase(name, "content-encoding") ||
           (name.size >= 6 && strncasecmp((const char *)name.data, "x-amz-", 6) == 0);
}

static size_t list_signed(const struct signing *signing, struct sigv4_header *headers)
{
    size_t count = 0;
    headers[count++] = (struct sigv4_header){VIEW("host"), host_of(&signing->origin)};
    for (const struct curl_slist *line = signing->request->headers; line; line = line->next) {
        struct view text = view_text(line->data);
        size_t size = strcspn(line->data, ":;");
        struct view name = view_of(text.data, size);
        size += size < text.size;
        if (count < SIGV4_HEADERS_MAX && is_signed(name)) {
            headers[count++] =
                (struct sigv4_header){name, view_of(text.data + size, text.size - size)};
        }
    }
    return count;
}

static enum status add_authorization(struct signing *signing, struct view names)
{
    CLEANUP(buffer_free) struct buffer value = BUFFER_EMPTY;
    buffer_append_text(&value, "AWS4-HMAC-SHA256 Credential=");
    buffer_append_view(&value, signing->sign.access_key_id);
    buffer_append_byte(&value, '/');
    sigv4_scope_text(&signing->sign, &value);
    buffer_append_text(&value, ", SignedHeaders=");
    buffer_append_view(&value, names);
    buffer_append_text(&value, ", Signature=");
    buffer_append_text(&value, signing->signature);
    return value.failed ? STATUS_INTERNAL
                        : request_add_header(signing->request, VIEW("Authorization"),
                                             buffer_view(&value));
}

static enum status sign(struct signing *signing)
{
    CLEANUP(buffer_free) struct buffer canonical = BUFFER_EMPTY;
    CLEANUP(buffer_free) struct buffer names = BUFFER_EMPTY;
    CLEANUP(buffer_free) struct buffer string = BUFFER_EMPTY;
    struct sigv4_header headers[SIGV4_HEADERS_MAX];
    const struct sigv4_request request = {
        .method = signing->message->method,
        .path = buffer_view(&signing->path),
        .query = buffer_view(&signing->query),
        .headers = headers,
        .header_count = list_signed(signing, headers),
        .payload = signing->payload_text,
        .normalise = !signing->scope.objects,
        .encode_again = !signing->scope.objects,
    };
    enum status status = sigv4_canonical(&request, &canonical, &names);
    if (status == STATUS_OK) {
        status = sigv4_string(&signing->sign, buffer_view(&canonical), &string);
    }
    if (status == STATUS_OK) {
        status = sigv4_sign(&signing->sign, buffer_view(&string), signing->signature);
    }
    return status == STATUS_OK ? add_authorization(signing, buffer_view(&names)) : status;
}

static enum status add_headers(const struct provider *provider, struct list credentials,
                               struct signing *signing)
{
    const struct sigv4_header rows[] = {
        {VIEW("X-Amz-Date"), view_text(signing->sign.time)},
        {VIEW("X-Amz-Content-Sha256"), signing->payload_text},
        {VIEW("X-Amz-Security-Token"),
         credential(credentials, provider->optional_secrets[0])},
        {VIEW("Accept-Encoding"),
         request_find_header(signing->message->headers, "accept-encoding")},
    };
    enum status status = STATUS_OK;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && status == STATUS_OK; i++) {
        if (rows[i].value.size > 0) {
            status = request_add_header(signing->request, rows[i].name, rows[i].value);
        }
    }
    return status;
}

static enum status run(const struct provider *provider, struct list credentials, struct view body,
                       struct signing *signing)
{
    struct chunks_plan plan;
    enum status status = set_scope(provider, credentials, signing);
    if (status == STATUS_OK) {
        status = choose_payload(signing, body);
    }
    if (status == STATUS_OK && signing->payload->resigned) {
        status = plan_chunks(signing, &plan);
    }
    if (status == STATUS_OK) {
        status = build_url(provider, signing);
    }
    if (status == STATUS_OK) {
        status = add_headers(provider, credentials, signing);
    }
    if (status == STATUS_OK) {
        status = sign(signing);
    }
    if (status == STATUS_OK && signing->payload->resigned) {
        signing->request->chunks = chunks_new(&plan);
        status = signing->request->chunks ? STATUS_OK : STATUS_INTERNAL;
    }
    return status;
}

enum status request_sign(const struct provider *provider, const struct auth_rule *rule,
                         const struct proxy_call *message, struct list credentials,
                         struct view body, struct request *request, const char **ret_why)
{
    CLEANUP(signing_free) struct signing signing = {
        .message = message, .request = request, .why = ret_why};
    enum status status = signing_scope(rule, message->target, &signing.scope, ret_why);
    request->untouched = true;
    return status == STATUS_OK ? run(provider, credentials, body, &signing) : status;
}
