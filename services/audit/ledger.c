/* ledger.c - the log.  Nothing counts as written before its batch is synced.
 *
 * A batch that fails is taken back: the file is cut to its last good size before anything else is
 * written, so that no record is on disk whose sender was told that it is not.  A file that is large
 * or of yesterday is ended, and the next goes on with the same chain. */
#include "services/audit/ledger_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

struct files ledger_files_of(const struct ledger *ledger)
{
    return (struct files){ledger->dir_fd, &ledger->segments, ledger->fd, ledger->size,
                          ledger->first};
}

/* Frees the blocks that were laid out and not used.  Only after a batch of this process was written is
 * `size` known to be all that counts. */
static void give_back(struct ledger *ledger)
{
    if (ledger->laid_out > 0 && ledger->size > 0 && !ledger->dirty) {
        (void)!ftruncate(ledger->fd, (off_t)ledger->size);
    }
    ledger->laid_out = 0;
}

void ledger_close(struct ledger **ledger)
{
    if (!*ledger) {
        return;
    }
    if ((*ledger)->fd >= 0) {
        (void)ledger_sign(*ledger); /* what is not signed is so at the next start */
        give_back(*ledger);
        (void)close((*ledger)->fd); /* all that counts is synced */
    }
    if ((*ledger)->dir_fd >= 0) {
        (void)close((*ledger)->dir_fd);
    }
    recent_free(&(*ledger)->recent);
    running_free(&(*ledger)->running);
    buffer_free(&(*ledger)->saved);
    checkpoints_close(&(*ledger)->checkpoints);
    segments_free(&(*ledger)->segments);
    buffer_free(&(*ledger)->batch);
    buffer_free(&(*ledger)->fields);
    free(*ledger);
    *ledger = NULL;
}

static enum status add_fields(struct ledger *ledger, struct view fields, struct sender sender,
                              uint64_t *ret_seq)
{
    struct known known;
    recent_describe(ledger->recent, fields, &known);
    enum status status = recent_find(ledger->recent, &known, sender, ret_seq);
    struct view request = line_text(fields, "request");
    bool intent = view_starts(fields, "\"kind\":\"intent\"");
    if (status == STATUS_OK && intent && !running_has(ledger->running, request)) {
        return STATUS_CONFLICT; /* its call is over: a second one needs an intent of its own */
    }
    if (status != STATUS_NOT_FOUND) {
        return status;
    }
    bool outcome = view_starts(fields, "\"kind\":\"outcome\"");
    if (outcome && !running_has(ledger->running, request)) {
        return STATUS_NOT_FOUND;
    }
    if (intent) {
        status = running_add(ledger->running, request, ledger->staged.seq + 1, clock_mono_ms());
        if (status != STATUS_OK) {
            return status == STATUS_INTERNAL ? STATUS_CONFLICT : status;
        }
    }
    status = line_append(fields, clock_wall_ms(), &ledger->staged, &ledger->batch);
    if (status != STATUS_OK) {
        ledger->batch.failed = false; /* what is in the batch is whole */
        if (intent) {
            running_close(ledger->running, request);
        }
        return status;
    }
    if (outcome) {
        running_close(ledger->running, request);
    }
    recent_add(ledger->recent, &known, sender, ledger->staged.seq);
    ledger->batch_count++;
    *ret_seq = ledger->staged.seq;
    return STATUS_OK;
}

enum status ledger_take(struct ledger *ledger, const struct audit_record *record, uint64_t sender,
                        uint64_t *ret_seq)
{
    buffer_clear(&ledger->fields);
    recent_expect(ledger->recent, record);
    enum status status = line_fields(record, &ledger->fields);
    return status == STATUS_OK ? add_fields(ledger, buffer_view(&ledger->fields),
                                            (struct sender){sender, record->call, record->bound}, ret_seq)
                               : status;
}

enum status ledger_add(struct ledger *ledger, const struct audit_record *record,
                       uint64_t *ret_seq)
{
    return ledger_take(ledger, record, 0, ret_seq);
}

void ledger_claim(struct ledger *ledger, struct view request)
{
    running_claim(ledger->running, request, clock_mono_ms());
}

void ledger_claim_all(struct ledger *ledger)
{
    running_claim_all(ledger->running, clock_mono_ms());
}

