/* audit_tail.c - `seks audit tail DIR`: the newest records in a log's directory, and those that come.
 *
 * For whoever runs the broker: reads the files as they are, of all accounts, and asks nobody.  Lines
 * are filtered as bytes, which their one canonical form allows; it verifies nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/audit_log.h"
#include "cli/cli.h"
#include "common/clock.h"

enum { BLOCK_BYTES = 1 << 20, POLL_MS = 200, NEEDLES_MAX = 8, TIME_CHARS = 24 };

/* What a line must hold. */
struct needles {
    char text[NEEDLES_MAX][256];
    size_t count;
    char class;                          /* of the status: '4' for all from 400; 0 for any */
    char since[CLOCK_TEXT_SIZE], until[CLOCK_TEXT_SIZE]; /* empty for any */
};

struct tail {
    const char *dir;
    struct needles needles;
    int fd; /* of the file that is being read; -1 before the first */
    uint64_t offset;
    char name[64]; /* its name when it is done, or "audit.log" */
};

/* ---- filters ---- */

static int read_filters(const struct args *args, struct needles *ret)
{
    static const enum opt texts[] = {OPT_AGENT, OPT_TOKEN, OPT_PROVIDER, OPT_ACTION, OPT_REQUEST,
                                     OPT_KIND};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *value = args->option[texts[i]], *name = option_rows[texts[i]].name;
        if (value && (strpbrk(value, "\"\\") || strlen(value) > 200)) {
            return fail(SEKS_USAGE, NULL, "--%s: there is nothing called that", name);
        }
        if (value) {
            (void)snprintf(ret->text[ret->count++], sizeof ret->text[0], "\"%s\":\"%s\"", name, value);
        }
    }
    const char *status = args->option[OPT_STATUS];
    if (status && (strlen(status) != 3 || strchr("123456789", status[0]) == NULL ||
                   (strspn(status, "0123456789") != 3 && strcmp(status + 1, "xx") != 0))) {
        return fail(SEKS_USAGE, NULL, "--status takes a status such as 404, or a class such as 4xx");
    }
    if (status && status[1] == 'x') {
        ret->class = status[0];
    } else if (status) {
        (void)snprintf(ret->text[ret->count++], sizeof ret->text[0], ",\"status\":%s,", status);
    }
    const struct {
        enum opt opt;
        char *text;
    } times[] = {{OPT_SINCE, ret->since}, {OPT_UNTIL, ret->until}};
    for (size_t i = 0; i < 2; i++) {
        uint64_t ms;
        const char *value = args->option[times[i].opt];
        if (value && !clock_parse(view_text(value), &ms)) {
            return fail(SEKS_USAGE, NULL, "--%s takes a time such as 2026-01-31T12:00:00Z, or a day",
                        option_rows[times[i].opt].name);
        }
        if (value) {
            clock_text(ms, times[i].text);
        }
    }
    return SEKS_OK;
}

static bool is_wanted(const struct needles *needles, struct view line)
{
    static const char status_name[] = ",\"status\":", time_name[] = ",\"time\":\"";
    for (size_t i = 0; i < needles->count; i++) {
        if (!memmem(line.data, line.size, needles->text[i], strlen(needles->text[i]))) {
            return false;
        }
    }
    if (needles->class) {
        const uint8_t *at = memmem(line.data, line.size, status_name, sizeof status_name - 1);
        const uint8_t *number = at ? at + sizeof status_name - 1 : NULL;
        if (!number || line.data + line.size - number < 4 || number[0] != (uint8_t)needles->class ||
            number[3] != ',') {
            return false;
        }
    }
    if (needles->since[0] || needles->until[0]) {
        const uint8_t *at = memmem(line.data, line.size < 64 ? line.size : 64, time_name,
                                   sizeof time_name - 1);
        const uint8_t *time = at ? at + sizeof time_name - 1 : NULL;
        if (!time || line.data + line.size - time < TIME_CHARS ||
            (needles->since[0] && memcmp(time, needles->since, TIME_CHARS) < 0) ||
            (needles->until[0] && memcmp(time, needles->until, TIME_CHARS) >= 0)) {
            return false;
        }
    }
    return true;
}

