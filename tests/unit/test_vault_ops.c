/* test_vault_ops.c - the operations, asked as a gateway asks them, with an audit daemon that
 * acknowledges, stays silent or refuses. */
#include "tests/unit/vault_world.h"

static int set_up(void **state)
{
    struct world *world = malloc(sizeof *world);
    world_make(world);
    world_start(world, "open");
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    world_stop(*state);
    world_remove(*state);
    free(*state);
    return 0;
}

#define ASK(...) ask(world, (struct vault_ask){__VA_ARGS__})
#define KEYED(op_, ...) ASK(.op = VAULT_OP_##op_, .credential = view_text(key), __VA_ARGS__)

static void accounts_come_log_in_and_go(void **state)
{
    struct world *world = *state;
    char *key = make_account(world, " Ann@Example.org ");
    struct vault_ask in = {.op = VAULT_OP_SESSION_CREATE, .email = VIEW("ANN@example.org")};
    assert_int_equal(outcome(ask_box(world, in, "wrong horse")), STATUS_UNAUTHENTICATED);
    in.email = VIEW("nobody@example.org");
    assert_int_equal(outcome(ask_box(world, in, "correct horse")), STATUS_UNAUTHENTICATED);
    assert_non_null(strstr(world->last, "deny unknown email"));
    assert_non_null(strstr(world->last, "deny wrong password"));
    in.email = VIEW("ann@example.org");
    struct vault_answer answer = ask_box(world, in, "correct horse");
    assert_int_equal(outcome(answer), STATUS_OK);
    assert_int_equal(answer.session.size, 64);
    char session[65];
    assert_true(view_copy(answer.session, session, sizeof session));
    char *csrf = field(answer, "csrf");

    struct vault_ask with = {.op = VAULT_OP_KEY_CREATE, .credential = view_text(session),
                             .name = VIEW("x")};
    assert_int_equal(outcome(ask(world, with)), STATUS_DENIED);
    with.csrf = view_text(csrf);
    assert_int_equal(outcome(ask(world, with)), STATUS_OK);
    in = (struct vault_ask){.op = VAULT_OP_ACCOUNT_CREATE, .email = VIEW("ann@example.org")};
    assert_int_equal(outcome(ask_box(world, in, "another horse")), STATUS_CONFLICT);
    in.email = VIEW("b@example.org");
    assert_int_equal(outcome(ask_box(world, in, "short")), STATUS_INVALID);

    with.op = VAULT_OP_PASSWORD_CHANGE;
    struct buffer old = sealed(world, "correct horse"), new = sealed(world, "battery staple");
    with.box = buffer_view(&old);
    with.box2 = buffer_view(&new);
    assert_int_equal(outcome(ask(world, with)), STATUS_OK);
    assert_int_equal(outcome(ask(world, with)), STATUS_UNAUTHENTICATED); /* all sessions ended */
    buffer_free(&old);
    buffer_free(&new);
    in = (struct vault_ask){.op = VAULT_OP_ACCOUNT_DELETE, .credential = view_text(key)};
    assert_int_equal(outcome(ask_box(world, in, "correct horse")), STATUS_UNAUTHENTICATED);
    assert_int_equal(outcome(ask_box(world, in, "battery staple")), STATUS_OK);
    assert_int_equal(outcome(ask_box(world, in, "battery staple")), STATUS_UNAUTHENTICATED);
    free(csrf);
    free(key);
}

static void secrets_are_kept_and_never_shown(void **state)
{
    struct world *world = *state;
    char *key = make_account(world, "a@b.c");
    struct vault_ask put = {.op = VAULT_OP_SECRET_PUT, .credential = view_text(key),
                            .name = VIEW("OPENAI_API_KEY")};
    struct vault_answer answer = ask_box(world, put, "sk-1");
    assert_int_equal(answer.http, 201);
    char *provider = field(answer, "secret.provider");
    assert_string_equal(provider, "openai");
    free(provider);
    answer = ask_box(world, put, "sk-second");
    assert_int_equal(answer.http, 200);
    assert_non_null(memmem(answer.json.data, answer.json.size, "\"version\":2", 11));
    assert_int_equal(outcome(ask_box(world, put, "")), STATUS_INVALID);
    assert_int_equal(outcome(ask_box(world, put, "a\nb")), STATUS_INVALID);
    put.name = VIEW("a b");
    assert_int_equal(outcome(ask_box(world, put, "x")), STATUS_INVALID);
    answer = KEYED(SECRET_LIST);
    assert_null(memmem(answer.json.data, answer.json.size, "sk-", 3));
    assert_int_equal(outcome(KEYED(SECRET_DELETE, .name = VIEW("OPENAI_API_KEY"))), STATUS_OK);
    assert_int_equal(outcome(KEYED(SECRET_DELETE, .name = VIEW("OPENAI_API_KEY"))),
                     STATUS_NOT_FOUND);
    answer = KEYED(AUDIT_LIST);
    assert_true(view_is(answer.json, "{\"ok\":true,\"records\":[{\"seq\":7}],\"next\":7}"));
    free(key);
}

