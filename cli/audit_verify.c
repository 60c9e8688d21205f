/* audit_verify.c - `seks audit verify`: is the log in a directory what the audit daemon wrote?
 *
 * Reads files only: it can run on a copy, on another machine, with nothing but the public key.  One
 * line on standard output is the verdict; what was found is on standard error, a line each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/audit_log.h"
#include "cli/cli.h"
#include "common/clock.h"
#include "common/keyfile.h"

enum { EXIT_OK = 0, EXIT_TAMPERED = 1, EXIT_USAGE = 2, EXIT_UNREADABLE = 3 };

struct verify {
    const char *dir, *key;
    const char *heads[LOG_HEADS_MAX];
    size_t head_count;
};

static int usage(void)
{
    fprintf(stderr,
            "usage: seks audit verify DIR --key FILE [--head SEQ:HASH | --head FILE]...\n"
            "  DIR     the audit daemon's --data\n"
            "  --key   its public key, audit-sign.pub\n"
            "  --head  a head that was kept elsewhere: from a daemon's log, or the vault's audit.head\n"
            "exit status: 0 whole, 1 tampered with, 2 usage, 3 cannot be read\n");
    return EXIT_USAGE;
}

static bool parse_arguments(int argc, char **argv, struct verify *ret)
{
    for (int i = 0; i < argc; i++) {
        bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--key") == 0 && has_value) {
            ret->key = argv[++i];
        } else if (strcmp(argv[i], "--head") == 0 && has_value &&
                   ret->head_count < LOG_HEADS_MAX) {
            ret->heads[ret->head_count++] = argv[++i];
        } else if (argv[i][0] != '-' && !ret->dir) {
            ret->dir = argv[i];
        } else {
            return false;
        }
    }
    return ret->dir && ret->key;
}

static enum status read_key(const char *path, uint8_t *ret_key)
{
    char dir[4096];
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) : 0;
    if (size >= sizeof dir) {
        return STATUS_INVALID;
    }
    memcpy(dir, path, size);
    dir[size] = '\0';
    return keyfile_read_public(!slash ? "." : size == 0 ? "/" : dir, slash ? slash + 1 : path,
                               CRYPTO_KEY_BYTES, ret_key);
}

static int tell(const struct log_report *report, uint64_t bytes, uint64_t took_ms)
{
    double megabytes = (double)bytes / 1e6, seconds = (double)took_ms / 1e3;
    if (report->findings > 0) {
        printf("TAMPERED: %s", report->verdict);
        if (report->findings > 1) {
            printf(" (and %llu more)", (unsigned long long)report->findings - 1);
        }
        printf("\n");
        return EXIT_TAMPERED;
    }
    printf("OK: %llu records", (unsigned long long)report->records);
    if (report->records > 0) {
        printf(", %llu to %llu, signed up to %llu", (unsigned long long)report->first,
               (unsigned long long)report->last, (unsigned long long)report->signed_up_to);
    }
    if (report->torn_bytes > 0) {
        printf("; a crash left %llu torn bytes behind record %llu",
               (unsigned long long)report->torn_bytes, (unsigned long long)report->last);
    }
    printf("; %llu checkpoints, %.1f MB in %.2f s\n", (unsigned long long)report->checkpoints,
           megabytes, seconds);
    return EXIT_OK;
}

static int check(const struct log_files *files, struct log_notes *notes)
{
    CLEANUP(log_stream_free) struct log_stream *stream = NULL;
    struct log_report report;
    uint64_t began_ms = clock_mono_ms();
    if (log_stream_new(files, &stream) != STATUS_OK) {
        fprintf(stderr, "seks: no memory\n");
        return EXIT_UNREADABLE;
    }
    log_check(stream, notes, stderr, &report);
    if (log_stream_failed(stream)) {
        printf("UNREADABLE\n");
        return EXIT_UNREADABLE;
    }
    return tell(&report, log_stream_bytes(stream), clock_mono_ms() - began_ms);
}

static int verify(const struct verify *what)
{
    CLEANUP(log_files_close) struct log_files files = {NULL, 0, -1};
    CLEANUP(log_notes_free) struct log_notes *notes = NULL;
    uint8_t key[CRYPTO_KEY_BYTES];
    if (read_key(what->key, key) != STATUS_OK ||
        log_files_open(what->dir, &files) != STATUS_OK) {
        printf("UNREADABLE\n");
        return EXIT_UNREADABLE;
    }
    if (log_notes_new(&files, key, &notes) != STATUS_OK) {
        fprintf(stderr, "seks: cannot read the checkpoints in %s\n", what->dir);
        printf("UNREADABLE\n");
        return EXIT_UNREADABLE;
    }
    for (size_t i = 0; i < what->head_count; i++) {
        if (log_notes_head(notes, what->heads[i]) != STATUS_OK) {
            return EXIT_USAGE;
        }
    }
    return check(&files, notes);
}

int command_audit(int argc, char **argv)
{
    struct verify what = {0};
    if (argc < 1 || strcmp(argv[0], "verify") != 0 ||
        !parse_arguments(argc - 1, argv + 1, &what)) {
        return usage();
    }
    return verify(&what);
}