/* ---- printing ---- */

static void print_text(struct view line)
{
    json_t *record = out_is_json() ? NULL : json_loadb((const char *)line.data, line.size, 0, NULL);
    if (record) {
        print_record(record);
    } else { /* as it is; a line that is no JSON too, for somebody should see it */
        (void)fwrite(line.data, 1, line.size, stdout); /* a closed pipe ends us by its signal */
        putchar('\n');
    }
    json_decref(record);
}

/* ---- the newest ---- */

/* The last LIMIT lines that are wanted of one file, in a ring. */
struct ring {
    char **lines;
    size_t limit, count, next;
};

static bool ring_add(struct ring *ring, struct view line)
{
    char *copy = view_dup(line);
    free(ring->lines[ring->next]);
    ring->lines[ring->next] = copy;
    ring->next = (ring->next + 1) % ring->limit;
    ring->count += ring->count < ring->limit;
    return copy != NULL;
}

static void ring_free(struct ring *ring)
{
    for (size_t i = 0; ring->lines && i < ring->limit; i++) {
        free(ring->lines[i]);
    }
    free(ring->lines);
}

typedef bool line_fn(void *arg, struct view line);

/* Calls FN for the wanted lines from OFFSET on, whole ones only; RET_OFFSET is where it ended. */
static int each_line(const struct needles *needles, int fd, uint64_t *offset, line_fn *fn, void *arg)
{
    struct buffer bytes = BUFFER_EMPTY;
    int status = SEKS_OK;
    for (;;) {
        uint8_t *room = buffer_room(&bytes, BLOCK_BYTES);
        ssize_t got = room ? pread(fd, room, BLOCK_BYTES, (off_t)(*offset + bytes.size)) : -1;
        if (got < 0 && errno != EINTR) {
            status = fail(SEKS_FAILED, NULL, "cannot read the log: %s", strerror(errno));
        }
        if (got <= 0) {
            break;
        }
        bytes.size += (size_t)got;
        size_t begin = 0;
        const uint8_t *newline;
        while ((newline = memchr(bytes.data + begin, '\n', bytes.size - begin)) != NULL) {
            struct view line = view_of(bytes.data + begin, (size_t)(newline - bytes.data) - begin);
            if (is_wanted(needles, line) && !fn(arg, line)) {
                status = SEKS_FAILED;
            }
            begin = (size_t)(newline - bytes.data) + 1;
        }
        *offset += begin;
        buffer_consume(&bytes, begin);
    }
    buffer_free(&bytes);
    return status;
}

static bool keep_line(void *arg, struct view line)
{
    return ring_add(arg, line);
}

static bool print_wanted(void *arg, struct view line)
{
    (void)arg;
    print_text(line);
    return true;
}

