/* log.c - writes log lines whole, escaped, with one write each. */
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json_text.h"

enum {
    TEXT_MAX = 1024,                   /* bytes of a message; what is longer is cut */
    ID_MAX = 64,                       /* of a request's or a tenant's id */
    LINE_BYTES = 6 * TEXT_MAX + 2 * 6 * ID_MAX + 512, /* each byte may become \u00XX */
};

static const char *daemon_name = "seks";
static enum log_level lowest = LEVEL_INFO;
static enum log_format form = LOG_TEXT;
_Thread_local struct log_subject log_subject;

void log_open(const char *name, enum log_level level)
{
    daemon_name = name;
    lowest = level;
}

void log_use(enum log_format format)
{
    form = format;
}

/* The buffer lies in memory that does not grow, so that logging allocates nothing. */
struct line {
    uint8_t bytes[LINE_BYTES];
    struct buffer text;
};

static struct view id_of(struct view id)
{
    size_t size = id.data ? strnlen((const char *)id.data, id.size < ID_MAX ? id.size : ID_MAX) : 0;
    return view_of(id.data, size);
}

/* A byte that could end a line or steer a terminal is written out as \xNN. */
static void add_plain(struct buffer *line, struct view text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte >= 0x20 && byte < 0x7f && byte != '\\') {
            buffer_append_byte(line, byte);
            continue;
        }
        const uint8_t escaped[] = {'\\', 'x', (uint8_t)digits[byte >> 4], (uint8_t)digits[byte & 15]};
        buffer_append(line, escaped, sizeof escaped);
    }
}

static void add_field(struct buffer *line, const char *name, struct view value)
{
    if (value.size == 0) {
        return;
    }
    if (form == LOG_TEXT) {
        buffer_printf(line, " %s=", name);
        add_plain(line, value);
        return;
    }
    buffer_printf(line, ",\"%s\":\"", name);
    json_escape(value, line);
    buffer_append_byte(line, '"');
}

static void add_head(struct buffer *line, const char *level, const char *component)
{
    char now[CLOCK_TEXT_SIZE];
    clock_text(clock_wall_ms(), now);
    buffer_printf(line,
                  form == LOG_TEXT ? "%s %s %s %s "
                                   : "{\"time\":\"%s\",\"level\":\"%s\",\"daemon\":\"%s\","
                                     "\"component\":\"%s\",\"message\":\"",
                  now, level, daemon_name, component);
}

void log_line(enum log_level level, const char *component, const char *format, ...)
{
    static const char *const level_names[] = {"debug", "info", "warn", "error"};
    char message[TEXT_MAX];
    struct line line;
    va_list arguments;
    if (level < lowest) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    line.text = (struct buffer){line.bytes, 0, sizeof line.bytes, sizeof line.bytes, false};
    add_head(&line.text, level_names[level], component);
    if (form == LOG_TEXT) {
        add_plain(&line.text, view_text(message));
    } else {
        json_escape(view_text(message), &line.text);
        buffer_append_byte(&line.text, '"');
    }
    add_field(&line.text, "request", id_of(log_subject.request));
    add_field(&line.text, "tenant", id_of(log_subject.tenant));
    buffer_append_text(&line.text, form == LOG_TEXT ? "\n" : "}\n");
    /* Nowhere to report that the report failed. */
    ssize_t ignored = write(STDERR_FILENO, line.bytes, line.text.size);
    (void)ignored;
}

int log_due(struct log_limit *limit, uint64_t *ret_count)
{
    uint64_t now = clock_mono_ms();
    limit->count++;
    if (now < limit->next_ms) {
        return 0;
    }
    *ret_count = limit->count;
    limit->count = 0;
    limit->next_ms = now + 1000;
    return 1;
}
