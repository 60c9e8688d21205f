/* audit_notes.c - the signed checkpoints of a log, and heads that were kept elsewhere.
 *
 * All checkpoints of all files are held (88 bytes each), in the order of the files.  A signature is
 * checked when something hangs on it: the last of each file, any that disagrees with the records, and
 * the heads.  One that agrees and is covered by a later good one proves nothing by itself. */
#include "cli/audit_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/keyfile.h"

enum { SIG_BYTES_MAX = 1 << 30 };

struct note {
    struct checkpoint says;
    uint32_t file;
    uint32_t span;
    uint64_t offset;
    bool head; /* kept elsewhere; its signature was checked */
};

struct log_notes {
    const struct log_files *files;
    const uint8_t *public_key;
    struct note *list;
    size_t count, at;
    size_t strange;
    bool was_removed;
    struct checkpoint removed;
    bool named; /* SHARD is known, by the first signature that was looked at */
    unsigned shard;
};

/* Whether NOTE speaks of the log that the others speak of. */
static bool is_of_this_log(struct log_notes *notes, const struct checkpoint *note)
{
    if (!notes->named) {
        notes->named = true;
        notes->shard = note->shard;
    }
    return note->shard == notes->shard;
}

static bool add(struct log_notes *notes, const struct note *note)
{
    if ((notes->count & (notes->count + 1)) == 0) { /* 0, 1, 3, 7: room for as many again */
        struct note *grown =
            reallocarray(notes->list, 2 * notes->count + 2, sizeof *grown);
        if (!grown) {
            return false;
        }
        notes->list = grown;
    }
    notes->list[notes->count++] = *note;
    return true;
}

static int open_sig(const struct log_files *files, size_t file)
{
    char name[40];
    (void)snprintf(name, sizeof name, "%s", files->names[file]);
    size_t size = strlen(name);
    memcpy(name + size - 3, "sig", 3);
    return openat(files->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

static enum status read_whole(int fd, struct buffer *ret_bytes)
{
    struct stat info;
    if (fstat(fd, &info) != 0 || info.st_size > SIG_BYTES_MAX) {
        return STATUS_INTERNAL;
    }
    size_t size = (size_t)info.st_size, done = 0;
    uint8_t *room = size > 0 ? buffer_room(ret_bytes, size) : NULL;
    while (room && done < size) {
        ssize_t got = read(fd, room + done, size - done);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            break;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    ret_bytes->size += done;
    return done == size ? STATUS_OK : STATUS_INTERNAL;
}

/* What stands at the end of the newest file and is no whole note is a crash's; elsewhere it counts. */
static enum status take_file(struct log_notes *notes, size_t file, struct view bytes)
{
    struct note note = {.file = (uint32_t)file};
    for (size_t at = 0; at < bytes.size;) {
        struct view rest = view_of(bytes.data + at, bytes.size - at);
        size_t span = checkpoint_span(rest);
        bool good = span > 0 && span <= CHECKPOINT_SIZE_MAX &&
                    checkpoint_read(NULL, view_of(rest.data, span), &note.says) == STATUS_OK &&
                    note.says.kind == CHECKPOINT_HEAD && is_of_this_log(notes, &note.says);
        if (good) {
            note.span = (uint32_t)span;
            note.offset = at;
            if (!add(notes, &note)) {
                return STATUS_INTERNAL;
            }
        } else if (span == 0) {
            notes->strange += file + 1 == notes->files->count ? 0 : rest.size;
            return STATUS_OK;
        } else {
            notes->strange += span;
        }
        at += span;
    }
    return STATUS_OK;
}

/* The statement in audit.removed, whose signature must be good. */
static enum status read_removed(struct log_notes *notes)
{
    CLEANUP(buffer_free) struct buffer bytes = BUFFER_EMPTY;
    int fd = openat(notes->files->dir_fd, "audit.removed", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return STATUS_OK;
    }
    enum status status = read_whole(fd, &bytes);
    (void)close(fd); /* only read from */
    if (status != STATUS_OK) {
        return status;
    }
    notes->was_removed = checkpoint_read(notes->public_key, buffer_view(&bytes),
                                         &notes->removed) == STATUS_OK &&
                         notes->removed.kind == CHECKPOINT_REMOVED &&
                         is_of_this_log(notes, &notes->removed);
    if (!notes->was_removed) {
        fprintf(stderr, "audit.removed is not signed by this key\n");
        notes->strange += bytes.size;
    }
    return STATUS_OK;
}

enum status log_notes_new(const struct log_files *files, const uint8_t *public_key,
                          struct log_notes **ret_notes)
{
    CLEANUP(log_notes_free) struct log_notes *notes = calloc(1, sizeof *notes);
    if (!notes) {
        return STATUS_INTERNAL;
    }
    notes->files = files;
    notes->public_key = public_key;
    enum status status = read_removed(notes);
    for (size_t i = 0; i < files->count && status == STATUS_OK; i++) {
        CLEANUP(buffer_free) struct buffer bytes = BUFFER_EMPTY;
        int fd = open_sig(files, i);
        if (fd < 0) {
            continue; /* the next file's checkpoints cover this one's records too */
        }
        status = read_whole(fd, &bytes);
        (void)close(fd); /* only read from */
        if (status == STATUS_OK) {
            status = take_file(notes, i, buffer_view(&bytes));
        }
    }
    if (status == STATUS_OK) {
        *ret_notes = TAKE(notes);
    }
    return status;
}

void log_notes_free(struct log_notes **notes)
{
    if (*notes) {
        free((*notes)->list);
    }
    free(*notes);
    *notes = NULL;
}

bool log_notes_removed(const struct log_notes *notes, struct checkpoint *ret_removed)
{
    if (notes->was_removed) {
        *ret_removed = notes->removed;
    }
    return notes->was_removed;
}

static bool parse_pair(const char *text, struct checkpoint *ret)
{
    char *end;
    struct checkpoint head = {.kind = CHECKPOINT_HEAD};
    errno = 0;
    head.size = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != ':' || text[0] < '0' || text[0] > '9' ||
        !hex_decode(view_text(end + 1), head.hash, sizeof head.hash)) {
        return false;
    }
    *ret = head;
    return true;
}

static bool read_head_file(const struct log_notes *notes, const char *path, struct checkpoint *ret)
{
    CLEANUP(buffer_free) struct buffer bytes = BUFFER_EMPTY;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "seks: --head takes SEQ:HASH or a file; %s: %s\n", path, strerror(errno));
        return false;
    }
    enum status status = read_whole(fd, &bytes);
    (void)close(fd); /* only read from */
    if (status == STATUS_OK) {
        status = checkpoint_read(notes->public_key, buffer_view(&bytes), ret);
    }
    if (status != STATUS_OK || ret->kind != CHECKPOINT_HEAD) {
        fprintf(stderr, "seks: %s is no checkpoint signed by this key\n", path);
        return false;
    }
    if (notes->named && ret->shard != notes->shard) {
        fprintf(stderr, "seks: %s is of the log of audit-%u, and this is that of audit-%u\n", path, ret->shard,
                notes->shard);
        return false;
    }
    return true;
}

