/* test_audit_log.c - placeholder of the first commit; see below. */
#include "tests/unit/unit.h"

#include "services/audit/audit.h"

static void starts(void **state)
{
    (void)state;
    assert_int_equal(head_of_nothing.seq, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(starts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
