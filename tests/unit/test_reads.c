/* recv() of the program: what is armed is vetted, and nothing else counts as a request. */
#include "unit.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/gateway/gateway.h"
#include "services/gateway/reads.h"

struct config config; /* main.c has it; errors for AWS clients look at its providers */

static const char good[] = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
static const char bad[] = "GET /a HTTP/1.1\r\nHost : a\r\n\r\n";

struct world {
    struct loop *loop;
    int pair[2];
    struct reads reads;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->loop = loop_new();
    assert_int_equal(reads_open(world->loop), STATUS_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, world->pair), 0);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    reads_disarm(&world->reads);
    reads_close();
    close(world->pair[0]);
    close(world->pair[1]);
    loop_free(&world->loop);
    free(world);
    return 0;
}

static ssize_t say(struct world *world, const char *text)
{
    char room[512];
    assert_int_equal(write(world->pair[1], text, strlen(text)), strlen(text));
    return recv(world->pair[0], room, sizeof room, 0);
}

static void a_vetted_head_counts_once(void **state)
{
    struct world *world = *state;
    reads_arm(&world->reads, world->pair[0], false);
    assert_false(reads_take_head(&world->reads, 2));
    assert_int_equal(say(world, good), strlen(good));
    assert_true(reads_take_head(&world->reads, 2));
    assert_false(reads_take_head(&world->reads, 2));
    assert_int_equal(say(world, good), strlen(good));
    assert_false(reads_take_head(&world->reads, 3)); /* another target than the vetted one */
}

/* Where recv() is not the program's, or the descriptor is not in the table. */
static void unvetted_bytes_do_not_count(void **state)
{
    struct world *world = *state;
    reads_arm(&world->reads, world->pair[0], false);
    reads_disarm(&world->reads);
    assert_int_equal(say(world, good), strlen(good));
    assert_false(reads_take_head(&world->reads, 2));
}

static void a_bad_head_is_answered(void **state)
{
    struct world *world = *state;
    char room[512];
    reads_arm(&world->reads, world->pair[0], false);
    assert_int_equal(say(world, bad), -1);
    assert_int_equal(errno, ECONNRESET);
    assert_false(reads_take_head(&world->reads, 2));
    assert_true(recv(world->pair[1], room, sizeof room, 0) > 12);
    assert_memory_equal(room, "HTTP/1.1 400", 12);
    assert_int_equal(recv(world->pair[1], room, sizeof room, 0), 0); /* its end */
}

static void good_ones_are_answered_before(void **state)
{
    struct world *world = *state;
    char both[sizeof good + sizeof bad], room[512];
    (void)snprintf(both, sizeof both, "%s%s", good, bad);
    reads_arm(&world->reads, world->pair[0], false);
    assert_int_equal(say(world, both), strlen(good));
    assert_true(reads_take_head(&world->reads, 2));
    assert_int_equal(say(world, good), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(recv(world->pair[1], room, sizeof room, 0), -1); /* nothing yet */
    assert_false(reads_due(&world->reads));
    reads_finish(&world->reads);
    assert_true(reads_due(&world->reads));
    assert_int_equal(recv(world->pair[0], room, sizeof room, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    assert_true(recv(world->pair[1], room, sizeof room, 0) > 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_vetted_head_counts_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unvetted_bytes_do_not_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bad_head_is_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(good_ones_are_answered_before, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
