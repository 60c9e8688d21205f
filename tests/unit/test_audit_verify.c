/* test_audit_verify.c - a log of 100 records as the daemon writes it: every bit of it flipped, one at
 * a time, and every kind of edit; each must be found and named by its record.
 *
 * With an argument only every Nth bit is flipped. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/audit_log.h"
#include "common/keyfile.h"
#include "services/audit/audit.h"

enum { RECORDS = 100, WORKERS = 2 };

static char dir[64], log_path[96], sig_path[96];
static struct ledger_options options;
static struct buffer good;             /* the log */
static size_t begins[RECORDS + 2];     /* of record n in it; the end at RECORDS + 1 */
static size_t stride = 1;

static void write_file(const char *path, struct view bytes)
{
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes.data, 1, bytes.size, out), bytes.size);
    assert_int_equal(fclose(out), 0);
}

static struct buffer read_file(const char *path)
{
    struct buffer bytes = BUFFER_EMPTY;
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    for (int c; (c = fgetc(in)) != EOF;) {
        buffer_append_byte(&bytes, (uint8_t)c);
    }
    fclose(in);
    return bytes;
}

/* 40 records, a checkpoint, 60 more and a checkpoint. */
static int make_log(void **state)
{
    (void)state;
    struct ledger *ledger = NULL;
    snprintf(dir, sizeof dir, "/tmp/seks-verify-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(log_path, sizeof log_path, "%s/audit.log", dir);
    snprintf(sig_path, sizeof sig_path, "%s/audit.sig", dir);
    options = (struct ledger_options){.dir = dir, .segment_bytes = 1 << 30};
    crypto_sign_pair(options.signer.public_key, options.signer.seed);
    assert_int_equal(ledger_open(&options, &ledger), STATUS_OK);
    for (int i = 1; i <= RECORDS; i++) {
        char request[16];
        uint64_t seq;
        snprintf(request, sizeof request, "r%d", i);
        struct audit_record record = {
            .kind = AUDIT_DENIED, .action = VIEW("call"), .request = view_text(request),
            .status = AUDIT_NONE, .bytes_in = AUDIT_NONE, .bytes_out = AUDIT_NONE,
            .duration_ms = AUDIT_NONE};
        assert_int_equal(ledger_add(ledger, &record, &seq), STATUS_OK);
        if (i == 40) {
            assert_int_equal(ledger_commit(ledger), STATUS_OK);
            assert_true(ledger_sign(ledger));
        }
    }
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    ledger_close(&ledger);
    good = read_file(log_path);
    size_t at = 0;
    for (int i = 1; i <= RECORDS; i++) {
        begins[i] = at;
        at = (size_t)((uint8_t *)memchr(good.data + at, '\n', good.size - at) - good.data) + 1;
    }
    begins[RECORDS + 1] = at;
    assert_int_equal(at, good.size);
    return 0;
}

static int remove_log(void **state)
{
    (void)state;
    DIR *list = opendir(dir);
    for (struct dirent *at; list && (at = readdir(list)) != NULL;) {
        (void)unlinkat(dirfd(list), at->d_name, 0); /* "." and ".." stay */
    }
    closedir(list);
    buffer_free(&good);
    return rmdir(dir);
}

static struct log_report check_head(const char *head)
{
    struct log_files files;
    struct log_notes *notes = NULL;
    struct log_stream *stream = NULL;
    struct log_report report;
    assert_int_equal(log_files_open(dir, &files), STATUS_OK);
    assert_int_equal(log_notes_new(&files, options.signer.public_key, &notes), STATUS_OK);
    if (head) {
        assert_int_equal(log_notes_head(notes, head), STATUS_OK);
    }
    assert_int_equal(log_stream_new(&files, &stream), STATUS_OK);
    log_check(stream, notes, NULL, &report);
    assert_false(log_stream_failed(stream));
    log_stream_free(&stream);
    log_notes_free(&notes);
    log_files_close(&files);
    return report;
}

static struct log_report check_bytes(struct view bytes)
{
    write_file(log_path, bytes);
    return check_head(NULL);
}

static struct view record(unsigned n)
{
    return view_of(good.data + begins[n], begins[n + 1] - begins[n]);
}

static struct view span(unsigned first, unsigned last)
{
    return view_of(good.data + begins[first], begins[last + 1] - begins[first]);
}

/* The verdict names record N, alone or in a range of two. */
static bool names(const struct log_report *report, unsigned n)
{
    char one[32], from[32], to[32];
    snprintf(one, sizeof one, "record %u was", n);
    snprintf(from, sizeof from, "records %u to %u ", n, n + 1);
    snprintf(to, sizeof to, "records %u to %u ", n - 1, n);
    return report->findings > 0 && (strstr(report->verdict, one) || strstr(report->verdict, from) ||
                                    strstr(report->verdict, to));
}

static void expect(struct buffer *edited, const char *verdict)
{
    struct log_report report = check_bytes(buffer_view(edited));
    if (!verdict) {
        assert_int_equal(report.findings, 0);
    } else {
        assert_true(report.findings > 0);
        assert_string_equal(report.verdict, verdict);
    }
    buffer_free(edited);
}

static void the_log_is_good(void **state)
{
    (void)state;
    struct log_report report = check_bytes(buffer_view(&good));
    assert_string_equal(report.verdict, "");
    assert_int_equal(report.findings, 0);
    assert_int_equal(report.records, RECORDS);
    assert_int_equal(report.first, 1);
    assert_int_equal(report.last, RECORDS);
    assert_int_equal(report.signed_up_to, RECORDS);
    assert_int_equal(report.checkpoints, 2);
}

/* Worker W flips each WORKERSth byte's bits in a directory of its own; returns how many were missed. */
static int flip_share(size_t worker)
{
    char own[64];
    int missed = 0;
    unsigned n = 1;
    snprintf(own, sizeof own, "/tmp/seks-verify-XXXXXX");
    struct buffer sig = read_file(sig_path);
    if (!mkdtemp(own)) {
        return 1;
    }
    memcpy(dir, own, sizeof own);
    snprintf(log_path, sizeof log_path, "%s/audit.log", dir);
    snprintf(sig_path, sizeof sig_path, "%s/audit.sig", dir);
    write_file(sig_path, buffer_view(&sig));
    write_file(log_path, buffer_view(&good));
    int fd = open(log_path, O_WRONLY);
    for (size_t bit = worker * stride; bit < good.size * 8; bit += WORKERS * stride) {
        uint8_t flipped = good.data[bit / 8] ^ (uint8_t)(1 << bit % 8);
        n = bit / 8 >= begins[n + 1] ? n + 1 : n;
        for (; bit / 8 >= begins[n + 1]; n++) {
        }
        missed += pwrite(fd, &flipped, 1, (off_t)(bit / 8)) != 1;
        struct log_report report = check_head(NULL);
        if (!names(&report, n)) {
            missed++;
            fprintf(stderr, "bit %zu of record %u: %s\n", bit - 8 * begins[n], n, report.verdict);
        }
        missed += pwrite(fd, good.data + bit / 8, 1, (off_t)(bit / 8)) != 1;
    }
    close(fd);
    buffer_free(&sig);
    void *none = NULL;
    (void)remove_log(none);
    return missed;
}

static void every_flipped_bit_is_named(void **state)
{
    (void)state;
    pid_t workers[WORKERS];
    for (size_t i = 0; i < WORKERS; i++) {
        workers[i] = fork();
        if (workers[i] == 0) {
            _exit(flip_share(i) == 0 ? 0 : 1);
        }
    }
    for (size_t i = 0; i < WORKERS; i++) {
        int status = 1;
        assert_int_equal(waitpid(workers[i], &status, 0), workers[i]);
        assert_int_equal(status, 0);
    }
}

static void every_record_that_goes_is_named(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= RECORDS; n++) {
        struct buffer edited = BUFFER_EMPTY;
        char verdict[96];
        buffer_append_view(&edited, span(1, n - 1));
        buffer_append_view(&edited, span(n + 1, RECORDS));
        snprintf(verdict, sizeof verdict, "record %u was removed%s", n,
                 n == RECORDS ? ": they had been signed" : "");
        expect(&edited, verdict);
        buffer_append_view(&edited, span(1, n));
        buffer_append_view(&edited, span(n, RECORDS));
        snprintf(verdict, sizeof verdict, "record %u was doubled", n);
        expect(&edited, verdict);
        if (n < RECORDS) {
            buffer_append_view(&edited, span(1, n - 1));
            buffer_append_view(&edited, record(n + 1));
            buffer_append_view(&edited, record(n));
            buffer_append_view(&edited, span(n + 2, RECORDS));
            snprintf(verdict, sizeof verdict, "records %u and %u were swapped", n, n + 1);
            expect(&edited, verdict);
        }
        if (n > 1) { /* the head is cut off as well */
            buffer_append_view(&edited, span(1, n - 1));
            snprintf(verdict, sizeof verdict, n == RECORDS ? "record %u was removed: they had been signed"
                                    : "records %u to 100 were removed: they had been signed", n);
            expect(&edited, verdict);
        }
    }
}

