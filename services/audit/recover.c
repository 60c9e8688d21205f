/* recover.c - what a crash left at the end of the log.
 *
 * Everything behind the last line that is whole (its form and its hash right) was never
 * acknowledged: it is moved to a file of its own, never thrown away. */
#include "services/audit/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

/* A batch ends when it passes BATCH_BYTES_MAX, so no more than this can be torn. */
enum { TAIL_MAX = 2 * BATCH_BYTES_MAX + 2 * LINE_SIZE_MAX };

/* Reads SIZE bytes at OFFSET onto the end of RET_BYTES. */
static enum status read_at(int fd, uint64_t offset, size_t size, struct buffer *ret_bytes)
{
    if (size == 0) {
        return STATUS_OK;
    }
    uint8_t *room = buffer_room(ret_bytes, size);
    size_t done = 0;
    while (room && done < size) {
        ssize_t got = pread(fd, room + done, size - done, (off_t)(offset + done));
        if (got <= 0 && !(got < 0 && errno == EINTR)) {
            return STATUS_INTERNAL;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    if (!room) {
        return STATUS_INTERNAL;
    }
    ret_bytes->size += size;
    return STATUS_OK;
}

/* The end of the last whole line in TAIL (0 when there is none). */
static size_t whole_end(struct view tail, struct head *ret_head)
{
    size_t size = tail.size;
    while (size > 0) {
        const uint8_t *newline = memrchr(tail.data, '\n', size);
        size_t end = newline ? (size_t)(newline - tail.data) : 0;
        const uint8_t *before = end > 0 ? memrchr(tail.data, '\n', end) : NULL;
        size_t begin = before ? (size_t)(before - tail.data) + 1 : 0;
        struct line line;
        if (newline && line_parse(view_of(tail.data + begin, end - begin), &line)) {
            ret_head->seq = line.seq;
            memcpy(ret_head->hash, line.hash.data, HASH_CHARS);
            ret_head->hash[HASH_CHARS] = '\0';
            return end + 1;
        }
        size = newline ? end : 0;
    }
    return 0;
}

static bool write_all(int fd, struct view bytes)
{
    while (bytes.size > 0) {
        ssize_t put = write(fd, bytes.data, bytes.size);
        if (put < 0 && errno != EINTR) {
            return false;
        }
        bytes = put > 0 ? view_of(bytes.data + put, bytes.size - (size_t)put) : bytes;
    }
    return true;
}

static enum status move_torn(int dir_fd, int fd, uint64_t end, struct view torn, char *ret_torn)
{
    char name[TORN_NAME_SIZE];
    (void)snprintf(name, sizeof name, "audit.torn.%llu", (unsigned long long)clock_wall_ms());
    int out = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool kept = out >= 0 && write_all(out, torn) && fsync(out) == 0;
    int error = errno;
    if (out >= 0) {
        (void)close(out); /* synced or given up */
    }
    if (!kept) {
        if (out >= 0) {
            (void)unlinkat(dir_fd, name, 0); /* half a copy helps nobody */
        }
        log_error("torn", "the log ends in %zu torn bytes, which cannot be moved to %s: %s",
                  torn.size, name, strerror(error));
        return STATUS_STORAGE_FULL;
    }
    if (fsync(dir_fd) != 0 || ftruncate(fd, (off_t)end) != 0 || fdatasync(fd) != 0) {
        log_error("torn", "cannot cut the torn end off the log: %s", strerror(errno));
        return STATUS_STORAGE_FULL;
    }
    log_warn("torn", "the log ended in %zu torn bytes, now in %s", torn.size, name);
    memcpy(ret_torn, name, sizeof name);
    return STATUS_OK;
}

enum status recover_tail(int dir_fd, int fd, uint64_t *ret_size, struct head *ret_head,
                         char *ret_torn)
{
    CLEANUP(buffer_free) struct buffer tail = BUFFER_EMPTY;
    struct head head = head_of_nothing;
    struct stat info;
    ret_torn[0] = '\0';
    if (fstat(fd, &info) != 0) {
        log_error("open", "cannot examine the log: %s", strerror(errno));
        return STATUS_INTERNAL;
    }
    uint64_t size = (uint64_t)info.st_size;
    size_t part = size < TAIL_MAX ? (size_t)size : TAIL_MAX;
    if (read_at(fd, size - part, part, &tail) != STATUS_OK) {
        log_error("open", "cannot read the end of the log");
        return STATUS_INTERNAL;
    }
    size_t end = whole_end(buffer_view(&tail), &head);
    if (end == 0 && size > BATCH_BYTES_MAX + LINE_SIZE_MAX) {
        log_error("open", "the log does not end in audit records; it is not touched");
        return STATUS_INVALID;
    }
    uint64_t whole = size - part + end;
    if (end < part) {
        enum status status = move_torn(dir_fd, fd, whole,
                                       view_of(tail.data + end, part - end), ret_torn);
        if (status != STATUS_OK) {
            return status;
        }
    }
    *ret_size = whole;
    *ret_head = head;
    return STATUS_OK;
}

enum status recover_lines(int fd, uint64_t size, line_fn *fn, void *arg)
{
    CLEANUP(buffer_free) struct buffer bytes = BUFFER_EMPTY;
    uint64_t at = size > REBUILD_BYTES_MAX ? size - REBUILD_BYTES_MAX : 0;
    bool cut = at > 0; /* the first line is then not whole */
    while (at < size || bytes.size > 0) {
        size_t part = size - at < BATCH_BYTES_MAX ? (size_t)(size - at) : BATCH_BYTES_MAX;
        if (read_at(fd, at, part, &bytes) != STATUS_OK) {
            return STATUS_INTERNAL;
        }
        at += part;
        size_t begin = 0;
        const uint8_t *newline;
        while ((newline = memchr(bytes.data + begin, '\n', bytes.size - begin)) != NULL) {
            size_t end = (size_t)(newline - bytes.data);
            struct line line;
            if (!cut && line_split(view_of(bytes.data + begin, end - begin), &line)) {
                fn(arg, &line);
            }
            cut = false;
            begin = end + 1;
        }
        buffer_consume(&bytes, begin);
        if (part == 0) {
            break; /* what is left has no newline */
        }
    }
    return STATUS_OK;
}
