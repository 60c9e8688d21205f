/* test_spread.c - over how many audit daemons a gateway has tenants spread, while its vaults' lists of them grow. */
#include "tests/unit/unit.h"

#include <unistd.h>

#include "common/options.h"
#include "services/gateway/gateway.h"

enum { VAULTS = 2 };

struct vault {
    struct channel *door;
    uint64_t shards; /* that it says it knows */
    struct buffer asked; /* the last question */
};

static struct {
    char dir[64], endpoint[VAULTS][96], proxy[96];
    struct loop *loop;
    struct vault vaults[VAULTS];
    struct option_list list, proxies;
    bool answered;
} world;

struct config config = {.vaults = &world.list, .proxies = &world.proxies};

static void stop(void *arg)
{
    loop_stop(arg);
}

static void run_ms(uint32_t ms)
{
    assert_true(loop_once(world.loop, ms, stop, world.loop) >= 0);
    loop_run(world.loop);
}

static void tell(struct channel_peer *peer, const struct schema *schema, const void *message)
{
    CLEANUP(buffer_free) struct buffer record = BUFFER_EMPTY;
    assert_int_equal(proto_encode(schema, message, &record), STATUS_OK);
    assert_int_equal(channel_send(peer, buffer_view(&record)), STATUS_OK);
}

static void gateway_up(void *arg, struct channel_peer *peer)
{
    const struct vault_state state = {.shards = ((struct vault *)arg)->shards};
    tell(peer, &vault_state_schema, &state);
}

static void gateway_asks(void *arg, struct channel_peer *peer, struct view record)
{
    struct vault *vault = arg;
    struct vault_ask ask;
    buffer_clear(&vault->asked);
    buffer_append_view(&vault->asked, record);
    assert_int_equal(proto_decode(&vault_ask_schema, record, &ask), STATUS_OK);
    tell(peer, &vault_answer_schema, &(struct vault_answer){.call = ask.call});
}

static void open_vault(size_t i, uint64_t shards)
{
    static const struct channel_events events = {gateway_asks, gateway_up, NULL};
    world.vaults[i].shards = shards;
    assert_int_equal(channel_listen(world.loop, world.endpoint[i], "gateway", &events, &world.vaults[i],
                                    &world.vaults[i].door), STATUS_OK);
}

static void close_vault(size_t i)
{
    channel_close(&world.vaults[i].door);
    buffer_free(&world.vaults[i].asked);
}

static void on_answer(void *arg, enum status status, const struct vault_answer *answer)
{
    (void)arg;
    (void)answer;
    (void)status; /* what was asked of a vault that went is given up, since both are one process */
    world.answered = true;
}

/* The number in the question that a vault had. */
static uint64_t number_in(const struct vault *vault)
{
    struct vault_ask ask;
    assert_int_equal(proto_decode(&vault_ask_schema, buffer_view(&vault->asked), &ask), STATUS_OK);
    return ask.shards;
}

static void ask(void)
{
    struct vault_ask message = {.op = VAULT_OP_ACCOUNT_GET, .request = VIEW("req_1")};
    world.answered = false;
    assert_true(vault_ask_send(&message, on_answer, NULL) > 0);
}

/* Asks until the number is WANTED, as it is once the gateway has heard of it. */
static void await_number(uint64_t wanted)
{
    uint64_t number = UINT64_MAX;
    for (int tries = 0; tries < 500 && number != wanted; tries++) {
        ask();
        for (int wait = 0; wait < 500 && !world.answered; wait++) {
            run_ms(20);
        }
        assert_true(world.answered);
        for (size_t i = 0; i < VAULTS; i++) {
            if (world.vaults[i].asked.size > 0) {
                number = number_in(&world.vaults[i]);
                buffer_clear(&world.vaults[i].asked);
            }
        }
        run_ms(20);
    }
    assert_int_equal(number, wanted);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(world.dir, sizeof world.dir, "/tmp/seks-spread-XXXXXX");
    assert_non_null(mkdtemp(world.dir));
    world.loop = loop_new();
    for (size_t i = 0; i < VAULTS; i++) {
        snprintf(world.endpoint[i], sizeof world.endpoint[i], "ipc://%s/%zu", world.dir, i);
        world.list.values[i] = world.endpoint[i];
    }
    world.list.count = VAULTS;
    snprintf(world.proxy, sizeof world.proxy, "ipc://%s/proxy", world.dir);
    world.proxies = (struct option_list){{world.proxy}, 1};
    assert_int_equal(links_open(world.loop), STATUS_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    links_close();
    for (size_t i = 0; i < VAULTS; i++) {
        close_vault(i);
        unlink(world.endpoint[i] + sizeof "ipc://" - 1);
    }
    loop_free(&world.loop);
    return rmdir(world.dir);
}

static void the_shortest_list_of_those_that_are_there_holds(void **state)
{
    (void)state;
    open_vault(0, 2);
    await_number(2);
    open_vault(1, 1);
    await_number(1);
    close_vault(1);
    await_number(2); /* once it is known to be gone */
    open_vault(1, 3);
    await_number(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shortest_list_of_those_that_are_there_holds),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
