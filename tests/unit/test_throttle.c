/* Tries of passwords: free ones, waits that grow and end, and an owner whom strangers cannot keep out. */
#include "tests/unit/vault_database.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND };
#define EMAIL VIEW("owner@example.com")
#define HOME VIEW("192.0.2.1")
#define AWAY VIEW("198.51.100.9")

static struct open_store *shared; /* NULL: in memory */

static int begin(void **state)
{
    struct throttle *throttle = throttle_new();
    void *store = NULL;
    assert_non_null(throttle);
    if (getenv("SEKS_TEST_POSTGRES_FILE")) {
        assert_int_equal(set_up(&store), 0);
        shared = store;
        assert_int_equal(throttle_share(throttle, shared->store, VIEW("key")), STATUS_OK);
    }
    *state = throttle;
    return 0;
}

static int end(void **state)
{
    struct throttle *throttle = *state;
    throttle_free(&throttle);
    if (shared) {
        void *store = TAKE(shared);
        assert_int_equal(tear_down(&store), 0);
    }
    return 0;
}

/* TIMES tries at once; how many of them were let through. */
static unsigned tries(struct throttle *throttle, struct view account, struct view client, unsigned times,
                      uint64_t now_ms)
{
    unsigned through = 0;
    for (unsigned i = 0; i < times; i++) {
        through += throttle_take(throttle, account, client, now_ms) == 0;
    }
    return through;
}

static void waits_grow_and_end(void **state)
{
    struct throttle *throttle = *state;
    uint64_t now = MINUTE, before = 0;
    assert_int_equal(tries(throttle, EMAIL, HOME, 50, now), 10);
    for (int i = 0; i < 20; i++) {
        uint64_t wait = throttle_take(throttle, EMAIL, HOME, now);
        assert_true(wait >= before && wait > 0 && wait <= MINUTE);
        before = wait;
        assert_int_equal(throttle_take(throttle, EMAIL, HOME, now + wait - 1), 1);
        assert_int_equal(throttle_take(throttle, EMAIL, HOME, now + wait), 0);
        now += wait;
    }
    now += 60 * MINUTE;
    assert_int_equal(tries(throttle, EMAIL, HOME, 50, now), 10);
}

static void right_password_forgets(void **state)
{
    struct throttle *throttle = *state;
    for (int i = 0; i < 3; i++) { /* 27 tries: below the address's own limit */
        assert_int_equal(tries(throttle, EMAIL, HOME, 9, MINUTE), 9);
        throttle_right(throttle, EMAIL, HOME, MINUTE);
    }
}

static void strangers_do_not_keep_the_owner_out(void **state)
{
    struct throttle *throttle = *state;
    char client[32];
    assert_int_equal(throttle_take(throttle, EMAIL, HOME, MINUTE), 0);
    throttle_right(throttle, EMAIL, HOME, MINUTE);
    for (unsigned i = 0; i < 5000; i++) {
        (void)snprintf(client, sizeof client, "203.0.%u.%u", i / 200, i % 200);
        (void)throttle_take(throttle, EMAIL, view_text(client), MINUTE + i);
    }
    assert_true(throttle_take(throttle, EMAIL, AWAY, MINUTE + 5000) > 0);
    assert_int_equal(throttle_take(throttle, EMAIL, HOME, MINUTE + 5000), 0);
    /* and from anywhere after a minute at most */
    assert_int_equal(throttle_take(throttle, EMAIL, AWAY, 2 * MINUTE + 5000), 0);
}

static void address_with_many_accounts(void **state)
{
    struct throttle *throttle = *state;
    char email[64];
    unsigned through = 0;
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(email, sizeof email, "u%u@example.com", i);
        through += throttle_take(throttle, view_text(email), AWAY, MINUTE) == 0;
    }
    assert_int_equal(through, 30);
    assert_int_equal(throttle_take(throttle, VIEW("u99@example.com"), HOME, MINUTE), 0);
    /* one's own account's right password buys no more tries at others */
    assert_int_equal(tries(throttle, VIEW(""), VIEW("203.0.113.5"), 31, MINUTE), 30);
    throttle_right(throttle, EMAIL, VIEW("203.0.113.5"), MINUTE);
    assert_true(throttle_take(throttle, VIEW("x@example.com"), VIEW("203.0.113.5"), MINUTE) > 0);
}

static void networks_and_this_host(void **state)
{
    struct throttle *throttle = *state;
    char client[64];
    unsigned through = 0;
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(client, sizeof client, "2001:db8:0:7:%x::1", i + 1);
        through += throttle_take(throttle, VIEW(""), view_text(client), MINUTE) == 0;
    }
    assert_int_equal(through, 30); /* a /64 is one */
    assert_int_equal(tries(throttle, VIEW(""), VIEW("127.0.0.1"), 1000, MINUTE), 1000);
    throttle_right(throttle, EMAIL, VIEW("127.0.0.1"), MINUTE);
    assert_int_equal(tries(throttle, EMAIL, VIEW("127.0.0.1"), 1000, MINUTE), 10);
}

/* Entries are found by a hash: an account and an address that fall together count each for itself. */
static void account_and_address_do_not_collide(void **state)
{
    struct throttle *throttle = *state;
    char email[64], client[32];
    unsigned pairs = shared ? 50 : 30000; /* rows of a table have the whole key */
    for (unsigned i = 0; i < pairs; i++) { /* some seven of them in one place, if there were one table */
        (void)snprintf(email, sizeof email, "u%u@example.com", i);
        (void)snprintf(client, sizeof client, "10.1.%u.%u", i / 250, i % 250);
        assert_int_equal(throttle_take(throttle, view_text(email), view_text(client), MINUTE), 0);
        assert_int_equal(tries(throttle, view_text(email), VIEW("127.0.0.1"), 10, MINUTE), 9);
    }
}

/* Whoever asks the one vault and the other has the tries of one. */
static void the_tries_are_of_all_vaults(void **state)
{
    struct throttle *one = *state, *other = throttle_new();
    struct store *store = NULL;
    unsigned through = 0;
    if (!shared) {
        throttle_free(&other);
        skip();
    }
    assert_int_equal(store_open(shared->path, &store), STATUS_OK);
    assert_int_equal(throttle_share(other, store, VIEW("key")), STATUS_OK);
    for (int i = 0; i < 40; i++) {
        through += throttle_take(i % 2 ? one : other, EMAIL, HOME, MINUTE) == 0;
    }
    assert_int_equal(through, 10);
    assert_int_equal(throttle_take(other, VIEW("b@example.com"), AWAY, MINUTE), 0);
    throttle_free(&other);
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(waits_grow_and_end, begin, end),
        cmocka_unit_test_setup_teardown(right_password_forgets, begin, end),
        cmocka_unit_test_setup_teardown(strangers_do_not_keep_the_owner_out, begin, end),
        cmocka_unit_test_setup_teardown(address_with_many_accounts, begin, end),
        cmocka_unit_test_setup_teardown(networks_and_this_host, begin, end),
        cmocka_unit_test_setup_teardown(account_and_address_do_not_collide, begin, end),
        cmocka_unit_test_setup_teardown(the_tries_are_of_all_vaults, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
