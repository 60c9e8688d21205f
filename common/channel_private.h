/* channel_private.h - what channel.c (peers, receiving) and channel_out.c (sending) share. */
#ifndef COMMON_CHANNEL_PRIVATE_H
#define COMMON_CHANNEL_PRIVATE_H

#include "common/channel.h"

enum {
    IDENTITY_BYTES = 1 + CHANNEL_INSTANCE_BYTES, /* a routing id may not begin with 0 */
    RECORD_HEAD_BYTES = 4,
    FRAME_TARGET_BYTES = 256 << 10, /* records are gathered up to this; a larger one goes alone */
    QUEUE_KEPT_BYTES = 2 << 20,     /* of an empty queue's memory; more goes back */
    FRAMES_PER_TURN = 64,           /* then the others have their turn */
    SEEK_MS = 25,                   /* between heartbeats to a peer that is not up */
    RETRY_MS = 2,                   /* when ZeroMQ's queue was full */
};

struct channel_peer {
    struct channel *channel;
    struct channel_peer *next;
    uint8_t instance[CHANNEL_INSTANCE_BYTES];
    bool spoke; /* `instance` is set */
    bool up;
    bool answer_due; /* a heartbeat came */
    bool dirty;      /* in the flush list */
    bool stuck;      /* the last frame for it was not taken */
    uint64_t heard_ms;
    struct buffer out;
    size_t record_start; /* of the record under construction */
    void *slot;
};

struct channel {
    struct loop *loop;
    void *socket;
    bool listening;
    const struct channel_events *events;
    void *arg;
    struct channel_peer *peers;
    int beat_timer;
    int retry_timer;
    bool work; /* some peer has something to send */
};

/* Takes the peer for gone; frees it on a listening channel. */
void channel_peer_down(struct channel_peer *peer);

/* Has the turn's end flush this peer. */
void channel_work_for(struct channel_peer *peer);

/* Sends one frame at once; 0, or an errno of zmq_msg_send(). */
int channel_send_frame(struct channel_peer *peer, struct view records);

/* Sends what is queued; the turn-end function of every channel (its argument). */
void channel_flush(void *channel);

#endif
