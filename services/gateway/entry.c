/* entry.c - judges a request's head, then sends it on its way.
 *
 * A passthrough call is decided before its body is asked for, so the first look already finds the
 * token and asks the vault.  Whatever is refused here closes the connection. */
#include "services/gateway/entry.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "services/gateway/client.h"
#include "services/gateway/page.h"
#include "services/gateway/refusals.h"
#include "services/gateway/tracing.h"

enum { HEADERS_BYTES_MAX = 32768, TLS_FILE_MAX = 1 << 20 };

/* libmicrohttpd leaves the blanks behind a value (RFC 9110 section 5.5) in it. */
struct view visit_header(const struct visit *visit, const char *name)
{
    struct view value =
        view_text(MHD_lookup_connection_value(visit->connection, MHD_HEADER_KIND, name));
    while (value.size > 0 && strchr(" \t", value.data[value.size - 1])) {
        value.size--;
    }
    return value;
}

struct head {
    size_t count, bytes, hosts, lengths, codings;
    bool malformed, upgrade;
    const char *length, *coding;
};

/* A token of RFC 9110 section 5.6.2. */
static bool is_token(const char *text)
{
    static const char extra[] = "!#$%&'*+-.^_`|~";
    for (const char *at = text; *at; at++) {
        bool plain = *at == '-' || (*at >= '0' && *at <= '9') ||
                     ((*at | 0x20) >= 'a' && (*at | 0x20) <= 'z');
        if (!plain && !strchr(extra, *at)) {
            return false;
        }
    }
    return *text != 0;
}

static bool value_good(const char *value)
{
    for (; *value; value++) {
        unsigned char byte = (unsigned char)*value;
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return false;
        }
    }
    return true;
}

static enum MHD_Result look(void *arg, enum MHD_ValueKind kind, const char *name,
                            const char *value)
{
    struct head *head = arg;
    (void)kind;
    value = value ? value : "";
    head->count++;
    head->bytes += strlen(name) + strlen(value) + 4;
    head->malformed = head->malformed || !is_token(name) || !value_good(value);
    head->hosts += strcasecmp(name, "host") == 0;
    if (strcasecmp(name, "content-length") == 0) {
        head->lengths++;
        head->length = value;
    }
    if (strcasecmp(name, "transfer-encoding") == 0) {
        head->codings++;
        head->coding = value;
    }
    head->upgrade = head->upgrade || (strcasecmp(name, "upgrade") == 0 &&
                                      strcasecmp(value, "websocket") == 0);
    return MHD_YES;
}

/* RFC 9112 section 6.3: one length, or exactly "chunked", never both. */
static bool read_framing(struct visit *visit, const struct head *head)
{
    visit->body_size = 0;
    if (head->codings > 0) {
        visit->body_size = BODY_SIZE_UNKNOWN;
        visit->has_body = true;
        return head->codings == 1 && head->lengths == 0 && strcasecmp(head->coding, "chunked") == 0;
    }
    if (head->lengths == 0) {
        return true;
    }
    const char *digits = head->length;
    for (; *digits >= '0' && *digits <= '9' && visit->body_size < UINT64_MAX / 16; digits++) {
        visit->body_size = visit->body_size * 10 + (uint64_t)(*digits - '0');
    }
    visit->has_body = visit->body_size > 0;
    return head->lengths == 1 && *digits == 0 && digits != head->length;
}

static enum MHD_Result refuse(struct visit *visit, unsigned http, const char *detail)
{
    metrics_refusal(detail);
    visit->has_body = true; /* has the connection closed: what follows cannot be trusted */
    return answer_error(visit, http, view_text(detail), false);
}

