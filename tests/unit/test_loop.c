/* test_loop.c - the loop's order and its ends: watches that end each other, timers, turn ends, and a
 * ZeroMQ message that no descriptor announces any more. */
#include "tests/unit/unit.h"

#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/loop.h"

struct world {
    struct loop *loop;
    int fds[2];
    unsigned calls[2], ends, ticks, received;
    int tick;
    void *left, *right;
};

static void stop(void *arg)
{
    loop_stop(((struct world *)arg)->loop);
}

static void run_ms(struct world *world, uint32_t ms)
{
    int guard = loop_once(world->loop, ms, stop, world);
    assert_true(guard >= 0);
    loop_run(world->loop);
    loop_unevery(world->loop, guard);
}

static void first(void *arg)
{
    struct world *world = arg;
    world->calls[0]++;
    loop_unwatch(world->loop, world->fds[0]);
    loop_unwatch(world->loop, world->fds[1]);
}

static void second(void *arg)
{
    struct world *world = arg;
    world->calls[1]++;
    loop_unwatch(world->loop, world->fds[0]);
    loop_unwatch(world->loop, world->fds[1]);
}

static void count_end(void *arg)
{
    ((struct world *)arg)->ends++;
}

/* Both are ready in one turn; whichever is called first ends the other, which is not called. */
static void test_unwatch_other(void **state)
{
    struct world world = {.loop = loop_new(), .fds = {eventfd(1, 0), eventfd(1, 0)}};
    (void)state;
    assert_int_equal(loop_watch(world.loop, world.fds[0], first, &world), STATUS_OK);
    assert_int_equal(loop_watch(world.loop, world.fds[1], second, &world), STATUS_OK);
    assert_int_equal(loop_turn_end(world.loop, count_end, &world), STATUS_OK);
    run_ms(&world, 30);
    assert_int_equal(world.calls[0] + world.calls[1], 1);
    assert_int_equal(world.ends, 2); /* of the turn, and of the timer's */
    close(world.fds[0]);
    close(world.fds[1]);
    loop_free(&world.loop);
}

static void tick(void *arg)
{
    struct world *world = arg;
    if (++world->ticks == 3) {
        loop_unevery(world->loop, world->tick);
        loop_stop(world->loop);
    }
}

static void test_timers(void **state)
{
    struct world world = {.loop = loop_new()};
    uint64_t begin = clock_mono_ms();
    (void)state;
    world.tick = loop_every(world.loop, 10, tick, &world);
    assert_true(world.tick >= 0);
    loop_run(world.loop);
    assert_int_equal(world.ticks, 3);
    assert_true(clock_mono_ms() - begin >= 30);
    run_ms(&world, 30);
    assert_int_equal(world.ticks, 3);
    loop_free(&world.loop);
}

/* Takes one message a call, as a handler that leaves room for others does. */
static void receive_one(void *arg)
{
    struct world *world = arg;
    char byte;
    if (zmq_recv(world->right, &byte, 1, ZMQ_DONTWAIT) >= 0) {
        world->received++;
        loop_soon(world->loop, world->right);
        if (world->received == 100) {
            loop_stop(world->loop);
        }
    }
}

static void test_zmq(void **state)
{
    struct world world = {.loop = loop_new()};
    void *context = zmq_ctx_new();
    int events;
    size_t size = sizeof events;
    (void)state;
    world.left = zmq_socket(context, ZMQ_PAIR);
    world.right = zmq_socket(context, ZMQ_PAIR);
    assert_int_equal(zmq_bind(world.right, "inproc://loop"), 0);
    assert_int_equal(zmq_connect(world.left, "inproc://loop"), 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(zmq_send(world.left, "x", 1, 0), 1);
    }
    assert_int_equal(zmq_getsockopt(world.right, ZMQ_EVENTS, &events, &size), 0); /* silences it */
    assert_int_equal(loop_watch_zmq(world.loop, world.right, receive_one, &world), STATUS_OK);
    run_ms(&world, 5000);
    assert_int_equal(world.received, 100);
    loop_unwatch_zmq(world.loop, world.right);
    loop_free(&world.loop);
    zmq_close(world.left);
    zmq_close(world.right);
    zmq_ctx_term(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unwatch_other),
        cmocka_unit_test(test_timers),
        cmocka_unit_test(test_zmq),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
