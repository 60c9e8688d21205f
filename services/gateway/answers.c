/* answers.c - complete answers, and errors in the form that the caller's SDK reads.
 *
 * Errors never say which part of a credential was wrong: all of these have one body. */
#include "services/gateway/gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    unsigned http;
    const char *title;
    const char *type; /* as SDKs of this trade name it */
} errors[] = {
    {400, "Bad Request", "invalid_request_error"},
    {401, "Unauthorized", "authentication_error"},
    {403, "Forbidden", "permission_error"},
    {404, "Not Found", "not_found_error"},
    {405, "Method Not Allowed", "invalid_request_error"},
    {408, "Request Timeout", "timeout_error"},
    {409, "Conflict", "conflict_error"},
    {411, "Length Required", "invalid_request_error"},
    {413, "Content Too Large", "request_too_large"},
    {414, "URI Too Long", "request_too_large"},
    {417, "Expectation Failed", "invalid_request_error"},
    {421, "Misdirected Request", "invalid_request_error"},
    {426, "Upgrade Required", "invalid_request_error"},
    {429, "Too Many Requests", "rate_limit_error"},
    {431, "Request Header Fields Too Large", "request_too_large"},
    {500, "Internal Server Error", "api_error"},
    {501, "Not Implemented", "invalid_request_error"},
    {502, "Bad Gateway", "api_error"},
    {503, "Service Unavailable", "overloaded_error"},
    {504, "Gateway Timeout", "timeout_error"},
    {505, "HTTP Version Not Supported", "invalid_request_error"},
    {507, "Insufficient Storage", "api_error"},
};

void json_append_text(struct buffer *json, struct view text)
{
    buffer_append_byte(json, '"');
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte == '"' || byte == '\\') {
            buffer_append_byte(json, '\\');
            buffer_append_byte(json, byte);
        } else if (byte < 0x20 || byte >= 0x7f) {
            buffer_printf(json, "\\u%04x", byte);
        } else {
            buffer_append_byte(json, byte);
        }
    }
    buffer_append_byte(json, '"');
}

static bool cors_applies(const char *target)
{
    return strncmp(target, "/api/", 5) == 0 || strncmp(target, "/v1/secrets/", 12) == 0 ||
           strncmp(target, "/v1/proxy/", 10) == 0 || strncmp(target, "/secrets/", 9) == 0 ||
           strncmp(target, "/proxy/", 7) == 0;
}

/* What a provider sends must not run on the broker's origin, and its links must not tell the
 * address, which may hold a token; nor is any answer of ours a page. */
static void add_browser_headers(struct visit *visit, struct MHD_Response *response)
{
    bool api = visit->target && strncmp(visit->target, "/api/", 5) == 0;
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(response, "Content-Security-Policy",
                            api ? "sandbox; default-src 'none'; frame-ancestors 'none'"
                                : "default-src 'none'; frame-ancestors 'none'");
}

void answer_headers(struct visit *visit, struct MHD_Response *response)
{
    MHD_add_response_header(response, "Seks-Request-Id", visit->request);
    if (visit->target && cors_applies(visit->target)) {
        MHD_add_response_header(response, "Access-Control-Allow-Origin", "*");
        MHD_add_response_header(response, "Access-Control-Expose-Headers", "*");
    }
    if (!visit->is_page) { /* its files have headers of their own, see page.c */
        add_browser_headers(visit, response);
    }
}

static enum MHD_Result queue(struct visit *visit, unsigned http, const char *type,
                             struct MHD_Response *response, const char *const *headers)
{
    if (!response) {
        return MHD_NO;
    }
    answer_headers(visit, response);
    if (type) {
        MHD_add_response_header(response, "Content-Type", type);
    }
    for (; headers && *headers; headers += 2) {
        MHD_add_response_header(response, headers[0], headers[1]);
    }
    enum MHD_Result result = MHD_queue_response(visit->connection, http, response);
    MHD_destroy_response(response);
    visit->answered = true;
    visit->http = http;
    return result;
}

enum MHD_Result answer_send(struct visit *visit, unsigned http, const char *type, struct view body,
                            const char *const *headers)
{
    void *data = body.size ? (void *)(uintptr_t)body.data : (void *)"";
    return queue(visit, http, type,
                 MHD_create_response_from_buffer(body.size, data, MHD_RESPMEM_MUST_COPY), headers);
}

