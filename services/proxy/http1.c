/* http1.c - the states of an HTTP/1.1 answer.
 *
 * Strict where two readers could differ (both length and chunks, a folded field, a name with a
 * space), because what is read here is framed anew for the client. */
#include "services/proxy/http1.h"

#include <string.h>

#include "services/proxy/proxy.h"

enum { CHUNK_DIGITS_MAX = 15, CHUNK_LINE_MAX = 1024 };

void http1_begin(struct http1 *http1, bool head_request)
{
    *http1 = (struct http1){.head_request = head_request};
}

static enum http1_event bad(struct http1 *http1)
{
    http1->state = HTTP1_BROKEN;
    return HTTP1_BAD;
}

/* Takes a line off IN without its CRLF or LF (RFC 9112 section 2.2).  LINE is MORE's too when it is
 * too long or holds a control byte: then RET_GOOD is false. */
static bool take_line(struct view *in, size_t max, struct view *ret_line, bool *ret_good)
{
    const uint8_t *end = in->size ? memchr(in->data, '\n', in->size) : NULL;
    size_t size = end ? (size_t)(end - in->data) : in->size;
    *ret_good = size <= max;
    if (!end) {
        return false;
    }
    *ret_line = view_of(in->data, size);
    *in = view_of(end + 1, in->size - size - 1);
    if (ret_line->size > 0 && ret_line->data[ret_line->size - 1] == '\r') {
        ret_line->size--;
    }
    for (size_t i = 0; i < ret_line->size && *ret_good; i++) {
        uint8_t byte = ret_line->data[i];
        *ret_good = byte == '\t' || (byte >= 0x20 && byte != 0x7f);
    }
    return true;
}

