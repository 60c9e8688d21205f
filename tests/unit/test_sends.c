/* test_sends.c - the end of a call reaches a gateway whose queue is full when it comes. */
#include "tests/unit/unit.h"

#include <unistd.h>

#include "services/proxy/proxy.h"

static struct {
    struct loop *loop;
    struct channel *proxy, *gateway;
    size_t pieces, ends;
    bool up;
} world;

static void came(void *arg, struct channel_peer *peer, struct view record)
{
    (void)arg;
    (void)peer;
    struct proxy_end end;
    if (proto_decode(&proxy_end_schema, record, &end) == STATUS_OK) {
        assert_int_equal(end.call, 7);
        world.ends++;
        loop_stop(world.loop);
    } else {
        world.pieces++;
    }
}

static void came_up(void *arg, struct channel_peer *peer)
{
    (void)arg;
    (void)peer;
    world.up = true;
    loop_stop(world.loop);
}

static void flush(void *arg)
{
    (void)arg;
    call_sends_flush();
}

static void stop(void *arg)
{
    loop_stop(arg);
}

static void run(bool (*until)(void))
{
    for (int tries = 0; tries < 1000 && !until(); tries++) {
        int timer = loop_once(world.loop, 20, stop, world.loop);
        loop_run(world.loop);
        loop_unevery(world.loop, timer);
    }
    assert_true(until());
}

static bool is_up(void)
{
    return world.up && channel_next_peer(world.proxy, NULL);
}

static bool has_ended(void)
{
    return world.ends > 0;
}

static void an_end_waits_for_room(void **state)
{
    static const struct channel_events at_proxy = {came, NULL, NULL}, at_gateway = {came, came_up, NULL};
    static uint8_t bytes[CHUNK_MAX];
    const struct proxy_data piece = {7, view_of(bytes, sizeof bytes), false};
    const struct proxy_end end = {.call = 7};
    char dir[] = "/tmp/seks-sends-XXXXXX", endpoint[64];
    size_t pieces = 0;
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(endpoint, sizeof endpoint, "ipc://%s/door", dir);
    world.loop = loop_new();
    assert_int_equal(loop_turn_end(world.loop, flush, NULL), STATUS_OK);
    assert_int_equal(channel_listen(world.loop, endpoint, "gateway", &at_proxy, NULL, &world.proxy), STATUS_OK);
    assert_int_equal(channel_connect(world.loop, endpoint, "proxy", &at_gateway, NULL, &world.gateway), STATUS_OK);
    run(is_up);
    struct channel_peer *peer = channel_next_peer(world.proxy, NULL);
    while (call_send(peer, &proxy_data_schema, &piece) == STATUS_OK) {
        pieces++;
    }
    assert_true(pieces > 100);
    assert_false(call_sends_wait());
    assert_int_equal(call_send_last(peer, &proxy_end_schema, &end), STATUS_OK);
    assert_true(call_sends_wait());
    run(has_ended);
    assert_int_equal(world.ends, 1);
    assert_int_equal(world.pieces, pieces); /* all of them before it */
    assert_false(call_sends_wait());
    while (call_send(peer, &proxy_data_schema, &piece) == STATUS_OK) {
    }
    assert_int_equal(call_send_last(peer, &proxy_end_schema, &end), STATUS_OK);
    call_sends_forget(peer); /* it has gone */
    assert_false(call_sends_wait());
    channel_close(&world.gateway);
    channel_close(&world.proxy);
    loop_free(&world.loop);
    unlink(endpoint + sizeof "ipc://" - 1);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_end_waits_for_room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
