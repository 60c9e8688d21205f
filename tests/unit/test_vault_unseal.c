/* test_vault_unseal.c - a sealed vault that has its master key and cannot begin to serve. */
#include "tests/unit/vault_world.h"

#include "services/vault/seal_plan.h"

static const char phrase[] = "correct horse battery staple";
static bool no_timers;
static enum status given;

int __real_loop_every(struct loop *loop, uint32_t every_ms, loop_fn *fn, void *arg);
int __wrap_loop_every(struct loop *loop, uint32_t every_ms, loop_fn *fn, void *arg);

int __wrap_loop_every(struct loop *loop, uint32_t every_ms, loop_fn *fn, void *arg)
{
    return no_timers ? -1 : __real_loop_every(loop, every_ms, fn, arg);
}

static void seal(const struct world *world)
{
    CLEANUP(secret_free) struct secret *master = NULL;
    struct seal_plan plan;
    char path[128];
    assert_int_equal(keyfile_read(world->keys, "master.key", MASTER_KEY_BYTES, &master), STATUS_OK);
    assert_int_equal(seal_plan_lock(secret_view(master), view_text(phrase), &plan), STATUS_OK);
    assert_int_equal(seal_plan_write(world->keys, &plan), STATUS_OK);
    (void)snprintf(path, sizeof path, "%s/master.key", world->keys);
    assert_int_equal(unlink(path), 0);
}

static void unseal(void *arg)
{
    struct world *world = arg;
    const char *why = "";
    given = unseal_take(&world->vault, view_text(phrase), &why);
}

/* It has an open database by then: it ends and starts anew, rather than to open a second one. */
static void test_ends_when_it_cannot_serve(void **state)
{
    struct world world;
    (void)state;
    world_make(&world);
    seal(&world);
    world_start(&world, "open");
    assert_int_equal(world.vault.door, DOOR_SEALED);
    no_timers = true;
    assert_true(loop_once(world.loop, 1, unseal, &world) >= 0);
    world_run(&world, 20000);
    no_timers = false;
    assert_int_equal(given, STATUS_INTERNAL);
    assert_false(world.gave_up);
    world_stop(&world);
    world_start(&world, "open");
    assert_int_equal(world.vault.door, DOOR_SEALED);
    unseal(&world);
    assert_int_equal(given, STATUS_OK);
    world_stop(&world);
    world_remove(&world);
}

/* What gateways refused by themselves is written down all the same. */
static void test_refusals_are_told_while_sealed(void **state)
{
    CLEANUP(buffer_free) struct buffer record = BUFFER_EMPTY;
    const struct vault_refused refused = {.request = VIEW("req_1"), .client = VIEW("192.0.2.1"),
                                          .reason = VIEW("no well-formed token"), .count = 1};
    struct world world;
    (void)state;
    world_make(&world);
    seal(&world);
    world_start(&world, "open");
    assert_int_equal(world.vault.door, DOOR_SEALED);
    assert_int_equal(proto_encode(&vault_refused_schema, &refused, &record), STATUS_OK);
    assert_int_equal(channel_send(channel_server(world.gateway), buffer_view(&record)), STATUS_OK);
    for (int wait = 0; wait < 500 && !strstr(world.last, "no well-formed token"); wait++) {
        world_run(&world, 20);
    }
    assert_non_null(strstr(world.last, "2 call deny no well-formed token"));
    world_stop(&world);
    world_remove(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ends_when_it_cannot_serve),
                                       cmocka_unit_test(test_refusals_are_told_while_sealed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