/* Record N with its first OLD made NEW and its hash made right. */
static struct buffer forged(unsigned n, const char *old, const char *new, const char *prev)
{
    struct buffer line = BUFFER_EMPTY;
    struct view text = record(n);
    uint8_t hash[32];
    char hex[65];
    const uint8_t *at = memmem(text.data, text.size, old, strlen(old));
    assert_non_null(at);
    buffer_append(&line, text.data, (size_t)(at - text.data));
    buffer_append_text(&line, new);
    at += strlen(old);
    buffer_append(&line, at, (size_t)(text.data + text.size - at) - 76); /* its hash member */
    if (prev) {
        memcpy(line.data + line.size - 65, prev, 64);
    }
    buffer_append_byte(&line, '}');
    assert_int_equal(crypto_sha256(buffer_view(&line), hash), STATUS_OK);
    hex_encode(view_of(hash, 32), hex);
    line.size--;
    buffer_printf(&line, ",\"hash\":\"%s\"}\n", hex);
    return line;
}

static void every_forged_record_is_named(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= RECORDS; n++) {
        struct buffer line = forged(n, "{\"seq\":", "{\"seq\":", NULL), edited = BUFFER_EMPTY;
        char verdict[96];
        assert_true(view_equal(buffer_view(&line), record(n))); /* the forger can do it */
        buffer_free(&line);
        line = forged(n, "\"time\":\"2", "\"time\":\"1", NULL);
        buffer_append_view(&edited, span(1, n - 1));
        buffer_append_view(&edited, buffer_view(&line));
        buffer_append_view(&edited, span(n + 1, RECORDS));
        struct log_report report = check_bytes(buffer_view(&edited));
        snprintf(verdict, sizeof verdict, n == RECORDS ? "records 41 to %u are not those that were signed"
                                          : "record %u was replaced", n);
        if (n != 40) { /* there the checkpoint speaks first */
            assert_string_equal(report.verdict, verdict);
        } else {
            assert_string_equal(report.verdict, "records 1 to 40 are not those that were signed");
        }
        buffer_clear(&edited);
        buffer_append_view(&edited, span(1, n)); /* put in behind itself */
        buffer_append_view(&edited, buffer_view(&line));
        buffer_append_view(&edited, span(n + 1, RECORDS));
        snprintf(verdict, sizeof verdict, "two records are numbered %u: one was inserted", n);
        expect(&edited, verdict);
        buffer_free(&line);
    }
}

