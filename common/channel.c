/* channel.c - peers, frames and heartbeats over the sockets of sockets.c.
 *
 * A peer of a listening channel is known by its routing id, which is its instance id; the frame
 * repeats it.  Nothing that arrives is asserted: a frame that does not parse whole is dropped. */
#include "common/channel_private.h"

#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/crypto.h"
#include "common/log.h"
#include "common/sockets.h"

static uint64_t malformed;
static struct log_limit malformed_limit;
static size_t channel_count;

struct view channel_own_instance(void)
{
    static uint8_t instance[CHANNEL_INSTANCE_BYTES];
    static bool made;
    if (!made) {
        crypto_random(instance, sizeof instance);
        made = true;
    }
    return view_of(instance, sizeof instance);
}

enum status channel_keys(const char *dir, const char *name)
{
    return sockets_keys(dir, name);
}

/* ---- peers ---- */

static struct channel_peer *peer_new(struct channel *channel)
{
    struct channel_peer *peer = calloc(1, sizeof *peer);
    if (peer) {
        peer->channel = channel;
        peer->out = BUFFER_EMPTY;
        peer->out.max = CHANNEL_BACKLOG_MAX + CHANNEL_RECORD_MAX;
        peer->next = channel->peers;
        channel->peers = peer;
    }
    return peer;
}

static void peer_free(struct channel_peer *peer)
{
    for (struct channel_peer **at = &peer->channel->peers; *at; at = &(*at)->next) {
        if (*at == peer) {
            *at = peer->next;
            break;
        }
    }
    buffer_free(&peer->out);
    free(peer);
}

void channel_peer_down(struct channel_peer *peer)
{
    struct channel *channel = peer->channel;
    bool was_up = peer->up;
    peer->up = false;
    buffer_clear(&peer->out);
    if (was_up && channel->events->down) {
        channel->events->down(channel->arg, peer);
    }
    if (channel->listening) {
        peer_free(peer);
    }
}

static void peer_heard(struct channel_peer *peer, const uint8_t *instance)
{
    bool restarted =
        peer->spoke && memcmp(peer->instance, instance, CHANNEL_INSTANCE_BYTES) != 0;
    bool was_up = peer->up;
    memcpy(peer->instance, instance, CHANNEL_INSTANCE_BYTES);
    peer->spoke = true;
    peer->up = true;
    peer->heard_ms = clock_mono_ms();
    if (was_up && !restarted) {
        return;
    }
    buffer_clear(&peer->out);
    if (peer->channel->events->up) {
        peer->channel->events->up(peer->channel->arg, peer);
    }
}

/* ---- receiving ---- */

static uint64_t refuse(const char *why)
{
    uint64_t count;
    malformed++;
    if (log_due(&malformed_limit, &count)) {
        log_warn("frame", "refused a frame: %s (%llu times)", why, (unsigned long long)count);
    }
    return malformed;
}

static bool take_record(struct view *frame, struct view *ret_record)
{
    const uint8_t *at = frame->data;
    if (frame->size < RECORD_HEAD_BYTES) {
        return false;
    }
    size_t size = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
    if (size == 0 || size > frame->size - RECORD_HEAD_BYTES) {
        return false;
    }
    *ret_record = view_of(at + RECORD_HEAD_BYTES, size);
    frame->data += RECORD_HEAD_BYTES + size;
    frame->size -= RECORD_HEAD_BYTES + size;
    return true;
}

static bool records_whole(struct view records)
{
    struct view record;
    while (records.size > 0) {
        if (!take_record(&records, &record)) {
            return false;
        }
    }
    return true;
}

static struct channel_peer *peer_of(struct channel *channel, struct view identity,
                                    const uint8_t *instance)
{
    if (!channel->listening) {
        return channel->peers;
    }
    if (identity.size != IDENTITY_BYTES || identity.data[0] != 'S' ||
        memcmp(identity.data + 1, instance, CHANNEL_INSTANCE_BYTES) != 0) {
        return NULL;
    }
    for (struct channel_peer *peer = channel->peers; peer; peer = peer->next) {
        if (memcmp(peer->instance, instance, CHANNEL_INSTANCE_BYTES) == 0) {
            return peer;
        }
    }
    return peer_new(channel);
}

static void take_frame(struct channel *channel, struct view identity, struct view frame)
{
    struct view record;
    if (frame.size < CHANNEL_INSTANCE_BYTES) {
        refuse("too short");
        return;
    }
    struct channel_peer *peer = peer_of(channel, identity, frame.data);
    struct view records =
        view_of(frame.data + CHANNEL_INSTANCE_BYTES, frame.size - CHANNEL_INSTANCE_BYTES);
    if (!peer || !records_whole(records)) {
        refuse(peer ? "its records do not fill it" : "its sender is not who it says");
        return;
    }
    peer_heard(peer, frame.data);
    if (records.size == 0 && channel->listening) {
        peer->answer_due = true;
        channel_work_for(peer);
    }
    while (take_record(&records, &record)) {
        channel->events->record(channel->arg, peer, record);
    }
}

/* Receives one message: the routing id (listening), the frame, and nothing more. */
static bool receive(struct channel *channel)
{
    zmq_msg_t parts[2];
    size_t want = channel->listening ? 2 : 1, count = 0;
    int more = 1;
    bool any = false;
    while (more) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, channel->socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&part);
            break;
        }
        any = true;
        more = zmq_msg_more(&part);
        if (count < want) {
            parts[count] = part;
        } else {
            zmq_msg_close(&part);
        }
        count++;
    }
    if (count == want) {
        struct view identity = view_of(zmq_msg_data(&parts[0]), zmq_msg_size(&parts[0]));
        zmq_msg_t *frame = &parts[want - 1];
        take_frame(channel, identity, view_of(zmq_msg_data(frame), zmq_msg_size(frame)));
    } else if (any) {
        refuse("a wrong number of parts");
    }
    for (size_t i = 0; i < count && i < want; i++) {
        zmq_msg_close(&parts[i]);
    }
    return any;
}

