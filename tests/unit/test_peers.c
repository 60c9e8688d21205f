/* test_peers.c - which of several peers is taken, over real channels that come and go. */
#include "tests/unit/unit.h"

#include <unistd.h>

#include "common/log.h"
#include "services/gateway/peers.h"

enum { SERVERS = 3 };

static struct {
    char dir[64], endpoint[SERVERS][96];
    struct loop *loop;
    struct channel *server[SERVERS];
    struct option_list list;
    struct peers *peers;
    unsigned ups, losses;
} world;

static void ignore(void *arg, struct channel_peer *peer, struct view record)
{
    (void)arg;
    (void)peer;
    (void)record;
}

static void on_record(struct peer *peer, struct view record)
{
    (void)peer;
    (void)record;
}

static void on_up(struct peer *peer)
{
    (void)peer;
    world.ups++;
}

static void on_lost(struct peer *peer)
{
    (void)peer;
    world.losses++;
}

static void stop(void *arg)
{
    loop_stop(arg);
}

static void run_ms(uint32_t ms)
{
    assert_true(loop_once(world.loop, ms, stop, world.loop) >= 0);
    loop_run(world.loop);
}

static void serve(size_t i)
{
    static const struct channel_events events = {ignore, NULL, NULL};
    assert_int_equal(channel_listen(world.loop, world.endpoint[i], "gateway", &events, NULL, &world.server[i]), STATUS_OK);
}

static struct peer *peer_at(size_t i)
{
    struct peer *peer = NULL;
    while ((peer = peers_next(world.peers, peer)) && strcmp(peer->endpoint, world.endpoint[i]) != 0) {
    }
    return peer;
}

/* Waits until the fitness of a peer is what it should be. */
static void await(size_t i, enum peer_fitness fitness)
{
    for (int tries = 0; tries < 1000 && peer_fitness(peer_at(i)) != fitness; tries++) {
        run_ms(20);
    }
    assert_int_equal(peer_fitness(peer_at(i)), fitness);
}

static void open_world(bool in_turns)
{
    static struct peers_kind kind = {"vault", false, on_record, on_up, on_lost};
    kind.in_turns = in_turns;
    world.loop = loop_new();
    world.ups = world.losses = 0;
    world.list.count = 0;
    for (size_t i = 0; i < SERVERS; i++) {
        snprintf(world.endpoint[i], sizeof world.endpoint[i], "ipc://%s/%zu", world.dir, i);
        world.list.values[world.list.count++] = world.endpoint[i];
    }
    assert_int_equal(peers_open(world.loop, &kind, &world.list, &world.peers), STATUS_OK);
    assert_null(peers_best(world.peers));
    for (size_t i = 0; i < SERVERS; i++) {
        serve(i);
        await(i, PEER_GOOD);
    }
    assert_int_equal(world.ups, SERVERS);
}

static void close_world(void)
{
    peers_close(&world.peers);
    for (size_t i = 0; i < SERVERS; i++) {
        channel_close(&world.server[i]);
    }
    loop_free(&world.loop);
}

static struct peer *take(void)
{
    struct peer *best = peers_best(world.peers);
    assert_non_null(best);
    peer_take(best);
    return best;
}

static void the_least_busy_is_taken(void **state)
{
    (void)state;
    open_world(false);
    struct peer *first = take(), *second = take(), *third = take();
    assert_true(first != second && second != third && first != third);
    peer_leave(second);
    assert_ptr_equal(peers_best(world.peers), second);
    peer_leave(third);
    assert_ptr_equal(take(), second); /* of equals, always the same one */
    peer_leave(second);
    assert_ptr_equal(take(), second);
    assert_int_equal(peers_busy(world.peers), 2);
    close_world();
}

static void equals_take_turns(void **state)
{
    (void)state;
    open_world(true);
    struct peer *order[SERVERS];
    for (size_t i = 0; i < 3 * SERVERS; i++) {
        struct peer *peer = take();
        peer_leave(peer);
        if (i < SERVERS) {
            order[i] = peer;
        } else {
            assert_ptr_equal(peer, order[i % SERVERS]);
        }
    }
    assert_true(order[0] != order[1] && order[1] != order[2] && order[0] != order[2]);
    close_world();
}

static void the_fittest_is_taken_however_busy(void **state)
{
    (void)state;
    open_world(true);
    snprintf(peer_at(0)->closed, sizeof peer_at(0)->closed, "sealed");
    peer_at(1)->avoid = true;
    for (size_t i = 0; i < 5; i++) {
        assert_ptr_equal(take(), peer_at(2));
    }
    peer_at(2)->leaving = true;
    assert_ptr_equal(take(), peer_at(1));
    peer_at(1)->leaving = true;
    assert_ptr_equal(peers_best(world.peers), peer_at(0)); /* it says why nobody serves */
    peer_at(0)->leaving = true;
    assert_null(peers_best(world.peers));
    assert_int_equal(peers_usable(world.peers), 0);
    close_world();
}

static void one_that_died_is_doubted_and_then_lost(void **state)
{
    (void)state;
    open_world(true);
    unsigned before = world.losses;
    channel_close(&world.server[1]);
    await(1, PEER_DOUBTFUL);
    assert_true(peer_quiet(peer_at(1)));
    assert_int_equal(world.losses, before);
    assert_ptr_not_equal(take(), peer_at(1));
    await(1, PEER_UNUSABLE);
    assert_int_equal(world.losses, before + 1);
    serve(1);
    await(1, PEER_GOOD);
    assert_ptr_equal(take(), peer_at(1)); /* the others were taken since */
    close_world();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_busy_is_taken),
        cmocka_unit_test(equals_take_turns),
        cmocka_unit_test(the_fittest_is_taken_however_busy),
        cmocka_unit_test(one_that_died_is_doubted_and_then_lost),
    };
    log_open("test", LEVEL_ERROR);
    snprintf(world.dir, sizeof world.dir, "/tmp/seks-peers-XXXXXX");
    if (!mkdtemp(world.dir)) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < SERVERS; i++) {
        (void)unlink(world.endpoint[i] + strlen("ipc://")); /* ZeroMQ may have removed it */
    }
    return rmdir(world.dir) != 0 || failed;
}
