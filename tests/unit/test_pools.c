/* test_pools.c - pools come from the area and read the same after a trim; other memory is not touched. */
#include "tests/unit/unit.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "services/gateway/pools.h"

enum { PAGES = 12, COUNT = 2 };

static size_t page;

static unsigned char *map(size_t size)
{
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static size_t resident(unsigned char *pool)
{
    unsigned char in[PAGES];
    size_t count = 0;
    assert_int_equal(mincore(pool, PAGES * page, in), 0);
    for (size_t i = 0; i < PAGES; i++) {
        count += in[i] & 1;
    }
    return count;
}

static void test_trim(void **state)
{
    (void)state;
    unsigned char *pool = map(PAGES * page);
    struct pool taken = pools_take_last();
    assert_true(taken.number < COUNT);
    assert_true(pools_take_last().number == POOLS_NONE);
    memset(pool, 0, PAGES * page);
    pool[page - 1] = 'a'; /* the first page's last byte, and the last page's first */
    pool[(PAGES - 1) * page] = 'z';
    assert_int_equal(resident(pool), PAGES);
    pools_trim(taken.number);
    assert_int_equal(resident(pool), 2);
    for (size_t i = 0; i < PAGES * page; i++) {
        assert_int_equal(pool[i], i == page - 1 ? 'a' : i == (PAGES - 1) * page ? 'z' : 0);
    }
    assert_int_equal(munmap(pool, PAGES * page), 0);
    assert_ptr_equal(map(PAGES * page), pool); /* given out again, and clear */
    assert_int_equal(pool[page - 1], 0);
    assert_int_equal(munmap(pool, PAGES * page), 0);
}

static void test_more_than_there_are(void **state)
{
    (void)state;
    unsigned char *all[COUNT + 1];
    for (size_t i = 0; i <= COUNT; i++) {
        all[i] = map(PAGES * page);
        assert_true(all[i] != MAP_FAILED);
        memset(all[i], (int)i + 1, PAGES * page);
        assert_true((pools_take_last().number == POOLS_NONE) == (i == COUNT));
    }
    pools_trim(POOLS_NONE);
    for (size_t i = 0; i <= COUNT; i++) {
        assert_int_equal(all[i][0], i + 1);
        assert_int_equal(munmap(all[i], PAGES * page), 0);
    }
}

static void test_other_sizes(void **state)
{
    (void)state;
    unsigned char *other = map(page);
    assert_true(pools_take_last().number == POOLS_NONE);
    assert_int_equal(munmap(other, page), 0);
}

static void test_tend(void **state)
{
    (void)state;
    unsigned char *memory = map(PAGES * page);
    struct pool pool = pools_take_last();
    memset(memory, 0, PAGES * page);
    pools_tend(&pool, 1000, 1999);
    assert_false(pool.trimmed);
    pools_tend(&pool, 1000, 2000);
    assert_true(pool.trimmed);
    assert_int_equal(resident(memory), 0);
    memset(memory, 0, PAGES * page);
    pools_tend(&pool, 1000, 3000); /* once, until something happens */
    assert_int_equal(resident(memory), PAGES);
    for (int i = 0; i < 1000; i++) {
        struct pool none = {.number = POOLS_NONE};
        pools_tend(&none, 0, 4000);
        assert_true(none.trimmed == (i < 128));
    }
    assert_int_equal(munmap(memory, PAGES * page), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trim), cmocka_unit_test(test_more_than_there_are),
                                       cmocka_unit_test(test_other_sizes), cmocka_unit_test(test_tend)};
    page = (size_t)sysconf(_SC_PAGESIZE);
    pools_open(PAGES * page - 1, COUNT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pools_close();
    return failed;
}
