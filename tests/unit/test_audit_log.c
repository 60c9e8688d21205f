/* test_audit_log.c - the log: its form, its chain, a torn end, sent again, a full disk. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crypto.h"
#include "common/keyfile.h"
#include "services/audit/audit.h"

static char dir[64], path[96];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/seks-audit-XXXXXX");
    if (!mkdtemp(dir)) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/audit.log", dir);
    return 0;
}

/* Removes what is in the directory; returns how many torn pieces there were. */
static int empty_dir(void)
{
    int torn = 0;
    DIR *list = opendir(dir);
    assert_non_null(list);
    for (struct dirent *at; (at = readdir(list)) != NULL;) {
        torn += strncmp(at->d_name, "audit.torn.", 11) == 0;
        (void)unlinkat(dirfd(list), at->d_name, 0); /* "." and ".." stay */
    }
    closedir(list);
    return torn;
}

static int remove_dir(void **state)
{
    (void)state;
    (void)empty_dir();
    return rmdir(dir);
}

static struct audit_record record_of(const char *request)
{
    return (struct audit_record){
        .call = 1, .kind = AUDIT_INTENT, .action = VIEW("proxy.call"),
        .request = view_text(request), .tenant = VIEW("acc_1"), .agent = VIEW("agt_1"),
        .token = VIEW("tok_1"), .provider = VIEW("acme"), .method = VIEW("POST"),
        .path = VIEW("/v1/x?secret=1"), .decision = VIEW("allow"), .status = AUDIT_NONE,
        .bytes_in = 0, .bytes_out = AUDIT_NONE, .duration_ms = AUDIT_NONE,
        .client = VIEW("127.0.0.1")};
}

static struct ledger_options options(void)
{
    struct ledger_options options = {.dir = dir, .segment_bytes = 1 << 20};
    memset(options.signer.seed, 7, sizeof options.signer.seed);
    assert_int_equal(crypto_sign_public(options.signer.seed, options.signer.public_key),
                     STATUS_OK);
    return options;
}

static struct ledger *open_ledger(void)
{
    struct ledger *ledger = NULL;
    struct ledger_options with = options();
    assert_int_equal(ledger_open(&with, &ledger), STATUS_OK);
    return ledger;
}

static uint64_t add(struct ledger *ledger, const char *request)
{
    struct audit_record record = record_of(request);
    uint64_t seq = 0;
    assert_int_equal(ledger_add(ledger, &record, &seq), STATUS_OK);
    return seq;
}

static void write_records(int count)
{
    struct ledger *ledger = open_ledger();
    for (int i = 0; i < count; i++) {
        char request[16];
        snprintf(request, sizeof request, "req_%d", i);
        assert_int_equal(add(ledger, request), (uint64_t)i + 1);
    }
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    ledger_close(&ledger);
}

/* As if the crash had come before the log was signed. */
static void forget_checkpoints(void)
{
    char name[112];
    snprintf(name, sizeof name, "%s/audit.sig", dir);
    assert_int_equal(unlink(name), 0);
}

static struct buffer read_log(void)
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

static void write_log(struct view bytes)
{
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes.data, 1, bytes.size, out), bytes.size);
    assert_int_equal(fclose(out), 0);
}

