/* chunks.c - reads aws-chunked, writes aws-chunked with signatures of the real key.
 *
 * One chunk of data is held at a time, because its signature goes in front of it.  The client's own
 * signatures are dropped unread: its secret is made up. */
#include "services/proxy/chunks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/crypto.h"

enum {
    LINE_MAX_BYTES = 1024, /* a chunk's size and signature, or one trailer */
    TRAILERS_MAX_BYTES = 4096,
    SCOPE_TEXT_MAX = 128,
};

#define EXTENSION ";chunk-signature="

enum reading { READ_SIZE, READ_DATA, READ_DATA_END, READ_TRAILERS };

struct chunks {
    uint8_t key[CRYPTO_HASH_BYTES];
    char time[SIGV4_TIME_SIZE], scope[SCOPE_TEXT_MAX], signature[SIGV4_HEX_SIZE];
    uint64_t data_left;    /* announced and not yet come */
    uint64_t body_left;    /* of the size that goes up, CHUNKS_SIZE_UNKNOWN for unknown */
    size_t chunk_size;
    bool trailer;
    struct buffer names;   /* announced trailers */
    enum reading state;
    uint64_t chunk_left;   /* of the client's chunk */
    struct buffer line, data, trailers;
};

struct chunks *chunks_new(const struct chunks_plan *plan)
{
    CLEANUP(buffer_free) struct buffer scope = BUFFER_EMPTY;
    struct chunks *chunks = calloc(1, sizeof *chunks);
    if (!chunks || plan->scope->key.size != sizeof chunks->key) {
        free(chunks);
        return NULL;
    }
    memcpy(chunks->key, plan->scope->key.data, sizeof chunks->key);
    memcpy(chunks->time, plan->scope->time, sizeof chunks->time);
    chunks->data_left = plan->data_size;
    chunks->body_left = chunks_body_size(plan);
    chunks->chunk_size = plan->chunk_size;
    chunks->trailer = plan->trailer;
    chunks->line.max = LINE_MAX_BYTES;
    chunks->trailers.max = TRAILERS_MAX_BYTES;
    buffer_append_view(&chunks->names, plan->trailers);
    sigv4_scope_text(plan->scope, &scope);
    if (chunks->names.failed || scope.failed ||
        !view_copy(view_text(plan->seed), chunks->signature, sizeof chunks->signature) ||
        !view_copy(buffer_view(&scope), chunks->scope, sizeof chunks->scope)) {
        chunks_free(&chunks);
    }
    return chunks;
}

void chunks_free(struct chunks **chunks_at)
{
    struct chunks *chunks = *chunks_at;
    if (!chunks) {
        return;
    }
    explicit_bzero(chunks->key, sizeof chunks->key);
    buffer_free(&chunks->names);
    buffer_free(&chunks->line);
    buffer_free(&chunks->data);
    buffer_free(&chunks->trailers);
    free(chunks);
    *chunks_at = NULL;
}

/* ---- writing ---- */

/* The next signature of the chain, over WHAT, the hashes HASHES (a line each). */
static enum status sign(struct chunks *chunks, const char *what, const char *hashes)
{
    CLEANUP(buffer_free) struct buffer string = BUFFER_EMPTY;
    const struct sigv4_scope scope = {.key = view_of(chunks->key, sizeof chunks->key)};
    buffer_printf(&string, "%s\n%s\n%s\n%s\n%s", what, chunks->time, chunks->scope,
                  chunks->signature, hashes);
    return string.failed ? STATUS_INTERNAL
                         : sigv4_sign(&scope, buffer_view(&string), chunks->signature);
}

/* The chunk that is held, also an empty one, which is the last. */
static enum status write_chunk(struct chunks *chunks, struct buffer *out)
{
    char hash[SIGV4_HEX_SIZE], hashes[2 * SIGV4_HEX_SIZE];
    enum status status = sigv4_hash(buffer_view(&chunks->data), hash);
    (void)snprintf(hashes, sizeof hashes, SIGV4_EMPTY_HASH "\n%s", hash);
    if (status == STATUS_OK) {
        status = sign(chunks, "AWS4-HMAC-SHA256-PAYLOAD", hashes);
    }
    buffer_printf(out, "%zx" EXTENSION "%s\r\n", chunks->data.size, chunks->signature);
    if (chunks->data.size > 0) {
        buffer_append_view(out, buffer_view(&chunks->data));
        buffer_append_text(out, "\r\n");
        buffer_clear(&chunks->data);
    }
    return out->failed ? STATUS_INTERNAL : status;
}

