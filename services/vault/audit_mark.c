/* audit_mark.c - how far the audit log went, kept where the audit daemon's disk is not.
 *
 * The newest checkpoint is kept as it came, in DATA/audit.head (of audit-1 in audit-1.head and so on).  A log that is told of as shorter, as
 * another one of the same length, or as another key's, was cut, put back or replaced: the mark of what
 * was is kept beside. */
#include "vault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct audit_mark {
    int dir_fd;
    unsigned shard;
    char name[24], new_name[32];
    struct checkpoint last; /* size 0: none yet */
    char origin[CHECKPOINT_ORIGIN_SIZE]; /* of that: its first line, made of the key */
    uint64_t rewound;       /* times */
};

/* The first line of NOTE, which has one: it was read. */
static void read_origin(struct view note, char *ret_origin)
{
    const uint8_t *end = memchr(note.data, '\n', note.size);
    size_t size = end ? (size_t)(end - note.data) : 0;
    memset(ret_origin, 0, CHECKPOINT_ORIGIN_SIZE);
    memcpy(ret_origin, note.data, size < CHECKPOINT_ORIGIN_SIZE ? size : CHECKPOINT_ORIGIN_SIZE - 1);
}

static enum status read_mark(struct audit_mark *mark)
{
    char text[CHECKPOINT_SIZE_MAX];
    int fd = openat(mark->dir_fd, mark->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return errno == ENOENT ? STATUS_OK : STATUS_INTERNAL;
    }
    ssize_t got = read(fd, text, sizeof text);
    (void)close(fd); /* only read from */
    if (got < 0) {
        return STATUS_INTERNAL;
    }
    enum status status = checkpoint_read(NULL, view_of(text, (size_t)got), &mark->last);
    if (status == STATUS_OK) {
        read_origin(view_of(text, (size_t)got), mark->origin);
    }
    return status;
}

enum status audit_mark_open(const char *dir, unsigned shard, struct audit_mark **ret_mark)
{
    CLEANUP(audit_mark_free) struct audit_mark *mark = calloc(1, sizeof *mark);
    if (!mark) {
        return STATUS_INTERNAL;
    }
    mark->shard = shard;
    (void)snprintf(mark->name, sizeof mark->name, shard ? "audit-%u.head" : "audit.head", shard);
    (void)snprintf(mark->new_name, sizeof mark->new_name, "%s.new", mark->name);
    mark->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mark->dir_fd < 0 || read_mark(mark) != STATUS_OK) {
        log_error("audit", "cannot read %s/%s, which says how far the audit log went", dir,
                  mark->name);
        return STATUS_INVALID;
    }
    *ret_mark = TAKE(mark);
    return STATUS_OK;
}

void audit_mark_free(struct audit_mark **mark)
{
    if (*mark && (*mark)->dir_fd >= 0) {
        (void)close((*mark)->dir_fd); /* a directory */
    }
    free(*mark);
    *mark = NULL;
}

/* A reader sees the old one or the new one. */
static bool write_mark(const struct audit_mark *mark, struct view note)
{
    int fd = openat(mark->dir_fd, mark->new_name,
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return false;
    }
    bool good = write(fd, note.data, note.size) == (ssize_t)note.size && fdatasync(fd) == 0;
    good = close(fd) == 0 && good;
    return good && renameat(mark->dir_fd, mark->new_name, mark->dir_fd, mark->name) == 0;
}

bool audit_mark_take(struct audit_mark *mark, struct view note, uint64_t acked,
                     char *ret_text)
{
    struct checkpoint next;
    char origin[CHECKPOINT_ORIGIN_SIZE];
    if (checkpoint_read(NULL, note, &next) != STATUS_OK || next.kind != CHECKPOINT_HEAD) {
        log_warn("audit", "audit-%u sent a checkpoint that is none", mark->shard);
        return true;
    }
    if (next.shard != mark->shard) {
        log_error("audit", "audit-%u sent a checkpoint of audit-%u", mark->shard, next.shard);
        return true; /* it takes no records either */
    }
    bool same = next.size == mark->last.size &&
                memcmp(next.hash, mark->last.hash, sizeof next.hash) == 0;
    if (same && acked <= next.size) {
        return true;
    }
    read_origin(note, origin);
    uint64_t had = acked > mark->last.size ? acked : mark->last.size;
    bool other = mark->last.size > 0 && strcmp(origin, mark->origin) != 0;
    bool rewound = other || next.size < had || next.size == mark->last.size;
    if (rewound) {
        char kept[64];
        (void)snprintf(kept, sizeof kept, "%s.%llu", mark->name,
                       (unsigned long long)mark->last.size);
        (void)snprintf(ret_text, AUDIT_MARK_TEXT,
                       "the log had %llu records and now has %llu%s; %s holds the older checkpoint",
                       (unsigned long long)had, (unsigned long long)next.size,
                       other ? ", of another key" : "", kept);
        mark->rewound++;
        if (renameat(mark->dir_fd, mark->name, mark->dir_fd, kept) != 0) {
            log_warn("audit", "cannot keep %s: %s", kept, strerror(errno));
        }
    }
    if (write_mark(mark, note)) {
        mark->last = next;
        memcpy(mark->origin, origin, sizeof mark->origin);
    } else {
        log_warn("audit", "cannot write %s: %s", mark->name, strerror(errno)); /* a second later */
    }
    return !rewound;
}

uint64_t audit_mark_rewound(const struct audit_mark *mark)
{
    return mark->rewound;
}
