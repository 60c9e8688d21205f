/* test_audit_keep.c - old files go and what is left can be verified; records come out of the pipe. */
#include "tests/unit/ledger_log.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/audit_log.h"
#include "services/audit/reading.h"

static int make_log(void **state)
{
    (void)state;
    return log_make(8 << 10);
}

static void add(const char *request, enum audit_kind kind)
{
    uint64_t seq;
    struct audit_record record = {
        .kind = kind, .action = VIEW("call"), .request = view_text(request),
        .tenant = VIEW("acc_1"), .status = AUDIT_NONE, .bytes_in = AUDIT_NONE,
        .bytes_out = AUDIT_NONE, .duration_ms = AUDIT_NONE};
    assert_int_equal(ledger_add(ledger, &record, &seq), STATUS_OK);
}

/* COUNT records, about twenty in a file. */
static void write_records(unsigned count)
{
    static unsigned number;
    char request[24];
    for (unsigned i = 0; i < count; i++) {
        snprintf(request, sizeof request, "r%u", number++);
        add(request, AUDIT_DENIED);
        assert_int_equal(ledger_commit(ledger), STATUS_OK);
    }
    (void)ledger_sign(ledger);
}

static void open_again(void)
{
    ledger_close(&ledger);
    assert_int_equal(ledger_open(&options, &ledger), STATUS_OK);
}

static struct log_report verify(void)
{
    struct log_files files;
    struct log_notes *notes = NULL;
    struct log_stream *stream = NULL;
    struct log_report report;
    assert_int_equal(log_files_open(dir, &files), STATUS_OK);
    assert_int_equal(log_notes_new(&files, options.signer.public_key, &notes), STATUS_OK);
    assert_int_equal(log_stream_new(&files, &stream), STATUS_OK);
    log_check(stream, notes, stderr, &report);
    assert_false(log_stream_failed(stream));
    log_stream_free(&stream);
    log_notes_free(&notes);
    log_files_close(&files);
    return report;
}

static void verify_from(uint64_t first)
{
    struct log_report report = verify();
    assert_string_equal(report.verdict, "");
    assert_int_equal(report.first, first);
    assert_int_equal(report.last, ledger_head(ledger)->seq);
}

static uint64_t first_of(size_t index)
{
    return ledger_files_of(ledger).done->list[index].first;
}

static void keep(uint64_t first, const char *suffix, bool back)
{
    char name[SEGMENT_NAME_SIZE], from[128], to[128];
    segment_name(first, suffix, name);
    snprintf(from, sizeof from, "%s/%s", dir, name);
    snprintf(to, sizeof to, "%s/kept.%s", dir, name);
    assert_int_equal(back ? rename(to, from) : link(from, to), 0);
}

static void the_oldest_go_by_size(void **state)
{
    (void)state;
    write_records(300);
    size_t files = ledger_files(ledger);
    uint64_t seq = ledger_head(ledger)->seq;
    assert_true(files > 10);
    assert_int_equal(ledger_retain(ledger, 0, 0), 0);
    assert_int_equal(ledger_retain(ledger, 0, 1 << 30), 0);
    size_t removed = ledger_retain(ledger, 0, 40 << 10);
    assert_true(removed > 5);
    assert_int_equal(ledger_files(ledger), files - removed);
    assert_true(ledger_size(ledger) <= 41 << 10);
    assert_int_equal(ledger_head(ledger)->seq, seq + 1); /* the record that says so */
    verify_from(first_of(0));
    open_again();
    verify_from(first_of(0));
    write_records(100);
    verify_from(first_of(0));
}

static void the_last_file_that_is_done_stays(void **state)
{
    (void)state;
    while (ledger_retain(ledger, 0, 1) > 0) {
    }
    assert_int_equal(ledger_files(ledger), 2);
    open_again(); /* the open file goes on from it */
    verify_from(first_of(0));
    write_records(60);
    verify_from(first_of(0));
}

static void set_old(size_t index)
{
    char name[SEGMENT_NAME_SIZE];
    struct timespec times[2] = {{time(NULL) - 31 * 86400, 0}, {time(NULL) - 31 * 86400, 0}};
    segment_name(first_of(index), "log", name);
    assert_int_equal(utimensat(ledger_files_of(ledger).dir_fd, name, times, 0), 0);
}

