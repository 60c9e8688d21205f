/* out.c - what people and programs get to read: errors, notes, progress, tables, JSON.
 *
 * Text from a server or a file never reaches a terminal with control bytes in it. */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 1024 };

static bool as_json, progress_shown;

void out_open(bool json)
{
    as_json = json;
}

bool out_is_json(void)
{
    return as_json;
}

const char *style(FILE *out, enum style style)
{
    static const char *const codes[] = {"\033[1m", "\033[32m", "\033[31m", "\033[2m", "\033[0m"};
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");
    bool plain = (no_color && *no_color) || (terminal && strcmp(terminal, "dumb") == 0);
    return !plain && isatty(fileno(out)) == 1 ? codes[style] : "";
}

/* C0, DEL, and C1 as UTF-8 writes it (c2 80 to c2 9f). */
void out_text(FILE *out, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        bool c1 = at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0;
        if (*at < 0x20 || *at == 0x7f || c1) {
            fprintf(out, "\\x%02x", c1 ? *++at : *at);
        } else {
            fputc(*at, out);
        }
    }
}

int out_json(const json_t *answer)
{
    if (json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY) != 0 || putchar('\n') == EOF) {
        return SEKS_FAILED;
    }
    return SEKS_OK;
}

static void fail_json(int status, const char *next, const char *text)
{
    json_t *error = json_pack("{s:b,s:s,s:s*,s:i}", "ok", 0, "error", text, "next", next, "exit",
                              status);
    if (error) {
        (void)out_json(error); /* there is nowhere else to tell */
    }
    json_decref(error);
}

int fail(int status, const char *next, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    progress_end();
    if (as_json) {
        fail_json(status, next, text);
        return status;
    }
    fprintf(stderr, "%sseks:%s ", style(stderr, STYLE_BAD), style(stderr, STYLE_NONE));
    out_text(stderr, text);
    if (next) {
        fprintf(stderr, "; ");
        out_text(stderr, next);
    }
    fputc('\n', stderr);
    return status;
}

void note(const char *format, ...)
{
    char text[LINE_BYTES];
    va_list arguments;
    if (as_json) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    progress_end();
    fflush(stdout); /* in the order in which things were said */
    out_text(stderr, text);
    fputc('\n', stderr);
}

int finish(int status, const json_t *answer, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list arguments;
    if (status != SEKS_OK) {
        return status;
    }
    if (as_json) {
        return answer ? out_json(answer) : puts("{\"ok\": true}") == EOF ? SEKS_FAILED : SEKS_OK;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    note("%s", text);
    return SEKS_OK;
}

void progress(const char *format, ...)
{
    char text[LINE_BYTES];
    va_list arguments;
    if (as_json || isatty(STDERR_FILENO) != 1) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\r\033[K");
    out_text(stderr, text);
    fflush(stderr);
    progress_shown = true;
}

void progress_end(void)
{
    if (progress_shown) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
        progress_shown = false;
    }
}
