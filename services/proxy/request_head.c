/* request_head.c - the head of a request as it goes out to the provider (RFC 9112 sections 2 to 6). */
#include "services/proxy/request.h"

#include <string.h>
#include <strings.h>

#include "services/proxy/origin.h"

static bool is_named(const char *line, const char *name)
{
    size_t size = strlen(name);
    return strncasecmp(line, name, size) == 0 && (line[size] == ':' || line[size] == ';');
}

/* The list is in libcurl's spelling: "NAME;" has an empty value, "NAME:" is not sent. */
static bool append_header(struct buffer *head, const char *line)
{
    size_t size = strlen(line);
    const char *colon = strchr(line, ':');
    bool empty = size > 0 && line[size - 1] == ';' && !colon;
    if (colon && colon[1] == 0) {
        return false;
    }
    buffer_append(head, line, empty ? size - 1 : size);
    buffer_append_text(head, empty ? ":\r\n" : "\r\n");
    return true;
}

bool request_target_safe(struct view target)
{
    for (size_t i = 0; i < target.size; i++) {
        if (target.data[i] <= ' ' || target.data[i] == 0x7f || target.data[i] == '#') {
            return false;
        }
    }
    return true;
}

static void append_framing(struct buffer *head, uint64_t body_size)
{
    if (body_size == BODY_SIZE_UNKNOWN) {
        buffer_append_text(head, "Transfer-Encoding: chunked\r\n");
    } else if (body_size > 0) {
        buffer_printf(head, "Content-Length: %llu\r\n", (unsigned long long)body_size);
    }
}

enum status request_head(const struct request *request, const char *method, struct buffer *head)
{
    struct view url = view_text((const char *)request->url.data);
    struct origin origin;
    bool host = false, accept = false, encoding = request->untouched;
    if (!origin_split(url, &origin) || !request_target_safe(origin.target)) {
        return STATUS_INVALID;
    }
    buffer_append_text(head, method);
    buffer_append_byte(head, ' ');
    buffer_append_view(head, origin.target);
    buffer_append_text(head, " HTTP/1.1\r\n");
    for (const struct curl_slist *line = request->headers; line; line = line->next) {
        bool sent = append_header(head, line->data);
        host = host || (sent && is_named(line->data, "host"));
        accept = accept || is_named(line->data, "accept");
        encoding = encoding || is_named(line->data, "accept-encoding");
    }
    if (!host) {
        buffer_append_text(head, "Host: ");
        buffer_append_view(head, origin.host);
        buffer_append_text(head, "\r\n");
    }
    buffer_append_text(head, accept ? "" : "Accept: */*\r\n");
    buffer_append_text(head, encoding ? "" : "Accept-Encoding: identity\r\n");
    append_framing(head, request->body_size);
    buffer_append_text(head, "\r\n");
    return head->failed ? STATUS_INTERNAL : STATUS_OK;
}
