/* retain.c - removes the oldest files when they are too old or too many, and says so: by a record in
 * the log, and by a signed statement that keeps what is left verifiable.
 *
 * The record and the statement come first, so a crash leaves files that may be removed and never a
 * gap that nobody explains.  The last file that is done stays: the open one goes on from it. */
#include "services/audit/ledger_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"

static const char removed_name[] = "audit.removed", new_name[] = "audit.removed.new";

static enum status last_of(const struct ledger *ledger, size_t index, struct head *ret_head,
                           uint64_t *ret_wall_ms)
{
    int fd = segment_open(ledger->dir_fd, ledger->segments.list[index].first, "log");
    if (fd < 0) {
        return STATUS_NOT_FOUND;
    }
    enum status status = recover_head(fd, ret_head, ret_wall_ms);
    (void)close(fd); /* only read from */
    return status == STATUS_OK && ret_head->seq == 0 ? STATUS_NOT_FOUND : status;
}

/* Whether the file's last record is older than KEEP_MS.  The file's own time can be set by anybody, so
 * it is only a hint: the signed record's counts.  What it says is kept for the next time. */
static bool is_old(struct ledger *ledger, size_t index, uint64_t keep_ms, uint64_t now_ms)
{
    struct segment *segment = &ledger->segments.list[index];
    struct head head;
    uint64_t wall_ms, times;
    if (keep_ms == 0 || segment->last_ms + keep_ms >= now_ms) {
        return false;
    }
    if (last_of(ledger, index, &head, &wall_ms) != STATUS_OK ||
        !checkpoints_vouch(ledger->checkpoints, segment->first, &head)) {
        if (log_due(&ledger->rotate_limit, &times)) {
            log_error("retain", "the file that begins with record %llu is not as it was signed: it is "
                                "kept; run `seks audit verify`", (unsigned long long)segment->first);
        }
        return false;
    }
    segment->last_ms = wall_ms;
    return wall_ms + keep_ms < now_ms;
}

/* How many of the oldest files go. */
static size_t count_old(struct ledger *ledger, uint64_t keep_ms, uint64_t keep_bytes)
{
    const struct segments *segments = &ledger->segments;
    uint64_t now_ms = clock_wall_ms(), left = ledger_size(ledger), lowest;
    bool any = running_lowest(ledger->running, &lowest);
    size_t count = 0;
    for (; count + 1 < segments->count; count++) {
        bool much = keep_bytes > 0 && left > keep_bytes;
        if ((any && lowest < segments->list[count + 1].first) || /* a call that is in it still runs */
            (!much && !is_old(ledger, count, keep_ms, now_ms))) {
            break;
        }
        left -= segments->list[count].bytes;
    }
    return count;
}

/* A reader sees the old one or the new one. */
static enum status write_statement(struct ledger *ledger, const struct head *head)
{
    CLEANUP(buffer_free) struct buffer note = BUFFER_EMPTY;
    enum status status = checkpoints_removed(ledger->checkpoints, head, &note);
    if (status != STATUS_OK) {
        return status;
    }
    int fd = openat(ledger->dir_fd, new_name,
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good = fd >= 0 && file_write(fd, buffer_view(&note)) && fsync(fd) == 0;
    if (fd >= 0) {
        good = close(fd) == 0 && good;
    }
    good = good && renameat(ledger->dir_fd, new_name, ledger->dir_fd, removed_name) == 0 &&
           fsync(ledger->dir_fd) == 0;
    return good ? STATUS_OK : STATUS_STORAGE_FULL;
}

static void remove_files(struct ledger *ledger, size_t count)
{
    static const char *const suffixes[] = {"idx", "sig", "log"};
    char name[SEGMENT_NAME_SIZE];
    struct segments *segments = &ledger->segments;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < sizeof suffixes / sizeof suffixes[0]; j++) {
            segment_name(segments->list[i].first, suffixes[j], name);
            if (unlinkat(ledger->dir_fd, name, 0) != 0 && errno != ENOENT) {
                log_warn("retain", "cannot remove %s: %s", name, strerror(errno));
            }
        }
    }
    segments->count -= count;
    memmove(segments->list, segments->list + count, segments->count * sizeof *segments->list);
}

void ledger_finish_removal(struct ledger *ledger, const uint8_t *public_key)
{
    CLEANUP(buffer_free) struct buffer note = BUFFER_EMPTY;
    struct checkpoint removed;
    const struct segments *segments = &ledger->segments;
    struct stat info;
    size_t count = 0;
    int fd = openat(ledger->dir_fd, removed_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return; /* nothing was ever removed */
    }
    bool good = fstat(fd, &info) == 0 && info.st_size <= CHECKPOINT_SIZE_MAX &&
                file_read(fd, 0, (size_t)info.st_size, &note) == STATUS_OK &&
                checkpoint_read(public_key, buffer_view(&note), &removed) == STATUS_OK &&
                removed.kind == CHECKPOINT_REMOVED && removed.shard == ledger->shard;
    (void)close(fd); /* only read from */
    if (!good) {
        log_error("open", "%s is not what was signed: run `seks audit verify`", removed_name);
        return;
    }
    while (count + 1 < segments->count && segments->list[count + 1].first <= removed.size + 1) {
        count++;
    }
    if (count > 0) {
        log_info("retain", "finished what a crash had interrupted: %zu files", count);
        remove_files(ledger, count);
    }
}

/* On a full disk the record has to wait for the room that the files give: the statement says it too. */
size_t ledger_retain(struct ledger *ledger, uint64_t keep_ms, uint64_t keep_bytes)
{
    size_t count = count_old(ledger, keep_ms, keep_bytes);
    struct head head;
    uint64_t ignored, times;
    char text[96];
    if (count == 0) {
        return 0;
    }
    enum status status = last_of(ledger, count - 1, &head, &ignored), noted = STATUS_OK;
    if (status == STATUS_OK) {
        (void)snprintf(text, sizeof text, "%zu files, records %llu to %llu", count,
                       (unsigned long long)ledger->segments.list[0].first,
                       (unsigned long long)head.seq);
        if (ledger->removal_noted != head.seq) { /* else it was tried before, and the statement failed */
            noted = ledger_note(ledger, "audit.removed", text, AUDIT_NONE);
        }
        ledger->removal_noted = noted == STATUS_OK ? head.seq : 0;
        status = write_statement(ledger, &head);
    }
    if (status != STATUS_OK) {
        if (log_due(&ledger->rotate_limit, &times)) {
            log_warn("retain", "old files stay for now: %s", status_name(status));
        }
        return 0;
    }
    remove_files(ledger, count);
    ledger->removal_noted = 0;
    log_info("retain", "removed %s", text);
    if (noted != STATUS_OK &&
        ledger_note(ledger, "audit.removed", text, AUDIT_NONE) != STATUS_OK) {
        log_warn("retain", "the record of it could not be written: only %s says so", removed_name);
    }
    return count;
}
