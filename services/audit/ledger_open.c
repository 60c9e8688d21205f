/* ledger_open.c - opens the log: what it ends in, what is known of it, and what was found. */
#include "services/audit/ledger_private.h"

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

/* An intent begins to run, an outcome ends it. */
static void note_running(struct ledger *ledger, struct view fields, uint64_t seq)
{
    struct view request = line_text(fields, "request");
    if (view_starts(fields, "\"kind\":\"intent\"")) {
        (void)!running_add(ledger->running, request, seq, clock_mono_ms());
    } else if (view_starts(fields, "\"kind\":\"outcome\"")) {
        running_close(ledger->running, request);
    }
}

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
    ledger->read_from = line->seq < ledger->read_from ? line->seq : ledger->read_from;
    struct known known;
    recent_describe(ledger->recent, line->fields, &known);
    recent_add(ledger->recent, &known, (struct sender){0}, line->seq);
    note_running(ledger, line->fields, line->seq);
    running_commit(ledger->running);
}

/* What a file's first line says of it. */
static void look_at_first(struct ledger *ledger)
{
    CLEANUP(buffer_free) struct buffer bytes = BUFFER_EMPTY;
    size_t part = ledger->size < LINE_SIZE_MAX ? (size_t)ledger->size : LINE_SIZE_MAX;
    struct stat info;
    struct line line;
    ledger->first = 0;
    ledger->day = clock_wall_ms() / LEDGER_DAY_MS;
    if (part == 0 || file_read(ledger->fd, 0, part, &bytes) != STATUS_OK) {
        return;
    }
    const uint8_t *newline = memchr(bytes.data, '\n', bytes.size);
    if (newline && line_split(view_of(bytes.data, (size_t)(newline - bytes.data)), &line)) {
        ledger->first = line.seq;
    }
    if (fstat(ledger->fd, &info) == 0) { /* near enough: it is ended when its day is over */
        ledger->day = (uint64_t)info.st_mtim.tv_sec * 1000 / LEDGER_DAY_MS;
    }
}

/* Intents that ran and are older than what was read again. */
static enum status remember_old(struct ledger *ledger)
{
    struct files files = ledger_files_of(ledger);
    enum status status = unknown_load(ledger->dir_fd, &ledger->saved);
    for (size_t at = 0; status == STATUS_OK && at + sizeof(uint64_t) <= ledger->saved.size;
         at += sizeof(uint64_t)) {
        CLEANUP(buffer_free) struct buffer text = BUFFER_EMPTY;
        struct line line;
        uint64_t seq;
        memcpy(&seq, ledger->saved.data + at, sizeof seq);
        if (query_line(&files, seq, &text) == STATUS_OK &&
            line_split(buffer_view(&text), &line) && line.seq == seq && seq < ledger->read_from &&
            view_starts(line.fields, "\"kind\":\"intent\"")) {
            note_running(ledger, line.fields, seq);
        }
    }
    return status;
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
    uint64_t ignored;
    enum status status = recover_head(fd, ret_head, &ignored);
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
        ledger_finish_removal(ledger, options->signer.public_key);
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
    ledger->shard = options->signer.shard;
    ledger->read_from = UINT64_MAX;
    ledger->recent = recent_new();
    ledger->running = running_new();
    enum status status =
        ledger->recent && ledger->running ? open_dir(options->dir, &ledger->dir_fd) : STATUS_INTERNAL;
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
    status = remember_old(ledger);
    if (status != STATUS_OK) {
        return status;
    }
    record_found(ledger, &found);
    log_info("open", "%llu records", (unsigned long long)ledger->committed.seq);
    *ret_ledger = TAKE(ledger);
    return STATUS_OK;
}
