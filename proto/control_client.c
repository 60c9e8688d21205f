/* control_client.c - asks a running vault one thing at a time, and waits for the answer. */
#include "proto/control_client.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/channel.h"

enum { UP_MS = 10000, ANSWER_MS = 600000 };

struct waiting {
    struct loop *loop;
    struct buffer record; /* of the answer */
};

enum status control_endpoint(const char *data, char *ret_endpoint)
{
    const size_t path_max = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
    int size = snprintf(ret_endpoint, CONTROL_ENDPOINT_SIZE, "ipc://%s/run/control", data);
    return size < 0 || (size_t)size - strlen("ipc://") > path_max ? STATUS_INVALID : STATUS_OK;
}

bool control_alive(const char *data)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char endpoint[CONTROL_ENDPOINT_SIZE];
    if (control_endpoint(data, endpoint) != STATUS_OK) {
        return false;
    }
    (void)view_copy(view_text(endpoint + strlen("ipc://")), address.sun_path,
                    sizeof address.sun_path); /* its size was checked */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive = fd >= 0 &&
                 connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return alive;
}

static void up(void *arg, struct channel_peer *peer)
{
    (void)peer;
    loop_stop(((struct waiting *)arg)->loop);
}

static void came(void *arg, struct channel_peer *peer, struct view record)
{
    struct waiting *waiting = arg;
    (void)peer;
    buffer_clear(&waiting->record);
    buffer_append_view(&waiting->record, record);
    loop_stop(waiting->loop);
}

static void gone(void *arg, struct channel_peer *peer)
{
    up(arg, peer);
}

static void too_late(void *arg)
{
    loop_stop(((struct waiting *)arg)->loop);
}

static void run(struct waiting *waiting, uint32_t ms)
{
    int timer = loop_once(waiting->loop, ms, too_late, waiting);
    loop_run(waiting->loop);
    loop_unevery(waiting->loop, timer);
}

/* One question on a channel that is up. */
static enum status exchange(struct waiting *waiting, struct channel *channel,
                            struct control_ask *ask, struct control_reply *ret_reply)
{
    CLEANUP(buffer_wipe) struct buffer record = BUFFER_EMPTY;
    struct control_answer answer;
    static uint64_t call;
    ask->call = ++call;
    enum status status = proto_encode(&control_ask_schema, ask, &record);
    if (status == STATUS_OK) {
        status = channel_send(channel_server(channel), buffer_view(&record));
    }
    if (status != STATUS_OK) {
        return status;
    }
    buffer_clear(&waiting->record);
    run(waiting, ANSWER_MS);
    if (proto_decode(&control_answer_schema, buffer_view(&waiting->record), &answer) != STATUS_OK ||
        answer.call != ask->call) {
        return STATUS_UNAVAILABLE; /* it went away, or took too long */
    }
    *ret_reply = (struct control_reply){.status = status_from_wire((unsigned)answer.status),
                                        .number = answer.number};
    if (answer.key.size == sizeof ret_reply->key) {
        memcpy(ret_reply->key, answer.key.data, sizeof ret_reply->key);
    }
    (void)view_copy(answer.text, ret_reply->text, sizeof ret_reply->text); /* the message's limit */
    return STATUS_OK;
}

static enum status ask_on(struct waiting *waiting, struct channel *channel,
                          struct control_ask *ask, const struct secret *secret,
                          struct control_reply *ret_reply)
{
    CLEANUP(buffer_free) struct buffer box = BUFFER_EMPTY;
    enum status status = STATUS_OK;
    if (secret) {
        struct control_ask first = {.command = VIEW("status")};
        status = exchange(waiting, channel, &first, ret_reply);
        if (status == STATUS_OK) {
            status = crypto_sealed_make(ret_reply->key, secret_view(secret), &box);
        }
    }
    ask->box = buffer_view(&box);
    return status == STATUS_OK ? exchange(waiting, channel, ask, ret_reply) : status;
}

enum status control_ask_vault(const char *data, const char *command, const char *text,
                              const struct secret *secret, struct control_reply *ret_reply)
{
    static const struct channel_events events = {came, up, gone};
    struct control_ask ask = {.command = view_text(command), .text = view_text(text)};
    struct waiting waiting = {NULL, BUFFER_EMPTY};
    struct channel *channel = NULL;
    char endpoint[CONTROL_ENDPOINT_SIZE];
    enum status status = control_endpoint(data, endpoint);
    if (status != STATUS_OK || !control_alive(data)) {
        return STATUS_UNAVAILABLE;
    }
    waiting.loop = loop_new();
    status = waiting.loop ? channel_connect(waiting.loop, endpoint, "vault", &events, &waiting,
                                            &channel)
                          : STATUS_INTERNAL;
    if (status == STATUS_OK) {
        run(&waiting, UP_MS);
        status = channel_peer_up(channel_server(channel))
                     ? ask_on(&waiting, channel, &ask, secret, ret_reply)
                     : STATUS_UNAVAILABLE;
    }
    channel_close(&channel);
    loop_free(&waiting.loop);
    buffer_free(&waiting.record);
    return status;
}