static void on_readable(void *arg)
{
    struct channel *channel = arg;
    for (int i = 0; i < FRAMES_PER_TURN; i++) {
        if (!receive(channel)) {
            return;
        }
    }
    loop_soon(channel->loop, channel->socket);
}

/* ---- heartbeats ---- */

static void sweep(struct channel *channel)
{
    uint64_t now = clock_mono_ms();
    for (struct channel_peer *peer = channel->peers, *next; peer; peer = next) {
        next = peer->next;
        if (peer->up && now - peer->heard_ms > CHANNEL_SILENCE_MS) {
            channel_peer_down(peer);
        }
    }
}

static void on_beat(void *arg)
{
    struct channel *channel = arg;
    bool seeking = false;
    sweep(channel);
    if (!channel->listening) {
        struct channel_peer *server = channel->peers;
        seeking = !server->up;
        (void)channel_send_frame(server, (struct view){NULL, 0}); /* lost: the next one tells */
    }
    channel->beat_timer =
        loop_once(channel->loop, seeking ? SEEK_MS : CHANNEL_BEAT_MS, on_beat, channel);
    if (channel->beat_timer < 0) {
        log_error("channel", "no memory for a timer");
        abort();
    }
}

/* ---- opening and closing ---- */

static enum status channel_start(struct channel *channel)
{
    enum status status = loop_watch_zmq(channel->loop, channel->socket, on_readable, channel);
    if (status == STATUS_OK) {
        status = loop_turn_end(channel->loop, channel_flush, channel);
    }
    channel->beat_timer = loop_once(channel->loop, 1, on_beat, channel);
    return channel->beat_timer < 0 ? STATUS_INTERNAL : status;
}

static struct channel *channel_new(struct loop *loop, bool listening,
                                   const struct channel_events *events, void *arg)
{
    struct channel *channel = calloc(1, sizeof *channel);
    if (channel) {
        *channel = (struct channel){.loop = loop,
                                    .listening = listening,
                                    .events = events,
                                    .arg = arg,
                                    .beat_timer = -1,
                                    .retry_timer = -1};
        channel_count++;
    }
    return channel;
}

enum status channel_listen(struct loop *loop, const char *endpoint, const char *role,
                           const struct channel_events *events, void *arg,
                           struct channel **ret_channel)
{
    struct channel *channel = channel_new(loop, true, events, arg);
    if (!channel) {
        return STATUS_INTERNAL;
    }
    enum status status = sockets_listen(loop, endpoint, role, &channel->socket);
    if (status == STATUS_OK) {
        status = channel_start(channel);
    }
    if (status != STATUS_OK) {
        channel_close(&channel);
        return status;
    }
    *ret_channel = channel;
    return STATUS_OK;
}

enum status channel_connect(struct loop *loop, const char *endpoint, const char *server,
                            const struct channel_events *events, void *arg,
                            struct channel **ret_channel)
{
    uint8_t identity[IDENTITY_BYTES] = {'S'};
    struct channel *channel = channel_new(loop, false, events, arg);
    enum status status = channel && peer_new(channel) ? STATUS_OK : STATUS_INTERNAL;
    memcpy(identity + 1, channel_own_instance().data, CHANNEL_INSTANCE_BYTES);
    if (status == STATUS_OK) {
        status = sockets_connect(endpoint, server, view_of(identity, sizeof identity),
                                 &channel->socket);
    }
    if (status == STATUS_OK) {
        status = channel_start(channel);
    }
    if (status != STATUS_OK) {
        channel_close(&channel);
        return status;
    }
    *ret_channel = channel;
    return STATUS_OK;
}

void channel_close(struct channel **channel_at)
{
    struct channel *channel = *channel_at;
    if (!channel) {
        return;
    }
    if (channel->socket) {
        channel->work = true;
        loop_unevery(channel->loop, channel->retry_timer);
        channel->retry_timer = -1;
        channel_flush(channel);
        loop_unevery(channel->loop, channel->retry_timer);
        loop_unevery(channel->loop, channel->beat_timer);
        loop_unturn_end(channel->loop, channel_flush, channel);
        loop_unwatch_zmq(channel->loop, channel->socket);
        sockets_close(&channel->socket);
    }
    while (channel->peers) {
        peer_free(channel->peers);
    }
    free(channel);
    *channel_at = NULL;
    if (--channel_count == 0) {
        sockets_end();
    }
}

/* ---- the owner's side ---- */

struct channel_peer *channel_server(struct channel *channel)
{
    return channel->peers;
}

struct channel_peer *channel_next_peer(struct channel *channel, struct channel_peer *peer)
{
    return peer ? peer->next : channel->peers;
}

bool channel_peer_up(const struct channel_peer *peer)
{
    return peer->up;
}

uint64_t channel_peer_quiet_ms(const struct channel_peer *peer)
{
    return peer->stuck ? CHANNEL_SILENCE_MS : clock_mono_ms() - peer->heard_ms;
}

size_t channel_peer_backlog(const struct channel_peer *peer)
{
    return peer->out.size;
}

struct view channel_peer_instance(const struct channel_peer *peer)
{
    return view_of(peer->instance, peer->spoke ? sizeof peer->instance : 0);
}

void **channel_peer_slot(struct channel_peer *peer)
{
    return &peer->slot;
}

uint64_t channel_refused(void)
{
    return malformed + sockets_strangers();
}