static void agents_read_only_what_they_may(void **state)
{
    struct world *world = *state;
    char *key = make_account(world, "a@b.c");
    put_secret(world, key, "ONE", "first value");
    put_secret(world, key, "TWO", "second value");
    struct vault_answer answer = KEYED(AGENT_CREATE, .name = VIEW("robot"));
    assert_int_equal(answer.http, 201);
    char *id = field(answer, "agent.id");
    char *token = field(answer, "token");
    assert_int_equal(outcome(KEYED(AGENT_CREATE, .name = VIEW("robot"))), STATUS_CONFLICT);

    uint8_t public_key[32], private_key[32];
    crypto_sealed_keypair(public_key, private_key);
    struct vault_ask get = {.op = VAULT_OP_AGENT_SECRET_GET, .credential = view_text(token),
                            .name = VIEW("ONE"), .box = view_of(public_key, 32)};
    assert_int_equal(outcome(ask(world, get)), STATUS_DENIED);
    CLEANUP(buffer_free) struct buffer rows = BUFFER_EMPTY;
    struct list names = {0};
    const struct name_row one = {VIEW("ONE")};
    assert_int_equal(proto_list_add(&name_row_schema, &one, &rows, &names), STATUS_OK);
    answer = KEYED(AGENT_PATCH, .id = view_text(id), .direct = DIRECT_LIST, .names = names);
    assert_non_null(memmem(answer.json.data, answer.json.size, "\"direct_access\":[\"ONE\"]", 23));
    answer = ask(world, get);
    assert_int_equal(outcome(answer), STATUS_OK);
    CLEANUP(secret_free) struct secret *value = NULL;
    assert_int_equal(crypto_sealed_open(public_key, private_key, answer.box, &value), STATUS_OK);
    assert_true(view_is(secret_view(value), "first value"));
    assert_non_null(strstr(world->last, "secret.get allow ONE"));
    get.name = VIEW("TWO");
    assert_int_equal(outcome(ask(world, get)), STATUS_DENIED);

    answer = ASK(.op = VAULT_OP_AGENT_SECRETS, .credential = view_text(token));
    assert_int_equal(outcome(answer), STATUS_OK);
    assert_int_equal(outcome(KEYED(AGENT_SECRETS)), STATUS_UNAUTHENTICATED);
    assert_int_equal(outcome(ASK(.op = VAULT_OP_AGENT_LIST, .credential = view_text(token))),
                     STATUS_UNAUTHENTICATED);
    assert_int_equal(outcome(KEYED(AGENT_TOKEN, .id = view_text(id))), STATUS_OK);
    assert_int_equal(outcome(ask(world, get)), STATUS_UNAUTHENTICATED);
    assert_non_null(strstr(world->last, "revoked agent token"));
    assert_int_equal(outcome(KEYED(AGENT_DELETE, .id = view_text(id))), STATUS_OK);
    assert_int_equal(outcome(KEYED(AGENT_GET, .id = view_text(id))), STATUS_NOT_FOUND);
    free(token);
    free(id);
    free(key);
}