/* Each trailer is there as "name:value\n", which is what is signed. */
static enum status write_trailers(struct chunks *chunks, struct buffer *out)
{
    char hash[SIGV4_HEX_SIZE];
    enum status status = sigv4_hash(buffer_view(&chunks->trailers), hash);
    if (status == STATUS_OK) {
        status = sign(chunks, "AWS4-HMAC-SHA256-TRAILER", hash);
    }
    for (size_t i = 0; i < chunks->trailers.size; i++) {
        uint8_t byte = chunks->trailers.data[i];
        buffer_append_text(out, byte == '\n' ? "\r" : "");
        buffer_append_byte(out, byte);
    }
    buffer_printf(out, "x-amz-trailer-signature:%s\r\n", chunks->signature);
    return status;
}

static enum status write_end(struct chunks *chunks, struct buffer *out)
{
    enum status status = STATUS_OK;
    if (chunks->data.size > 0) {
        status = write_chunk(chunks, out);
    }
    if (status == STATUS_OK) {
        status = write_chunk(chunks, out);
    }
    if (status == STATUS_OK && chunks->trailer) {
        status = write_trailers(chunks, out);
    }
    buffer_append_text(out, "\r\n");
    return out->failed ? STATUS_INTERNAL : status;
}

/* ---- reading ---- */

/* "1a2b;chunk-signature=..." or "1a2b" */
static enum status read_size(struct chunks *chunks, struct view line)
{
    uint64_t size = 0;
    size_t at = 0;
    for (; at < line.size && line.data[at] != ';'; at++) {
        uint8_t byte = line.data[at] | 0x20;
        bool digit = line.data[at] >= '0' && line.data[at] <= '9';
        if ((!digit && (byte < 'a' || byte > 'f')) || size > UINT64_MAX >> 8) {
            return STATUS_INVALID;
        }
        size = size * 16 + (uint64_t)(digit ? line.data[at] - '0' : byte - 'a' + 10);
    }
    if (at == 0 || size > chunks->data_left) {
        return STATUS_INVALID;
    }
    chunks->data_left -= size;
    chunks->chunk_left = size;
    chunks->state = size ? READ_DATA : READ_TRAILERS;
    return STATUS_OK;
}

static bool announced(const struct chunks *chunks, struct view name)
{
    struct view rest = buffer_view(&chunks->names);
    while (rest.size) {
        const uint8_t *comma = memchr(rest.data, ',', rest.size);
        size_t size = comma ? (size_t)(comma - rest.data) : rest.size;
        struct view one = view_of(rest.data, size);
        while (one.size && one.data[0] == ' ') {
            one = view_of(one.data + 1, one.size - 1);
        }
        while (one.size && one.data[one.size - 1] == ' ') {
            one.size--;
        }
        if (one.size == name.size &&
            strncasecmp((const char *)one.data, (const char *)name.data, name.size) == 0) {
            return name.size > 0;
        }
        size += comma != NULL;
        rest = view_of(rest.data + size, rest.size - size);
    }
    return false;
}

static enum status read_trailer(struct chunks *chunks, struct view line)
{
    const uint8_t *colon = line.size ? memchr(line.data, ':', line.size) : NULL;
    if (line.size == 0) {
        return STATUS_OK;
    }
    struct view name = view_of(line.data, colon ? (size_t)(colon - line.data) : 0);
    if (view_is_nocase(name, "x-amz-trailer-signature")) {
        return STATUS_OK;
    }
    if (!chunks->trailer || !announced(chunks, name) || memchr(line.data, '\r', line.size) ||
        memchr(line.data, 0, line.size)) {
        return STATUS_INVALID;
    }
    struct view value = view_of(colon + 1, line.size - name.size - 1);
    while (value.size && value.data[0] == ' ') {
        value = view_of(value.data + 1, value.size - 1);
    }
    for (size_t i = 0; i < name.size; i++) {
        bool upper = name.data[i] >= 'A' && name.data[i] <= 'Z';
        buffer_append_byte(&chunks->trailers, upper ? name.data[i] | 0x20 : name.data[i]);
    }
    buffer_append_byte(&chunks->trailers, ':');
    buffer_append_view(&chunks->trailers, value);
    buffer_append_byte(&chunks->trailers, '\n');
    return chunks->trailers.failed ? STATUS_INVALID : STATUS_OK;
}

/* Takes of DATA up to the line's end; *RET_WHOLE when it was there. */
static enum status take_line(struct chunks *chunks, struct view *data, bool *ret_whole)
{
    const uint8_t *end = memchr(data->data, '\n', data->size);
    size_t size = end ? (size_t)(end - data->data) : data->size;
    buffer_append(&chunks->line, data->data, size);
    size += end != NULL;
    *data = view_of(data->data + size, data->size - size);
    *ret_whole = end != NULL;
    if (end && chunks->line.size && chunks->line.data[chunks->line.size - 1] == '\r') {
        chunks->line.size--;
    }
    return chunks->line.failed ? STATUS_INVALID : STATUS_OK;
}

