/* channel_out.c - the sending half of a channel: records gather per peer and leave as frames.
 *
 * What ZeroMQ's queue does not take stays here and is tried again; a peer that cannot be routed to
 * is down. */
#include "common/channel_private.h"

#include <errno.h>
#include <string.h>
#include <zmq.h>

void channel_work_for(struct channel_peer *peer)
{
    peer->dirty = true;
    peer->channel->work = true;
}

/* How many of the queued bytes go into the next frame: whole records. */
static size_t frame_size(struct view out)
{
    size_t size = 0;
    while (size < out.size) {
        const uint8_t *at = out.data + size;
        size_t record = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
        if (size > 0 && size + RECORD_HEAD_BYTES + record > FRAME_TARGET_BYTES) {
            break;
        }
        size += RECORD_HEAD_BYTES + record;
    }
    return size;
}

static int send_frame(struct channel_peer *peer, struct view records)
{
    struct channel *channel = peer->channel;
    zmq_msg_t frame;
    loop_soon(channel->loop, channel->socket);
    if (channel->listening) {
        uint8_t identity[IDENTITY_BYTES] = {'S'};
        memcpy(identity + 1, peer->instance, CHANNEL_INSTANCE_BYTES);
        if (zmq_send(channel->socket, identity, sizeof identity, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
            return zmq_errno();
        }
    }
    if (zmq_msg_init_size(&frame, CHANNEL_INSTANCE_BYTES + records.size) != 0) {
        return ENOMEM;
    }
    uint8_t *data = zmq_msg_data(&frame);
    memcpy(data, channel_own_instance().data, CHANNEL_INSTANCE_BYTES);
    if (records.size) {
        memcpy(data + CHANNEL_INSTANCE_BYTES, records.data, records.size);
    }
    if (zmq_msg_send(&frame, channel->socket, ZMQ_DONTWAIT) < 0) {
        int error = zmq_errno();
        zmq_msg_close(&frame);
        return error;
    }
    return 0;
}

int channel_send_frame(struct channel_peer *peer, struct view records)
{
    int error = send_frame(peer, records);
    peer->stuck = error != 0;
    return error;
}

/* Sends what is queued for PEER; false when it has to be tried again.  May free the peer. */
static bool peer_flush(struct channel_peer *peer)
{
    int error = 0;
    size_t sent = 0;
    bool beat = peer->answer_due;
    while ((sent < peer->out.size || beat) && error == 0) {
        struct view rest = view_of(peer->out.data + sent, peer->out.size - sent);
        size_t size = rest.size ? frame_size(rest) : 0;
        error = channel_send_frame(peer, view_of(rest.data, size));
        sent += error == 0 ? size : 0;
        beat = beat && error != 0;
    }
    buffer_consume(&peer->out, sent);
    if (peer->out.size == 0 && peer->out.capacity > QUEUE_KEPT_BYTES) {
        buffer_free(&peer->out);
    }
    peer->answer_due = beat;
    peer->dirty = error != 0;
    if (error == EHOSTUNREACH && peer->channel->listening) {
        channel_peer_down(peer);
        return true;
    }
    return error == 0;
}

static void on_retry(void *arg)
{
    struct channel *channel = arg;
    channel->retry_timer = -1;
    channel->work = true; /* the turn's end flushes */
}

void channel_flush(void *arg)
{
    struct channel *channel = arg;
    bool again = false;
    if (!channel->work || channel->retry_timer >= 0) {
        return;
    }
    channel->work = false;
    for (struct channel_peer *peer = channel->peers, *next; peer; peer = next) {
        next = peer->next;
        if (peer->dirty) {
            again = !peer_flush(peer) || again;
        }
    }
    if (again) {
        channel->retry_timer = loop_once(channel->loop, RETRY_MS, on_retry, channel);
        channel->work = channel->retry_timer < 0;
    }
}

struct buffer *channel_record_begin(struct channel_peer *peer)
{
    static const uint8_t head[RECORD_HEAD_BYTES];
    if (!peer->up || peer->out.size > CHANNEL_BACKLOG_MAX) {
        return NULL;
    }
    peer->record_start = peer->out.size;
    buffer_append(&peer->out, head, sizeof head);
    return &peer->out;
}

enum status channel_record_end(struct channel_peer *peer)
{
    size_t size = peer->out.size - peer->record_start - RECORD_HEAD_BYTES;
    if (peer->out.failed || size == 0 || size > CHANNEL_RECORD_MAX - RECORD_HEAD_BYTES) {
        bool failed = peer->out.failed;
        peer->out.size = peer->record_start;
        peer->out.failed = false;
        return failed ? STATUS_UNAVAILABLE : STATUS_TOO_LARGE;
    }
    uint8_t *head = peer->out.data + peer->record_start;
    for (size_t i = 0; i < RECORD_HEAD_BYTES; i++) {
        head[i] = (uint8_t)(size >> (24 - 8 * i));
    }
    channel_work_for(peer);
    return STATUS_OK;
}

enum status channel_send(struct channel_peer *peer, struct view record)
{
    struct buffer *out = channel_record_begin(peer);
    if (!out) {
        return STATUS_UNAVAILABLE;
    }
    buffer_append_view(out, record);
    return channel_record_end(peer);
}

