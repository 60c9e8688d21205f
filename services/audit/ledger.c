/* ledger.c - the log file.  Nothing counts as written before its batch is synced.
 *
 * A batch that fails is taken back: the file is cut to its last good size before anything else is
 * written, so that no record is on disk whose sender was told that it is not. */
#include "services/audit/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

struct ledger {
    int dir_fd;
    int fd;
    struct recent *recent;
    uint64_t size;         /* on disk */
    struct head committed; /* on disk */
    struct head staged;    /* with the batch */
    struct buffer batch;
    struct buffer fields;
    size_t batch_count;
    bool dirty; /* bytes of a failed batch may be behind `size` */
    bool failing;
    struct log_limit limit;
};

static enum status open_dir(const char *dir, int *ret_fd)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        log_error("open", "cannot make the directory %s: %s", dir, strerror(errno));
        return STATUS_NOT_FOUND;
    }
    *ret_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*ret_fd < 0) {
        log_error("open", "cannot open the directory %s: %s", dir, strerror(errno));
        return STATUS_NOT_FOUND;
    }
    return STATUS_OK;
}

static enum status open_log_file(struct ledger *ledger, const char *dir)
{
    ledger->fd = openat(ledger->dir_fd, "audit.log",
                        O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat info;
    if (ledger->fd < 0 || fstat(ledger->fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        log_error("open", "cannot open %s/audit.log: %s", dir,
                  ledger->fd < 0 ? strerror(errno) : "not a regular file");
        return STATUS_NOT_FOUND;
    }
    if (flock(ledger->fd, LOCK_EX | LOCK_NB) != 0) {
        log_error("open", "another audit daemon has %s/audit.log open", dir);
        return STATUS_CONFLICT;
    }
    if (fsync(ledger->dir_fd) != 0) {
        log_error("open", "cannot sync %s: %s", dir, strerror(errno));
        return STATUS_INTERNAL;
    }
    return STATUS_OK;
}

static void remember(void *arg, const struct line *line)
{
    struct ledger *ledger = arg;
    recent_add(ledger->recent, line->fields, line->seq);
}

static void record_torn(struct ledger *ledger, const char *torn)
{
    struct audit_record record = {
        .kind = AUDIT_SYSTEM, .action = VIEW("audit.torn"), .reason = view_text(torn),
        .status = AUDIT_NONE, .bytes_in = AUDIT_NONE, .bytes_out = AUDIT_NONE,
        .duration_ms = AUDIT_NONE};
    uint64_t seq;
    if (ledger_add(ledger, &record, &seq) != STATUS_OK || ledger_commit(ledger) != STATUS_OK) {
        log_warn("torn", "the record that says so could not be written");
    }
}

enum status ledger_open(const char *dir, struct ledger **ret_ledger)
{
    CLEANUP(ledger_close) struct ledger *ledger = calloc(1, sizeof *ledger);
    char torn[TORN_NAME_SIZE];
    if (!ledger) {
        return STATUS_INTERNAL;
    }
    ledger->dir_fd = ledger->fd = -1;
    ledger->recent = recent_new();
    if (!ledger->recent) {
        return STATUS_INTERNAL;
    }
    enum status status = open_dir(dir, &ledger->dir_fd);
    if (status == STATUS_OK) {
        status = open_log_file(ledger, dir);
    }
    if (status == STATUS_OK) {
        status = recover_tail(ledger->dir_fd, ledger->fd, &ledger->size, &ledger->committed, torn);
    }
    if (status == STATUS_OK) {
        status = recover_lines(ledger->fd, ledger->size, remember, ledger);
    }
    if (status != STATUS_OK) {
        return status;
    }
    ledger->staged = ledger->committed;
    if (torn[0] != '\0') {
        record_torn(ledger, torn);
    }
    log_info("open", "%llu records", (unsigned long long)ledger->committed.seq);
    *ret_ledger = TAKE(ledger);
    return STATUS_OK;
}

void ledger_close(struct ledger **ledger)
{
    if (!*ledger) {
        return;
    }
    if ((*ledger)->fd >= 0) {
        (void)close((*ledger)->fd); /* all that counts is synced */
    }
    if ((*ledger)->dir_fd >= 0) {
        (void)close((*ledger)->dir_fd);
    }
    recent_free(&(*ledger)->recent);
    buffer_free(&(*ledger)->batch);
    buffer_free(&(*ledger)->fields);
    free(*ledger);
    *ledger = NULL;
}

enum status ledger_add(struct ledger *ledger, const struct audit_record *record,
                       uint64_t *ret_seq)
{
    buffer_clear(&ledger->fields);
    enum status status = line_fields(record, &ledger->fields);
    if (status != STATUS_OK) {
        return status;
    }
    struct view fields = buffer_view(&ledger->fields);
    status = recent_find(ledger->recent, fields, ret_seq);
    if (status != STATUS_NOT_FOUND) {
        return status;
    }
    status = line_append(fields, clock_wall_ms(), &ledger->staged, &ledger->batch);
    if (status != STATUS_OK) {
        ledger->batch.failed = false; /* what is in the batch is whole */
        return status;
    }
    recent_add(ledger->recent, fields, ledger->staged.seq);
    ledger->batch_count++;
    *ret_seq = ledger->staged.seq;
    return STATUS_OK;
}

/* Cuts a failed batch off, durably. */
static bool repair(struct ledger *ledger)
{
    if (ledger->dirty &&
        (ftruncate(ledger->fd, (off_t)ledger->size) != 0 || fdatasync(ledger->fd) != 0)) {
        return false;
    }
    ledger->dirty = false;
    return true;
}

static bool write_batch(struct ledger *ledger)
{
    struct view left = buffer_view(&ledger->batch);
    if (!repair(ledger)) {
        return false;
    }
    ledger->dirty = true;
    while (left.size > 0) {
        ssize_t put = write(ledger->fd, left.data, left.size);
        if (put < 0 && errno != EINTR) {
            return false;
        }
        left = put > 0 ? view_of(left.data + put, left.size - (size_t)put) : left;
    }
    if (fdatasync(ledger->fd) != 0) {
        return false;
    }
    ledger->dirty = false;
    return true;
}

static void take_back(struct ledger *ledger)
{
    uint64_t count;
    int error = errno;
    (void)repair(ledger); /* if not now, then before the next write */
    recent_forget(ledger->recent, ledger->batch_count);
    ledger->staged = ledger->committed;
    ledger->failing = true;
    if (log_due(&ledger->limit, &count)) {
        log_error("storage", "cannot write the log, so calls are refused: %s (%llu times)",
                  strerror(error), (unsigned long long)count);
    }
}

enum status ledger_commit(struct ledger *ledger)
{
    if (ledger->batch_count == 0) {
        return STATUS_OK;
    }
    bool written = write_batch(ledger);
    if (written) {
        ledger->size += ledger->batch.size;
        ledger->committed = ledger->staged;
        if (ledger->failing) {
            log_info("storage", "the log can be written again");
        }
        ledger->failing = false;
    } else {
        take_back(ledger);
    }
    buffer_clear(&ledger->batch);
    ledger->batch_count = 0;
    return written ? STATUS_OK : STATUS_STORAGE_FULL;
}

size_t ledger_staged(const struct ledger *ledger)
{
    return ledger->batch.size;
}

const struct head *ledger_head(const struct ledger *ledger)
{
    return &ledger->committed;
}

uint64_t ledger_size(const struct ledger *ledger)
{
    return ledger->size;
}

int ledger_fd(const struct ledger *ledger)
{
    return ledger->fd;
}

bool ledger_failing(const struct ledger *ledger)
{
    return ledger->failing;
}