static void the_oldest_go_by_age(void **state)
{
    (void)state;
    const uint64_t keep_ms = 1000;
    write_records(100);
    assert_int_equal(ledger_retain(ledger, 1000 * keep_ms, 0), 0);
    uint64_t old = ledger_head(ledger)->seq, old_ms = clock_wall_ms();
    while (clock_wall_ms() <= old_ms + keep_ms) {
        usleep(10000);
    }
    write_records(40);
    assert_true(ledger_retain(ledger, keep_ms, 0) >= 3);
    bool quick = clock_wall_ms() < old_ms + 2 * keep_ms; /* else the new ones are old too */
    assert_true(!quick || first_of(0) <= old + 1);
    verify_from(first_of(0));
}

static void a_files_own_time_is_not_believed(void **state)
{
    (void)state;
    const uint64_t keep_ms = UINT64_C(30) * 86400000;
    char name[SEGMENT_NAME_SIZE], path[128];
    write_records(60);
    set_old(0);
    open_again();
    assert_int_equal(ledger_retain(ledger, keep_ms, 0), 0);
    set_old(0); /* and now its last record is made an old one */
    segment_name(first_of(0), "log", name);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    struct buffer bytes = BUFFER_EMPTY;
    int fd = open(path, O_RDWR);
    struct stat info;
    assert_int_equal(fstat(fd, &info), 0);
    assert_int_equal(file_read(fd, 0, (size_t)info.st_size, &bytes), STATUS_OK);
    uint8_t *last = (uint8_t *)memrchr(bytes.data, '\n', bytes.size - 1) + 1;
    struct line line;
    struct head head = {0};
    struct buffer forged = BUFFER_EMPTY;
    assert_true(line_split(view_of(last, (size_t)(bytes.data + bytes.size - 1 - last)), &line));
    head.seq = line.seq - 1;
    memcpy(head.hash, line.prev.data, HASH_CHARS);
    assert_int_equal(line_append(line.fields, clock_wall_ms() - 2 * keep_ms, &head, &forged),
                     STATUS_OK);
    assert_int_equal(pwrite(fd, forged.data, forged.size, last - bytes.data), (ssize_t)forged.size);
    close(fd);
    set_old(0);
    open_again();
    assert_int_equal(ledger_retain(ledger, keep_ms, 0), 0);
    assert_non_null(strstr(verify().verdict, "not those that were signed"));
    assert_int_equal(ledger_retain(ledger, 0, 1) > 0, true); /* for the others */
    buffer_free(&bytes);
    buffer_free(&forged);
}

static void a_call_that_runs_holds_its_file(void **state)
{
    (void)state;
    add("running", AUDIT_INTENT);
    uint64_t seq = ledger_head(ledger)->seq + 1;
    write_records(100);
    while (ledger_retain(ledger, 0, 1) > 0) {
    }
    assert_true(first_of(0) <= seq && first_of(1) > seq);
    add("running", AUDIT_OUTCOME);
    write_records(1);
    assert_true(ledger_retain(ledger, 0, 1) > 0);
    assert_true(first_of(0) > seq);
    verify_from(first_of(0));
}

static void a_crash_in_between_leaves_a_good_log(void **state)
{
    (void)state;
    write_records(200);
    uint64_t first[4] = {first_of(0), first_of(1), first_of(2), first_of(3)};
    for (size_t i = 0; i < 4; i++) {
        keep(first[i], "log", false);
        keep(first[i], "sig", false);
    }
    assert_true(ledger_retain(ledger, 0, 20 << 10) > 4);
    keep(first[1], "log", true); /* some were removed and some were not */
    keep(first[1], "sig", true);
    keep(first[3], "log", true);
    keep(first[3], "sig", true);
    verify_from(first[1]);
    open_again(); /* finishes it */
    assert_true(first_of(0) > first[3]);
    verify_from(first_of(0));
}

static void a_full_disk_is_helped(void **state)
{
    (void)state;
    struct rlimit old, full;
    write_records(200);
    size_t files = ledger_files(ledger);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    full = (struct rlimit){400, old.rlim_max}; /* enough for the statement, not for the record */
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    size_t removed = ledger_retain(ledger, 0, 20 << 10);
    bool failing = ledger_failing(ledger);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, handler);
    assert_true(failing);
    assert_int_equal(ledger_files(ledger), files - removed);
    assert_true(removed > 4);
    write_records(5);
    verify_from(first_of(0));
}

