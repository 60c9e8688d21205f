/* dotenv.c - reads .env files: what docker, the shells and the dotenv libraries agree on.
 *
 * NAME=value, `export` before it, # comments, '...' taken as it is, "..." with \n, \t, \", \\ and \$.
 * Nothing is expanded: a $ stays a $.  Values lie in TEXT or in a buffer that is wiped. */
#include "cli/cli.h"

#include <ctype.h>
#include <string.h>

struct reader {
    struct view left; /* what is not read yet */
    size_t line;      /* of its beginning */
    struct buffer value;
};

static struct view take_line(struct reader *reader)
{
    const uint8_t *end = memchr(reader->left.data, '\n', reader->left.size);
    size_t size = end ? (size_t)(end - reader->left.data) : reader->left.size;
    struct view line = view_of(reader->left.data, size);
    size += end != NULL;
    reader->left = view_of(reader->left.data + size, reader->left.size - size);
    reader->line++;
    return line;
}

static struct view trim(struct view text)
{
    while (text.size > 0 && isspace(text.data[0])) {
        text = view_of(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && isspace(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}

static struct view skip(struct view text, size_t size)
{
    return view_of(text.data + size, text.size - size);
}

static size_t name_size(struct view text)
{
    size_t size = 0;
    while (size < text.size && (isalnum(text.data[size]) || text.data[size] == '_')) {
        size++;
    }
    return size > 0 && isdigit(text.data[0]) ? 0 : size;
}

static uint8_t escaped(uint8_t byte)
{
    return byte == 'n' ? '\n' : byte == 'r' ? '\r' : byte == 't' ? '\t' : byte;
}

/* What may follow a closing quote: nothing, or a comment. */
static bool is_rest(struct view text)
{
    text = trim(text);
    return text.size == 0 || text.data[0] == '#';
}

/* A quoted value, which may go over several lines. */
static bool read_quoted(struct reader *reader, struct view line)
{
    uint8_t quote = line.data[0];
    size_t at = 1;
    for (;;) {
        while (at < line.size && line.data[at] != quote) {
            bool escape = quote == '"' && line.data[at] == '\\' && at + 1 < line.size;
            at += escape;
            buffer_append_byte(&reader->value,
                               escape ? escaped(line.data[at]) : line.data[at]);
            at++;
        }
        if (at < line.size) {
            return is_rest(skip(line, at + 1));
        }
        if (reader->left.size == 0) {
            return false;
        }
        buffer_append_byte(&reader->value, '\n');
        line = take_line(reader);
        at = 0;
    }
}

/* Up to the end of the line, or a # that follows a space. */
static void read_plain(struct reader *reader, struct view text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '#' && (i == 0 || isspace(text.data[i - 1]))) {
            text.size = i;
        }
    }
    buffer_append_view(&reader->value, trim(text));
}

/* One assignment; false when LINE is none. */
static bool read_line(struct reader *reader, struct view line, struct view *ret_name)
{
    if (line.size > 7 && memcmp(line.data, "export", 6) == 0 && isspace(line.data[6])) {
        line = trim(skip(line, 7));
    }
    size_t size = name_size(line);
    struct view rest = trim(skip(line, size));
    if (size == 0 || rest.size == 0 || rest.data[0] != '=') {
        return false;
    }
    *ret_name = view_of(line.data, size);
    rest = trim(skip(rest, 1));
    buffer_clear(&reader->value);
    if (rest.size > 0 && (rest.data[0] == '"' || rest.data[0] == '\'')) {
        return read_quoted(reader, rest);
    }
    read_plain(reader, rest);
    return true;
}

size_t dotenv_read(struct view text, dotenv_fn *each, void *context)
{
    struct reader reader = {.left = text, .value = BUFFER_EMPTY};
    size_t bad = 0;
    if (text.size >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
        reader.left = skip(text, 3);
    }
    while (bad == 0 && reader.left.size > 0) {
        struct view name, line = trim(take_line(&reader));
        size_t number = reader.line;
        if (line.size == 0 || line.data[0] == '#') {
            continue;
        }
        if (!read_line(&reader, line, &name) || reader.value.failed) {
            bad = number;
        } else if (!each(context, name, buffer_view(&reader.value))) {
            break;
        }
    }
    buffer_wipe(&reader.value);
    return bad;
}
