/* spelling.c - decodes one written character at a time and compares it; keeps nothing. */
#include "services/proxy/spelling.h"

#include <string.h>

enum { ENTITY_MAX = 12 }; /* "&#x0000041;" and every name below */

/* One character as written: how long, and what it means. */
struct written {
    size_t size; /* 0: this is not such a form; WRITTEN_MORE: the text ended */
    unsigned value;
};

#define WRITTEN_MORE SIZE_MAX
static const struct written none = {0, 0}, more = {WRITTEN_MORE, 0};

static int digit(uint8_t c, unsigned base)
{
    int value = c >= '0' && c <= '9'                 ? c - '0'
                : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                         : 99;
    return value < (int)base ? value : -1;
}

/* PREFIX and then COUNT hexadecimal digits. */
static struct written take_hex(struct view text, const char *prefix, size_t count)
{
    size_t size = strlen(prefix);
    unsigned value = 0;
    for (size_t i = 0; i < size + count; i++) {
        if (i == text.size) {
            return more;
        }
        if (i < size) {
            if (text.data[i] != (uint8_t)prefix[i]) {
                return none;
            }
            continue;
        }
        int d = digit(text.data[i], 16);
        if (d < 0) {
            return none;
        }
        value = value * 16 + (unsigned)d;
    }
    return (struct written){size + count, value};
}

static struct written take_named(struct view text)
{
    static const struct {
        const char *name;
        uint8_t value;
    } names[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t size = strlen(names[i].name);
        size_t seen = size < text.size ? size : text.size;
        if (memcmp(text.data, names[i].name, seen) == 0) {
            return seen == size ? (struct written){size, names[i].value} : more;
        }
    }
    return none;
}

static struct written take_entity(struct view text)
{
    size_t at = 2;
    unsigned base = 10, value = 0, digits = 0;
    if (text.size >= 2 && text.data[1] != '#') {
        return take_named(text);
    }
    if (text.size > 2 && (text.data[2] | 0x20) == 'x') {
        base = 16;
        at = 3;
    }
    for (; at < text.size && at < ENTITY_MAX; at++, digits++) {
        int d = digit(text.data[at], base);
        if (text.data[at] == ';' && digits > 0) {
            return (struct written){at + 1, value};
        }
        if (d < 0) {
            return none;
        }
        value = value * base + (unsigned)d;
    }
    return at >= ENTITY_MAX ? none : more;
}

static struct written take_escape(struct view text)
{
    if (text.size < 2) {
        return more;
    }
    switch (text.data[1]) {
    case 'u':
        return take_hex(text, "\\u", 4);
    case 'x':
        return take_hex(text, "\\x", 2);
    case '\\':
        if (text.size < 3) {
            return more;
        }
        /* A doubled backslash before x: an escape inside a JSON string. */
        return text.data[2] == 'x' ? take_hex(text, "\\\\x", 2)
                                   : (struct written){2, '\\'};
    default:
        return (struct written){2, text.data[1]};
    }
}

static struct written take_percent(struct view text)
{
    struct written doubled = take_hex(text, "%25", 2);
    return doubled.size ? doubled : take_hex(text, "%", 2);
}

static struct written take_written(struct view text)
{
    switch (text.data[0]) {
    case '%':
        return take_percent(text);
    case '\\':
        return take_escape(text);
    case '&':
        return take_entity(text);
    default:
        return none;
    }
}

struct match match_spelled(struct view secret, struct view text)
{
    size_t at = 0;
    for (size_t i = 0; i < secret.size; i++) {
        if (at == text.size) {
            return (struct match){MATCH_MORE, 0};
        }
        struct written written = take_written(view_of(text.data + at, text.size - at));
        if (written.size == WRITTEN_MORE) {
            return (struct match){MATCH_MORE, 0};
        }
        if (written.size > 0 && written.value == secret.data[i]) {
            at += written.size;
            continue;
        }
        if (text.data[at] != secret.data[i]) {
            return (struct match){MATCH_NO, 0};
        }
        at++;
    }
    return (struct match){MATCH_YES, at};
}
