/* test_spare.c - blocks that are used again hold nothing of the call before. */
#include "tests/unit/unit.h"

#include <string.h>

#include "services/proxy/spare.h"

enum { BYTES = 300, MANY = 200 };

static void assert_zero(const uint8_t *block)
{
    for (size_t i = 0; i < BYTES; i++) {
        assert_int_equal(block[i], 0);
    }
}

static void a_kept_block_is_zeroed(void **state)
{
    struct spares spares = {.size = BYTES};
    uint8_t *block = spare_take(&spares);
    (void)state;
    assert_non_null(block);
    assert_zero(block);
    memset(block, 0xa5, BYTES);
    spare_give(&spares, block);
    assert_int_equal(spares.count, 1);
    assert_zero(spares.kept[0]); /* while it waits already, not when it is taken */
    block = spare_take(&spares);
    assert_zero(block);
    assert_int_equal(spares.count, 0);
    spares.count = SPARES_KEPT; /* full: freed */
    spare_give(&spares, block);
    assert_int_equal(spares.count, SPARES_KEPT);
}

static void no_more_are_kept_than_the_limit(void **state)
{
    struct spares spares = {.size = BYTES};
    void *blocks[MANY];
    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        blocks[i] = spare_take(&spares);
        assert_non_null(blocks[i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        spare_give(&spares, blocks[i]);
    }
    spare_give(&spares, NULL);
    assert_int_equal(spares.count, SPARES_KEPT);
    while (spares.count > 0) {
        void *block = spare_take(&spares);
        struct spares none = {.size = BYTES, .count = SPARES_KEPT};
        spare_give(&none, block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kept_block_is_zeroed),
        cmocka_unit_test(no_more_are_kept_than_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
