/* ask.c - takes values from a person or a file into memory that is locked and wiped.
 *
 * A prompt goes to the terminal itself, so that standard input and output stay free for pipes. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { TYPED_MAX = 16384, VALUE_MAX = 65536 };

/* ---- the terminal, and how it is put back ---- */

static const int enders[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
enum { ENDER_COUNT = sizeof enders / sizeof enders[0] };
static struct termios saved;
static int terminal = -1;

/* Async-signal-safe (signal-safety(7)): tcsetattr, write, raise. */
static void put_back(int number)
{
    (void)tcsetattr(terminal, TCSANOW, &saved);
    ssize_t ignored = write(terminal, "\n", 1); /* nobody left to tell */
    (void)ignored;
    (void)raise(number); /* SA_RESETHAND: now it ends us */
}

/* Byte by byte, because a line that the terminal collects ends at 4095 bytes. */
static bool quiet_terminal(struct sigaction *ret_old)
{
    struct termios quiet;
    struct sigaction action = {.sa_handler = put_back, .sa_flags = (int)SA_RESETHAND};
    if (tcgetattr(terminal, &saved) != 0) {
        return false;
    }
    for (size_t i = 0; i < ENDER_COUNT; i++) {
        (void)sigaction(enders[i], &action, &ret_old[i]);
    }
    quiet = saved;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    return tcsetattr(terminal, TCSAFLUSH, &quiet) == 0;
}

static void loud_terminal(const struct sigaction *old)
{
    (void)tcsetattr(terminal, TCSAFLUSH, &saved);
    for (size_t i = 0; i < ENDER_COUNT; i++) {
        (void)sigaction(enders[i], &old[i], NULL);
    }
}

/* ---- one line ---- */

static void take_byte(char byte, char *typed, size_t *used)
{
    if (byte == 0x7f || byte == 0x08) {
        *used -= *used > 0;
    } else if (byte == 0x15) { /* Ctrl-U */
        *used = 0;
    } else if (*used < TYPED_MAX) {
        typed[(*used)++] = byte;
    }
}

/* Up to Enter, or Ctrl-D on an empty line; false then, and for a line that is too long. */
static bool type_line(char *typed, size_t *ret_used)
{
    char byte = 0;
    *ret_used = 0;
    for (;;) {
        ssize_t got = read(terminal, &byte, 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0 || (byte == 0x04 && *ret_used == 0)) {
            return false;
        }
        if (byte == '\n' || byte == '\r') {
            return *ret_used < TYPED_MAX;
        }
        take_byte(byte, typed, ret_used);
    }
}

static int ask(const char *prompt, const char *use, bool hidden, struct secret **ret)
{
    struct sigaction old[ENDER_COUNT];
    char typed[TYPED_MAX];
    size_t used = 0;
    progress_end();
    terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal < 0) {
        return fail(SEKS_USAGE, use, "there is no terminal to ask \"%s\" on", prompt);
    }
    dprintf(terminal, "%s: ", prompt);
    bool ready = !hidden || quiet_terminal(old);
    bool done = ready && type_line(typed, &used);
    if (hidden) {
        loud_terminal(old);
        dprintf(terminal, "\n");
    }
    close(terminal);
    *ret = done ? secret_new(typed, used) : NULL;
    explicit_bzero(typed, sizeof typed);
    return *ret ? SEKS_OK : fail(SEKS_FAILED, "try again", "nothing was typed");
}

int ask_line(const char *prompt, const char *use, struct secret **ret)
{
    return ask(prompt, use, false, ret);
}

int ask_hidden(const char *prompt, const char *use, struct secret **ret)
{
    return ask(prompt, use, true, ret);
}

bool ask_sure(const struct args *args, const char *format, ...)
{
    CLEANUP(secret_free) struct secret *answer = NULL;
    char text[256], prompt[300];
    va_list arguments;
    if (args->option[OPT_YES] || isatty(STDIN_FILENO) != 1 || isatty(STDERR_FILENO) != 1) {
        return true;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(prompt, sizeof prompt, "%s [y/N]", text);
    if (ask_line(prompt, "give --yes", &answer) != SEKS_OK) {
        return false;
    }
    struct view said = secret_view(answer);
    bool yes = view_is_nocase(said, "y") || view_is_nocase(said, "yes");
    if (!yes) {
        note("left as it is");
    }
    return yes;
}

/* ---- files ---- */

int read_file(const char *path, size_t max, struct secret **ret)
{
    bool standard = strcmp(path, "-") == 0;
    int file = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    struct secret *content = secret_new(NULL, max + 1);
    size_t used = 0;
    ssize_t got = file < 0 || !content ? -1 : 1;
    while (got > 0 && used <= max) {
        got = read(file, secret_data(content) + used, max + 1 - used);
        got = got < 0 && errno == EINTR ? 1 : got;
        used += got > 0 ? (size_t)got : 0;
    }
    int reason = errno;
    if (!standard && file >= 0) {
        close(file);
    }
    *ret = got == 0 && used <= max ? secret_new(secret_data(content), used) : NULL;
    secret_free(&content);
    if (*ret) {
        return SEKS_OK;
    }
    return used > max ? fail(SEKS_FAILED, NULL, "%s has more than %zu bytes", path, max)
                      : fail(SEKS_FAILED, NULL, "cannot read %s: %s", path, strerror(reason));
}

int read_value(const char *path, struct secret **ret)
{
    CLEANUP(secret_free) struct secret *content = NULL;
    int status = read_file(path, VALUE_MAX, &content);
    if (status != SEKS_OK) {
        return status;
    }
    struct view value = secret_view(content);
    value.size -= value.size > 0 && value.data[value.size - 1] == '\n';
    value.size -= value.size > 0 && value.data[value.size - 1] == '\r';
    if (value.size == 0) {
        return fail(SEKS_FAILED, NULL, "%s is empty", path);
    }
    *ret = secret_new(value.data, value.size);
    return *ret ? SEKS_OK : fail(SEKS_FAILED, NULL, "no memory");
}