static void a_removal_that_cannot_be_stated_is_noted_once(void **state)
{
    (void)state;
    char path[128];
    write_records(200);
    snprintf(path, sizeof path, "%s/audit.removed.new", dir);
    assert_int_equal(mkdir(path, 0700), 0); /* in the statement's way */
    size_t files = ledger_files(ledger);
    uint64_t before = ledger_head(ledger)->seq;
    for (int second = 0; second < 5; second++) {
        assert_int_equal(ledger_retain(ledger, 0, 40 << 10), 0);
    }
    assert_true(ledger_files(ledger) <= files + 1); /* the note may have begun one */
    assert_int_equal(ledger_head(ledger)->seq, before + 1);
    assert_int_equal(rmdir(path), 0);
    assert_true(ledger_retain(ledger, 0, 40 << 10) > 0);
    assert_int_equal(ledger_head(ledger)->seq, before + 1);
    verify_from(first_of(0));
}

static void more_than_was_said_is_told(void **state)
{
    (void)state;
    char name[SEGMENT_NAME_SIZE], path[128];
    write_records(100);
    segment_name(first_of(0), "log", name);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(unlink(path), 0);
    assert_non_null(strstr(verify().verdict, "removed"));
    snprintf(path, sizeof path, "%s/audit.removed", dir);
    assert_int_equal(unlink(path), 0);
    assert_non_null(strstr(verify().verdict, "records 1 to "));
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(write(fd, "anything", 8) == 8);
    close(fd);
    assert_true(verify().findings > 0);
}

/* ---- shipping ---- */

/* What comes out of FD: LINES of them, or, for 0, what is there already. */
static struct buffer drain(int fd, size_t lines)
{
    struct buffer out = BUFFER_EMPTY;
    struct pollfd in = {fd, POLLIN, 0};
    size_t seen = 0;
    while ((lines == 0 || seen < lines) && poll(&in, 1, lines ? 30000 : 0) > 0) {
        uint8_t *room = buffer_room(&out, 4096);
        ssize_t got = read(fd, room, 4096);
        assert_true(got > 0);
        for (ssize_t i = 0; i < got; i++) {
            seen += room[i] == '\n';
        }
        out.size += (size_t)got;
    }
    assert_true(seen >= lines);
    return out;
}

static void expect_lines(struct buffer *out, uint64_t first, uint64_t last)
{
    for (size_t at = 0; at < out->size; first++) {
        const uint8_t *newline = memchr(out->data + at, '\n', out->size - at);
        struct line line;
        assert_non_null(newline);
        assert_true(line_parse(view_of(out->data + at, (size_t)(newline - out->data) - at), &line));
        assert_int_equal(line.seq, first);
        at = (size_t)(newline - out->data) + 1;
    }
    assert_int_equal(first, last + 1);
    buffer_free(out);
}

/* A reader that takes 4 KiB each 10 ms, until HURRY. */
struct slow_reader {
    int fd;
    atomic_bool hurry;
    struct buffer got;
};

static void *read_slowly(void *arg)
{
    struct slow_reader *reader = arg;
    ssize_t got;
    do {
        uint8_t *room = buffer_room(&reader->got, 4096);
        got = room ? read(reader->fd, room, 4096) : 0;
        reader->got.size += got > 0 ? (size_t)got : 0;
        if (!atomic_load(&reader->hurry)) {
            usleep(10000);
        }
    } while (got > 0);
    return NULL;
}

static struct ship *start(int out)
{
    struct ship *ship = NULL;
    struct files files = ledger_files_of(ledger);
    assert_int_equal(ship_new(out, &files, ledger_head(ledger)->seq + 1, &ship), STATUS_OK);
    return ship;
}

static void follow(struct ship *ship)
{
    struct files files = ledger_files_of(ledger);
    ship_follow(ship, &files);
}

static void every_record_comes_out_once(void **state)
{
    (void)state;
    int ends[2];
    uint64_t before = ledger_head(ledger)->seq;
    assert_int_equal(pipe(ends), 0);
    struct ship *ship = start(ends[1]);
    follow(ship);
    write_records(100); /* some files end meanwhile */
    follow(ship);
    struct buffer out = drain(ends[0], 100);
    expect_lines(&out, before + 1, before + 100);
    write_records(5);
    ship_free(&ship); /* nobody said that there are more */
    out = drain(ends[0], 0);
    assert_int_equal(out.size, 0);
    write_records(40);
    ship = start(ends[1]); /* goes on where it ended */
    follow(ship);
    ship_free(&ship);
    out = drain(ends[0], 0);
    expect_lines(&out, before + 101, before + 145);
    close(ends[0]);
    close(ends[1]);
}

