/* segments.c - the files of the log: `audit.log` is being written, `audit-<first number>.log` are
 * done; each has its checkpoints beside it in `.sig`.  Never writes into one. */
#include "services/audit/audit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

void segment_name(uint64_t first, const char *suffix, char *ret_name)
{
    (void)snprintf(ret_name, SEGMENT_NAME_SIZE, "audit-%020llu.%s", (unsigned long long)first,
                   suffix);
}

/* The number in audit-<20 digits>.log. */
static bool parse_name(const char *name, uint64_t *ret_first)
{
    char again[SEGMENT_NAME_SIZE];
    if (strlen(name) != SEGMENT_NAME_SIZE - 1 || strncmp(name, "audit-", 6) != 0) {
        return false;
    }
    *ret_first = strtoull(name + 6, NULL, 10);
    segment_name(*ret_first, "log", again);
    return strcmp(name, again) == 0;
}

static int by_first(const void *a, const void *b)
{
    const struct segment *left = a, *right = b;
    return left->first < right->first ? -1 : left->first > right->first;
}

bool segments_add(struct segments *segments, uint64_t first, uint64_t bytes, uint64_t last_ms)
{
    struct segment *grown = reallocarray(segments->list, segments->count + 1, sizeof *grown);
    if (!grown) {
        return false;
    }
    segments->list = grown;
    grown[segments->count++] = (struct segment){first, bytes, last_ms};
    return true;
}

void segments_free(struct segments *segments)
{
    free(segments->list);
    *segments = (struct segments){NULL, 0};
}

enum status segments_scan(int dir_fd, struct segments *ret_segments)
{
    struct segments found = {NULL, 0};
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0) {
            (void)close(fd); /* only read from */
        }
        log_error("open", "cannot list the log's directory: %s", strerror(errno));
        return STATUS_INTERNAL;
    }
    enum status status = STATUS_OK;
    for (struct dirent *at; status == STATUS_OK && (at = readdir(dir)) != NULL;) {
        struct stat info;
        uint64_t first;
        if (parse_name(at->d_name, &first) &&
            (fstatat(dir_fd, at->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
             !S_ISREG(info.st_mode) ||
             !segments_add(&found, first, (uint64_t)info.st_size,
                           (uint64_t)info.st_mtim.tv_sec * 1000))) {
            log_error("open", "cannot examine %s", at->d_name);
            status = STATUS_INTERNAL;
        }
    }
    (void)closedir(dir); /* only read from */
    if (status != STATUS_OK) {
        segments_free(&found);
        return status;
    }
    if (found.count > 0) {
        qsort(found.list, found.count, sizeof *found.list, by_first);
    }
    *ret_segments = found;
    return STATUS_OK;
}

int segment_open(int dir_fd, uint64_t first, const char *suffix)
{
    char name[SEGMENT_NAME_SIZE];
    segment_name(first, suffix, name);
    return openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

static bool there(int dir_fd, const char *name)
{
    struct stat info;
    return fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The log goes first, so a crash between the two leaves `audit.sig` without `audit.log`. */
enum status segment_archive(int dir_fd, uint64_t first)
{
    char log[SEGMENT_NAME_SIZE], sig[SEGMENT_NAME_SIZE];
    segment_name(first, "log", log);
    segment_name(first, "sig", sig);
    if (there(dir_fd, log) || there(dir_fd, sig)) {
        errno = EEXIST; /* somebody else's file: never written over */
        return STATUS_CONFLICT;
    }
    if (renameat(dir_fd, ACTIVE_LOG, dir_fd, log) != 0) {
        return STATUS_STORAGE_FULL;
    }
    if (renameat(dir_fd, ACTIVE_SIG, dir_fd, sig) != 0 || fsync(dir_fd) != 0) {
        log_warn("rotate", "cannot rename %s: %s", ACTIVE_SIG, strerror(errno));
    }
    return STATUS_OK;
}

enum status segment_finish_archive(int dir_fd, const struct segments *segments)
{
    char sig[SEGMENT_NAME_SIZE];
    if (segments->count == 0 || there(dir_fd, ACTIVE_LOG) || !there(dir_fd, ACTIVE_SIG)) {
        return STATUS_OK;
    }
    segment_name(segments->list[segments->count - 1].first, "sig", sig);
    if (there(dir_fd, sig)) {
        return STATUS_OK;
    }
    if (renameat(dir_fd, ACTIVE_SIG, dir_fd, sig) != 0 || fsync(dir_fd) != 0) {
        log_error("open", "cannot rename %s to %s: %s", ACTIVE_SIG, sig, strerror(errno));
        return STATUS_STORAGE_FULL;
    }
    return STATUS_OK;
}

enum status file_read(int fd, uint64_t offset, size_t size, struct buffer *ret_bytes)
{
    uint8_t *room = size > 0 ? buffer_room(ret_bytes, size) : NULL;
    size_t done = 0;
    while (room && done < size) {
        ssize_t got = pread(fd, room + done, size - done, (off_t)(offset + done));
        if (got <= 0 && !(got < 0 && errno == EINTR)) {
            return STATUS_INTERNAL;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    if (done < size) {
        return STATUS_INTERNAL;
    }
    ret_bytes->size += size;
    return STATUS_OK;
}

bool file_write(int fd, struct view bytes)
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