static enum status end_unknown(struct ledger *ledger, uint64_t seq)
{
    CLEANUP(buffer_free) struct buffer text = BUFFER_EMPTY;
    CLEANUP(buffer_free) struct buffer fields = BUFFER_EMPTY;
    struct files files = ledger_files_of(ledger);
    struct line line;
    uint64_t own;
    enum status status = query_line(&files, seq, &text);
    if (status == STATUS_OK && !line_split(buffer_view(&text), &line)) {
        status = STATUS_INVALID;
    }
    bool known = status == STATUS_OK;
    if (status == STATUS_OK) {
        status = unknown_fields(line.fields, &fields);
    }
    if (status == STATUS_OK) {
        status = add_fields(ledger, buffer_view(&fields), (struct sender){0}, &own);
    }
    if (status != STATUS_OK) {
        LOG_ABOUT(known ? line_text(line.fields, "request") : VIEW(""),
                  known ? line_text(line.fields, "tenant") : VIEW(""));
        log_error("unknown", "record %llu gets no outcome now: %s", (unsigned long long)seq,
                  status_name(status));
    }
    return status;
}

size_t ledger_give_up(struct ledger *ledger, uint64_t wait_ms)
{
    uint64_t seq, claimed_ms, now_ms = clock_mono_ms(), lowest;
    size_t count = 0;
    for (; count < GIVE_UP_MAX && running_oldest(ledger->running, &seq, &claimed_ms) &&
           claimed_ms + wait_ms < now_ms; count++) {
        if (end_unknown(ledger, seq) != STATUS_OK) {
            running_claim_oldest(ledger->running, now_ms); /* the others come first */
        }
    }
    if (ledger_commit(ledger) != STATUS_OK) {
        return 0;
    }
    lowest = ledger->committed.seq > RECENT_MAX / 2 ? ledger->committed.seq - RECENT_MAX / 2 : 0;
    unknown_save(ledger->dir_fd, ledger->running, lowest, &ledger->saved);
    return count;
}

size_t ledger_running(const struct ledger *ledger)
{
    return running_count(ledger->running);
}

/* Cuts a failed batch off, durably. */
static bool repair(struct ledger *ledger)
{
    if (ledger->dirty &&
        (ftruncate(ledger->fd, (off_t)ledger->size) != 0 || fdatasync(ledger->fd) != 0)) {
        return false;
    }
    ledger->laid_out = ledger->dirty ? 0 : ledger->laid_out;
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
    ledger->size = ledger->laid_out = 0;
    ledger->first = 0;
    return true;
}

/* Ends the file when it is its time.  One that cannot be ended goes on: nothing is lost by that. */
static void rotate(struct ledger *ledger, uint64_t now_ms)
{
    uint64_t count;
    if (ledger->fd < 0 || ledger->first == 0 || ledger->dirty ||
        (ledger->size < ledger->segment_bytes && now_ms / LEDGER_DAY_MS == ledger->day)) {
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
    give_back(ledger);
    (void)close(ledger->fd); /* synced */
    ledger->fd = -1;
    if (checkpoints_next_file(ledger->checkpoints) != STATUS_OK) {
        log_warn("rotate", "checkpoints go on in the old file");
    }
    log_info("rotate", "a new file begins after record %llu",
             (unsigned long long)ledger->committed.seq);
}

/* Has the file system find blocks for many batches at once; the file's size stays what was written, so
 * that whoever reads along sees nothing of it.  Where that cannot be, each batch finds its own. */
static void lay_out(struct ledger *ledger)
{
    uint64_t end = ledger->size + ledger->batch.size;
    if (end <= ledger->laid_out) {
        return;
    }
    ledger->laid_out = end + LAY_OUT_BYTES;
    (void)fallocate(ledger->fd, FALLOC_FL_KEEP_SIZE, (off_t)ledger->size,
                    (off_t)(ledger->laid_out - ledger->size));
}

static bool write_batch(struct ledger *ledger)
{
    if ((ledger->fd < 0 && !begin_file(ledger)) || !repair(ledger)) {
        return false;
    }
    lay_out(ledger);
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
    running_take_back(ledger->running, ledger->committed.seq);
    ledger->staged = ledger->committed;
    ledger->failing = true;
    ledger->taken_back++;
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
            ledger->day = now_ms / LEDGER_DAY_MS;
        }
        ledger->size += ledger->batch.size;
        ledger->committed = ledger->staged;
        running_commit(ledger->running);
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

unsigned ledger_shard(const struct ledger *ledger)
{
    return ledger->shard;
}

bool ledger_failing(const struct ledger *ledger)
{
    return ledger->failing;
}

uint64_t ledger_taken_back(const struct ledger *ledger)
{
    return ledger->taken_back;
}
