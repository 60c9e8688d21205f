/* test_audit_mark.c - what the vault keeps of the audit log's head, and when it says that it was rewound. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <unistd.h>

#include "services/vault/vault.h"

static char dir[64];
static struct audit_mark *mark;

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/seks-mark-XXXXXX");
    return mkdtemp(dir) && audit_mark_open(dir, 0, &mark) == STATUS_OK ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    audit_mark_free(&mark);
    DIR *list = opendir(dir);
    for (struct dirent *at; list && (at = readdir(list)) != NULL;) {
        (void)unlinkat(dirfd(list), at->d_name, 0); /* "." and ".." stay */
    }
    closedir(list);
    return rmdir(dir);
}

/* Tells of record SEQ, whose hash is all HASH, signed with the key of SEED; false: rewound. */
static bool tell(uint64_t seq, uint8_t hash, uint8_t seed_byte, uint64_t acked, char *ret_text)
{
    uint8_t seed[CRYPTO_KEY_BYTES], public_key[CRYPTO_KEY_BYTES];
    struct checkpoint head = {.kind = CHECKPOINT_HEAD, .size = seq};
    struct buffer note = BUFFER_EMPTY;
    memset(seed, seed_byte, sizeof seed);
    memset(head.hash, hash, sizeof head.hash);
    assert_int_equal(crypto_sign_public(seed, public_key), STATUS_OK);
    assert_int_equal(checkpoint_make(seed, public_key, &head, &note), STATUS_OK);
    ret_text[0] = '\0';
    bool grown = audit_mark_take(mark, buffer_view(&note), acked, ret_text);
    buffer_free(&note);
    return grown;
}

static void open_again(void)
{
    audit_mark_free(&mark);
    assert_int_equal(audit_mark_open(dir, 0, &mark), STATUS_OK);
}

static bool is_kept(uint64_t seq)
{
    char path[128];
    snprintf(path, sizeof path, "%s/audit.head.%llu", dir, (unsigned long long)seq);
    return access(path, F_OK) == 0;
}

static void a_log_that_grows_is_right(void **state)
{
    (void)state;
    char text[AUDIT_MARK_TEXT];
    assert_true(tell(10, 1, 7, 0, text));
    assert_true(tell(10, 1, 7, 10, text));
    assert_true(tell(25, 2, 7, 20, text));
    open_again();
    assert_true(tell(25, 2, 7, 0, text));
    assert_true(tell(26, 3, 7, 26, text));
    assert_int_equal(audit_mark_rewound(mark), 0);
}

static void a_log_that_does_not_is_told(void **state)
{
    (void)state;
    char text[AUDIT_MARK_TEXT];
    assert_false(tell(20, 9, 7, 26, text)); /* shorter */
    assert_non_null(strstr(text, "had 26 records and now has 20"));
    assert_true(is_kept(26));
    assert_true(tell(21, 4, 7, 0, text)); /* said once, and goes on from there */
    assert_false(tell(21, 5, 7, 0, text)); /* as long, and another */
    assert_true(is_kept(21));
    assert_false(tell(30, 6, 7, 31, text)); /* one more was acknowledged */
    open_again();
    assert_false(tell(29, 7, 7, 0, text)); /* while the vault was down */
    assert_true(is_kept(30));
    assert_false(tell(50, 8, 6, 0, text)); /* longer, but another key's */
    assert_non_null(strstr(text, "of another key"));
    assert_true(is_kept(29));
    assert_true(tell(51, 8, 6, 51, text));
    assert_false(tell(51, 8, 6, 52, text)); /* put back to just what was told last */
    assert_true(tell(51, 8, 6, 0, text));
}

static void nonsense_changes_nothing(void **state)
{
    (void)state;
    char text[AUDIT_MARK_TEXT];
    uint64_t before = audit_mark_rewound(mark);
    assert_true(audit_mark_take(mark, VIEW("seks-audit/x\n1\nnothing\n"), 0, text));
    assert_true(audit_mark_take(mark, VIEW(""), 0, text));
    assert_int_equal(audit_mark_rewound(mark), before);
    assert_true(tell(52, 8, 6, 0, text));
}

static void a_spoiled_mark_stops_the_start(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/audit.head", dir);
    assert_int_equal(truncate(path, 40), 0);
    struct audit_mark *other = NULL;
    assert_int_equal(audit_mark_open(dir, 0, &other), STATUS_INVALID);
    assert_null(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_that_grows_is_right),
        cmocka_unit_test(a_log_that_does_not_is_told),
        cmocka_unit_test(nonsense_changes_nothing),
        cmocka_unit_test(a_spoiled_mark_stops_the_start),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