/* All hashes after the forged record made right too: only the signature is left to tell. */
static void a_chain_that_was_made_anew_is_told(void **state)
{
    (void)state;
    static const struct {
        unsigned record;
        const char *verdict;
    } rows[] = {{7, "records 1 to 40 are not those that were signed"},
                {63, "records 41 to 100 are not those that were signed"}};
    for (size_t i = 0; i < 2; i++) {
        struct buffer edited = BUFFER_EMPTY;
        char prev[65] = "";
        buffer_append_view(&edited, span(1, rows[i].record - 1));
        for (unsigned n = rows[i].record; n <= RECORDS; n++) {
            struct buffer line = n == rows[i].record
                                     ? forged(n, "\"time\":\"2", "\"time\":\"1", NULL)
                                     : forged(n, "{\"seq\":", "{\"seq\":", prev);
            memcpy(prev, line.data + line.size - 67, 64);
            buffer_append_view(&edited, buffer_view(&line));
            buffer_free(&line);
        }
        expect(&edited, rows[i].verdict);
    }
}

static void moved_records_are_named(void **state)
{
    (void)state;
    struct buffer edited = BUFFER_EMPTY;
    buffer_append_view(&edited, span(1, 9)); /* 10 and 20 change places */
    buffer_append_view(&edited, record(20));
    buffer_append_view(&edited, span(11, 19));
    buffer_append_view(&edited, record(10));
    buffer_append_view(&edited, span(21, RECORDS));
    expect(&edited, "record 20 stands in the place of record 10");
    buffer_append_view(&edited, span(1, 50)); /* 5 once more, far behind */
    buffer_append_view(&edited, record(5));
    buffer_append_view(&edited, span(51, RECORDS));
    expect(&edited, "record 5 was inserted again after record 50");
    buffer_append_view(&edited, span(1, 29));
    buffer_append_view(&edited, span(41, RECORDS));
    expect(&edited, "records 30 to 40 were removed");
    buffer_append_view(&edited, span(1, 50));
    buffer_append_text(&edited, "nothing\n");
    buffer_append_view(&edited, span(51, RECORDS));
    expect(&edited, "8 bytes that are no record were inserted before record 51");
}