/* Checks the chain the way an outsider would; returns the number of records. */
static uint64_t verify_chain(void)
{
    struct buffer bytes = read_log();
    char prev[HASH_CHARS + 1];
    uint64_t count = 0;
    memcpy(prev, head_of_nothing.hash, sizeof prev);
    for (size_t at = 0; at < bytes.size;) {
        const uint8_t *end = memchr(bytes.data + at, '\n', bytes.size - at);
        assert_non_null(end);
        size_t size = (size_t)(end - bytes.data) - at;
        json_error_t error;
        json_t *json = json_loadb((const char *)bytes.data + at, size, 0, &error);
        assert_non_null(json);
        assert_int_equal(json_integer_value(json_object_get(json, "seq")), (json_int_t)++count);
        assert_string_equal(json_string_value(json_object_get(json, "prev")), prev);
        const char *hash = json_string_value(json_object_get(json, "hash"));
        struct buffer canonical = BUFFER_EMPTY;
        uint8_t sum[32];
        char hex[65];
        buffer_append(&canonical, bytes.data + at, size - strlen(",\"hash\":\"\"}") - 64);
        buffer_append_byte(&canonical, '}');
        assert_int_equal(crypto_sha256(buffer_view(&canonical), sum), STATUS_OK);
        hex_encode(view_of(sum, 32), hex);
        assert_string_equal(hash, hex);
        memcpy(prev, hash, sizeof prev);
        buffer_free(&canonical);
        json_decref(json);
        at += size + 1;
    }
    buffer_free(&bytes);
    return count;
}

static void a_line_has_exactly_its_fields(void **state)
{
    (void)state;
    write_records(2);
    struct buffer bytes = read_log();
    static const char begin[] = "{\"seq\":1,\"time\":\"";
    static const char middle[] =
        "Z\",\"kind\":\"intent\",\"action\":\"proxy.call\",\"request\":\"req_0\",\"tenant\":\"acc_1\","
        "\"agent\":\"agt_1\",\"token\":\"tok_1\",\"provider\":\"acme\",\"method\":\"POST\","
        "\"path\":\"/v1/x\",\"decision\":\"allow\",\"reason\":null,\"status\":null,\"bytes_in\":0,"
        "\"bytes_out\":null,\"duration_ms\":null,\"client\":\"127.0.0.1\",\"prev\":\"00000000";
    assert_memory_equal(bytes.data, begin, sizeof begin - 1);
    assert_memory_equal(bytes.data + sizeof begin - 1 + 23, middle, sizeof middle - 1);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(verify_chain(), 2);
    buffer_free(&bytes);
    empty_dir();
}

static void text_cannot_break_out(void **state)
{
    (void)state;
    static const uint8_t nasty[] = "\"\\\n\x01\x7f\xff\xc0\xaf\xed\xa0\x80 \xc3\xa9 \xf0\x9f\x98\x80\",\"seq\":9";
    struct ledger *ledger = open_ledger();
    struct audit_record record = record_of("req_n");
    static uint8_t long_path[TARGET_MAX];
    uint64_t seq;
    record.action = view_of(nasty, sizeof nasty - 1);
    assert_int_equal(ledger_add(ledger, &record, &seq), STATUS_OK);
    memset(long_path, 1, sizeof long_path);
    record.request = VIEW("req_long");
    record.path = view_of(long_path, sizeof long_path);
    assert_int_equal(ledger_add(ledger, &record, &seq), STATUS_OK);
    assert_true(ledger_staged(ledger) < LINE_SIZE_MAX);
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    ledger_close(&ledger);
    assert_int_equal(verify_chain(), 2);
    ledger = open_ledger();
    assert_int_equal(ledger_head(ledger)->seq, 2);
    ledger_close(&ledger);
    assert_int_equal(empty_dir(), 0);
}

