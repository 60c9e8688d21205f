/* collect.c - reads a call out of JSON and writes its answer as JSON; decides nothing. */
#include "services/gateway/collect.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/gateway/catalog.h"
#include "services/gateway/vet_private.h"

void collect_free(struct collect **collect)
{
    if (!*collect) {
        return;
    }
    free((*collect)->provider);
    free((*collect)->method);
    buffer_free(&(*collect)->target);
    buffer_free(&(*collect)->rows);
    buffer_free(&(*collect)->body);
    free(*collect);
    *collect = NULL;
}

static enum status why(char *ret_why, size_t size, const char *name, const char *what)
{
    snprintf(ret_why, size, "%.40s %s", name, what);
    return STATUS_INVALID;
}

/* As strict as with those of a request. */
static bool header_good(const struct header_row *row)
{
    return row->name.size > 0 && row->name.size <= HEADER_NAME_MAX &&
           vet_run_of(IS_TOKEN, row->name.data, row->name.size) == row->name.size &&
           vet_run_of(IS_VALUE, row->value.data, row->value.size) == row->value.size;
}

static enum status read_headers(const json_t *headers, struct collect *collect)
{
    const char *name;
    json_t *value;
    if (headers && !json_is_object(headers)) {
        return STATUS_INVALID;
    }
    json_object_foreach((json_t *)(uintptr_t)headers, name, value)
    {
        struct header_row row = {view_text(name), view_text(json_string_value(value))};
        if (!json_is_string(value) || !header_good(&row)) {
            return STATUS_INVALID;
        }
        if (!credential_header(name) &&
            (collect->headers.count >= HEADERS_MAX ||
             proto_list_add(&header_row_schema, &row, &collect->rows, &collect->headers) !=
                 STATUS_OK)) {
            return STATUS_INVALID;
        }
    }
    return STATUS_OK;
}

static bool has_header(const struct collect *collect, const char *name)
{
    struct header_row row;
    struct list list = collect->headers;
    while (proto_list_next(&header_row_schema, &list, &row)) {
        if (view_is_nocase(row.name, name)) {
            return true;
        }
    }
    return false;
}

/* A string goes as it is, anything else as JSON. */
static enum status read_body(const json_t *body, struct collect *collect)
{
    struct header_row type = {VIEW("Content-Type"), VIEW("application/json")};
    if (!body || json_is_null(body)) {
        return STATUS_OK;
    }
    if (json_is_string(body)) {
        buffer_append(&collect->body, json_string_value(body), json_string_length(body));
        return collect->body.failed ? STATUS_INTERNAL : STATUS_OK;
    }
    char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text) {
        return STATUS_INTERNAL;
    }
    buffer_append_text(&collect->body, text);
    void *(*take)(size_t) = NULL;
    void (*release)(void *) = NULL;
    json_get_alloc_funcs(&take, &release); /* the text came from jansson's allocator */
    release(text);
    if (!has_header(collect, "content-type")) {
        return proto_list_add(&header_row_schema, &type, &collect->rows, &collect->headers);
    }
    return STATUS_OK;
}

static bool method_good(const char *method)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", NULL};
    for (const char *const *at = methods; method && *at; at++) {
        if (strcmp(*at, method) == 0) {
            return true;
        }
    }
    return false;
}

static enum status read_target(const char *service, const char *path, struct collect *collect)
{
    CLEANUP(buffer_free) struct buffer whole = BUFFER_EMPTY;
    buffer_printf(&whole, "/api/%s%s%s", service, path[0] == '/' ? "" : "/", path);
    if (whole.failed) {
        return STATUS_INTERNAL;
    }
    const size_t before = sizeof "/api/" - 1 + strlen(service);
    enum status status = target_check(buffer_view(&whole));
    return status == STATUS_OK ? credential_strip(view_of(whole.data + before, whole.size - before),
                                                  &collect->target)
                               : status;
}

static enum status check_members(const json_t *root, char *ret_why, size_t size)
{
    static const char *const members[] = {"service", "method", "path", "headers", "body", NULL};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)root, name, value)
    {
        const char *const *at = members;
        while (*at && strcmp(*at, name) != 0) {
            at++;
        }
        if (!*at) {
            return why(ret_why, size, name, "is not a member of this body");
        }
    }
    return STATUS_OK;
}

static enum status read_root(const json_t *root, struct collect *collect, char *ret_why,
                             size_t size)
{
    const char *service = json_string_value(json_object_get(root, "service"));
    const char *method = json_string_value(json_object_get(root, "method"));
    const char *path = json_string_value(json_object_get(root, "path"));
    if (check_members(root, ret_why, size) != STATUS_OK) {
        return STATUS_INVALID;
    }
    if (!service || !providers_find(config.providers, view_text(service))) {
        return why(ret_why, size, "service", "must name a provider");
    }
    if (!method_good(method)) {
        return why(ret_why, size, "method", "must be GET, HEAD, POST, PUT, PATCH or DELETE");
    }
    if (!path || read_target(service, path, collect) != STATUS_OK) {
        return why(ret_why, size, "path", "must be an acceptable path, and no presigned one");
    }
    if (read_headers(json_object_get(root, "headers"), collect) != STATUS_OK) {
        return why(ret_why, size, "headers", "must be an object of at most 100 header fields, each a string");
    }
    collect->provider = strdup(service);
    collect->method = strdup(method);
    return read_body(json_object_get(root, "body"), collect);
}

enum status collect_read(struct view json, struct collect **ret_collect, char *ret_why,
                         size_t size)
{
    json_error_t error;
    json_t *root = json.size ? json_loadb((const char *)json.data, json.size,
                                          JSON_REJECT_DUPLICATES, &error)
                             : NULL;
    struct collect *collect = calloc(1, sizeof *collect);
    enum status status = collect ? STATUS_OK : STATUS_INTERNAL;
    if (!json_is_object(root)) {
        status = why(ret_why, size, "the body", "must be a JSON object");
    }
    if (status == STATUS_OK) {
        status = read_root(root, collect, ret_why, size);
    }
    json_decref(root);
    if (status != STATUS_OK) {
        collect_free(&collect);
        return status;
    }
    *ret_collect = collect;
    return STATUS_OK;
}

enum MHD_Result collect_answer(struct visit *visit, const struct collect *collect,
                               struct view body)
{
    CLEANUP(buffer_free) struct buffer json = BUFFER_EMPTY;
    json_error_t error;
    bool good = collect->http >= 200 && collect->http < 300;
    json_t *root = body.size ? json_loadb((const char *)body.data, body.size,
                                          JSON_DECODE_ANY | JSON_ALLOW_NUL, &error)
                             : NULL;
    buffer_printf(&json, "{\"ok\":%s,\"status\":%u,\"body\":", good ? "true" : "false",
                  collect->http);
    json_t *text = root ? NULL : json_stringn((const char *)body.data, body.size);
    if (root) {
        buffer_append_view(&json, body);
    } else if (text || body.size == 0) {
        json_append_utf8(&json, body);
    } else {
        json_append_text(&json, body); /* not UTF-8: each byte as the character of that number */
    }
    json_decref(text);
    json_decref(root);
    buffer_append_text(&json, "}");
    return json.failed ? MHD_NO
                       : answer_send(visit, 200, "application/json", buffer_view(&json), NULL);
}
