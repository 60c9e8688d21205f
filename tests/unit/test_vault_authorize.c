/* test_vault_authorize.c - grants: who gets one, what is in it, and that none leaves before its
 * intent is on disk. */
#include "tests/unit/vault_world.h"

static const char proxy[] = "0123456789abcdef";

struct scene {
    struct world world;
    char *key, *agent, *agent_token, *value, *aws;
};

static char *new_token(struct scene *scene, const char *provider, const char *secret,
                       uint64_t expires_in)
{
    struct vault_answer answer =
        ask(&scene->world, (struct vault_ask){.op = VAULT_OP_TOKEN_CREATE,
                                              .credential = view_text(scene->key),
                                              .id = view_text(scene->agent),
                                              .provider = view_text(provider),
                                              .secret = view_text(secret),
                                              .expires_in = expires_in});
    return field(answer, "value");
}

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    world_make(&scene->world);
    world_start(&scene->world, "open");
    scene->key = make_account(&scene->world, "a@b.c");
    struct vault_answer answer =
        ask(&scene->world, (struct vault_ask){.op = VAULT_OP_AGENT_CREATE, .name = VIEW("robot"),
                                              .credential = view_text(scene->key)});
    scene->agent = field(answer, "agent.id");
    scene->agent_token = field(answer, "token");
    scene->value = new_token(scene, "openai", "", 0);
    scene->aws = new_token(scene, "aws", "", 0);
    put_secret(&scene->world, scene->key, "OPENAI_API_KEY", "sk-real");
    put_secret(&scene->world, scene->key, "AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    put_secret(&scene->world, scene->key, "AWS_SECRET_ACCESS_KEY", "aws-secret");
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    world_stop(&scene->world);
    world_remove(&scene->world);
    free(scene->key);
    free(scene->agent);
    free(scene->agent_token);
    free(scene->value);
    free(scene->aws);
    free(scene);
    return 0;
}

static void send_authorize(struct world *world, const char *token, const char *provider,
                           const char *target)
{
    CLEANUP(buffer_free) struct buffer record = BUFFER_EMPTY;
    struct vault_authorize in = {.call = ++world->call, .request = VIEW("req_1"),
                                 .token = view_text(token), .provider = view_text(provider),
                                 .proxy = view_text(proxy), .method = VIEW("POST"),
                                 .target = view_text(target), .client = VIEW("127.0.0.1")};
    assert_int_equal(proto_encode(&vault_authorize_schema, &in, &record), STATUS_OK);
    assert_int_equal(channel_send(channel_server(world->gateway), buffer_view(&record)),
                     STATUS_OK);
}

static struct vault_grant authorize(struct world *world, const char *token, const char *provider,
                                    const char *target)
{
    struct vault_grant grant;
    world->last[0] = 0;
    send_authorize(world, token, provider, target);
    world_run(world, 5000);
    assert_false(world->gave_up);
    assert_int_equal(proto_decode(&vault_grant_schema, buffer_view(&world->reply), &grant),
                     STATUS_OK);
    assert_int_equal(grant.call, world->call);
    return grant;
}

static enum status granted(struct vault_grant grant)
{
    return status_from_wire((unsigned)grant.status);
}

static void open_grant(struct world *world, struct vault_grant grant, const char *target,
                       struct secret **ret_content, struct list *ret_list)
{
    const struct grant_binding binding = {
        VIEW("req_1"), grant.tenant, grant.token_id, grant.agent, grant.provider, view_text(proxy),
        VIEW("POST"), view_text(target), {NULL, 0}, grant.expires_ms, grant.shard};
    assert_int_equal(grant_open(secret_view(world->vault.grant_key), &binding, grant.grant,
                                clock_wall_ms(), ret_content, ret_list), STATUS_OK);
}

static void a_good_token_gets_the_key(void **state)
{
    struct scene *scene = *state;
    struct world *world = &scene->world;
    CLEANUP(secret_free) struct secret *content = NULL;
    struct list list;
    struct grant_row row;
    struct vault_grant grant = authorize(world, scene->value, "openai", "/chat/completions?x=1");
    assert_int_equal(granted(grant), STATUS_OK);
    open_grant(world, grant, "/chat/completions?x=1", &content, &list);
    assert_int_equal(list.count, 1);
    assert_true(proto_list_next(&grant_row_schema, &list, &row));
    assert_true(view_is(row.name, "OPENAI_API_KEY"));
    assert_true(view_is(row.value, "sk-real"));
    assert_non_null(strstr(world->last, "0 call allow"));
    secret_free(&content);
    grant = authorize(world, scene->agent_token, "openai", "/v1/models");
    assert_int_equal(granted(grant), STATUS_OK);
    open_grant(world, grant, "/v1/models", &content, &list);
}