static void sent_again_is_written_once(void **state)
{
    (void)state;
    struct ledger *ledger = open_ledger();
    assert_int_equal(add(ledger, "req_a"), 1);
    assert_int_equal(add(ledger, "req_a"), 1); /* in the same batch */
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    assert_int_equal(add(ledger, "req_a"), 1);
    assert_int_equal(add(ledger, "req_b"), 2);
    struct audit_record other = record_of("req_a");
    uint64_t seq = 77;
    other.path = VIEW("/v1/y");
    assert_int_equal(ledger_add(ledger, &other, &seq), STATUS_CONFLICT);
    assert_int_equal(seq, 77);
    other.kind = AUDIT_OUTCOME; /* an outcome has the request id of its intent */
    assert_int_equal(ledger_add(ledger, &other, &seq), STATUS_OK);
    other.kind = AUDIT_DENIED; /* and a denial is known by all its fields */
    assert_int_equal(ledger_add(ledger, &other, &seq), STATUS_OK);
    other.reason = VIEW("limit");
    assert_int_equal(ledger_add(ledger, &other, &seq), STATUS_OK);
    assert_int_equal(seq, 5);
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    ledger_close(&ledger);
    ledger = open_ledger(); /* and after a restart too */
    assert_int_equal(add(ledger, "req_b"), 2);
    assert_int_equal(ledger_add(ledger, &other, &seq), STATUS_OK);
    assert_int_equal(seq, 5);
    other.kind = AUDIT_INTENT;
    assert_int_equal(ledger_add(ledger, &other, &seq), STATUS_CONFLICT);
    assert_int_equal(ledger_staged(ledger), 0);
    ledger_close(&ledger);
    assert_int_equal(verify_chain(), 5);
    empty_dir();
}

static void the_window_slides(void **state)
{
    const struct sender nobody = {0};
    (void)state;
    struct recent *recent = recent_new();
    struct buffer fields = BUFFER_EMPTY;
    struct known known;
    uint64_t seq;
    for (uint64_t i = 0; i < RECENT_MAX + 10; i++) {
        buffer_clear(&fields);
        buffer_printf(&fields, "\"kind\":\"intent\",\"request\":\"req_%d\"", (int)i);
        recent_describe(recent, buffer_view(&fields), &known);
        assert_int_equal(recent_find(recent, &known, nobody, &seq), STATUS_NOT_FOUND);
        recent_add(recent, &known, nobody, i + 1);
    }
    assert_int_equal(recent_find(recent, &known, nobody, &seq), STATUS_OK);
    assert_int_equal(seq, RECENT_MAX + 10);
    recent_forget(recent, 1);
    assert_int_equal(recent_find(recent, &known, nobody, &seq), STATUS_NOT_FOUND);
    recent_describe(recent, VIEW("\"kind\":\"intent\",\"request\":\"req_9\""), &known);
    assert_int_equal(recent_find(recent, &known, nobody, &seq), STATUS_NOT_FOUND);
    recent_describe(recent, VIEW("\"kind\":\"intent\",\"request\":\"req_10\""), &known);
    assert_int_equal(recent_find(recent, &known, nobody, &seq), STATUS_OK);
    buffer_free(&fields);
    recent_free(&recent);
}

static void a_torn_end_is_moved_away(void **state)
{
    (void)state;
    write_records(3);
    forget_checkpoints();
    struct buffer whole = read_log();
    const uint8_t *last = memrchr(whole.data, '\n', whole.size - 1);
    assert_non_null(last);
    size_t keep = (size_t)(last - whole.data) + 1;
    for (size_t cut = keep; cut < whole.size; cut++) {
        write_log(view_of(whole.data, cut));
        struct ledger *ledger = open_ledger();
        assert_int_equal(ledger_head(ledger)->seq, cut == keep ? 2 : 3); /* with its own record */
        assert_int_equal(add(ledger, "req_2"), cut == keep ? 3 : 4);
        assert_int_equal(ledger_commit(ledger), STATUS_OK);
        ledger_close(&ledger);
        assert_int_equal(verify_chain(), cut == keep ? 3 : 4);
        assert_int_equal(empty_dir(), cut == keep ? 0 : 1);
    }
    buffer_free(&whole);
}