/* MHD_YES and an answer queued, or the head is good and nothing is queued. */
static enum MHD_Result check_head(struct visit *visit, const char *version)
{
    struct head head = {.count = 0};
    bool http11 = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
    MHD_get_connection_values(visit->connection, MHD_HEADER_KIND, look, &head);
    if (head.count > HEADERS_MAX || head.bytes > HEADERS_BYTES_MAX) {
        return refuse(visit, 431, "at most 100 header fields and 32 KiB");
    }
    if (!is_token(visit->method) || head.malformed || !read_framing(visit, &head) ||
        head.hosts > 1 || (!http11 && head.codings > 0) || !host_well_formed(visit, !http11)) {
        return refuse(visit, 400, "the request's head is malformed");
    }
    if (strcasecmp(visit->method, "TRACE") == 0 || strcasecmp(visit->method, "CONNECT") == 0) {
        return refuse(visit, 405, "this method is not permitted");
    }
    enum status status = target_check(view_text(visit->target));
    if (status != STATUS_OK) {
        return status == STATUS_TOO_LARGE
                   ? refuse(visit, 414, "a target has at most 8192 bytes")
                   : refuse(visit, 400, "the request target is not acceptable");
    }
    if (head.upgrade) {
        return refuse(visit, 426, "WebSocket is not supported");
    }
    if (visit->body_size != BODY_SIZE_UNKNOWN && visit->body_size > config.body_max) {
        return refuse(visit, 413, "the body is larger than this broker takes");
    }
    return MHD_YES;
}

static enum MHD_Result answer_options(struct visit *visit)
{
    static const char *const open[] = {
        "Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        "Access-Control-Allow-Headers", "*, Authorization",
        "Access-Control-Max-Age", "86400", NULL};
    static const char *const closed[] = {"Allow", "GET, HEAD, POST, PUT, PATCH, DELETE", NULL};
    bool api = strncmp(visit->target, "/v1/account", 11) != 0 &&
               strncmp(visit->target, "/v1/session", 11) != 0;
    return answer_send(visit, 204, NULL, VIEW(""), api ? open : closed);
}

static enum MHD_Result begin_passthrough(struct visit *visit)
{
    CLEANUP(buffer_free) struct buffer target = BUFFER_EMPTY;
    struct view provider, rest;
    char token[TOKEN_SIZE_MAX + 1];
    bool aws4 = false;
    const struct provider *row = target_provider(view_text(visit->target), &provider, &rest)
                                     ? providers_find(config.providers, provider)
                                     : NULL;
    if (!row) {
        return answer_error(visit, 404, VIEW("there is no such provider"), false);
    }
    visit->provider = row->name;
    enum status status = credential_find(visit, rest, &target, token, &aws4);
    if (status != STATUS_OK) {
        refusals_count(visit, status == STATUS_INVALID ? "two different tokens"
                                                       : "no well-formed token");
    }
    if (status == STATUS_INVALID) {
        return answer_error(visit, 400, VIEW("the request carries two different tokens"), aws4);
    }
    if (status == STATUS_DENIED) {
        return answer_error(visit, 403, VIEW("the credential of a presigned query must be a token of "
                                             "this broker"), aws4);
    }
    if (status != STATUS_OK) {
        return answer_status(visit, status, VIEW(""), aws4);
    }
    exchange_start(visit, provider, &target, token, aws4);
    explicit_bzero(token, sizeof token);
    visit->begun = true;
    return visit->exchange ? MHD_YES : MHD_NO;
}

static enum MHD_Result answer_page(struct visit *visit, const struct page_file *file)
{
    bool known = page_is_known(file, visit_header(visit, "If-None-Match"));
    bool gzip = !known && page_takes_gzip(visit_header(visit, "Accept-Encoding"));
    const uint8_t *data = gzip ? file->gzip : file->data;
    size_t size = known ? 0 : gzip ? file->gzip_size : file->size;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        size, (void *)(uintptr_t)data, MHD_RESPMEM_PERSISTENT);
    if (!response) {
        return MHD_NO;
    }
    for (const struct page_header *header = page_headers; header->name; header++) {
        MHD_add_response_header(response, header->name, header->value);
    }
    MHD_add_response_header(response, "Content-Type", file->type);
    MHD_add_response_header(response, "ETag", file->etag);
    if (gzip) {
        MHD_add_response_header(response, "Content-Encoding", "gzip");
    }
    visit->is_page = true;
    answer_headers(visit, response);
    enum MHD_Result result = MHD_queue_response(visit->connection, known ? 304 : 200, response);
    MHD_destroy_response(response);
    visit->answered = true;
    visit->http = known ? 304 : 200;
    return result;
}

static struct view path_of(const char *target)
{
    return view_of(target, strcspn(target, "?"));
}