static bool digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* "HTTP/1.1 200 OK"; the reason may be missing (RFC 9112 section 4). */
static bool read_status(struct http1 *http1, struct view line)
{
    const uint8_t *at = line.data;
    bool shaped = line.size >= 12 && view_starts(line, "HTTP/1.") && at[8] == ' ' &&
                  (at[7] == '0' || at[7] == '1') && digit(at[9]) && digit(at[10]) &&
                  digit(at[11]) && (line.size == 12 || at[12] == ' ');
    if (!shaped || at[9] == '0') {
        return false;
    }
    http1->http10 = http1->close = at[7] == '0';
    http1->status = (unsigned)(at[9] - '0') * 100 + (unsigned)(at[10] - '0') * 10 +
                    (unsigned)(at[11] - '0');
    http1->chunked = http1->has_length = false;
    http1->left = 0;
    http1->fields = 0;
    return http1->status != 101; /* nobody asked for another protocol */
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

/* Repeated with the same value is one (RFC 9110 section 8.6). */
static bool read_length(struct http1 *http1, struct view value)
{
    uint64_t length = 0;
    for (size_t i = 0; i < value.size; i++) {
        if (!digit(value.data[i]) || length > UINT64_MAX / 16) {
            return false;
        }
        length = length * 10 + (uint64_t)(value.data[i] - '0');
    }
    bool same = !http1->has_length || http1->left == length;
    http1->has_length = true;
    http1->left = length;
    return value.size > 0 && same;
}

/* Whether WORD is an element of the comma-separated LIST. */
static bool lists(struct view list, const char *word)
{
    while (list.size) {
        const uint8_t *comma = memchr(list.data, ',', list.size);
        size_t size = comma ? (size_t)(comma - list.data) : list.size;
        if (view_is_nocase(trim(view_of(list.data, size)), word)) {
            return true;
        }
        size += comma != NULL;
        list = view_of(list.data + size, list.size - size);
    }
    return false;
}

static bool read_field(struct http1 *http1, struct view line)
{
    const uint8_t *colon = memchr(line.data, ':', line.size);
    if (!colon || ++http1->fields > HTTP1_FIELDS_MAX) {
        return false;
    }
    struct view name = view_of(line.data, (size_t)(colon - line.data));
    struct view value = trim(view_of(colon + 1, line.size - name.size - 1));
    if (view_is_nocase(name, "content-length")) {
        return read_length(http1, value);
    }
    if (view_is_nocase(name, "transfer-encoding")) {
        bool first = !http1->chunked;
        http1->chunked = true;
        return first && view_is_nocase(value, "chunked");
    }
    if (view_is_nocase(name, "connection")) {
        http1->close = http1->close || lists(value, "close");
    }
    return header_name_safe(name);
}

/* RFC 9112 section 6.3. */
static bool end_head(struct http1 *http1)
{
    http1->head_bytes = 0;
    if (http1->status < 200) {
        http1->state = HTTP1_STATUS_LINE;
        return ++http1->interim <= HTTP1_INTERIM_MAX;
    }
    if (http1->chunked && (http1->has_length || http1->http10)) {
        return false;
    }
    bool bodiless = http1->head_request || http1->status == 204 || http1->status == 304;
    if (bodiless || (http1->has_length && http1->left == 0)) {
        http1->state = HTTP1_DONE;
    } else if (http1->chunked) {
        http1->state = HTTP1_CHUNK_SIZE;
    } else {
        http1->state = http1->has_length ? HTTP1_COUNTED : HTTP1_TO_CLOSE;
    }
    return true;
}

static enum http1_event next_line(struct http1 *http1, struct view *in, struct view *ret_line)
{
    bool good;
    if (!take_line(in, HTTP1_LINE_MAX, ret_line, &good)) {
        return good ? HTTP1_MORE : bad(http1);
    }
    http1->head_bytes += ret_line->size + 1;
    if (!good || http1->head_bytes > HTTP1_HEAD_MAX) {
        return bad(http1);
    }
    bool first = http1->state == HTTP1_STATUS_LINE;
    if (first) {
        http1->state = HTTP1_FIELDS;
        good = read_status(http1, *ret_line);
    } else {
        good = ret_line->size ? read_field(http1, *ret_line) : end_head(http1);
    }
    return good ? HTTP1_LINE : bad(http1);
}

static enum http1_event next_body(struct http1 *http1, struct view *in, struct view *ret_piece)
{
    size_t size = in->size;
    if (size == 0) {
        return HTTP1_MORE;
    }
    if (http1->state != HTTP1_TO_CLOSE) {
        size = size > http1->left ? (size_t)http1->left : size;
        http1->left -= size;
    }
    *ret_piece = view_of(in->data, size);
    *in = view_of(in->data + size, in->size - size);
    if (http1->left == 0 && http1->state == HTTP1_COUNTED) {
        http1->state = HTTP1_DONE;
    } else if (http1->left == 0 && http1->state == HTTP1_CHUNK) {
        http1->state = HTTP1_CHUNK_END;
    }
    return HTTP1_BODY;
}

static int hex(uint8_t byte)
{
    if (digit(byte)) {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* A chunk's size, perhaps with extensions, which mean nothing to us (RFC 9112 section 7.1.1). */
static bool read_chunk_size(struct http1 *http1, struct view line)
{
    size_t at = 0;
    uint64_t size = 0;
    for (; at < line.size && hex(line.data[at]) >= 0; at++) {
        size = size << 4 | (uint64_t)hex(line.data[at]);
    }
    if (at == 0 || at > CHUNK_DIGITS_MAX) {
        return false;
    }
    struct view rest = trim(view_of(line.data + at, line.size - at));
    http1->left = size;
    http1->state = size ? HTTP1_CHUNK : HTTP1_TRAILERS;
    return rest.size == 0 || rest.data[0] == ';';
}

/* Whether the line between two pieces of the body is right. */
static bool read_between(struct http1 *http1, struct view line)
{
    switch (http1->state) {
    case HTTP1_CHUNK_SIZE:
        return read_chunk_size(http1, line);
    case HTTP1_CHUNK_END:
        http1->state = HTTP1_CHUNK_SIZE;
        return line.size == 0;
    default:
        break;
    }
    if (line.size == 0) {
        http1->state = HTTP1_DONE;
        return true;
    }
    http1->head_bytes += line.size + 1;
    return memchr(line.data, ':', line.size) != NULL && http1->head_bytes <= HTTP1_HEAD_MAX &&
           ++http1->fields <= 2 * HTTP1_FIELDS_MAX; /* trailers are dropped */
}

enum http1_event http1_next(struct http1 *http1, struct view *in, struct view *ret_view)
{
    for (;;) {
        struct view line;
        bool good, trailer = http1->state == HTTP1_TRAILERS;
        switch (http1->state) {
        case HTTP1_STATUS_LINE:
        case HTTP1_FIELDS:
            return next_line(http1, in, ret_view);
        case HTTP1_COUNTED:
        case HTTP1_TO_CLOSE:
        case HTTP1_CHUNK:
            return next_body(http1, in, ret_view);
        case HTTP1_DONE:
            return HTTP1_END;
        case HTTP1_BROKEN:
            return HTTP1_BAD;
        default:
            break;
        }
        if (!take_line(in, trailer ? HTTP1_LINE_MAX : CHUNK_LINE_MAX, &line, &good)) {
            return good ? HTTP1_MORE : bad(http1);
        }
        if (!good || !read_between(http1, line)) {
            return bad(http1);
        }
    }
}

bool http1_whole_at_end(const struct http1 *http1)
{
    return http1->state == HTTP1_TO_CLOSE || http1->state == HTTP1_DONE;
}

bool http1_keeps(const struct http1 *http1)
{
    return http1->state == HTTP1_DONE && !http1->close;
}