static void a_torn_first_record_and_zeroes_too(void **state)
{
    (void)state;
    write_log(VIEW("{\"seq\":1,\"ti"));
    struct ledger *ledger = open_ledger();
    assert_int_equal(ledger_head(ledger)->seq, 1); /* audit.torn */
    ledger_close(&ledger);
    assert_int_equal(verify_chain(), 1);
    FILE *out = fopen(path, "a");
    for (int i = 0; i < 5000; i++) {
        fputc(i % 700 == 0 ? '\n' : 0, out);
    }
    fclose(out);
    ledger = open_ledger();
    assert_int_equal(ledger_head(ledger)->seq, 2);
    struct ledger *second = NULL;
    struct ledger_options with = options();
    assert_int_equal(ledger_open(&with, &second), STATUS_CONFLICT); /* it is locked */
    assert_null(second);
    ledger_close(&ledger);
    assert_int_equal(verify_chain(), 2);
    assert_int_equal(empty_dir(), 2);
}

static void a_full_disk_takes_the_batch_back(void **state)
{
    (void)state;
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    struct ledger *ledger = open_ledger();
    assert_int_equal(add(ledger, "req_a"), 1);
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    (void)ledger_sign(ledger);
    small.rlim_cur = ledger_size(ledger) + 100; /* a part of the next line */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(add(ledger, "req_b"), 2);
        assert_int_equal(add(ledger, "req_c"), 3);
        assert_int_equal(ledger_commit(ledger), STATUS_STORAGE_FULL);
        assert_true(ledger_failing(ledger));
        assert_int_equal(ledger_head(ledger)->seq, 1);
        assert_int_equal(verify_chain(), 1); /* nothing of it is on disk */
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(add(ledger, "req_c"), 2);
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    assert_false(ledger_failing(ledger));
    ledger_close(&ledger);
    assert_int_equal(verify_chain(), 2);
    empty_dir();
}

static bool holds(const char *text)
{
    struct buffer bytes = read_log();
    bool found = memmem(bytes.data, bytes.size, text, strlen(text)) != NULL;
    buffer_free(&bytes);
    return found;
}

static void a_cut_log_is_told(void **state)
{
    (void)state;
    write_records(3);
    struct buffer whole = read_log();
    const uint8_t *last = memrchr(whole.data, '\n', whole.size - 1);
    write_log(view_of(whole.data, (size_t)(last - whole.data) + 1));
    struct ledger *ledger = open_ledger();
    assert_int_equal(ledger_head(ledger)->seq, 3);
    ledger_close(&ledger);
    assert_true(holds("\"action\":\"audit.rewound\""));
    assert_true(holds("the log ended at 2 and had been signed up to 3"));
    assert_int_equal(empty_dir(), 0);
    buffer_free(&whole);
}

static void damage_to_what_was_signed_stays(void **state)
{
    (void)state;
    write_records(5);
    struct buffer whole = read_log();
    uint8_t *second = (uint8_t *)memchr(whole.data, '\n', whole.size) + 1;
    second[40] ^= 1;
    write_log(buffer_view(&whole));
    struct ledger *ledger = open_ledger();
    assert_int_equal(ledger_head(ledger)->seq, 6);
    ledger_close(&ledger);
    struct buffer after = read_log();
    assert_memory_equal(after.data, whole.data, whole.size); /* for verification to name */
    assert_true(holds("\"action\":\"audit.damaged\""));
    assert_int_equal(empty_dir(), 0);
    buffer_free(&whole);
    buffer_free(&after);
}