/* How many of the account's secrets were ever used. */
static size_t used_secrets(struct scene *scene)
{
    size_t count = 0;
    touches_write(scene->world.vault.touches);
    struct vault_answer answer =
        ask(&scene->world, (struct vault_ask){.op = VAULT_OP_SECRET_LIST,
                                              .credential = view_text(scene->key)});
    static const char mark[] = "\"last_used_at\":\"";
    const uint8_t *at = answer.json.data, *end = at + answer.json.size;
    while ((at = memmem(at, (size_t)(end - at), mark, sizeof mark - 1))) {
        at++;
        count++;
    }
    return count;
}

static void a_secret_tells_its_last_use(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(used_secrets(scene), 0);
    assert_int_equal(granted(authorize(&scene->world, scene->value, "openai", "/v1/models")),
                     STATUS_OK);
    assert_int_equal(used_secrets(scene), 1);
    assert_int_equal(granted(authorize(&scene->world, scene->value, "aws", "/s3/eu-west-1/b")),
                     STATUS_UNAUTHENTICATED);
    assert_int_equal(used_secrets(scene), 1);
}

static void refusals_look_alike(void **state)
{
    struct scene *scene = *state;
    struct world *world = &scene->world;
    char stranger[TOKEN_SIZE_MAX + 1];
    assert_int_equal(token_new(VIEW("openai"), stranger), STATUS_OK);
    char *expired = new_token(scene, "openai", "", 1);
    usleep(1100 * 1000);
    const struct {
        const char *token, *provider, *reason;
    } rows[] = {
        {stranger, "openai", "unknown token"},
        {scene->value, "anthropic", "token of another provider"},
        {scene->value, "nowhere", "token of another provider"},
        {expired, "openai", "expired token"},
        {"seks_openai_x", "openai", "malformed token"},
        {scene->key, "openai", "unknown token"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct vault_grant grant = authorize(world, rows[i].token, rows[i].provider, "/v1/models");
        assert_int_equal(granted(grant), STATUS_UNAUTHENTICATED);
        assert_int_equal(grant.detail.size + grant.grant.size + grant.tenant.size, 0);
        for (int wait = 0; wait < 20 && !strstr(world->last, rows[i].reason); wait++) {
            world_run(world, 20); /* the record and the answer are two ways */
        }
        assert_non_null(strstr(world->last, rows[i].reason));
    }
    free(expired);
}

static void a_dead_agent_ends_its_tokens(void **state)
{
    struct scene *scene = *state;
    struct world *world = &scene->world;
    assert_int_equal(outcome(ask(world, (struct vault_ask){.op = VAULT_OP_AGENT_DELETE,
                                                           .credential = view_text(scene->key),
                                                           .id = view_text(scene->agent)})),
                     STATUS_OK);
    assert_int_equal(granted(authorize(world, scene->value, "openai", "/v1/models")),
                     STATUS_UNAUTHENTICATED);
    assert_int_equal(granted(authorize(world, scene->agent_token, "openai", "/v1/models")),
                     STATUS_UNAUTHENTICATED);
    world_run(world, 50);
    assert_non_null(strstr(world->last, "revoked token"));
}

static void a_missing_secret_is_named(void **state)
{
    struct scene *scene = *state;
    char *token = new_token(scene, "notion", "", 0);
    struct vault_grant grant = authorize(&scene->world, token, "notion", "/v1/users");
    assert_int_equal(granted(grant), STATUS_NOT_FOUND);
    assert_non_null(memmem(grant.detail.data, grant.detail.size, "NOTION", 6));
    free(token);
    token = new_token(scene, "notion", "OPENAI_API_KEY", 0);
    assert_int_equal(granted(authorize(&scene->world, token, "notion", "/v1/users")), STATUS_OK);
    free(token);
}

static void aws_gets_a_derived_key_only(void **state)
{
    struct scene *scene = *state;
    struct world *world = &scene->world;
    CLEANUP(secret_free) struct secret *content = NULL;
    struct list list;
    struct grant_row row;
    struct vault_grant grant = authorize(world, scene->aws, "aws", "/s3/us-east-1/bucket/key");
    assert_int_equal(granted(grant), STATUS_OK);
    open_grant(world, grant, "/s3/us-east-1/bucket/key", &content, &list);
    assert_int_equal(list.count, 3); /* id, derived key, its date */
    assert_null(memmem(secret_data(content), secret_size(content), "aws-secret", 10));
    assert_true(proto_list_next(&grant_row_schema, &list, &row));
    assert_true(view_is(row.value, "AKIDEXAMPLE"));
    assert_true(proto_list_next(&grant_row_schema, &list, &row));
    assert_int_equal(row.value.size, 32);
    assert_int_equal(granted(authorize(world, scene->aws, "aws", "/iam/us-east-1/")),
                     STATUS_DENIED);
    assert_int_equal(granted(authorize(world, scene->aws, "aws", "/s3/evil.com/b/k")),
                     STATUS_INVALID);
    assert_int_equal(granted(authorize(world, scene->aws, "aws", "/s3/us-east-1/Bucket/k")),
                     STATUS_INVALID);
}

static void no_grant_before_its_intent(void **state)
{
    struct scene *scene = *state;
    struct world *world = &scene->world;
    world->audit_mute = true;
    uint64_t before = clock_mono_ms();
    struct vault_grant grant = authorize(world, scene->value, "openai", "/v1/models");
    assert_int_equal(granted(grant), STATUS_UNAVAILABLE);
    assert_int_equal(grant.grant.size, 0);
    assert_true(clock_mono_ms() - before >= AUDIT_DEADLINE_MS - 10); /* it waited, and then no longer */
    assert_int_equal(world->vault.pending_count, 0);
    world->audit_mute = false;
    world->audit_status = STATUS_STORAGE_FULL;
    assert_int_equal(granted(authorize(world, scene->value, "openai", "/v1/models")),
                     STATUS_UNAVAILABLE);
    world->audit_status = STATUS_OK;
    assert_int_equal(granted(authorize(world, scene->value, "openai", "/v1/models")), STATUS_OK);
}

static void a_moved_token_is_refused(void **state)
{
    struct scene *scene = *state;
    struct world *world = &scene->world;
    assert_int_equal(store_exec(world->vault.store, "UPDATE tokens SET provider = 'anthropic'"),
                     STATUS_OK);
    assert_int_equal(granted(authorize(world, scene->value, "anthropic", "/v1/models")),
                     STATUS_UNAUTHENTICATED);
}

/* Until COUNT calls wait for the audit daemon, which has their intents. */
static void run_until_pending(struct world *world, size_t count)
{
    size_t records = world->records + count;
    for (int i = 0; i < 200 && (world->vault.pending_count < count || world->records < records); i++) {
        world_run(world, 50);
    }
    assert_int_equal(world->vault.pending_count, count);
}

static void a_lost_gateway_leaves_nothing(void **state)
{
    struct scene *scene = *state;
    struct world *world = &scene->world;
    world->audit_mute = true;
    send_authorize(world, scene->value, "openai", "/v1/models");
    run_until_pending(world, 1);
    channel_close(&world->gateway);
    vault_forget_peer(&world->vault, channel_next_peer(world->vault.gateways, NULL));
    for (int i = 0; i < 200 && world->vault.pending_count > 0; i++) {
        world_run(world, 50);
    }
    assert_int_equal(world->vault.pending_count, 0);
}

/* As if it came from the audit daemon. */
static void acknowledge(struct world *world, uint64_t call, enum status status)
{
    CLEANUP(buffer_free) struct buffer out = BUFFER_EMPTY;
    struct audit_ack ack = {.call = call, .status = status_to_wire(status), .seq = 1};
    assert_int_equal(proto_encode(&audit_ack_schema, &ack, &out), STATUS_OK);
    audit_take_record(world->vault.audit, buffer_view(&out));
}

/* What was on its way to a vault that died may reach the next one besides the gateway's asking again; the
 * log refuses the second intent at once. */
static void a_question_that_came_twice_is_answered_once(void **state)
{
    struct scene *scene = *state;
    struct world *world = &scene->world;
    struct vault_grant grant;
    world->audit_mute = true;
    send_authorize(world, scene->value, "openai", "/x");
    world->call--;
    send_authorize(world, scene->value, "openai", "/x");
    run_until_pending(world, 2);
    uint64_t second = world->intent_call;
    acknowledge(world, second, STATUS_CONFLICT);
    world_run(world, 300);
    assert_true(world->gave_up); /* nothing is said */
    acknowledge(world, second - 1, STATUS_OK);
    world_run(world, 5000);
    assert_int_equal(proto_decode(&vault_grant_schema, buffer_view(&world->reply), &grant),
                     STATUS_OK);
    assert_int_equal(granted(grant), STATUS_OK);
    assert_int_equal(grant.call, world->call);
    send_authorize(world, scene->value, "openai", "/x"); /* one alone with a used id */
    world_run(world, 300);
    acknowledge(world, world->intent_call, STATUS_CONFLICT);
    world_run(world, 5000);
    assert_int_equal(proto_decode(&vault_grant_schema, buffer_view(&world->reply), &grant),
                     STATUS_OK);
    assert_int_equal(granted(grant), STATUS_CONFLICT);
    assert_int_equal(grant.call, world->call);
    world->audit_mute = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_good_token_gets_the_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refusals_look_alike, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dead_agent_ends_its_tokens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_secret_tells_its_last_use, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_secret_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(aws_gets_a_derived_key_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_grant_before_its_intent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_question_that_came_twice_is_answered_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_moved_token_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_gateway_leaves_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
