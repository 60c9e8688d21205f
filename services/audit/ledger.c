/* ledger.c - the log.  Nothing counts as written before its batch is synced.
 *
 * A batch that fails is taken back: the file is cut to its last good size before anything else is
 * written, so that no record is on disk whose sender was told that it is not.  A file that is large
 * or of yesterday is ended, and the next goes on with the same chain. */
#include "services/audit/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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
    struct segments segments; /* the files before this one */
    struct checkpoints *checkpoints;
    uint64_t segment_bytes;
    uint64_t first;        /* number of the file's first record, once there is one */
    uint64_t day;          /* of the file's first record, since 1970 */
    uint64_t size;         /* of the file on disk */
    struct head committed; /* on disk */
    struct head staged;    /* with the batch */
    struct buffer batch;
    struct buffer fields;
    size_t batch_count;
    bool dirty; /* bytes of a failed batch may be behind `size` */
    bool failing;
    struct log_limit limit, rotate_limit;
};

static const uint64_t day_ms = 24ull * 60 * 60 * 1000;

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

/* The directory and not the file, which is renamed one day. */
static enum status lock_dir(int dir_fd, const char *dir)
{
    if (flock(dir_fd, LOCK_EX | LOCK_NB) != 0) {
        log_error("open", "another audit daemon has %s open", dir);
        return STATUS_CONFLICT;
    }
    return STATUS_OK;
}

