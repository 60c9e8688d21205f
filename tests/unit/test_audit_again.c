/* test_audit_again.c - what is the same record sent again, and what is the same thing done twice. */
#include "tests/unit/ledger_log.h"

static int make_log(void **state)
{
    (void)state;
    return log_make(1 << 20);
}

/* What becomes of a record of KIND, REQUEST and DECISION, sent by PROCESS under number CALL for the proxy
 * BOUND: its number, or minus the status. */
static int64_t take_as(enum audit_kind kind, const char *request, const char *decision,
                       uint64_t process, uint64_t call, uint64_t bound)
{
    uint64_t seq = 0;
    struct audit_record record = {
        .call = call, .kind = kind, .action = VIEW("secret.get"), .request = view_text(request),
        .decision = view_text(decision), .bound = bound, .tenant = VIEW("acc_1"), .status = AUDIT_NONE, .bytes_in = AUDIT_NONE,
        .bytes_out = AUDIT_NONE, .duration_ms = AUDIT_NONE};
    enum status status = ledger_take(ledger, &record, process, &seq);
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    return status == STATUS_OK ? (int64_t)seq : (int64_t)status;
}

static int64_t take(enum audit_kind kind, const char *request, uint64_t process, uint64_t call)
{
    return take_as(kind, request, "allow", process, call, 0);
}

static void an_intent_is_for_one_call(void **state)
{
    (void)state;
    assert_int_equal(take(AUDIT_INTENT, "r1", 1, 10), 1);
    assert_int_equal(take(AUDIT_INTENT, "r1", 1, 10), 1); /* sent again */
    assert_int_equal(take(AUDIT_INTENT, "r1", 1, 11), STATUS_CONFLICT); /* asked for twice */
    assert_int_equal(take(AUDIT_INTENT, "r1", 2, 5), 1); /* of the vault after a restart */
    assert_int_equal(take(AUDIT_INTENT, "r1", 2, 5), 1);
    assert_int_equal(take(AUDIT_INTENT, "r1", 2, 6), STATUS_CONFLICT);
    assert_int_equal(take(AUDIT_OUTCOME, "r1", 9, 1), 2);
    assert_int_equal(take(AUDIT_OUTCOME, "r1", 9, 1), 2);
    assert_int_equal(take(AUDIT_INTENT, "r1", 2, 5), STATUS_CONFLICT); /* its call is over */
    assert_int_equal(take(AUDIT_INTENT, "r1", 3, 1), STATUS_CONFLICT);
}

static void what_is_asked_twice_is_done_once(void **state)
{
    (void)state;
    assert_int_equal(take(AUDIT_ACCOUNT, "r2", 1, 20), 3);
    assert_int_equal(take(AUDIT_ACCOUNT, "r2", 1, 20), 3); /* sent again */
    assert_int_equal(take(AUDIT_ACCOUNT, "r2", 1, 21), STATUS_CONFLICT); /* a raw secret read a second time */
    assert_int_equal(take(AUDIT_ACCOUNT, "r2", 2, 20), STATUS_CONFLICT); /* of another vault */
    assert_int_equal(take(AUDIT_ACCOUNT, "r2", 1, 20), 3);
    assert_int_equal(take_as(AUDIT_ACCOUNT, "r2", "fail", 1, 22, 0), 4); /* and could not be done */
    assert_int_equal(take_as(AUDIT_ACCOUNT, "r2", "fail", 1, 22, 0), 4);
}

static void two_vaults_give_no_grants_for_two_proxies(void **state)
{
    (void)state;
    assert_int_equal(take_as(AUDIT_INTENT, "r5", "allow", 1, 40, 77), 5);
    assert_int_equal(take_as(AUDIT_INTENT, "r5", "allow", 2, 40, 77), 5); /* the first one did not answer */
    assert_int_equal(take_as(AUDIT_INTENT, "r5", "allow", 3, 40, 78), STATUS_CONFLICT);
}

static void after_a_restart_one_may_still_wait(void **state)
{
    (void)state;
    assert_int_equal(take(AUDIT_INTENT, "r3", 1, 30), 6);
    assert_int_equal(take(AUDIT_ACCOUNT, "r4", 1, 31), 7);
    ledger_close(&ledger);
    assert_int_equal(ledger_open(&options, &ledger), STATUS_OK);
    assert_int_equal(take(AUDIT_INTENT, "r3", 1, 30), 6);
    assert_int_equal(take(AUDIT_ACCOUNT, "r4", 1, 31), 7);
    assert_int_equal(take(AUDIT_INTENT, "r3", 1, 32), STATUS_CONFLICT); /* now it is known who sent it */
    assert_int_equal(take(AUDIT_ACCOUNT, "r4", 1, 33), STATUS_CONFLICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_intent_is_for_one_call),
        cmocka_unit_test(what_is_asked_twice_is_done_once),
        cmocka_unit_test(two_vaults_give_no_grants_for_two_proxies),
        cmocka_unit_test(after_a_restart_one_may_still_wait),
    };
    return cmocka_run_group_tests(tests, make_log, remove_log);
}