static enum status take_data(struct chunks *chunks, struct view *data, struct buffer *out)
{
    size_t room = chunks->chunk_size - chunks->data.size;
    size_t size = data->size < room ? data->size : room;
    size = size < chunks->chunk_left ? size : (size_t)chunks->chunk_left;
    buffer_append(&chunks->data, data->data, size);
    *data = view_of(data->data + size, data->size - size);
    chunks->chunk_left -= size;
    if (chunks->chunk_left == 0) {
        chunks->state = READ_DATA_END;
    }
    if (chunks->data.failed) {
        return STATUS_INTERNAL;
    }
    return chunks->data.size == chunks->chunk_size ? write_chunk(chunks, out) : STATUS_OK;
}

static enum status take_whole_line(struct chunks *chunks)
{
    struct view line = buffer_view(&chunks->line);
    enum status status = STATUS_OK;
    switch (chunks->state) {
    case READ_SIZE:
        status = read_size(chunks, line);
        break;
    case READ_DATA_END:
        status = line.size ? STATUS_INVALID : STATUS_OK;
        chunks->state = READ_SIZE;
        break;
    case READ_TRAILERS:
        status = read_trailer(chunks, line);
        break;
    case READ_DATA:
        status = STATUS_INTERNAL;
        break;
    }
    buffer_clear(&chunks->line);
    return status;
}

/* Framing that the announced size has no room for, or too little of it, is a trailer that is not what
 * its name says. */
static enum status count(struct chunks *chunks, uint64_t bytes, bool end)
{
    if (chunks->body_left == CHUNKS_SIZE_UNKNOWN) {
        return STATUS_OK;
    }
    if (bytes > chunks->body_left) {
        return STATUS_INVALID;
    }
    chunks->body_left -= bytes;
    return end && chunks->body_left ? STATUS_INVALID : STATUS_OK;
}

static enum status take(struct chunks *chunks, struct view data, struct buffer *out)
{
    enum status status = STATUS_OK;
    while (data.size && status == STATUS_OK) {
        bool whole = false;
        if (chunks->state == READ_DATA) {
            status = take_data(chunks, &data, out);
            continue;
        }
        status = take_line(chunks, &data, &whole);
        if (status == STATUS_OK && whole) {
            status = take_whole_line(chunks);
        }
    }
    return status;
}

static enum status finish(struct chunks *chunks, struct buffer *out)
{
    if (chunks->state != READ_TRAILERS || chunks->data_left || chunks->line.size ||
        (chunks->trailer && chunks->trailers.size == 0)) {
        return STATUS_INVALID;
    }
    return write_end(chunks, out);
}

enum status chunks_push(struct chunks *chunks, struct view data, bool end, struct buffer *ret_body)
{
    size_t before = ret_body->size;
    enum status status = take(chunks, data, ret_body);
    if (status == STATUS_OK && end) {
        status = finish(chunks, ret_body);
    }
    return status == STATUS_OK ? count(chunks, ret_body->size - before, end) : status;
}

/* ---- sizes ---- */

static uint64_t chunk_bytes(uint64_t data)
{
    char digits[17];
    int size = snprintf(digits, sizeof digits, "%llx", (unsigned long long)data);
    return (uint64_t)size + sizeof EXTENSION - 1 + SIGV4_HEX_SIZE - 1 + 2 + data + (data ? 2 : 0);
}

/* Base64 of the checksum that NAME holds; 0 for a name that is none of them. */
static size_t trailer_value_bytes(struct view name)
{
    static const struct {
        const char *name;
        size_t bytes;
    } known[] = {
        {"x-amz-checksum-crc32", 8},      {"x-amz-checksum-crc32c", 8},
        {"x-amz-checksum-crc64nvme", 12}, {"x-amz-checksum-sha1", 28},
        {"x-amz-checksum-sha256", 44},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (view_is_nocase(name, known[i].name)) {
            return known[i].bytes;
        }
    }
    return 0;
}

uint64_t chunks_body_size(const struct chunks_plan *plan)
{
    uint64_t whole = plan->data_size / plan->chunk_size, rest = plan->data_size % plan->chunk_size;
    uint64_t size = whole * chunk_bytes(plan->chunk_size) + (rest ? chunk_bytes(rest) : 0) +
                    chunk_bytes(0) + 2;
    if (!plan->trailer) {
        return size;
    }
    size_t value = trailer_value_bytes(plan->trailers);
    if (!value) { /* several of them, too */
        return CHUNKS_SIZE_UNKNOWN;
    }
    return size + plan->trailers.size + 1 + value + 2 + sizeof "x-amz-trailer-signature:" - 1 +
           SIGV4_HEX_SIZE - 1 + 2;
}
