/* log.c - writes log lines whole, escaped, with one write each. */
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"

enum { TEXT_MAX = 1024, LINE_MAX_BYTES = 4 * TEXT_MAX + 256 };

static const char *daemon_name = "seks";
static enum log_level lowest = LEVEL_INFO;

void log_open(const char *name, enum log_level level)
{
    daemon_name = name;
    lowest = level;
}

/* A byte that could end a line or steer a terminal is written out as \xNN. */
static size_t escape(const char *text, char *line, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;
    for (; *text && used + 5 < size; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte >= 0x20 && byte < 0x7f && byte != '\\') {
            line[used++] = (char)byte;
            continue;
        }
        line[used++] = '\\';
        line[used++] = 'x';
        line[used++] = digits[byte >> 4];
        line[used++] = digits[byte & 15];
    }
    return used;
}

void log_line(enum log_level level, const char *event, const char *format, ...)
{
    static const char *const level_names[] = {"debug", "info", "warn", "error"};
    char now[CLOCK_TEXT_SIZE], text[TEXT_MAX], line[LINE_MAX_BYTES];
    va_list arguments;
    if (level < lowest) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    clock_text(clock_wall_ms(), now);
    int head = snprintf(line, 256, "%s %s %s %s ", now, level_names[level], daemon_name, event);
    size_t used = head < 0 ? 0 : head > 255 ? 255 : (size_t)head;
    used += escape(text, line + used, sizeof line - used - 1);
    line[used++] = '\n';
    /* Nowhere to report that the report failed. */
    ssize_t ignored = write(STDERR_FILENO, line, used);
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
