/* checkpoint.c - makes and reads checkpoints; nothing but the one canonical spelling is read. */
#include "proto/checkpoint.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/keyfile.h"

enum { KEY_ID_BYTES = 4, SIGNED_BYTES = KEY_ID_BYTES + CRYPTO_SIGNATURE_BYTES };

static const char dash[] = "\xe2\x80\x94 "; /* an em dash, as signed-note has it */
static const char removed[] = "/removed";

enum { ORIGIN_CHARS = 27 }; /* without a number */

enum status checkpoint_origin(const uint8_t *public_key, unsigned shard, char *ret_origin)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    enum status status = crypto_sha256(view_of(public_key, CRYPTO_KEY_BYTES), hash);
    if (status == STATUS_OK) {
        memcpy(ret_origin, "seks-audit/", 11);
        hex_encode(view_of(hash, 8), ret_origin + 11);
    }
    if (status == STATUS_OK && shard > 0) {
        (void)snprintf(ret_origin + ORIGIN_CHARS, CHECKPOINT_ORIGIN_SIZE - ORIGIN_CHARS, "/%u", shard % 1000);
    }
    return status;
}

/* The number at the end of ORIGIN, 0 when there is none. */
static unsigned origin_shard(struct view origin)
{
    unsigned shard = 0;
    for (size_t i = ORIGIN_CHARS + 1; i < origin.size && i < CHECKPOINT_ORIGIN_SIZE; i++) {
        if (origin.data[i] < '0' || origin.data[i] > '9') {
            return 0;
        }
        shard = shard * 10 + (unsigned)(origin.data[i] - '0');
    }
    return shard;
}

/* signed-note: the first four bytes of SHA-256(name, newline, 0x01 for Ed25519, key). */
static enum status key_id(const char *origin, const uint8_t *public_key, uint8_t *ret_id)
{
    CLEANUP(buffer_free) struct buffer text = BUFFER_EMPTY;
    uint8_t hash[CRYPTO_HASH_BYTES];
    buffer_append_text(&text, origin);
    buffer_append(&text, "\n\x01", 2);
    buffer_append(&text, public_key, CRYPTO_KEY_BYTES);
    if (text.failed || crypto_sha256(buffer_view(&text), hash) != STATUS_OK) {
        return STATUS_INTERNAL;
    }
    memcpy(ret_id, hash, KEY_ID_BYTES);
    return STATUS_OK;
}

static void append_base64(struct buffer *out, const uint8_t *bytes, size_t size)
{
    char text[sodium_base64_ENCODED_LEN(SIGNED_BYTES, sodium_base64_VARIANT_ORIGINAL)];
    buffer_append_text(out, sodium_bin2base64(text, sizeof text, bytes, size,
                                              sodium_base64_VARIANT_ORIGINAL));
}

/* Exactly SIZE bytes in their one spelling; libsodium takes the byte 0xAF for a slash, so what was
 * read is spelled again. */
