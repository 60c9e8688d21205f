/* fuzz_audit_log.c - a log's directory from a stranger: verified, indexed, and asked.
 *
 * The input is audit.log, and from the first "seks-audit/" at a line's beginning on audit.sig. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/audit_log.h"
#include "services/audit/reading.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[40]; /* in memory where that can be */
static int dir_fd = -1;
static uint8_t public_key[CRYPTO_KEY_BYTES];

static void remove_dir(void)
{
    (void)unlinkat(dir_fd, "audit.log", 0);
    (void)unlinkat(dir_fd, "audit.sig", 0);
    (void)rmdir(dir);
}

static void set_up(void)
{
    uint8_t seed[CRYPTO_KEY_BYTES];
    memset(seed, 7, sizeof seed);
    (void)snprintf(dir, sizeof dir, "%s/seks-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(dir) || (dir_fd = open(dir, O_RDONLY | O_DIRECTORY)) < 0 ||
        crypto_sign_public(seed, public_key) != STATUS_OK || atexit(remove_dir) != 0) {
        abort();
    }
}

static int put(const char *name, struct view bytes)
{
    int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || !file_write(fd, bytes)) {
        abort();
    }
    return fd;
}

static void verify(void)
{
    struct log_files files;
    struct log_notes *notes = NULL;
    struct log_stream *stream = NULL;
    struct log_report report;
    if (log_files_open(dir, &files) == STATUS_OK && log_notes_new(&files, public_key, &notes) == STATUS_OK &&
        log_stream_new(&files, &stream) == STATUS_OK) {
        log_check(stream, notes, NULL, &report);
        if (report.findings == 0 && report.records > 0 && report.signed_up_to > report.last) {
            abort(); /* more was signed than there is, and it said nothing */
        }
    }
    log_stream_free(&stream);
    log_notes_free(&notes);
    log_files_close(&files);
}

static void ask(int fd, size_t size)
{
    const struct segments none = {NULL, 0};
    struct files files = {dir_fd, &none, fd, size, 1};
    struct indexes *indexes = indexes_new();
    const struct audit_query queries[] = {
        {.tenant = VIEW("acc_1"), .limit = 3},
        {.tenant = VIEW("acc_1"), .status = VIEW("2xx"), .before = 5},
        {.tenant = VIEW("acc_1"), .agent = VIEW("agt_1"), .since_ms = 1},
    };
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        CLEANUP(buffer_free) struct buffer records = BUFFER_EMPTY;
        uint64_t next;
        (void)!query_run(indexes, &files, &queries[i], &records, &next); /* it may be no log at all */
    }
    CLEANUP(buffer_free) struct buffer line = BUFFER_EMPTY;
    (void)!query_line(&files, 3, &line);
    indexes_free(&indexes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char begin[] = "\nseks-audit/";
    if (dir_fd < 0) {
        set_up();
    }
    const uint8_t *sig = size ? memmem(data, size, begin, sizeof begin - 1) : NULL;
    size_t log_size = sig ? (size_t)(sig + 1 - data) : size;
    int fd = put("audit.log", view_of(data, log_size));
    (void)close(put("audit.sig", view_of(data + log_size, size - log_size)));
    verify();
    ask(fd, log_size);
    (void)close(fd);
    return 0;
}