static void tokens_are_made_renewed_and_ended(void **state)
{
    struct world *world = *state;
    char *key = make_account(world, "a@b.c");
    char *agent = field(KEYED(AGENT_CREATE, .name = VIEW("robot")), "agent.id");
    assert_int_equal(outcome(KEYED(TOKEN_CREATE, .id = view_text(agent),
                                   .provider = VIEW("nowhere"))), STATUS_INVALID);
    struct vault_answer answer = KEYED(TOKEN_CREATE, .id = view_text(agent),
                                       .provider = VIEW("claude"), .expires_in = 60);
    assert_int_equal(answer.http, 201);
    char *id = field(answer, "token.id");
    char *value = field(answer, "value");
    char *url = field(answer, "base_url");
    assert_int_equal(strncmp(value, "seks_anthropic_", 15), 0);
    assert_int_equal(strncmp(url, "http://b.test/api/anthropic", 27), 0);
    free(field(answer, "token.expires_at"));
    answer = KEYED(TOKEN_LIST, .id = view_text(agent));
    assert_null(memmem(answer.json.data, answer.json.size, value, strlen(value)));
    answer = KEYED(TOKEN_RENEW, .id = view_text(agent), .token_id = view_text(id));
    char *renewed = field(answer, "value");
    assert_string_not_equal(value, renewed);
    char *other = make_account(world, "d@e.f");
    assert_int_equal(outcome(ASK(.op = VAULT_OP_TOKEN_DELETE, .credential = view_text(other),
                                 .id = view_text(agent), .token_id = view_text(id))),
                     STATUS_NOT_FOUND);
    assert_int_equal(outcome(KEYED(TOKEN_DELETE, .id = view_text(agent),
                                   .token_id = view_text(id))), STATUS_OK);
    assert_int_equal(outcome(KEYED(TOKEN_RENEW, .id = view_text(agent),
                                   .token_id = view_text(id))), STATUS_NOT_FOUND);
    free(other);
    free(renewed);
    free(url);
    free(value);
    free(id);
    free(agent);
    free(key);
}

static void without_audit_nothing_changes(void **state)
{
    struct world *world = *state;
    char *key = make_account(world, "a@b.c");
    world->audit_mute = true;
    uint64_t before = clock_mono_ms();
    assert_int_equal(outcome(KEYED(AGENT_CREATE, .name = VIEW("robot"))), STATUS_UNAVAILABLE);
    assert_true(clock_mono_ms() - before >= AUDIT_DEADLINE_MS - 10); /* it waited, and then no longer */
    world->audit_mute = false;
    world->audit_status = STATUS_STORAGE_FULL;
    assert_int_equal(outcome(KEYED(AGENT_CREATE, .name = VIEW("robot"))), STATUS_UNAVAILABLE);
    world->audit_status = STATUS_OK;
    struct vault_answer answer = KEYED(AGENT_LIST);
    assert_true(view_is(answer.json, "{\"ok\":true,\"agents\":[]}"));
    free(key);
}

static void strangers_are_refused(void **state)
{
    struct world *world = *state;
    char *key = make_account(world, "a@b.c");
    char stranger[TOKEN_SIZE_MAX + 1];
    assert_int_equal(token_new(VIEW("account"), stranger), STATUS_OK);
    assert_int_equal(outcome(ASK(.op = VAULT_OP_AGENT_LIST, .credential = view_text(stranger))),
                     STATUS_UNAUTHENTICATED);
    assert_int_equal(outcome(ASK(.op = VAULT_OP_AGENT_LIST)), STATUS_UNAUTHENTICATED);
    uint64_t strange = world->vault.counters.strange;
    vault_take_record(&world->vault, NULL, VIEW("\x91\x07"));
    vault_take_record(&world->vault, NULL, VIEW("\x91\x02"));
    vault_take_record(&world->vault, NULL, VIEW("\x91\x04"));
    vault_take_record(&world->vault, NULL, VIEW(""));
    door_turn(&world->vault); /* where a store is shared they wait for it */
    assert_int_equal(world->vault.counters.strange, strange + 4);
    assert_int_equal(world->vault.pending_count, 0);
    free(key);
}

static void signing_up_can_be_closed(void **state)
{
    (void)state;
    struct world world_, *world = &world_;
    struct vault_ask in = {.op = VAULT_OP_ACCOUNT_CREATE, .email = VIEW("d@e.f")};
    world_make(world);
    world_start(world, "first");
    free(make_account(world, "a@b.c"));
    assert_int_equal(outcome(ask_box(world, in, "correct horse")), STATUS_DENIED);
    world_stop(world);
    world_start(world, "closed");
    assert_int_equal(outcome(ask_box(world, in, "correct horse")), STATUS_DENIED);
    world_stop(world);
    world_remove(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(accounts_come_log_in_and_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(secrets_are_kept_and_never_shown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(agents_read_only_what_they_may, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tokens_are_made_renewed_and_ended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_audit_nothing_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strangers_are_refused, set_up, tear_down),
        cmocka_unit_test(signing_up_can_be_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