static bool read_base64(struct view text, uint8_t *ret_bytes, size_t size)
{
    char again[sodium_base64_ENCODED_LEN(SIGNED_BYTES, sodium_base64_VARIANT_ORIGINAL)];
    size_t got;
    return sodium_base642bin(ret_bytes, size, (const char *)text.data, text.size, NULL, &got, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           got == size &&
           view_is(text, sodium_bin2base64(again, sizeof again, ret_bytes, size,
                                           sodium_base64_VARIANT_ORIGINAL));
}

static void append_body(struct buffer *out, struct view origin, const struct checkpoint *checkpoint)
{
    buffer_append_view(out, origin);
    buffer_append_text(out, checkpoint->kind == CHECKPOINT_REMOVED ? removed : "");
    buffer_printf(out, "\n%llu\n", (unsigned long long)checkpoint->size);
    append_base64(out, checkpoint->hash, sizeof checkpoint->hash);
    buffer_append_byte(out, '\n');
}

enum status checkpoint_make(const uint8_t *seed, const uint8_t *public_key,
                            const struct checkpoint *checkpoint, struct buffer *ret_note)
{
    CLEANUP(buffer_free) struct buffer body = BUFFER_EMPTY;
    char origin[CHECKPOINT_ORIGIN_SIZE];
    uint8_t bytes[SIGNED_BYTES];
    enum status status = checkpoint_origin(public_key, checkpoint->shard, origin);
    if (status == STATUS_OK) {
        status = key_id(origin, public_key, bytes);
    }
    append_body(&body, view_text(origin), checkpoint);
    if (status == STATUS_OK && !body.failed) {
        status = crypto_sign_make(seed, buffer_view(&body), bytes + KEY_ID_BYTES);
    }
    if (status != STATUS_OK || body.failed) {
        return STATUS_INTERNAL;
    }
    buffer_append_view(&body, VIEW("\n"));
    buffer_append_text(&body, dash);
    buffer_append_text(&body, origin);
    buffer_append_byte(&body, ' ');
    append_base64(&body, bytes, sizeof bytes);
    buffer_append_byte(&body, '\n');
    if (!body.failed) {
        buffer_append_view(ret_note, buffer_view(&body));
    }
    return body.failed || ret_note->failed ? STATUS_INTERNAL : STATUS_OK;
}

/* Takes the next line off TEXT, without its newline; false when there is no newline. */
static bool take_line(struct view *text, struct view *ret_line)
{
    const uint8_t *end = text->size ? memchr(text->data, '\n', text->size) : NULL;
    if (!end) {
        return false;
    }
    *ret_line = view_of(text->data, (size_t)(end - text->data));
    *text = view_of(end + 1, text->size - ret_line->size - 1);
    return true;
}

static bool read_number(struct view text, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret_number = number;
    return text.size > 0 && text.size <= 19 && (text.size == 1 || text.data[0] != '0');
}

/* Reads the body's lines and compares them with the one way to write what they say. */
static bool read_body(struct view body, struct view *ret_origin, struct checkpoint *ret)
{
    CLEANUP(buffer_free) struct buffer again = BUFFER_EMPTY;
    struct view rest = body, origin, number, hash;
    if (!take_line(&rest, &origin) || !take_line(&rest, &number) || !take_line(&rest, &hash) ||
        rest.size != 0 || !read_number(number, &ret->size) ||
        !read_base64(hash, ret->hash, sizeof ret->hash)) {
        return false;
    }
    size_t tail = sizeof removed - 1;
    ret->kind = CHECKPOINT_HEAD;
    if (origin.size > tail && memcmp(origin.data + origin.size - tail, removed, tail) == 0) {
        ret->kind = CHECKPOINT_REMOVED;
        origin.size -= tail;
    }
    ret->shard = origin_shard(origin);
    append_body(&again, origin, ret);
    *ret_origin = origin;
    return !again.failed && view_equal(buffer_view(&again), body);
}

/* Whether one of the lines of SIGNATURES is ORIGIN's over BODY. */
static enum status check(const uint8_t *public_key, struct view body, struct view origin,
                         struct view signatures)
{
    char name[CHECKPOINT_ORIGIN_SIZE], begin[CHECKPOINT_ORIGIN_SIZE + 8];
    uint8_t id[KEY_ID_BYTES], bytes[SIGNED_BYTES];
    struct view line;
    if (checkpoint_origin(public_key, origin_shard(origin), name) != STATUS_OK ||
        key_id(name, public_key, id) != STATUS_OK) {
        return STATUS_INTERNAL;
    }
    size_t size = strlen(name);
    memcpy(begin, dash, sizeof dash - 1);
    memcpy(begin + sizeof dash - 1, name, size);
    memcpy(begin + sizeof dash - 1 + size, " ", 2);
    bool good = false;
    while (signatures.size > 0 && take_line(&signatures, &line)) {
        size_t skip = strlen(begin);
        if (view_starts(line, begin) &&
            read_base64(view_of(line.data + skip, line.size - skip), bytes, sizeof bytes) &&
            memcmp(bytes, id, sizeof id) == 0) {
            good = good || crypto_sign_good(public_key, body, bytes + KEY_ID_BYTES);
        }
    }
    return good && view_is(origin, name) ? STATUS_OK : STATUS_DENIED;
}

enum status checkpoint_read(const uint8_t *public_key, struct view note,
                            struct checkpoint *ret_checkpoint)
{
    struct checkpoint checkpoint = {0};
    struct view origin;
    const uint8_t *blank = note.size ? memmem(note.data, note.size, "\n\n", 2) : NULL;
    if (!blank || note.size > CHECKPOINT_SIZE_MAX || checkpoint_span(note) != note.size) {
        return STATUS_INVALID;
    }
    struct view body = view_of(note.data, (size_t)(blank - note.data) + 1);
    if (!read_body(body, &origin, &checkpoint)) {
        return STATUS_INVALID;
    }
    struct view signatures = view_of(blank + 2, note.size - body.size - 1);
    enum status status = public_key ? check(public_key, body, origin, signatures) : STATUS_OK;
    if (status == STATUS_OK) {
        *ret_checkpoint = checkpoint;
    }
    return status;
}

size_t checkpoint_span(struct view bytes)
{
    const uint8_t *blank = bytes.size ? memmem(bytes.data, bytes.size, "\n\n", 2) : NULL;
    if (!blank) {
        return 0;
    }
    size_t begin = (size_t)(blank - bytes.data) + 2, span = 0;
    struct view rest = view_of(bytes.data + begin, bytes.size - begin), line;
    while (view_starts(rest, dash) && take_line(&rest, &line)) {
        span = (size_t)(rest.data - bytes.data);
    }
    return span;
}