static enum status open_log_file(struct ledger *ledger, const char *dir)
{
    ledger->fd = openat(ledger->dir_fd, ACTIVE_LOG,
                        O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat info;
    if (ledger->fd < 0 || fstat(ledger->fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        log_error("open", "cannot open %s/audit.log: %s", dir,
                  ledger->fd < 0 ? strerror(errno) : "not a regular file");
        return STATUS_NOT_FOUND;
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

/* What a file's first line says of it. */
static void look_at_first(struct ledger *ledger)
{
    CLEANUP(buffer_free) struct buffer bytes = BUFFER_EMPTY;
    size_t part = ledger->size < LINE_SIZE_MAX ? (size_t)ledger->size : LINE_SIZE_MAX;
    struct stat info;
    struct line line;
    ledger->first = 0;
    ledger->day = clock_wall_ms() / day_ms;
    if (part == 0 || file_read(ledger->fd, 0, part, &bytes) != STATUS_OK) {
        return;
    }
    const uint8_t *newline = memchr(bytes.data, '\n', bytes.size);
    if (newline && line_split(view_of(bytes.data, (size_t)(newline - bytes.data)), &line)) {
        ledger->first = line.seq;
    }
    if (fstat(ledger->fd, &info) == 0) { /* near enough: it is ended when its day is over */
        ledger->day = (uint64_t)info.st_mtim.tv_sec * 1000 / day_ms;
    }
}

/* What the last file before this one ends in. */
static enum status head_before(struct ledger *ledger, struct head *ret_head)
{
    *ret_head = head_of_nothing;
    if (ledger->segments.count == 0) {
        return STATUS_OK;
    }
    int fd = segment_open(ledger->dir_fd, ledger->segments.list[ledger->segments.count - 1].first,
                          "log");
    if (fd < 0) {
        log_error("open", "cannot read the file before %s: %s", ACTIVE_LOG, strerror(errno));
        return STATUS_INTERNAL;
    }
    enum status status = recover_head(fd, ret_head);
    if (status == STATUS_OK) { /* what has a record in it may be asked about again */
        struct stat info;
        status = fstat(fd, &info) == 0
                     ? recover_lines(fd, (uint64_t)info.st_size, remember, ledger)
                     : STATUS_INTERNAL;
    }
    (void)close(fd); /* only read from */
    return status;
}

/* Says in the log itself what was found at its end. */
static void record_found(struct ledger *ledger, const struct recovered *found)
{
    const struct checkpoint *last = checkpoints_last(ledger->checkpoints);
    enum status status = STATUS_OK;
    char text[96];
    if (found->damaged) {
        log_error("open", "records that were signed were changed: run `seks audit verify`");
        status = ledger_note(ledger, "audit.damaged", "signed records were changed", AUDIT_NONE);
    }
    if (ledger->committed.seq < last->size) {
        (void)snprintf(text, sizeof text, "the log ended at %llu and had been signed up to %llu",
                       (unsigned long long)ledger->committed.seq, (unsigned long long)last->size);
        log_error("open", "%s: its end was cut off, or an old copy put back", text);
        status = ledger_note(ledger, "audit.rewound", text, AUDIT_NONE);
    }
    if (found->torn[0] != '\0' && status == STATUS_OK) {
        status = ledger_note(ledger, "audit.torn", found->torn, AUDIT_NONE);
    }
    if (status != STATUS_OK) {
        log_warn("open", "the record that says so could not be written");
    }
}

static enum status open_files(struct ledger *ledger, const struct ledger_options *options,
                              struct recovered *ret_found)
{
    struct head before;
    enum status status = segments_scan(ledger->dir_fd, &ledger->segments);
    if (status == STATUS_OK) {
        status = segment_finish_archive(ledger->dir_fd, &ledger->segments);
    }
    if (status == STATUS_OK) {
        status = open_log_file(ledger, options->dir);
    }
    if (status == STATUS_OK) {
        status = checkpoints_open(ledger->dir_fd, &options->signer, &ledger->segments,
                                  &ledger->checkpoints);
    }
    if (status == STATUS_OK) {
        status = head_before(ledger, &before);
    }
    if (status == STATUS_OK) {
        status = recover_tail(ledger->dir_fd, ledger->fd, &before,
                              checkpoints_last(ledger->checkpoints)->size, ret_found);
    }
    if (status == STATUS_OK) {
        ledger->size = ret_found->size;
        status = recover_lines(ledger->fd, ledger->size, remember, ledger);
    }
    return status;
}

enum status ledger_open(const struct ledger_options *options, struct ledger **ret_ledger)
{
    CLEANUP(ledger_close) struct ledger *ledger = calloc(1, sizeof *ledger);
    struct recovered found;
    if (!ledger) {
        return STATUS_INTERNAL;
    }
    ledger->dir_fd = ledger->fd = -1;
    ledger->segment_bytes = options->segment_bytes;
    ledger->recent = recent_new();
    enum status status =
        ledger->recent ? open_dir(options->dir, &ledger->dir_fd) : STATUS_INTERNAL;
    if (status == STATUS_OK) {
        status = lock_dir(ledger->dir_fd, options->dir);
    }
    if (status == STATUS_OK) {
        status = open_files(ledger, options, &found);
    }
    if (status != STATUS_OK) {
        return status;
    }
    ledger->committed = ledger->staged = found.head;
    look_at_first(ledger);
    record_found(ledger, &found);
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
        (void)ledger_sign(*ledger); /* what is not signed is so at the next start */
        (void)close((*ledger)->fd); /* all that counts is synced */
    }
    if ((*ledger)->dir_fd >= 0) {
        (void)close((*ledger)->dir_fd);
    }
    recent_free(&(*ledger)->recent);
    checkpoints_close(&(*ledger)->checkpoints);
    segments_free(&(*ledger)->segments);
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

/* Makes the next file; until that works nothing can be written, so calls are refused. */
static bool begin_file(struct ledger *ledger)
{
    int fd = openat(ledger->dir_fd, ACTIVE_LOG,
                    O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return false;
    }
    if (fsync(ledger->dir_fd) != 0) {
        int error = errno;
        (void)close(fd); /* empty */
        (void)unlinkat(ledger->dir_fd, ACTIVE_LOG, 0); /* or the next try finds it there */
        errno = error;
        return false;
    }
    ledger->fd = fd;
    ledger->size = 0;
    ledger->first = 0;
    return true;
}

/* Ends the file when it is its time.  One that cannot be ended goes on: nothing is lost by that. */
static void rotate(struct ledger *ledger, uint64_t now_ms)
{
    uint64_t count;
    if (ledger->fd < 0 || ledger->first == 0 || ledger->dirty ||
        (ledger->size < ledger->segment_bytes && now_ms / day_ms == ledger->day)) {
        return;
    }
    (void)ledger_sign(ledger); /* or the next file's first checkpoint covers it */
    if (!segments_add(&ledger->segments, ledger->first, ledger->size, now_ms)) {
        return;
    }
    if (segment_archive(ledger->dir_fd, ledger->first) != STATUS_OK) {
        ledger->segments.count--;
        if (log_due(&ledger->rotate_limit, &count)) {
            log_error("rotate", "cannot end %s: %s", ACTIVE_LOG, strerror(errno));
        }
        return;
    }
    (void)close(ledger->fd); /* synced */
    ledger->fd = -1;
    if (checkpoints_next_file(ledger->checkpoints) != STATUS_OK) {
        log_warn("rotate", "checkpoints go on in the old file");
    }
    log_info("rotate", "a new file begins after record %llu",
             (unsigned long long)ledger->committed.seq);
}

static bool write_batch(struct ledger *ledger)
{
    if ((ledger->fd < 0 && !begin_file(ledger)) || !repair(ledger)) {
        return false;
    }
    ledger->dirty = true;
    if (!file_write(ledger->fd, buffer_view(&ledger->batch)) || fdatasync(ledger->fd) != 0) {
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
    uint64_t now_ms = clock_wall_ms();
    rotate(ledger, now_ms);
    bool written = write_batch(ledger);
    if (written) {
        if (ledger->size == 0) {
            ledger->first = ledger->committed.seq + 1;
            ledger->day = now_ms / day_ms;
        }
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

enum status ledger_note(struct ledger *ledger, const char *action, const char *reason,
                        uint64_t duration_ms)
{
    struct audit_record record = {
        .kind = AUDIT_SYSTEM, .action = view_text(action), .reason = view_text(reason),
        .status = AUDIT_NONE, .bytes_in = AUDIT_NONE, .bytes_out = AUDIT_NONE,
        .duration_ms = duration_ms};
    uint64_t seq;
    enum status status = ledger_add(ledger, &record, &seq);
    return status == STATUS_OK ? ledger_commit(ledger) : status;
}

bool ledger_sign(struct ledger *ledger)
{
    return ledger->checkpoints &&
           checkpoints_sign(ledger->checkpoints, &ledger->committed) == STATUS_OK;
}

struct view ledger_checkpoint(const struct ledger *ledger)
{
    return checkpoints_note(ledger->checkpoints);
}

enum status ledger_query(const struct ledger *ledger, const struct audit_query *query,
                         struct buffer *ret_records, uint64_t *ret_next)
{
    const struct files files = {ledger->dir_fd, &ledger->segments, ledger->fd, ledger->size,
                                ledger->first};
    return query_run(&files, query, ret_records, ret_next);
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
    uint64_t size = ledger->size;
    for (size_t i = 0; i < ledger->segments.count; i++) {
        size += ledger->segments.list[i].bytes;
    }
    return size;
}

size_t ledger_files(const struct ledger *ledger)
{
    return ledger->segments.count + 1;
}

bool ledger_failing(const struct ledger *ledger)
{
    return ledger->failing;
}
