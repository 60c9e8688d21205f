/* test_shamir.c - every way of picking enough shares gives the secret; one too few gives nothing. */
#include "tests/unit/unit.h"

#include "common/crypto.h"
#include "common/shamir.h"

enum { SIZE = 32, COUNT = 6, THRESHOLD = 3 };

/* The shares in MASK's bits, joined. */
static enum status join(const uint8_t *shares, unsigned mask, uint8_t *ret_secret)
{
    uint8_t xs[COUNT], picked[COUNT * SIZE];
    unsigned count = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        if (mask & 1u << i) {
            xs[count] = (uint8_t)(i + 1);
            memcpy(picked + count * SIZE, shares + i * SIZE, SIZE);
            count++;
        }
    }
    return shamir_combine(xs, picked, count, SIZE, ret_secret);
}

static void any_three_of_six_are_enough_and_two_are_not(void **state)
{
    (void)state;
    uint8_t secret[SIZE], shares[COUNT * SIZE], joined[SIZE];
    crypto_random(secret, SIZE);
    assert_int_equal(shamir_split(view_of(secret, SIZE), THRESHOLD, COUNT, shares), STATUS_OK);
    for (unsigned mask = 1; mask < 1u << COUNT; mask++) {
        assert_int_equal(join(shares, mask, joined), STATUS_OK);
        if (__builtin_popcount(mask) >= THRESHOLD) {
            assert_memory_equal(joined, secret, SIZE);
        } else {
            assert_memory_not_equal(joined, secret, SIZE);
        }
    }
}

/* Two points of a line over GF(2^8), worked out by hand: 0x53 * 0xca is 1 (FIPS 197 section 4.2), so with
 * the coefficient 0xca the share at 0x53 is the secret ^ 1. */
static void the_field_is_the_one_of_aes(void **state)
{
    (void)state;
    const uint8_t xs[] = {0x53, 0x01}, shares[] = {0x42 ^ 0x01, 0x42 ^ 0xca};
    uint8_t secret;
    assert_int_equal(shamir_combine(xs, shares, 2, 1, &secret), STATUS_OK);
    assert_int_equal(secret, 0x42);
}

/* With all but one share known, every value of the secret is still as likely. */
static void fewer_shares_say_nothing(void **state)
{
    (void)state;
    const uint8_t xs[] = {1, 2};
    bool seen[256] = {false};
    for (unsigned other = 0; other < 256; other++) {
        const uint8_t shares[] = {0x77, (uint8_t)other};
        uint8_t secret;
        assert_int_equal(shamir_combine(xs, shares, 2, 1, &secret), STATUS_OK);
        assert_false(seen[secret]);
        seen[secret] = true;
    }
}

static void the_most_and_the_least(void **state)
{
    (void)state;
    static uint8_t shares[255 * SIZE];
    uint8_t secret[SIZE] = {1}, joined[SIZE], xs[255];
    assert_int_equal(shamir_split(view_of(secret, SIZE), 255, 255, shares), STATUS_OK);
    for (unsigned i = 0; i < 255; i++) {
        xs[i] = (uint8_t)(i + 1);
    }
    assert_int_equal(shamir_combine(xs, shares, 255, SIZE, joined), STATUS_OK);
    assert_memory_equal(joined, secret, SIZE);
    assert_int_equal(shamir_combine(xs, shares, 254, SIZE, joined), STATUS_OK);
    assert_memory_not_equal(joined, secret, SIZE);
    assert_int_equal(shamir_split(view_of(secret, SIZE), 1, 3, shares), STATUS_INVALID);
    assert_int_equal(shamir_split(view_of(secret, SIZE), 4, 3, shares), STATUS_INVALID);
    assert_int_equal(shamir_split(view_of(secret, SIZE), 2, 256, shares), STATUS_INVALID);
    xs[1] = 1;
    assert_int_equal(shamir_combine(xs, shares, 2, SIZE, joined), STATUS_INVALID);
    xs[1] = 0;
    assert_int_equal(shamir_combine(xs, shares, 2, SIZE, joined), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_three_of_six_are_enough_and_two_are_not),
        cmocka_unit_test(the_field_is_the_one_of_aes),
        cmocka_unit_test(fewer_shares_say_nothing),
        cmocka_unit_test(the_most_and_the_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
