/* json_text.c - text of unknown origin between the quotes of a JSON string. */
#include "common/json_text.h"

#include <string.h>

/* The size of the well-formed UTF-8 sequence at TEXT (RFC 3629 section 4), 0 when it is none. */
static size_t utf8_size(const uint8_t *text, size_t left)
{
    uint8_t first = text[0], low = 0x80, high = 0xBF;
    size_t size = first < 0x80 ? 1 : first >= 0xC2 && first <= 0xDF ? 2 : first >= 0xE0 && first <= 0xEF ? 3
                  : first >= 0xF0 && first <= 0xF4 ? 4 : 0;
    if (size == 0 || size > left) {
        return 0;
    }
    low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : low;
    high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : high;
    for (size_t i = 1; i < size; i++) {
        if (text[i] < low || text[i] > high) {
            return 0;
        }
        low = 0x80;
        high = 0xBF;
    }
    return size;
}

/* Whether each of the eight bytes of WORD is printable ASCII and neither a quote nor a backslash.  Byte by
 * byte: none has its top bit; adding 0x60 to one from 0x20 on sets it, as adding 1 to 0x7F does, and adding
 * 0x7F to what differs from the byte that is looked for. */
static bool all_plain(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x80 * ones;
    return !(word & tops) &&
           ((word + 0x60 * ones) & ~(word + ones) & ((word ^ 0x22 * ones) + 0x7F * ones) &
            ((word ^ 0x5C * ones) + 0x7F * ones) & tops) == tops;
}

/* How many bytes at the front of TEXT need no look of their own. */
static size_t plain_front(struct view text)
{
    uint64_t word;
    size_t at = 0;
    for (; text.size - at >= sizeof word; at += sizeof word) {
        memcpy(&word, text.data + at, sizeof word);
        if (!all_plain(word)) {
            break;
        }
    }
    return at;
}

void json_escape(struct view text, struct buffer *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    size_t plain = 0; /* where the run of bytes that need no escape began */
    for (size_t at = plain_front(text); at < text.size;) {
        uint8_t c = text.data[at];
        size_t size = utf8_size(text.data + at, text.size - at);
        bool steers = c < 0x20 || c == 0x7F || (size == 2 && c == 0xC2 && text.data[at + 1] < 0xA0);
        if (size > 0 && !steers && c != '"' && c != '\\') {
            at += size;
            continue;
        }
        buffer_append(ret_text, text.data + plain, at - plain);
        if (size == 0) {
            buffer_append_text(ret_text, "\\ufffd");
        } else if (c == '"' || c == '\\') {
            buffer_append_byte(ret_text, '\\');
            buffer_append_byte(ret_text, c);
        } else {
            c = text.data[at + size - 1]; /* of a C1 control the second byte is its number */
            buffer_append_text(ret_text, "\\u00");
            buffer_append_byte(ret_text, (uint8_t)digits[c >> 4]);
            buffer_append_byte(ret_text, (uint8_t)digits[c & 15]);
        }
        at += size > 0 ? size : 1;
        plain = at;
    }
    buffer_append(ret_text, text.data + plain, text.size - plain);
}
