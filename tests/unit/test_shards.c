/* test_shards.c - which audit daemon has whose records: a contract, so with fixed values; and that the logs of
 * several, signed with one key, are not taken for each other. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <unistd.h>

#include "services/vault/vault.h"

/* Computed once, by another program. */
static void tenants_stay_where_they_are(void **state)
{
    static const unsigned counts[] = {1, 2, 3, 5, 16};
    static const struct {
        const char *tenant;
        unsigned shards[5];
    } rows[] = {
        {"acc_0", {0, 0, 0, 3, 15}},
        {"acc_1", {0, 1, 2, 4, 4}},
        {"acc_2", {0, 1, 2, 2, 9}},
        {"acc_7Zk3", {0, 0, 0, 0, 7}},
        {"acc_abcdefghijklmnop", {0, 1, 1, 1, 5}},
        {"x", {0, 1, 1, 3, 8}},
        {"", {0, 0, 0, 0, 0}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t j = 0; j < sizeof counts / sizeof counts[0]; j++) {
            assert_int_equal(shard_of(view_text(rows[i].tenant), counts[j]), rows[i].shards[j]);
        }
    }
}

enum { TENANTS = 4000 };

static struct view tenant_of(size_t i, char *room)
{
    (void)snprintf(room, 32, "acc_%zu", i);
    return view_text(room);
}

static void each_has_its_share(void **state)
{
    char room[32];
    (void)state;
    for (unsigned count = 2; count <= AUDIT_SHARDS_MAX; count++) {
        size_t has[AUDIT_SHARDS_MAX] = {0};
        for (size_t i = 0; i < TENANTS; i++) {
            has[shard_of(tenant_of(i, room), count)]++;
        }
        for (unsigned i = 0; i < count; i++) {
            assert_in_range(has[i], TENANTS / count * 7 / 10, TENANTS / count * 13 / 10);
        }
    }
}

/* One more takes its share of the tenants, and the others stay where they are; so do their older records, which
 * are looked for wherever they can be. */
static void one_more_moves_its_own_alone(void **state)
{
    char room[32];
    (void)state;
    for (size_t i = 0; i < TENANTS; i++) {
        unsigned was = 0, set = 0;
        for (unsigned count = 1; count <= AUDIT_SHARDS_MAX; count++) {
            unsigned is = shard_of(tenant_of(i, room), count);
            assert_true(is == was || is == count - 1);
            set |= 1u << is;
            assert_int_equal(shards_with(tenant_of(i, room), count), set);
            was = is;
        }
    }
}

static void make(unsigned shard, struct buffer *ret_note)
{
    uint8_t seed[CRYPTO_KEY_BYTES] = {5}, public_key[CRYPTO_KEY_BYTES];
    struct checkpoint head = {.kind = CHECKPOINT_HEAD, .shard = shard, .size = 9};
    assert_int_equal(crypto_sign_public(seed, public_key), STATUS_OK);
    assert_int_equal(checkpoint_make(seed, public_key, &head, ret_note), STATUS_OK);
}

static void a_checkpoint_names_its_log(void **state)
{
    uint8_t seed[CRYPTO_KEY_BYTES] = {5}, public_key[CRYPTO_KEY_BYTES];
    static const unsigned shards[] = {0, 1, 15};
    (void)state;
    assert_int_equal(crypto_sign_public(seed, public_key), STATUS_OK);
    for (size_t i = 0; i < sizeof shards / sizeof shards[0]; i++) {
        CLEANUP(buffer_free) struct buffer note = BUFFER_EMPTY;
        struct checkpoint read = {.shard = 99};
        make(shards[i], &note);
        assert_int_equal(checkpoint_read(public_key, buffer_view(&note), &read), STATUS_OK);
        assert_int_equal(read.shard, shards[i]);
    }
    CLEANUP(buffer_free) struct buffer note = BUFFER_EMPTY;
    struct checkpoint read;
    make(1, &note);
    uint8_t *number = memchr(note.data, '\n', note.size);
    number[-1] = '2'; /* the log's name is signed */
    assert_int_equal(checkpoint_read(public_key, buffer_view(&note), &read), STATUS_DENIED);
}

static void a_mark_is_of_one_log(void **state)
{
    char dir[] = "/tmp/seks-shards-XXXXXX", text[AUDIT_MARK_TEXT], path[64];
    struct audit_mark *mark = NULL;
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(audit_mark_open(dir, 1, &mark), STATUS_OK);
    for (unsigned shard = 0; shard < 3; shard++) {
        CLEANUP(buffer_free) struct buffer note = BUFFER_EMPTY;
        make(shard, &note);
        assert_true(audit_mark_take(mark, buffer_view(&note), 0, text)); /* another's says nothing of ours */
    }
    assert_int_equal(audit_mark_rewound(mark), 0);
    audit_mark_free(&mark);
    (void)snprintf(path, sizeof path, "%s/audit-1.head", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0); /* and nothing else was written */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tenants_stay_where_they_are), cmocka_unit_test(each_has_its_share),
        cmocka_unit_test(one_more_moves_its_own_alone), cmocka_unit_test(a_checkpoint_names_its_log),
        cmocka_unit_test(a_mark_is_of_one_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
