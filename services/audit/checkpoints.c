/* checkpoints.c - signs the head of the log, into the file beside the segment.
 *
 * A checkpoint speaks only of records that are on disk.  One that cannot be written is tried again
 * a second later; the records do not wait for it. */
#include "services/audit/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/keyfile.h"
#include "common/log.h"

enum { END_BYTES = 8 * CHECKPOINT_SIZE_MAX };

struct checkpoints {
    int dir_fd; /* borrowed */
    int fd;
    struct secret *seed;
    uint8_t public_key[CRYPTO_KEY_BYTES];
    unsigned shard;
    uint64_t size;          /* of the file, whole notes only */
    struct checkpoint last; /* size 0 before the first */
    struct buffer note;     /* the last, as text */
    bool dirty;             /* half a note may be behind `size` */
    struct log_limit limit;
};

/* Takes the last whole note of FD that is ours; RET_SIZE is where the whole ones end. */
static enum status read_last(struct checkpoints *checkpoints, int fd, uint64_t *ret_size)
{
    CLEANUP(buffer_free) struct buffer bytes = BUFFER_EMPTY;
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return STATUS_INTERNAL;
    }
    uint64_t size = (uint64_t)info.st_size;
    size_t part = size < END_BYTES ? (size_t)size : END_BYTES;
    if (file_read(fd, size - part, part, &bytes) != STATUS_OK) {
        return STATUS_INTERNAL;
    }
    char origin[CHECKPOINT_ORIGIN_SIZE]; /* what those of all our logs begin with */
    struct checkpoint read;
    if (checkpoint_origin(checkpoints->public_key, 0, origin) != STATUS_OK) {
        return STATUS_INTERNAL;
    }
    size_t at = 0, whole = 0, strange = 0;
    while (at < part) { /* the first may be cut off: each begins with the origin */
        struct view rest = view_of(bytes.data + at, part - at);
        size_t span = view_starts(rest, origin) ? checkpoint_span(rest) : 0;
        if (span > 0 && checkpoint_read(checkpoints->public_key, view_of(rest.data, span), &read) ==
                            STATUS_OK) {
            if (read.shard != checkpoints->shard) {
                log_error("open", "this is the log of audit daemon %u, and this daemon is number %u",
                          read.shard, checkpoints->shard);
                return STATUS_CONFLICT;
            }
            checkpoints->last = read;
            buffer_clear(&checkpoints->note);
            buffer_append(&checkpoints->note, rest.data, span);
            at += span;
            whole = at;
        } else {
            strange = span > 0 ? at + span : strange;
            at++;
        }
    }
    /* Half a note is a crash's and is cut off; a whole one that is not good is evidence. */
    bool cut = strange <= whole && (whole > 0 || part == size);
    *ret_size = cut ? size - part + whole : size;
    if (!cut) {
        log_error("checkpoint", "%s does not end in a checkpoint of this key", ACTIVE_SIG);
    }
    return STATUS_OK;
}