static void a_file_that_is_large_is_ended(void **state)
{
    (void)state;
    struct ledger_options with = options();
    struct ledger *ledger = NULL;
    char name[160], request[16];
    with.segment_bytes = 2000;
    assert_int_equal(ledger_open(&with, &ledger), STATUS_OK);
    for (int i = 0; i < 20; i++) {
        snprintf(request, sizeof request, "req_%d", i);
        assert_int_equal(add(ledger, request), (uint64_t)i + 1);
        assert_int_equal(ledger_commit(ledger), STATUS_OK);
    }
    size_t files = ledger_files(ledger);
    uint64_t bytes = ledger_size(ledger);
    assert_true(files > 3);
    ledger_close(&ledger);
    snprintf(name, sizeof name, "%s/audit-%020d.log", dir, 1);
    assert_int_equal(access(name, R_OK), 0);
    snprintf(name, sizeof name, "%s/audit-%020d.sig", dir, 1);
    assert_int_equal(access(name, R_OK), 0);
    assert_int_equal(ledger_open(&with, &ledger), STATUS_OK);
    assert_int_equal(ledger_files(ledger), files);
    assert_int_equal(ledger_size(ledger), bytes);
    assert_int_equal(ledger_head(ledger)->seq, 20);
    assert_int_equal(add(ledger, "req_19"), 20); /* known, though in the file before perhaps */
    assert_int_equal(add(ledger, "req_20"), 21);
    ledger_close(&ledger);
    /* A crash between two files: the open one is gone, its checkpoints are not. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(ledger_open(&with, &ledger), STATUS_OK);
    ledger_close(&ledger);
    assert_int_equal(empty_dir(), 0);
}

static void the_head_is_signed(void **state)
{
    (void)state;
    struct ledger *ledger = open_ledger();
    struct ledger_options with = options();
    struct checkpoint checkpoint;
    assert_false(ledger_sign(ledger)); /* nothing to sign */
    assert_int_equal(add(ledger, "req_a"), 1);
    assert_false(ledger_sign(ledger)); /* it is not on disk */
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    assert_true(ledger_sign(ledger));
    assert_false(ledger_sign(ledger));
    struct buffer note = BUFFER_EMPTY;
    buffer_append_view(&note, ledger_checkpoint(ledger));
    assert_int_equal(checkpoint_read(with.signer.public_key, buffer_view(&note), &checkpoint),
                     STATUS_OK);
    assert_int_equal(checkpoint.size, 1);
    char hash[HASH_CHARS + 1];
    hex_encode(view_of(checkpoint.hash, sizeof checkpoint.hash), hash);
    assert_string_equal(hash, ledger_head(ledger)->hash);
    for (size_t i = 0; i < note.size * 8; i++) { /* any bit */
        note.data[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_not_equal(checkpoint_read(with.signer.public_key, buffer_view(&note),
                                             &checkpoint), STATUS_OK);
        note.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    with.signer.public_key[0] ^= 1;
    assert_int_equal(checkpoint_read(with.signer.public_key, buffer_view(&note), &checkpoint),
                     STATUS_DENIED);
    assert_int_equal(checkpoint_read(NULL, buffer_view(&note), &checkpoint), STATUS_OK);
    buffer_free(&note);
    ledger_close(&ledger);
    empty_dir();
}

static enum status add_outcome(struct ledger *ledger, const char *request)
{
    struct audit_record record = record_of(request);
    uint64_t seq;
    record.kind = AUDIT_OUTCOME;
    record.status = 200;
    return ledger_add(ledger, &record, &seq);
}

static void every_intent_gets_one_outcome(void **state)
{
    (void)state;
    struct ledger *ledger = open_ledger();
    assert_int_equal(add_outcome(ledger, "req_a"), STATUS_NOT_FOUND); /* of nothing */
    assert_int_equal(add(ledger, "req_a"), 1);
    assert_int_equal(add(ledger, "req_b"), 2);
    assert_int_equal(add(ledger, "req_c"), 3);
    assert_int_equal(add_outcome(ledger, "req_a"), STATUS_OK);
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    assert_int_equal(ledger_running(ledger), 2);
    assert_int_equal(ledger_give_up(ledger, 60000), 0); /* not yet */
    ledger_close(&ledger);
    ledger = open_ledger(); /* a start knows them again */
    assert_int_equal(ledger_running(ledger), 2);
    (void)usleep(30000);
    ledger_claim(ledger, VIEW("req_c"));
    assert_int_equal(ledger_give_up(ledger, 20), 1);
    assert_int_equal(ledger_running(ledger), 1);
    assert_true(holds("\"kind\":\"outcome\",\"action\":\"proxy.call\",\"request\":\"req_b\","
                      "\"tenant\":\"acc_1\",\"agent\":\"agt_1\",\"token\":\"tok_1\",\"provider\":\"acme\","
                      "\"method\":\"POST\",\"path\":\"/v1/x\",\"decision\":\"allow\",\"reason\":\"unknown\","
                      "\"status\":null"));
    assert_int_equal(add_outcome(ledger, "req_b"), STATUS_CONFLICT); /* too late */
    assert_int_equal(add_outcome(ledger, "req_c"), STATUS_OK);
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    assert_int_equal(ledger_running(ledger), 0);
    ledger_close(&ledger);
    assert_int_equal(verify_chain(), 6);
    empty_dir();
}

static void a_batch_taken_back_leaves_calls_as_they_were(void **state)
{
    (void)state;
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    struct ledger *ledger = open_ledger();
    assert_int_equal(add(ledger, "req_a"), 1);
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = ledger_size(ledger) + 100;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(add_outcome(ledger, "req_a"), STATUS_OK);
    assert_int_equal(add(ledger, "req_b"), 3);
    assert_int_equal(ledger_commit(ledger), STATUS_STORAGE_FULL);
    assert_int_equal(ledger_running(ledger), 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(add_outcome(ledger, "req_b"), STATUS_NOT_FOUND);
    assert_int_equal(add_outcome(ledger, "req_a"), STATUS_OK);
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    assert_int_equal(ledger_running(ledger), 0);
    ledger_close(&ledger);
    assert_int_equal(verify_chain(), 2);
    empty_dir();
}

/* A call that began more records ago than a start reads again. */
static void an_old_call_is_not_forgotten(void **state)
{
    (void)state;
    struct ledger_options with = options();
    struct ledger *ledger = NULL;
    char request[16];
    static char filler[600];
    memset(filler, 'x', sizeof filler - 1);
    with.segment_bytes = 8 << 20;
    assert_int_equal(ledger_open(&with, &ledger), STATUS_OK);
    assert_int_equal(add(ledger, "req_old"), 1);
    for (int i = 0; i < RECENT_MAX + 5000; i++) {
        struct audit_record record = record_of(request);
        uint64_t seq;
        snprintf(request, sizeof request, "r%d", i);
        record.request = view_text(request);
        record.kind = AUDIT_DENIED;
        record.path = view_text(filler);
        assert_int_equal(ledger_add(ledger, &record, &seq), STATUS_OK);
        if (i % 1000 == 0) {
            assert_int_equal(ledger_commit(ledger), STATUS_OK);
        }
    }
    assert_int_equal(ledger_give_up(ledger, 60000), 0); /* as each second: it is kept in mind */
    ledger_close(&ledger);
    assert_int_equal(ledger_open(&with, &ledger), STATUS_OK);
    assert_int_equal(ledger_running(ledger), 1);
    (void)usleep(20000);
    assert_int_equal(ledger_give_up(ledger, 10), 1);
    assert_true(holds("\"request\":\"req_old\""));
    ledger_close(&ledger);
    empty_dir();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_exactly_its_fields),
        cmocka_unit_test(text_cannot_break_out),
        cmocka_unit_test(sent_again_is_written_once),
        cmocka_unit_test(the_window_slides),
        cmocka_unit_test(a_torn_end_is_moved_away),
        cmocka_unit_test(a_torn_first_record_and_zeroes_too),
        cmocka_unit_test(a_full_disk_takes_the_batch_back),
        cmocka_unit_test(every_intent_gets_one_outcome),
        cmocka_unit_test(a_batch_taken_back_leaves_calls_as_they_were),
        cmocka_unit_test(an_old_call_is_not_forgotten),
        cmocka_unit_test(a_cut_log_is_told),
        cmocka_unit_test(damage_to_what_was_signed_stays),
        cmocka_unit_test(a_file_that_is_large_is_ended),
        cmocka_unit_test(the_head_is_signed),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
