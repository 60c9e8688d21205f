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
        if (text.data[2] == '\\' && text.size < 4) {
            return more;
        }
        if (text.data[2] == '\\' && (text.data[3] == '"' || text.data[3] == '/')) {
            return (struct written){4, text.data[3]}; /* \" inside a JSON string */
        }
        /* A doubled backslash before x or u: an escape inside a JSON string. */
        return text.data[2] == 'x'   ? take_hex(text, "\\\\x", 2)
               : text.data[2] == 'u' ? take_hex(text, "\\\\u", 4)
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

struct match match_escape(struct view text, unsigned *ret_value)
{
    struct written written = take_written(text);
    *ret_value = written.value;
    if (written.size == WRITTEN_MORE) {
        return (struct match){MATCH_MORE, 0};
    }
    return (struct match){written.size ? MATCH_YES : MATCH_NO, written.size};
}

struct match match_byte(uint8_t byte, struct view text)
{
    unsigned value;
    struct match escape = match_escape(text, &value);
    if (escape.kind == MATCH_MORE || (escape.kind == MATCH_YES && value == byte)) {
        return escape;
    }
    return (struct match){text.data[0] == byte ? MATCH_YES : MATCH_NO, 1};
}

/* ---- what may stand between two characters ---- */

/* CR, LF or both. */
static size_t line_end(struct view text)
{
    if (text.size > 1 && text.data[0] == '\r' && text.data[1] == '\n') {
        return 2;
    }
    return text.size > 0 && (text.data[0] == '\r' || text.data[0] == '\n');
}

struct match match_line_break(struct view text)
{
    size_t size = line_end(text), at = 0;
    if (size > 0) {
        bool cut = size == text.size && text.data[0] == '\r';
        return (struct match){cut ? MATCH_MORE : MATCH_YES, size};
    }
    for (const char *letter = "rn"; *letter; letter++) { /* \r\n, \r or \n as JSON writes them */
        if (at < text.size && text.data[at] == '\\') {
            if (at + 1 == text.size) {
                return (struct match){MATCH_MORE, 0};
            }
            at += text.data[at + 1] == (uint8_t)*letter ? 2 : 0;
        }
        if (at == 2 && text.size == 2 && *letter == 'r') {
            return (struct match){MATCH_MORE, 0}; /* \n may follow */
        }
    }
    return (struct match){at ? MATCH_YES : MATCH_NO, at};
}

/* The bytes of the first line without its end; all when it has none. */
static size_t line_size(struct view text)
{
    size_t size = 0;
    while (size < text.size && text.data[size] != '\r' && text.data[size] != '\n') {
        size++;
    }
    return size;
}

enum { SEAM_MAX = 256 }; /* bytes: an event's end and the lines before the next data */

static bool starts_within(struct view text, const char *word, bool *ret_cut)
{
    size_t size = strlen(word), seen = size < text.size ? size : text.size;
    bool same = memcmp(text.data, word, seen) == 0;
    *ret_cut = *ret_cut || (same && seen < size);
    return same && seen == size;
}

struct match match_event_seam(struct view text)
{
    static const char *const others[] = {"event:", "id:", "retry:", ":"};
    size_t at = line_end(text);
    if (at == 0) {
        return (struct match){MATCH_NO, 0};
    }
    at += line_end(view_of(text.data + at, text.size - at)); /* the event's end */
    while (at < SEAM_MAX) {
        struct view line = view_of(text.data + at, text.size - at);
        bool cut = line.size == 0, other = false;
        if (!cut && starts_within(line, "data:", &cut)) {
            bool space_to_come = line.size == 5;
            size_t size = at + 5 + (line.size > 5 && line.data[5] == ' ');
            return (struct match){space_to_come ? MATCH_MORE : MATCH_YES, size};
        }
        for (size_t i = 0; !cut && !other && i < sizeof others / sizeof others[0]; i++) {
            other = starts_within(line, others[i], &cut);
        }
        size_t end = other ? line_size(line) : 0;
        if (cut || (other && end == line.size)) {
            return (struct match){line.size < SEAM_MAX ? MATCH_MORE : MATCH_NO, 0};
        }
        if (!other) {
            break;
        }
        at += end + line_end(view_of(line.data + end, line.size - end));
    }
    return (struct match){MATCH_NO, 0};
}