static void wipe(void *arg)
{
    struct buffer *body = arg;
    buffer_wipe(body);
    free(body);
}

enum MHD_Result answer_secret(struct visit *visit, unsigned http, struct buffer *body,
                              const char *const *headers)
{
    struct buffer *own = calloc(1, sizeof *own);
    if (!own) {
        return MHD_NO;
    }
    *own = *body;
    *body = BUFFER_EMPTY;
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        own->size, own->data ? own->data : (void *)"", wipe, own);
    if (!response) {
        wipe(own);
    }
    return queue(visit, http, "application/json", response, headers);
}

static size_t error_row(unsigned http)
{
    size_t count = sizeof errors / sizeof errors[0];
    for (size_t i = 0; i < count; i++) {
        if (errors[i].http == http) {
            return i;
        }
    }
    return count - 1;
}

/* RFC 9457, with the members that the providers' SDKs look for. */
static void error_problem(struct buffer *body, size_t row, struct view detail)
{
    buffer_printf(body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":",
                  errors[row].title, errors[row].http);
    json_append_text(body, detail);
    buffer_printf(body, ",\"error\":{\"type\":\"%s\",\"message\":", errors[row].type);
    json_append_text(body, detail);
    buffer_append_text(body, "},\"message\":");
    json_append_text(body, detail);
    buffer_append_text(body, "}");
}

static void error_plain(struct buffer *body, struct view detail)
{
    buffer_append_text(body, "{\"ok\":false,\"error\":");
    json_append_text(body, detail);
    buffer_append_text(body, "}");
}

void answer_raw(struct buffer *text, unsigned http, struct view detail, bool api,
                const char *request)
{
    CLEANUP(buffer_free) struct buffer body = BUFFER_EMPTY;
    size_t row = error_row(http);
    if (api) {
        error_problem(&body, row, detail);
    } else {
        error_plain(&body, detail);
    }
    buffer_printf(text,
                  "HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Type: application/%s\r\n"
                  "Content-Length: %zu\r\nSeks-Request-Id: %s\r\n%s\r\n",
                  http, errors[row].title, api ? "problem+json" : "json", body.size, request,
                  api ? "Access-Control-Allow-Origin: *\r\n" : "");
    buffer_append_view(text, buffer_view(&body));
}

enum MHD_Result answer_error(struct visit *visit, unsigned http, struct view detail, bool aws4)
{
    CLEANUP(buffer_free) struct buffer body = BUFFER_EMPTY;
    size_t row = error_row(http);
    bool api = visit->target && strncmp(visit->target, "/api/", 5) == 0;
    const char *type = "application/json";
    const char *headers[9] = {NULL};
    char wait[16];
    size_t count = 0;
    if (detail.size == 0) {
        detail = view_text(errors[row].title);
    }
    if (aws4 || aws_caller(visit)) {
        struct aws_error error = aws_error(visit, http, detail, &body);
        http = error.http;
        type = error.type;
        if (error.code) {
            headers[count++] = "x-amzn-ErrorType";
            headers[count++] = error.code;
        }
    } else if (api) {
        type = "application/problem+json";
        error_problem(&body, row, detail);
    } else {
        error_plain(&body, detail);
    }
    if (http == 401) {
        headers[count++] = "WWW-Authenticate";
        /* Basic is for git; a browser would ask for a password in a window of its own. */
        headers[count++] = api ? "Basic realm=\"seks\", Bearer realm=\"seks\"" : "Bearer realm=\"seks\"";
    }
    if (http == 503 || visit->wait_s > 0) {
        (void)snprintf(wait, sizeof wait, "%u", visit->wait_s > 0 ? visit->wait_s : 1);
        headers[count++] = "Retry-After";
        headers[count++] = wait;
    }
    if (visit->has_body && !visit->begun) {
        headers[count++] = "Connection"; /* the body was not read */
        headers[count++] = "close";
    }
    return body.failed ? MHD_NO : answer_send(visit, http, type, buffer_view(&body), headers);
}

enum MHD_Result answer_status(struct visit *visit, enum status status, struct view detail,
                              bool aws4)
{
    int http = status_http(status);
    if (detail.size == 0) {
        detail = view_text(status_text(status));
    }
    return answer_error(visit, (unsigned)http, detail, aws4);
}