/* What a crash leaves was never signed. */
static void a_torn_line_is_no_tampering(void **state)
{
    (void)state;
    struct buffer sig = read_file(sig_path), edited = BUFFER_EMPTY;
    size_t first = checkpoint_span(buffer_view(&sig)); /* of record 40 */
    write_file(sig_path, view_of(sig.data, first));
    for (size_t cut = 1; cut < record(41).size; cut++) {
        buffer_clear(&edited);
        buffer_append_view(&edited, span(1, 40));
        buffer_append(&edited, record(41).data, cut);
        struct log_report report = check_bytes(buffer_view(&edited));
        bool newline_only = cut == record(41).size - 1;
        assert_int_equal(report.findings, newline_only ? 1 : 0);
        assert_int_equal(report.torn_bytes, newline_only ? 0 : cut);
        assert_int_equal(report.last, 40);
    }
    buffer_clear(&edited);
    buffer_append_view(&edited, span(1, 39));
    buffer_append(&edited, record(40).data, 100); /* this one was signed */
    expect(&edited, "record 40 was changed or removed");
    write_file(sig_path, buffer_view(&sig));
    buffer_free(&sig);
}

static void heads_and_checkpoints_are_checked(void **state)
{
    (void)state;
    struct buffer sig = read_file(sig_path), edited = BUFFER_EMPTY;
    size_t first = checkpoint_span(buffer_view(&sig));
    char head[96];
    write_file(log_path, buffer_view(&good));
    snprintf(head, sizeof head, "100:%.64s", (const char *)good.data + good.size - 67);
    assert_int_equal(check_head(head).findings, 0);
    /* An old copy is whole by itself; the head that was kept tells. */
    write_file(sig_path, view_of(sig.data, first));
    write_file(log_path, span(1, 40));
    assert_int_equal(check_head(NULL).findings, 0);
    assert_string_equal(check_head(head).verdict,
                        "records 41 to 100 were removed: a head that was kept elsewhere has them");
    head[4] = head[4] == '0' ? '1' : '0';
    write_file(sig_path, buffer_view(&sig));
    write_file(log_path, buffer_view(&good));
    assert_string_equal(check_head(head).verdict,
                        "the head that was kept elsewhere has another record 100");
    write_file(sig_path, VIEW(""));
    assert_string_equal(check_head(NULL).verdict, "no checkpoint covers records 1 to 100");
    for (size_t bit = 0; bit < sig.size * 8; bit += 3) { /* of the checkpoints */
        sig.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        write_file(sig_path, buffer_view(&sig));
        struct log_report report = check_head(NULL);
        sig.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (bit / 8 >= first) { /* the newest: never believed */
            assert_true(report.findings > 0 || report.signed_up_to < RECORDS);
        }
    }
    options.signer.public_key[3] ^= 1;
    write_file(sig_path, buffer_view(&sig));
    assert_true(check_head(NULL).findings > 0); /* another's key */
    options.signer.public_key[3] ^= 1;
    buffer_free(&sig);
    buffer_free(&edited);
}

int main(int argc, char **argv)
{
    stride = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_is_good),
        cmocka_unit_test(every_flipped_bit_is_named),
        cmocka_unit_test(every_record_that_goes_is_named),
        cmocka_unit_test(every_forged_record_is_named),
        cmocka_unit_test(a_chain_that_was_made_anew_is_told),
        cmocka_unit_test(moved_records_are_named),
        cmocka_unit_test(a_torn_line_is_no_tampering),
        cmocka_unit_test(heads_and_checkpoints_are_checked),
    };
    return cmocka_run_group_tests(tests, make_log, remove_log);
}
