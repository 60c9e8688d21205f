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

enum { EXIT_OK = 0, EXIT_TAMPERED = 1, EXIT_USAGE = 2, EXIT_UNREADABLE = 3, WALKS_MAX = 4 };

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

/* The verdict is the last line that goes to OUT. */
static int tell(const struct log_report *report, unsigned shard, uint64_t bytes, uint64_t took_ms, FILE *out)
{
    double megabytes = (double)bytes / 1e6, seconds = (double)took_ms / 1e3;
    if (report->findings > 0) {
        fprintf(out, "TAMPERED: %s", report->verdict);
        if (report->findings > 1) {
            fprintf(out, " (and %llu more)", (unsigned long long)report->findings - 1);
        }
        fprintf(out, "\n");
        return EXIT_TAMPERED;
    }
    fprintf(out, "OK: %llu records", (unsigned long long)report->records);
    if (shard > 0) {
        fprintf(out, " of audit-%u", shard);
    }
    if (report->records > 0) {
        fprintf(out, ", %llu to %llu, signed up to %llu", (unsigned long long)report->first,
                (unsigned long long)report->last, (unsigned long long)report->signed_up_to);
    }
    if (report->torn_bytes > 0) {
        fprintf(out, "; a crash left %llu torn bytes behind record %llu",
                (unsigned long long)report->torn_bytes, (unsigned long long)report->last);
    }
    fprintf(out, "; %llu checkpoints, %.1f MB in %.2f s\n", (unsigned long long)report->checkpoints,
            megabytes, seconds);
    return EXIT_OK;
}

/* Findings to standard error; the verdict, when there is one, to standard output. */
static void print_said(const char *said, int status)
{
    size_t size = strlen(said), begin = size;
    bool verdict = status == EXIT_OK || status == EXIT_TAMPERED;
    while (verdict && begin > 0 && (begin == size || said[begin - 1] != '\n')) {
        begin--;
    }
    (void)fwrite(said, 1, begin, stderr);
    (void)fwrite(said + begin, 1, size - begin, stdout);
}

/* One walk over FILES; findings go to OUT. */
static int check(const struct verify *what, const uint8_t *key, const struct log_files *files,
                 FILE *out)
{
    CLEANUP(log_notes_free) struct log_notes *notes = NULL;
    CLEANUP(log_stream_free) struct log_stream *stream = NULL;
    struct log_report report;
    uint64_t began_ms = clock_mono_ms();
    if (log_notes_new(files, key, &notes) != STATUS_OK) {
        fprintf(out, "seks: cannot read the checkpoints in %s\n", what->dir);
        return EXIT_UNREADABLE;
    }
    for (size_t i = 0; i < what->head_count; i++) {
        if (log_notes_head(notes, what->heads[i]) != STATUS_OK) {
            return EXIT_USAGE;
        }
    }
    if (log_stream_new(files, &stream) != STATUS_OK) {
        fprintf(out, "seks: no memory\n");
        return EXIT_UNREADABLE;
    }
    log_check(stream, notes, out, &report);
    if (log_stream_failed(stream)) {
        return EXIT_UNREADABLE;
    }
    return tell(&report, log_notes_shard(notes), log_stream_bytes(stream), clock_mono_ms() - began_ms, out);
}

/* Whether the directory has other files now: the daemon ended one, or removed some. */
static bool has_changed(const char *dir, const struct log_files *files)
{
    CLEANUP(log_files_close) struct log_files now = {NULL, 0, -1};
    if (log_files_open(dir, &now) != STATUS_OK || now.count != files->count) {
        return true;
    }
    bool changed = false;
    for (size_t i = 0; i < now.count && !changed; i++) {
        changed = strcmp(now.names[i], files->names[i]) != 0;
    }
    return changed;
}

/* What was found in a walk during which files were renamed says nothing: it is made again. */
static int verify(const struct verify *what)
{
    uint8_t key[CRYPTO_KEY_BYTES];
    int status = EXIT_UNREADABLE;
    bool again = read_key(what->key, key) == STATUS_OK;
    for (int i = 0; i < WALKS_MAX && again; i++) {
        CLEANUP(log_files_close) struct log_files files = {NULL, 0, -1};
        char *said = NULL;
        size_t size = 0;
        if (log_files_open(what->dir, &files) != STATUS_OK) {
            status = EXIT_UNREADABLE;
            break;
        }
        FILE *out = open_memstream(&said, &size);
        status = out ? check(what, key, &files, out) : EXIT_UNREADABLE;
        again = (status == EXIT_TAMPERED || status == EXIT_UNREADABLE) && i + 1 < WALKS_MAX &&
                has_changed(what->dir, &files);
        if (out && fclose(out) == 0 && !again) {
            print_said(said, status);
        }
        free(said);
    }
    if (status == EXIT_UNREADABLE) {
        printf("UNREADABLE\n");
    }
    return status;
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
