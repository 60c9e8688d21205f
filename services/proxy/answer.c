/* answer.c - passes an answer on: head cleaned and rewritten, everything scrubbed of the key.
 *
 * The head leaves when its last line has come; the body follows as it comes.  An informational
 * answer (1xx) is skipped, trailers are dropped. */
#include "services/proxy/answer.h"

#include <stdlib.h>
#include <string.h>

#include "services/proxy/scrub.h"
#include "services/proxy/spare.h"

enum { SECRETS_MAX = 8 };

struct answer {
    struct call *call;
    struct scrub *scrub;
    struct buffer rows;
    struct list headers;
    unsigned http;
    uint64_t body_size;
    bool encoded;    /* libcurl decodes the body: its length and coding do not hold any more */
    bool head_sent;
    bool untouched;  /* the body holds no key of ours */
    struct buffer held;
};

static struct spares spare_answers = {.size = sizeof(struct answer)};

struct answer *answer_new(struct call *call, struct list credentials, bool untouched)
{
    struct view secrets[SECRETS_MAX];
    size_t count = 0;
    struct grant_row row;
    struct answer *answer = spare_take(&spare_answers);
    while (!untouched && count < SECRETS_MAX && proto_list_next(&grant_row_schema, &credentials, &row)) {
        secrets[count++] = row.value;
    }
    if (!answer) {
        return NULL;
    }
    answer->call = call;
    answer->untouched = untouched;
    answer->scrub = scrub_new(secrets, count);
    if (!answer->scrub) {
        answer_free(&answer);
    }
    return answer;
}

void answer_free(struct answer **answer)
{
    if (!*answer) {
        return;
    }
    scrub_free(&(*answer)->scrub);
    buffer_free(&(*answer)->rows);
    buffer_free(&(*answer)->held);
    spare_give(&spare_answers, *answer);
    *answer = NULL;
}

/* ---- the head ---- */

static struct view trim(struct view text)
{
    while (text.size && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = view_of(text.data + 1, text.size - 1);
    }
    while (text.size && (text.data[text.size - 1] == '\r' || text.data[text.size - 1] == '\n' ||
                         text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

/* "HTTP/1.1 200 OK" or "HTTP/2 200": a new head begins. */
static enum status begin_head(struct answer *answer, struct view line)
{
    const uint8_t *space = memchr(line.data, ' ', line.size);
    size_t left = space ? line.size - (size_t)(space - line.data) : 0;
    unsigned http = 0;
    for (size_t i = 1; i < 4 && i < left; i++) {
        if (space[i] < '0' || space[i] > '9') {
            return STATUS_UPSTREAM;
        }
        http = http * 10 + (unsigned)(space[i] - '0');
    }
    if (http < 100 || http > 999) {
        return STATUS_UPSTREAM;
    }
    buffer_clear(&answer->rows);
    answer->headers = (struct list){0, {NULL, 0}};
    answer->http = http;
    answer->body_size = BODY_SIZE_UNKNOWN;
    answer->encoded = false;
    return STATUS_OK;
}

static enum status read_length(struct answer *answer, struct view value)
{
    uint64_t size = 0;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9' || size > UINT64_MAX / 16) {
            return STATUS_UPSTREAM;
        }
        size = size * 10 + (uint64_t)(value.data[i] - '0');
    }
    answer->body_size = size;
    return value.size ? STATUS_OK : STATUS_UPSTREAM;
}

static bool is_event_stream(struct view type)
{
    static const char events[] = "text/event-stream";
    return type.size >= sizeof events - 1 && view_is_nocase(view_of(type.data, sizeof events - 1), events);
}

/* An answer that has a body by neither its status nor its method (RFC 9112 section 6.3). */
static bool is_bodiless(const struct answer *answer)
{
    return answer->http == 204 || answer->http == 304 || strcmp(answer->call->method, "HEAD") == 0;
}

/* What cannot be decoded cannot be scrubbed, so it does not pass. */
static enum status read_coding(struct answer *answer, struct view value)
{
    static const char *const decodable[] = {"gzip", "x-gzip", "deflate"};
    if (view_is_nocase(value, "identity") || value.size == 0) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < sizeof decodable / sizeof decodable[0]; i++) {
        if (view_is_nocase(value, decodable[i]) && !answer->encoded) {
            answer->encoded = true;
            return STATUS_OK;
        }
    }
    return STATUS_UPSTREAM;
}

