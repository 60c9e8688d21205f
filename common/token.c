/* token.c - makes and checks the form of tokens and ids.  Never looks one up. */
#include "common/token.h"

#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Fills with uniform base62 characters: bytes of 248 and more are thrown away, for 248 = 4 * 62. */
static void random_base62(char *out, size_t size)
{
    size_t done = 0;
    while (done < size) {
        uint8_t bytes[256];
        crypto_random(bytes, sizeof bytes);
        for (size_t i = 0; i < sizeof bytes && done < size; i++) {
            if (bytes[i] < 248) {
                out[done++] = base62[bytes[i] % 62];
            }
        }
        explicit_bzero(bytes, sizeof bytes);
    }
}

/* What each value of a byte does to the register, and which bytes are base62 characters. */
static uint32_t crc_of_byte[256];
static bool is_base62[256];

__attribute__((constructor)) static void make_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0);
        }
        crc_of_byte[byte] = crc;
        is_base62[byte] = byte != 0 && strchr(base62, (int)byte);
    }
}

uint32_t token_crc32(struct view data)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < data.size; i++) {
        crc = (crc >> 8) ^ crc_of_byte[(crc ^ data.data[i]) & 0xFF];
    }
    return ~crc;
}

static void write_crc(struct view over, char *out)
{
    uint32_t crc = token_crc32(over);
    for (int i = TOKEN_CRC_CHARS - 1; i >= 0; i--) {
        out[i] = base62[crc % 62];
        crc /= 62;
    }
}

static bool label_valid(struct view label)
{
    if (label.size == 0 || label.size > TOKEN_LABEL_MAX) {
        return false;
    }
    for (size_t i = 0; i < label.size; i++) {
        uint8_t c = label.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
            return false;
        }
    }
    return true;
}

enum status token_new(struct view label, char *ret_token)
{
    if (!label_valid(label)) {
        return STATUS_INVALID;
    }
    char *end = ret_token;
    memcpy(end, "seks_", 5);
    end += 5;
    memcpy(end, label.data, label.size);
    end += label.size;
    *end++ = '_';
    random_base62(end, TOKEN_RANDOM_CHARS);
    end += TOKEN_RANDOM_CHARS;
    write_crc(view_of(ret_token, (size_t)(end - ret_token)), end);
    end[TOKEN_CRC_CHARS] = '\0';
    return STATUS_OK;
}

static bool own_shape(struct view token, struct view *ret_label)
{
    size_t tail = TOKEN_RANDOM_CHARS + TOKEN_CRC_CHARS;
    char crc[TOKEN_CRC_CHARS];
    if (token.size < 5 + 1 + 1 + tail || token.size > TOKEN_SIZE_MAX ||
        token.data[token.size - tail - 1] != '_') {
        return false;
    }
    for (size_t i = token.size - tail; i < token.size; i++) {
        if (!is_base62[token.data[i]]) {
            return false;
        }
    }
    struct view label = view_of(token.data + 5, token.size - tail - 6);
    write_crc(view_of(token.data, token.size - TOKEN_CRC_CHARS), crc);
    if (!label_valid(label) ||
        memcmp(crc, token.data + token.size - TOKEN_CRC_CHARS, sizeof crc) != 0) {
        return false;
    }
    *ret_label = label;
    return true;
}

/* No label has a "_", so the first one ends it. */
static bool imported_shape(struct view token, struct view *ret_label)
{
    const uint8_t *end = token.size > 5 ? memchr(token.data + 5, '_', token.size - 5) : NULL;
    if (!end) {
        return false;
    }
    struct view label = view_of(token.data + 5, (size_t)(end - token.data) - 5);
    size_t tail = token.size - 5 - label.size - 1;
    size_t wanted = view_is(label, "agent") ? TOKEN_IMPORTED_AGENT_CHARS : TOKEN_IMPORTED_CHARS;
    if (tail != wanted || !label_valid(label)) {
        return false;
    }
    for (size_t i = token.size - tail; i < token.size; i++) {
        uint8_t c = token.data[i];
        if (c != '-' && c != '_' && !is_base62[c]) {
            return false;
        }
    }
    *ret_label = label;
    return true;
}

bool token_check(struct view token, struct view *ret_label)
{
    struct view label;
    if (!view_starts(token, "seks_") ||
        !(own_shape(token, &label) || imported_shape(token, &label))) {
        return false;
    }
    if (ret_label) {
        *ret_label = label;
    }
    return true;
}

bool token_is_imported(struct view token)
{
    struct view label;
    return view_starts(token, "seks_") && imported_shape(token, &label);
}

/* The same for what is no secret: one system call for many ids. */
static void pooled_base62(char *out, size_t size)
{
    static _Thread_local struct {
        char digits[1024];
        size_t left;
    } pool;
    if (pool.left < size) {
        random_base62(pool.digits, sizeof pool.digits);
        pool.left = sizeof pool.digits;
    }
    pool.left -= size;
    memcpy(out, pool.digits + pool.left, size);
}

void id_new(const char *prefix, char *ret_id)
{
    size_t size = strlen(prefix);
    if (size > 8) {
        abort();
    }
    memcpy(ret_id, prefix, size);
    ret_id[size] = '_';
    pooled_base62(ret_id + size + 1, ID_RANDOM_CHARS);
    ret_id[size + 1 + ID_RANDOM_CHARS] = '\0';
}
