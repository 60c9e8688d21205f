/* recover.c - what a crash left at the end of the log, and what nobody but a hand can have done.
 *
 * What is torn was never acknowledged: it is moved to a file of its own, never thrown away.  What was
 * signed had been on disk: where that is not whole, the file is left as it is. */
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

/* The end of the last whole line in TAIL (0 when there is none). */
static size_t whole_end(struct view tail, struct head *ret_head, uint64_t *ret_wall_ms)
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
            if (!clock_parse(line.time, ret_wall_ms)) {
                *ret_wall_ms = 0;
            }
            return end + 1;
        }
        size = newline ? end : 0;
    }
    return 0;
}

/* The end of the chain that goes on from BEFORE (NULL: from whatever the first line follows); its last
 * record becomes RET_HEAD, which stays as it is when there is none. */
static size_t chain_end(struct view text, const struct head *before, struct head *ret_head)
{
    struct head head = before ? *before : head_of_nothing;
    bool any = before != NULL;
    size_t at = 0;
    while (at < text.size) {
        const uint8_t *newline = memchr(text.data + at, '\n', text.size - at);
        size_t end = newline ? (size_t)(newline - text.data) : 0;
        struct line line;
        if (!newline || !line_parse(view_of(text.data + at, end - at), &line) ||
            (any && (line.seq != head.seq + 1 ||
                     memcmp(line.prev.data, head.hash, HASH_CHARS) != 0))) {
            break;
        }
        any = true;
        head.seq = line.seq;
        memcpy(head.hash, line.hash.data, HASH_CHARS);
        *ret_head = head;
        at = end + 1;
    }
    return at;
}

static enum status move_torn(int dir_fd, int fd, uint64_t end, struct view torn, char *ret_torn)
{
    char name[TORN_NAME_SIZE];
    (void)snprintf(name, sizeof name, "audit.torn.%llu", (unsigned long long)clock_wall_ms());
    int out = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool kept = out >= 0 && file_write(out, torn) && fsync(out) == 0;
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

/* The last TAIL_MAX bytes of FD; RET_SIZE is the whole size. */
static enum status read_tail(int fd, struct buffer *ret_tail, uint64_t *ret_size)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        log_error("open", "cannot examine the log: %s", strerror(errno));
        return STATUS_INTERNAL;
    }
    *ret_size = (uint64_t)info.st_size;
    size_t part = *ret_size < TAIL_MAX ? (size_t)*ret_size : TAIL_MAX;
    if (part > 0 && file_read(fd, *ret_size - part, part, ret_tail) != STATUS_OK) {
        log_error("open", "cannot read the end of the log");
        return STATUS_INTERNAL;
    }
    return STATUS_OK;
}

/* Where the whole part of TAIL ends, in RET's head too; `damaged` when the break is in what was
 * signed. */
static size_t find_end(struct view tail, bool is_all, const struct head *before,
                       uint64_t signed_seq, struct recovered *ret)
{
    size_t skip = 0;
    uint64_t ignored;
    if (!is_all) { /* the first line is cut: the chain begins with the next */
        const uint8_t *newline = memchr(tail.data, '\n', tail.size);
        skip = newline ? (size_t)(newline - tail.data) + 1 : tail.size;
    }
    ret->head = is_all ? *before : head_of_nothing;
    size_t end = skip + chain_end(view_of(tail.data + skip, tail.size - skip),
                                  is_all ? before : NULL, &ret->head);
    if (end < tail.size && ret->head.seq < signed_seq) {
        ret->damaged = true;
        ret->head = is_all ? *before : head_of_nothing;
        return whole_end(tail, &ret->head, &ignored);
    }
    return end;
}

enum status recover_tail(int dir_fd, int fd, const struct head *before, uint64_t signed_seq,
                         struct recovered *ret)
{
    CLEANUP(buffer_free) struct buffer tail = BUFFER_EMPTY;
    struct recovered found = {.head = *before};
    uint64_t size;
    enum status status = read_tail(fd, &tail, &size);
    if (status != STATUS_OK || size == 0) {
        *ret = found;
        return status;
    }
    size_t end = find_end(buffer_view(&tail), tail.size == size, before, signed_seq, &found);
    if (found.head.seq == before->seq && size > BATCH_BYTES_MAX + LINE_SIZE_MAX) {
        log_error("open", "the log does not end in audit records; it is not touched");
        return STATUS_INVALID;
    }
    found.size = size - tail.size + end;
    if (end < tail.size) {
        status = move_torn(dir_fd, fd, found.size, view_of(tail.data + end, tail.size - end),
                           found.torn);
    }
    if (status == STATUS_OK) {
        *ret = found;
    }
    return status;
}

enum status recover_head(int fd, struct head *ret_head, uint64_t *ret_wall_ms)
{
    CLEANUP(buffer_free) struct buffer tail = BUFFER_EMPTY;
    uint64_t size;
    enum status status = read_tail(fd, &tail, &size);
    *ret_head = head_of_nothing;
    *ret_wall_ms = 0;
    if (status == STATUS_OK && tail.size > 0) {
        (void)whole_end(buffer_view(&tail), ret_head, ret_wall_ms);
    }
    return status;
}

enum status recover_lines(int fd, uint64_t size, line_fn *fn, void *arg)
{
    CLEANUP(buffer_free) struct buffer bytes = BUFFER_EMPTY;
    uint64_t at = size > REBUILD_BYTES_MAX ? size - REBUILD_BYTES_MAX : 0;
    bool cut = at > 0; /* the first line is then not whole */
    while (at < size || bytes.size > 0) {
        size_t part = size - at < BATCH_BYTES_MAX ? (size_t)(size - at) : BATCH_BYTES_MAX;
        if (part > 0 && file_read(fd, at, part, &bytes) != STATUS_OK) {
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