/* How many lines of the file NAME are wanted, at most LIMIT; they go into RET, which the caller frees. */
static int newest_of(struct tail *tail, const struct log_files *files, const char *name, size_t limit,
                     bool last, struct ring *ret)
{
    *ret = (struct ring){calloc(limit, sizeof *ret->lines), limit, 0, 0};
    int fd = openat(files->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    uint64_t offset = 0;
    if (!ret->lines || fd < 0) {
        return errno == ENOENT ? SEKS_OK : fail(SEKS_FAILED, NULL, "cannot open %s/%s: %s", tail->dir,
                                                name, strerror(errno));
    }
    int status = each_line(&tail->needles, fd, &offset, keep_line, ret);
    if (last) { /* is read on */
        tail->fd = fd;
        tail->offset = offset;
        (void)snprintf(tail->name, sizeof tail->name, "%s", name);
    } else {
        (void)close(fd); /* only read from */
    }
    return status;
}

/* Prints the newest LIMIT; of files before the last only as many as are needed. */
static int print_newest(struct tail *tail, const struct log_files *files, size_t limit)
{
    struct ring *rings = calloc(files->count, sizeof *rings);
    size_t found = 0, first = files->count;
    int status = rings ? SEKS_OK : fail(SEKS_FAILED, NULL, "no memory");
    while (status == SEKS_OK && first > 0 && (found < limit || first == files->count)) {
        first--;
        status = newest_of(tail, files, files->names[first], limit - found,
                           first + 1 == files->count, &rings[first]);
        found += rings[first].count;
    }
    for (size_t i = first; rings && i < files->count; i++) {
        for (size_t j = 0; j < rings[i].count; j++) {
            size_t at = (rings[i].next + rings[i].limit - rings[i].count + j) % rings[i].limit;
            print_text(view_text(rings[i].lines[at]));
        }
        ring_free(&rings[i]);
    }
    free(rings);
    return status;
}

/* ---- those that come ---- */

static bool same_file(int dir_fd, const char *name, int fd)
{
    struct stat held, there;
    return fstat(fd, &held) == 0 && fstatat(dir_fd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           held.st_ino == there.st_ino && held.st_dev == there.st_dev;
}

/* The file behind the one that is held: it may have been renamed since, and ended. */
static const char *file_behind(const struct tail *tail, const struct log_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        if (same_file(files->dir_fd, files->names[i], tail->fd)) {
            return i + 1 < files->count ? files->names[i + 1] : NULL;
        }
    }
    return files->count ? files->names[0] : NULL; /* it was removed */
}

/* What could not be written for good was cut off again, and may have been read. */
static void step_back(struct tail *tail)
{
    struct stat info;
    if (fstat(tail->fd, &info) == 0 && (uint64_t)info.st_size < tail->offset) {
        tail->offset = (uint64_t)info.st_size;
    }
}

/* Goes on to the next file when the held one has ended. */
static int next_file(struct tail *tail)
{
    struct log_files files = {NULL, 0, -1};
    if (log_files_open(tail->dir, &files) != STATUS_OK) {
        return SEKS_OK; /* between two files there is none for a moment; the next time tells */
    }
    const char *name = file_behind(tail, &files);
    int fd = name ? openat(files.dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    int status = SEKS_OK;
    if (fd >= 0) {
        /* What came between the last look and its end. */
        status = each_line(&tail->needles, tail->fd, &tail->offset, print_wanted, NULL);
        (void)close(tail->fd); /* only read from */
        tail->fd = fd;
        tail->offset = 0;
    }
    log_files_close(&files);
    return status;
}

static int follow(struct tail *tail)
{
    const struct timespec pause = {0, POLL_MS * 1000000L};
    int status = SEKS_OK;
    while (status == SEKS_OK) {
        step_back(tail);
        uint64_t before = tail->offset;
        status = each_line(&tail->needles, tail->fd, &tail->offset, print_wanted, NULL);
        if (status == SEKS_OK && tail->offset == before) {
            status = fflush(stdout) == 0 ? next_file(tail) : SEKS_FAILED;
            (void)nanosleep(&pause, NULL); /* a signal that does not end us just shortens it */
        }
    }
    return status;
}

int audit_tail_dir(const struct args *args, long limit)
{
    struct tail tail = {.dir = args->word[0], .fd = -1};
    struct log_files files = {NULL, 0, -1};
    int status = read_filters(args, &tail.needles);
    if (status != SEKS_OK) {
        return status;
    }
    if (log_files_open(tail.dir, &files) != STATUS_OK) {
        return SEKS_MISSING; /* said */
    }
    status = print_newest(&tail, &files, (size_t)limit);
    log_files_close(&files);
    if (status == SEKS_OK && !args->option[OPT_ONCE]) {
        status = follow(&tail);
    }
    if (tail.fd >= 0) {
        (void)close(tail.fd); /* only read from */
    }
    return status;
}