static enum status open_file(struct checkpoints *checkpoints)
{
    checkpoints->fd = openat(checkpoints->dir_fd, ACTIVE_SIG,
                             O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (checkpoints->fd < 0) {
        log_error("checkpoint", "cannot open %s: %s", ACTIVE_SIG, strerror(errno));
        return STATUS_STORAGE_FULL;
    }
    return STATUS_OK;
}

/* The newest checkpoint may stand in the segment before. */
static enum status find_last(struct checkpoints *checkpoints, const struct segments *segments)
{
    enum status status = read_last(checkpoints, checkpoints->fd, &checkpoints->size);
    checkpoints->dirty = true; /* cut to the whole ones before the first write */
    if (status != STATUS_OK || checkpoints->last.size > 0 || segments->count == 0) {
        return status;
    }
    uint64_t ignored;
    int fd = segment_open(checkpoints->dir_fd, segments->list[segments->count - 1].first, "sig");
    if (fd < 0) {
        return STATUS_OK; /* verification says what is missing */
    }
    status = read_last(checkpoints, fd, &ignored);
    (void)close(fd); /* only read from */
    return status;
}

enum status checkpoints_open(int dir_fd, const struct signer *signer,
                             const struct segments *segments, struct checkpoints **ret)
{
    CLEANUP(checkpoints_close) struct checkpoints *checkpoints = calloc(1, sizeof *checkpoints);
    if (!checkpoints) {
        return STATUS_INTERNAL;
    }
    checkpoints->dir_fd = dir_fd;
    checkpoints->fd = -1;
    checkpoints->seed = secret_new(signer->seed, CRYPTO_KEY_BYTES);
    memcpy(checkpoints->public_key, signer->public_key, CRYPTO_KEY_BYTES);
    checkpoints->shard = signer->shard;
    enum status status = checkpoints->seed ? open_file(checkpoints) : STATUS_INTERNAL;
    if (status == STATUS_OK) {
        status = find_last(checkpoints, segments);
    }
    if (status == STATUS_OK) {
        *ret = TAKE(checkpoints);
    }
    return status;
}

void checkpoints_close(struct checkpoints **checkpoints)
{
    if (!*checkpoints) {
        return;
    }
    if ((*checkpoints)->fd >= 0) {
        (void)close((*checkpoints)->fd); /* all that counts is synced */
    }
    secret_free(&(*checkpoints)->seed);
    buffer_free(&(*checkpoints)->note);
    free(*checkpoints);
    *checkpoints = NULL;
}

static bool append_note(struct checkpoints *checkpoints, struct view note)
{
    if (checkpoints->dirty && ftruncate(checkpoints->fd, (off_t)checkpoints->size) != 0) {
        return false;
    }
    checkpoints->dirty = true;
    if (!file_write(checkpoints->fd, note) || fdatasync(checkpoints->fd) != 0) {
        return false;
    }
    checkpoints->dirty = false;
    checkpoints->size += note.size;
    return true;
}

enum status checkpoints_sign(struct checkpoints *checkpoints, const struct head *head)
{
    CLEANUP(buffer_free) struct buffer note = BUFFER_EMPTY;
    struct checkpoint next = {.kind = CHECKPOINT_HEAD, .shard = checkpoints->shard, .size = head->seq};
    uint64_t count;
    if (!hex_decode(view_of(head->hash, HASH_CHARS), next.hash, sizeof next.hash)) {
        return STATUS_INTERNAL;
    }
    if (head->seq == 0 || (checkpoints->last.size == next.size &&
                           memcmp(checkpoints->last.hash, next.hash, sizeof next.hash) == 0)) {
        return STATUS_NOT_FOUND;
    }
    enum status status = checkpoint_make(secret_data(checkpoints->seed), checkpoints->public_key,
                                         &next, &note);
    if (status == STATUS_OK && !append_note(checkpoints, buffer_view(&note))) {
        status = STATUS_STORAGE_FULL;
        if (log_due(&checkpoints->limit, &count)) {
            log_error("checkpoint", "cannot write %s: %s", ACTIVE_SIG, strerror(errno));
        }
    }
    if (status == STATUS_OK) {
        checkpoints->last = next;
        buffer_free(&checkpoints->note);
        checkpoints->note = note;
        note = BUFFER_EMPTY;
    }
    return status;
}

enum status checkpoints_next_file(struct checkpoints *checkpoints)
{
    int old = checkpoints->fd;
    if (checkpoints->dirty && ftruncate(old, (off_t)checkpoints->size) == 0) {
        checkpoints->dirty = false;
    }
    enum status status = open_file(checkpoints);
    if (status != STATUS_OK) {
        checkpoints->fd = old;
        return status;
    }
    (void)close(old); /* synced */
    checkpoints->size = 0;
    checkpoints->dirty = false;
    return STATUS_OK;
}

enum status checkpoints_removed(struct checkpoints *checkpoints, const struct head *head,
                                struct buffer *ret_note)
{
    struct checkpoint removed = {
        .kind = CHECKPOINT_REMOVED, .shard = checkpoints->shard, .size = head->seq};
    if (!hex_decode(view_of(head->hash, HASH_CHARS), removed.hash, sizeof removed.hash)) {
        return STATUS_INTERNAL;
    }
    return checkpoint_make(secret_data(checkpoints->seed), checkpoints->public_key, &removed,
                           ret_note);
}

bool checkpoints_vouch(const struct checkpoints *checkpoints, uint64_t first,
                       const struct head *head)
{
    struct checkpoints other = {.dir_fd = checkpoints->dir_fd, .shard = checkpoints->shard};
    uint8_t hash[CRYPTO_HASH_BYTES];
    uint64_t ignored;
    int fd = segment_open(checkpoints->dir_fd, first, "sig");
    if (fd < 0) {
        return false;
    }
    memcpy(other.public_key, checkpoints->public_key, sizeof other.public_key);
    bool good = read_last(&other, fd, &ignored) == STATUS_OK && other.last.size == head->seq &&
                hex_decode(view_of(head->hash, HASH_CHARS), hash, sizeof hash) &&
                memcmp(hash, other.last.hash, sizeof hash) == 0;
    (void)close(fd); /* only read from */
    buffer_free(&other.note);
    return good;
}

const struct checkpoint *checkpoints_last(const struct checkpoints *checkpoints)
{
    return &checkpoints->last;
}

struct view checkpoints_note(const struct checkpoints *checkpoints)
{
    return buffer_view(&checkpoints->note);
}