/* Put where it belongs in the order; before one of the same size. */
enum status log_notes_head(struct log_notes *notes, const char *text)
{
    struct note head = {.head = true};
    if (!parse_pair(text, &head.says) && !read_head_file(notes, text, &head.says)) {
        return STATUS_INVALID;
    }
    if (notes->was_removed && head.says.size < notes->removed.size) {
        return STATUS_OK; /* of records that were removed on purpose */
    }
    if (!add(notes, &head)) {
        return STATUS_INTERNAL;
    }
    size_t at = notes->count - 1;
    for (; at > 0 && notes->list[at - 1].says.size >= head.says.size; at--) {
        notes->list[at] = notes->list[at - 1];
    }
    notes->list[at] = head;
    return STATUS_OK;
}

bool log_notes_peek(struct log_notes *notes, struct checkpoint *ret_checkpoint)
{
    if (notes->at == notes->count) {
        return false;
    }
    *ret_checkpoint = notes->list[notes->at].says;
    return true;
}

bool log_notes_last_of_file(const struct log_notes *notes)
{
    const struct note *note = &notes->list[notes->at];
    return notes->at + 1 == notes->count || note[1].head || note[1].file != note->file;
}

bool log_notes_kept(const struct log_notes *notes)
{
    return notes->list[notes->at].head;
}

bool log_notes_good(struct log_notes *notes)
{
    const struct note *note = &notes->list[notes->at];
    uint8_t text[CHECKPOINT_SIZE_MAX];
    struct checkpoint again;
    if (note->head) {
        return true;
    }
    int fd = open_sig(notes->files, note->file);
    if (fd < 0) {
        return false;
    }
    ssize_t got = pread(fd, text, note->span, (off_t)note->offset);
    (void)close(fd); /* only read from */
    return got == (ssize_t)note->span &&
           checkpoint_read(notes->public_key, view_of(text, note->span), &again) == STATUS_OK;
}

void log_notes_take(struct log_notes *notes)
{
    notes->at++;
}

unsigned log_notes_shard(const struct log_notes *notes)
{
    return notes->shard;
}

size_t log_notes_strange(const struct log_notes *notes)
{
    return notes->strange;
}
