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
        uint8_t bytes[64];
        crypto_random(bytes, sizeof bytes);
        for (size_t i = 0; i < sizeof bytes && done < size; i++) {
            if (bytes[i] < 248) {
                out[done++] = base62[bytes[i] % 62];
            }
        }
        explicit_bzero(bytes, sizeof bytes);
    }
}

uint32_t token_crc32(struct view data)
{
    /* What each value of four bits does to the register: the polynomial is 0xEDB88320. */
    static const uint32_t nibble[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < data.size; i++) {
        crc ^= data.data[i];
        crc = (crc >> 4) ^ nibble[crc & 15];
        crc = (crc >> 4) ^ nibble[crc & 15];
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
        if (token.data[i] == '\0' || !strchr(base62, (char)token.data[i])) {
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
    for (size_t i = token.size - tail; i < token.size; i++) {
        uint8_t c = token.data[i];
        if (c != '-' && c != '_' && (c == '\0' || !strchr(base62, (char)c))) {
            return false;
        }
    }
    *ret_label = label;
    return label_valid(label) && tail == wanted;
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

void id_new(const char *prefix, char *ret_id)
{
    size_t size = strlen(prefix);
    if (size > 8) {
        abort();
    }
    memcpy(ret_id, prefix, size);
    ret_id[size] = '_';
    random_base62(ret_id + size + 1, ID_RANDOM_CHARS);
    ret_id[size + 1 + ID_RANDOM_CHARS] = '\0';
}