/* STATUS_DENIED when the name itself is a key: such a header goes nowhere. */
static enum status scrub_header(struct answer *answer, struct view name, struct view value,
                                struct buffer *ret_value)
{
    CLEANUP(buffer_free) struct buffer clean_name = BUFFER_EMPTY;
    size_t before = scrub_hits(answer->scrub);
    enum status status = scrub_text(answer->scrub, name, &clean_name);
    if (status == STATUS_OK && scrub_hits(answer->scrub) > before) {
        status = STATUS_DENIED;
    }
    if (status == STATUS_OK) {
        status = scrub_text(answer->scrub, value, ret_value);
    }
    answer->call->scrubbed = scrub_hits(answer->scrub) > 0;
    return status;
}

static enum status add_row(struct answer *answer, struct view name, struct view value)
{
    CLEANUP(buffer_free) struct buffer clean = BUFFER_EMPTY;
    CLEANUP(buffer_free) struct buffer rewritten = BUFFER_EMPTY;
    enum status status = STATUS_OK;
    if (header_is_rewritten(answer->call->provider, name)) {
        header_rewrite(answer->call, value, &rewritten);
        value = buffer_view(&rewritten);
    }
    if (!scrub_passes(answer->scrub, name) || !scrub_passes(answer->scrub, value)) {
        status = scrub_header(answer, name, value, &clean);
        value = buffer_view(&clean);
    }
    if (status == STATUS_DENIED) {
        return STATUS_OK;
    }
    struct header_row row = {name, value};
    if (status == STATUS_OK && (rewritten.failed || !header_value_safe(row.value))) {
        status = STATUS_UPSTREAM;
    }
    if (status != STATUS_OK || answer->headers.count == HEADERS_MAX) {
        return STATUS_UPSTREAM;
    }
    return proto_list_add(&header_row_schema, &row, &answer->rows, &answer->headers);
}

static enum status send_head(struct answer *answer)
{
    if (answer->http < 200) {
        return answer->http == 101 ? STATUS_UPSTREAM : STATUS_OK;
    }
    answer->head_sent = true;
    return call_head(answer->call, answer->http, answer->headers,
                     answer->encoded ? BODY_SIZE_UNKNOWN : answer->body_size);
}

enum status answer_header(struct answer *answer, struct view line)
{
    if (answer->head_sent) {
        return STATUS_OK; /* a trailer */
    }
    if (view_starts(line, "HTTP/")) {
        return begin_head(answer, line);
    }
    struct view text = trim(line);
    if (text.size == 0) {
        return send_head(answer);
    }
    const uint8_t *colon = memchr(text.data, ':', text.size);
    if (!colon) {
        return STATUS_UPSTREAM;
    }
    struct view name = view_of(text.data, (size_t)(colon - text.data));
    struct view value = trim(view_of(colon + 1, text.size - name.size - 1));
    if (view_is_nocase(name, "content-length")) {
        return read_length(answer, value);
    }
    if (!answer->untouched && view_is_nocase(name, "content-encoding")) {
        enum status status = read_coding(answer, value);
        if (status == STATUS_OK || !is_bodiless(answer)) {
            return status;
        } /* nothing comes that would have to be scrubbed: the header passes */
    }
    if (view_is_nocase(name, "content-type") && is_event_stream(value)) {
        scrub_events(answer->scrub);
    }
    return header_comes_down(name) ? add_row(answer, name, value) : STATUS_OK;
}

/* ---- the body ---- */

size_t answer_held(const struct answer *answer)
{
    return answer->held.size;
}

void answer_flush(struct answer *answer)
{
    buffer_consume(&answer->held, call_data(answer->call, buffer_view(&answer->held)));
}

static enum status pass_on(struct answer *answer, struct view data)
{
    size_t sent = answer->held.size ? 0 : call_data(answer->call, data);
    buffer_append_view(&answer->held, view_of(data.data + sent, data.size - sent));
    return answer->held.failed ? STATUS_INTERNAL : STATUS_OK;
}

enum status answer_body(struct answer *answer, struct view data)
{
    if (answer->untouched) {
        return pass_on(answer, data);
    }
    size_t clean = answer->held.size ? 0 : scrub_clean(answer->scrub, data);
    enum status status = pass_on(answer, view_of(data.data, clean)); /* without a copy between */
    if (status != STATUS_OK || clean == data.size) {
        return status;
    }
    status = scrub_feed(answer->scrub, view_of(data.data + clean, data.size - clean), false,
                        &answer->held);
    answer->call->scrubbed = scrub_hits(answer->scrub) > 0;
    answer_flush(answer);
    return status;
}

enum status answer_end(struct answer *answer)
{
    enum status status = scrub_feed(answer->scrub, (struct view){NULL, 0}, true, &answer->held);
    answer->call->scrubbed = scrub_hits(answer->scrub) > 0;
    answer_flush(answer);
    return status;
}
