/* target.c - whether a request target can be read in one way only.
 *
 * What could mean another path to some server on the way is refused: dot segments however they are
 * encoded, encoded control bytes, overlong UTF-8, a backslash, what no path holds.  The gateway judges what
 * a client sent, vault and proxy what a gateway says that a client sent. */
#include "common/target.h"

#include <string.h>

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes once; a `%` that begins no code stays as it is. */
static size_t decode(const uint8_t *text, size_t size, uint8_t *ret_text)
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '%' && i + 2 < size && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
            ret_text[used++] = (uint8_t)(hex(text[i + 1]) << 4 | hex(text[i + 2]));
            i += 2;
        } else {
            ret_text[used++] = text[i];
        }
    }
    return used;
}

/* "." or "..", also before a ';' (path parameters) or '\'. */
static bool is_dots(const uint8_t *text, size_t size)
{
    size_t dots = 0;
    while (dots < size && text[dots] == '.') {
        dots++;
    }
    bool ends = dots == size || text[dots] == ';' || text[dots] == '\\' || text[dots] == '/';
    return (dots == 1 || dots == 2) && ends;
}

static bool has_dots(const uint8_t *text, size_t size)
{
    for (size_t i = 0; i <= size; i++) {
        bool begins = i == 0 || text[i - 1] == '/' || text[i - 1] == '\\';
        if (begins && i < size && is_dots(text + i, size - i)) {
            return true;
        }
    }
    return false;
}

static bool has_control(const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] < 0x20 || text[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

/* The first two bytes of a UTF-8 form that is longer than need be (RFC 3629 section 3): some decoders
 * read C0 AE as a dot. */
static bool is_overlong(uint8_t first, uint8_t second)
{
    return first == 0xc0 || first == 0xc1 || (first == 0xe0 && second < 0xa0) ||
           (first == 0xf0 && second < 0x90);
}

static bool has_overlong(const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (is_overlong(text[i], i + 1 < size ? text[i + 1] : 0xff)) {
            return true;
        }
    }
    return false;
}

static bool decoded_good(const uint8_t *text, size_t size)
{
    return !has_dots(text, size) && !has_control(text, size) && !has_overlong(text, size);
}

static bool path_good(struct view path)
{
    uint8_t once[TARGET_PLAIN_MAX], twice[TARGET_PLAIN_MAX];
    size_t once_size = decode(path.data, path.size, once);
    size_t twice_size = decode(once, once_size, twice);
    return !has_dots(path.data, path.size) && decoded_good(once, once_size) &&
           decoded_good(twice, twice_size);
}

/* Every `%` is followed by two hexadecimal digits (RFC 3986 section 2.1). */
static bool escapes_whole(struct view text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '%' &&
            (i + 2 >= text.size || hex(text.data[i + 1]) < 0 || hex(text.data[i + 2]) < 0)) {
            return false;
        }
    }
    return true;
}

/* What a path cannot hold as it is (RFC 3986 section 3.3), and some servers put in code for; the
 * backslash is judged by itself. */
static bool has_delimiter(struct view path)
{
    for (size_t i = 0; i < path.size; i++) {
        if (memchr("\"<>^`{|}", path.data[i], 8)) {
            return true;
        }
    }
    return false;
}

bool target_plain(struct view target, bool backslash)
{
    if (target.size > TARGET_PLAIN_MAX) {
        return false;
    }
    for (size_t i = 0; i < target.size; i++) {
        uint8_t byte = target.data[i];
        if (byte <= 0x20 || byte >= 0x7f || byte == '#') {
            return false;
        }
    }
    const uint8_t *query = target.size ? memchr(target.data, '?', target.size) : NULL;
    struct view path = view_of(target.data, query ? (size_t)(query - target.data) : target.size);
    if (path.size == 0) {
        return true;
    }
    uint8_t once[TARGET_PLAIN_MAX];
    size_t size = decode(path.data, path.size, once);
    bool has_backslash = memchr(path.data, '\\', path.size) || memchr(once, '\\', size);
    return path.data[0] == '/' && (backslash || !has_backslash) && escapes_whole(path) &&
           !has_delimiter(path) && path_good(path);
}
