/* test_channel.c - two ends of a channel in one loop: records, order, restart, strangers, garbage. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "common/channel.h"
#include "common/crypto.h"
#include "common/keyfile.h"
#include "common/log.h"

enum { RECORDS = 2000 };

struct end {
    struct loop *loop;
    unsigned records, ups, downs;
    size_t bytes;
    bool in_order;
};

static char dir[64];

static void stop(void *arg)
{
    loop_stop(((struct end *)arg)->loop);
}

static void run_ms(struct end *end, uint32_t ms)
{
    assert_true(loop_once(end->loop, ms, stop, end) >= 0);
    loop_run(end->loop);
}

static void on_record(void *arg, struct channel_peer *peer, struct view record)
{
    struct end *end = arg;
    uint32_t number;
    (void)peer;
    end->bytes += record.size;
    assert_true(record.size >= sizeof number);
    memcpy(&number, record.data, sizeof number);
    end->in_order = end->in_order && number == end->records;
    if (++end->records == RECORDS) {
        loop_stop(end->loop);
    }
}

static void on_echo(void *arg, struct channel_peer *peer, struct view record)
{
    ((struct end *)arg)->records++;
    assert_int_equal(channel_send(peer, record), STATUS_OK);
}

static void on_up(void *arg, struct channel_peer *peer)
{
    struct end *end = arg;
    (void)peer;
    end->ups++;
    loop_stop(end->loop);
}

static void on_down(void *arg, struct channel_peer *peer)
{
    (void)peer;
    ((struct end *)arg)->downs++;
}

static const struct channel_events echo_events = {on_echo, NULL, on_down};
static const struct channel_events client_events = {on_record, on_up, on_down};

/* "tcp://127.0.0.1:PORT" with a port that nothing listens on now. */
static const char *free_endpoint(void)
{
    static char endpoint[64];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", ntohs(address.sin_port));
    return endpoint;
}

static void make_keys(const char *name)
{
    char public_text[41], private_text[41], file[32];
    uint8_t public_key[32], private_key[32];
    assert_int_equal(zmq_curve_keypair(public_text, private_text), 0);
    assert_non_null(zmq_z85_decode(public_key, public_text));
    assert_non_null(zmq_z85_decode(private_key, private_text));
    snprintf(file, sizeof file, "%s.curve", name);
    assert_int_equal(keyfile_create(dir, file, view_of(private_key, 32), false), STATUS_OK);
    snprintf(file, sizeof file, "%s.pub", name);
    assert_int_equal(keyfile_create(dir, file, view_of(public_key, 32), true), STATUS_OK);
}

static void exchange(const char *endpoint, const char *own_name)
{
    struct end server = {0}, client = {.in_order = true};
    struct channel *listening = NULL, *connecting = NULL;
    struct loop *loop = loop_new();
    server.loop = client.loop = loop;
    if (own_name) {
        assert_int_equal(channel_keys(dir, own_name), STATUS_OK);
    }
    assert_int_equal(channel_listen(loop, endpoint, "both", &echo_events, &server, &listening),
                     STATUS_OK);
    assert_int_equal(
        channel_connect(loop, endpoint, "both", &client_events, &client, &connecting), STATUS_OK);
    struct channel_peer *peer = channel_server(connecting);
    assert_int_equal(channel_send(peer, VIEW("early")), STATUS_UNAVAILABLE);
    run_ms(&client, 3000);
    assert_int_equal(client.ups, 1);
    assert_int_equal(channel_peer_instance(peer).size, CHANNEL_INSTANCE_BYTES);
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint8_t record[900] = {0};
        memcpy(record, &i, sizeof i);
        assert_int_equal(channel_send(peer, view_of(record, sizeof record)), STATUS_OK);
    }
    assert_int_equal(channel_send(peer, VIEW("")), STATUS_TOO_LARGE);
    run_ms(&client, 10000);
    assert_int_equal(server.records, RECORDS);
    assert_int_equal(client.records, RECORDS);
    assert_int_equal(client.bytes, RECORDS * 900);
    assert_true(client.in_order);
    channel_close(&connecting);
    channel_close(&listening);
    channel_close(&listening);
    loop_free(&loop);
}

static void test_ipc(void **state)
{
    char endpoint[96];
    (void)state;
    snprintf(endpoint, sizeof endpoint, "ipc://%s/channel", dir);
    exchange(endpoint, NULL);
}

static void test_ipc_open_directory(void **state)
{
    char endpoint[96];
    struct end end = {.loop = loop_new()};
    struct channel *channel = NULL;
    (void)state;
    chmod(dir, 0755);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/open", dir);
    assert_int_equal(channel_listen(end.loop, endpoint, "both", &echo_events, &end, &channel),
                     STATUS_INVALID);
    assert_null(channel);
    chmod(dir, 0700);
    loop_free(&end.loop);
}

static void test_curve(void **state)
{
    (void)state;
    make_keys("both");
    exchange(free_endpoint(), "both");
}

/* Knows the server's public key but is not on the list; then garbage of every size on ipc. */
static void test_stranger_and_garbage(void **state)
{
    struct end server = {.loop = loop_new()};
    struct channel *listening = NULL;
    char endpoint[96];
    uint8_t bytes[300];
    (void)state;
    snprintf(endpoint, sizeof endpoint, "ipc://%s/garbage", dir);
    assert_int_equal(
        channel_listen(server.loop, endpoint, "both", &echo_events, &server, &listening),
        STATUS_OK);
    void *context = zmq_ctx_new();
    void *dealer = zmq_socket(context, ZMQ_DEALER);
    int linger = 0;
    zmq_setsockopt(dealer, ZMQ_LINGER, &linger, sizeof linger);
    assert_int_equal(zmq_connect(dealer, endpoint), 0);
    uint64_t before = channel_refused();
    for (size_t size = 0; size < sizeof bytes; size++) {
        crypto_random(bytes, sizeof bytes);
        assert_true(zmq_send(dealer, bytes, size, 0) >= 0);
    }
    run_ms(&server, 300);
    assert_int_equal(channel_refused() - before, sizeof bytes);
    assert_int_equal(server.records, 0);
    zmq_close(dealer);
    zmq_ctx_term(context);
    channel_close(&listening);
    loop_free(&server.loop);
}

static void test_unlisted_key(void **state)
{
    struct end server = {.loop = loop_new()}, client = {.loop = server.loop};
    struct channel *listening = NULL, *connecting = NULL;
    const char *endpoint = free_endpoint();
    (void)state;
    make_keys("server");
    make_keys("friend");
    assert_int_equal(channel_keys(dir, "server"), STATUS_OK);
    uint64_t before = channel_refused();
    assert_int_equal(channel_listen(server.loop, endpoint, "friend", &echo_events, &server, &listening),
                     STATUS_OK);
    assert_int_equal(channel_connect(client.loop, endpoint, "server", &client_events, &client, &connecting),
                     STATUS_OK);
    run_ms(&client, 600);
    assert_int_equal(client.ups, 0);
    assert_true(channel_refused() > before);
    channel_close(&connecting);
    channel_close(&listening);
    loop_free(&server.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ipc),
        cmocka_unit_test(test_ipc_open_directory),
        cmocka_unit_test(test_curve),
        cmocka_unit_test(test_stranger_and_garbage),
        cmocka_unit_test(test_unlisted_key),
    };
    log_open("test", LEVEL_ERROR);
    snprintf(dir, sizeof dir, "/tmp/seks-channel-XXXXXX");
    if (!mkdtemp(dir)) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command) != 0 || failed;
}