static void a_full_pipe_holds_nothing_up(void **state)
{
    (void)state;
    int ends[2];
    uint64_t before = ledger_head(ledger)->seq;
    assert_int_equal(pipe(ends), 0);
    write_records(400); /* more than the 64 KiB of a pipe */
    struct ship *ship = start(ends[1]);
    follow(ship);
    write_records(10);
    follow(ship);
    ship_free(&ship); /* gives up: nobody reads */
    struct buffer out = drain(ends[0], 0);
    assert_true(out.size > 16 * 1024 && out.size < 65537);
    assert_int_equal(out.data[out.size - 1], '\n'); /* lines stay whole */
    size_t lines = 0;
    for (size_t i = 0; i < out.size; i++) {
        lines += out.data[i] == '\n';
    }
    expect_lines(&out, before + 1, before + lines);
    ship = start(ends[1]);
    follow(ship);
    out = drain(ends[0], 410 - lines);
    ship_free(&ship);
    expect_lines(&out, before + lines + 1, before + 410);
    close(ends[0]);
    close(ends[1]);
}

static void what_was_removed_is_left_out(void **state)
{
    (void)state;
    int ends[2];
    write_records(200);
    while (ledger_retain(ledger, 0, 1) > 0) {
    }
    assert_int_equal(pipe(ends), 0);
    struct ship *ship = start(ends[1]);
    follow(ship);
    struct buffer out = drain(ends[0], ledger_head(ledger)->seq - first_of(0) + 1);
    ship_free(&ship);
    expect_lines(&out, first_of(0), ledger_head(ledger)->seq);
    close(ends[0]);
    close(ends[1]);
}

/* What the reader is behind by does not keep the daemon from stopping; the next start goes on there. */
static void a_long_backlog_waits_for_the_next_start(void **state)
{
    (void)state;
    char path[TARGET_MAX + 1];
    struct slow_reader reader = {.hurry = false};
    pthread_t thread;
    int ends[2];
    uint64_t seq;
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(pipe(ends), 0);
    struct ship *ship = start(ends[1]);
    uint64_t first = ship_next(ship);
    for (int i = 0; i < 500; i++) { /* 4 MB: ten seconds for that reader */
        struct audit_record record = {.kind = AUDIT_DENIED, .action = VIEW("call"), .path = view_text(path)};
        assert_int_equal(ledger_add(ledger, &record, &seq), STATUS_OK);
    }
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    reader.fd = ends[0];
    assert_int_equal(pthread_create(&thread, NULL, read_slowly, &reader), 0);
    follow(ship);
    ship_free(&ship);
    ship = start(ends[1]);
    assert_true(ship_next(ship) < seq); /* not all was written */
    atomic_store(&reader.hurry, true);
    follow(ship);
    while (ship_next(ship) <= seq) {
        usleep(10000);
    }
    ship_free(&ship);
    close(ends[1]);
    pthread_join(thread, NULL);
    close(ends[0]);
    expect_lines(&reader.got, first, seq);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oldest_go_by_size),
        cmocka_unit_test(the_last_file_that_is_done_stays),
        cmocka_unit_test(the_oldest_go_by_age),
        cmocka_unit_test(a_files_own_time_is_not_believed),
        cmocka_unit_test(a_call_that_runs_holds_its_file),
        cmocka_unit_test(a_crash_in_between_leaves_a_good_log),
        cmocka_unit_test(every_record_comes_out_once),
        cmocka_unit_test(a_long_backlog_waits_for_the_next_start),
        cmocka_unit_test(a_full_pipe_holds_nothing_up),
        cmocka_unit_test(what_was_removed_is_left_out),
        cmocka_unit_test(a_full_disk_is_helped),
        cmocka_unit_test(a_removal_that_cannot_be_stated_is_noted_once),
        cmocka_unit_test(more_than_was_said_is_told),
    };
    return cmocka_run_group_tests(tests, make_log, remove_log);
}