static enum MHD_Result answer_health(struct visit *visit, const char *unready)
{
    return unready ? answer_error(visit, 503, view_text(unready), false)
                   : answer_send(visit, 200, "application/json", VIEW("{\"ok\":true}"), NULL);
}

/* Whether a browser could do this with nothing but the user's session. */
static bool is_for_browsers(const struct visit *visit, struct view path)
{
    bool session = view_starts(path, "/v1/account") || view_starts(path, "/v1/session");
    return page_find(path) || (session && visit_header(visit, "Authorization").size == 0);
}

/* MHD_YES and an answer queued, or the request may be what it says it is. */
static enum MHD_Result check_browser(struct visit *visit, struct view path, bool reads)
{
    if (!is_for_browsers(visit, path)) {
        return MHD_YES;
    }
    if (!host_is_ours(visit)) {
        return refuse(visit, 421, "the page is not served under this name: see --public-url and "
                                  "--allow-host");
    }
    if (!reads && !origin_may_change(visit)) {
        return refuse(visit, 403, "this request comes from another site's page, or --public-url "
                                  "is not where this one is");
    }
    return MHD_YES;
}

/* A header may come in several lines, which are one list (RFC 9110 section 5.3). */
static enum MHD_Result join_forwarded(void *arg, enum MHD_ValueKind kind, const char *name,
                                      const char *value)
{
    struct buffer *forwarded = arg;
    (void)kind;
    if (strcasecmp(name, client_header()) == 0) {
        buffer_append_text(forwarded, forwarded->size ? "," : "");
        buffer_append_text(forwarded, value ? value : "");
    }
    return MHD_YES;
}

static void find_client(struct visit *visit)
{
    CLEANUP(buffer_free) struct buffer forwarded = BUFFER_EMPTY;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(visit->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    if (client_is_trusted(address)) {
        MHD_get_connection_values(visit->connection, MHD_HEADER_KIND, join_forwarded, &forwarded);
    }
    client_find(address, buffer_view(&forwarded), visit->client);
}

enum MHD_Result entry_begin(struct visit *visit, const char *method, const char *version)
{
    find_client(visit);
    if (config.trace) {
        tracing_begin(visit);
    }
    if (!view_copy(view_text(method), visit->method, sizeof visit->method)) {
        return refuse(visit, 400, "the method is too long");
    }
    enum MHD_Result result = check_head(visit, version);
    if (result != MHD_YES || visit->answered) {
        return result;
    }
    struct view path = path_of(visit->target);
    bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (strcmp(method, "OPTIONS") == 0) {
        return answer_options(visit);
    }
    if (view_starts(path, "/api/")) { /* no page of ours, and no session opens it */
        return begin_passthrough(visit);
    }
    const struct page_file *file = page_find(path);
    result = check_browser(visit, path, reads);
    if (result != MHD_YES || visit->answered) {
        return result;
    }
    if (reads && file) {
        return answer_page(visit, file);
    }
    if (reads && (view_is(path, "/healthz") || view_is(path, "/health") ||
                  view_is(path, "/v1/health"))) {
        return answer_health(visit, NULL);
    }
    if (reads && view_is(path, "/readyz")) {
        return answer_health(visit, links_unready());
    }
    return api_begin(visit, method);
}

/* ---- TLS files ---- */

static char *read_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    char *text = NULL;
    if (fd >= 0 && fstat(fd, &info) == 0 && info.st_size > 0 && info.st_size < TLS_FILE_MAX) {
        text = calloc(1, (size_t)info.st_size + 1);
    }
    if (text && read(fd, text, (size_t)info.st_size) != info.st_size) {
        free(text);
        text = NULL;
    }
    if (fd >= 0) {
        close(fd);
    }
    return text;
}

enum status entry_read_tls(char **ret_cert, char **ret_key)
{
    if (!config.tls_cert && !config.tls_key) {
        return STATUS_OK;
    }
    char *cert = config.tls_cert ? read_file(config.tls_cert) : NULL;
    char *key = config.tls_key ? read_file(config.tls_key) : NULL;
    if (!cert || !key) {
        log_error("tls", "--tls-cert and --tls-key must both name readable PEM files");
        free(cert);
        free(key);
        return STATUS_INVALID;
    }
    *ret_cert = cert;
    *ret_key = key;
    return STATUS_OK;
}
