/* Sessions end: after half an hour without a request, and after twelve hours in any case. */
#include "unit.h"

#include "vault_world.h"

enum { MINUTE_MS = 60 * 1000 };

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world_make(world);
    world_start(world, "open");
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    world_stop(world);
    world_remove(world);
    free(world);
    return 0;
}

/* What a session of the account ID gets that began and was last used so many minutes ago. */
static enum status use(struct world *world, const char *id, uint64_t begun_min, uint64_t used_min)
{
    static unsigned count;
    char text[SESSION_TEXT + 1];
    uint64_t now_ms = clock_wall_ms();
    struct session session = {.created_ms = now_ms - begun_min * MINUTE_MS,
                              .last_ms = now_ms - used_min * MINUTE_MS};
    (void)snprintf(text, sizeof text, "%064x", ++count);
    assert_true(view_copy(view_text(id), session.account, sizeof session.account));
    assert_int_equal(credential_hash(&world->vault, view_text(text), session.hash), STATUS_OK);
    assert_int_equal(session_insert(world->vault.store, &session), STATUS_OK);
    return outcome(ask(world, (struct vault_ask){.op = VAULT_OP_ACCOUNT_GET,
                                                 .credential = view_text(text)}));
}

static void sessions_end(void **state)
{
    struct world *world = *state;
    char *key = make_account(world, "ann@example.org");
    struct vault_answer answer = ask(world, (struct vault_ask){.op = VAULT_OP_ACCOUNT_GET,
                                                               .credential = view_text(key)});
    char *id = field(answer, "account.id");
    assert_int_equal(use(world, id, 0, 0), STATUS_OK);
    assert_int_equal(use(world, id, 29, 29), STATUS_OK);
    assert_int_equal(use(world, id, 31, 31), STATUS_UNAUTHENTICATED);
    assert_int_equal(use(world, id, 12 * 60 - 1, 29), STATUS_OK);
    assert_int_equal(use(world, id, 12 * 60 - 1, 31), STATUS_UNAUTHENTICATED);
    assert_int_equal(use(world, id, 12 * 60 + 1, 0), STATUS_UNAUTHENTICATED);
    assert_non_null(strstr(world->last, "expired session"));
    free(id);
    free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sessions_end, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
