/* unknown.c - writes `unknown` for the calls whose outcome will never come, and keeps in mind which
 * intents are older than what a start reads again. */
#include "services/audit/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

static const char open_name[] = "audit.open", new_name[] = "audit.open.new";

/* The intent's fields with another kind and a reason.  `,"name":` stands nowhere but before a member,
 * so they are found as bytes. */
enum status unknown_fields(struct view intent, struct buffer *ret_fields)
{
    static const char kind[] = "\"kind\":\"intent\"", reason[] = ",\"reason\":",
                      status_name[] = ",\"status\":";
    const uint8_t *at = memmem(intent.data, intent.size, reason, sizeof reason - 1);
    const uint8_t *rest = memmem(intent.data, intent.size, status_name, sizeof status_name - 1);
    if (!view_starts(intent, kind) || !at || !rest || rest < at) {
        return STATUS_INVALID;
    }
    const uint8_t *begin = intent.data + sizeof kind - 1;
    buffer_append_text(ret_fields, "\"kind\":\"outcome\"");
    buffer_append(ret_fields, begin, (size_t)(at - begin));
    buffer_append_text(ret_fields, ",\"reason\":\"unknown\"");
    buffer_append(ret_fields, rest, (size_t)(intent.data + intent.size - rest));
    return ret_fields->failed ? STATUS_INTERNAL : STATUS_OK;
}

/* The hint is one of 8 bytes a number, in this machine's order: it never leaves it. */
void unknown_save(int dir_fd, struct running *running, uint64_t below, struct buffer *saved)
{
    CLEANUP(buffer_free) struct buffer seqs = BUFFER_EMPTY;
    running_below(running, below, &seqs);
    if (seqs.failed || view_equal(buffer_view(&seqs), buffer_view(saved))) {
        return;
    }
    int fd = openat(dir_fd, new_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good = fd >= 0 && file_write(fd, buffer_view(&seqs)) && fdatasync(fd) == 0;
    if (fd >= 0) {
        good = close(fd) == 0 && good;
    }
    if (good && renameat(dir_fd, new_name, dir_fd, open_name) == 0) {
        buffer_free(saved);
        *saved = seqs;
        seqs = BUFFER_EMPTY;
    } /* else it is tried again a second later */
}

enum status unknown_load(int dir_fd, struct buffer *ret_seqs)
{
    int fd = openat(dir_fd, open_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return errno == ENOENT ? STATUS_OK : STATUS_INTERNAL;
    }
    off_t size = lseek(fd, 0, SEEK_END);
    enum status status = STATUS_OK;
    if (size < 0 || (uint64_t)size > RUNNING_MAX * sizeof(uint64_t)) {
        status = STATUS_INVALID;
    } else if (size > 0) {
        status = file_read(fd, 0, (size_t)size, ret_seqs);
    }
    (void)close(fd); /* only read from */
    if (status != STATUS_OK) {
        log_warn("open", "%s cannot be read: calls older than the last %d records may get no outcome",
                 open_name, (int)RECENT_MAX);
    }
    return STATUS_OK;
}
