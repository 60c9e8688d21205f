/* channel.h - records between daemons.  Only sockets.c, below it, makes ZeroMQ sockets.
 *
 * A listening end is a ROUTER, a connecting end a DEALER; a listening end serves ONE role, so a
 * record's sender is known by the socket it came in on.  On "ipc://" the directory's mode (0700)
 * says who may connect, on "tcp://" CURVE and an allow-list of public keys for the role (sockets.c).
 *
 * A frame is the sender's instance id (CHANNEL_INSTANCE_BYTES, random per process start) and any
 * number of records, each a 4-byte big-endian size and that many bytes.  Records queue per peer and
 * leave as one frame at the end of the loop's turn.  Frames without records are heartbeats: the
 * connecting end sends one every CHANNEL_BEAT_MS, the listening end answers it.  A peer that is
 * silent for CHANNEL_SILENCE_MS is down.  Malformed frames are counted and dropped. */
#ifndef COMMON_CHANNEL_H
#define COMMON_CHANNEL_H

#include "common/bytes.h"
#include "common/loop.h"

enum {
    CHANNEL_INSTANCE_BYTES = 16,
    CHANNEL_RECORD_MAX = (1 << 20) + 65536, /* the largest message in proto, with its head */
    CHANNEL_BACKLOG_MAX = 32 << 20,         /* bytes queued for one peer before it counts as stuck: all
                                             * that streams may have on their way, and as much again */
    CHANNEL_BEAT_MS = 400,
    CHANNEL_SILENCE_MS = 2500,
};

struct channel;
struct channel_peer;

/* All run inside the loop.  A record's view is valid during the call only.  `up`: the peer answers
 * for the first time, or again, or is a new process (compare channel_peer_instance): what was asked
 * of it and not answered has to be asked again.  `down`: it is silent or gone; on a listening
 * channel the peer is freed after the call, on a connecting one it may come up again. */
struct channel_events {
    void (*record)(void *arg, struct channel_peer *peer, struct view record);
    void (*up)(void *arg, struct channel_peer *peer);   /* may be NULL */
    void (*down)(void *arg, struct channel_peer *peer); /* may be NULL */
};

/* This process's own instance id, CHANNEL_INSTANCE_BYTES. */
struct view channel_own_instance(void);

/* Sets the key directory for tcp (NULL: only ipc works) and this daemon's name in it.  Reads
 * DIR/NAME.curve; STATUS_INVALID with a log line when a file is missing or readable by others. */
MUST_USE enum status channel_keys(const char *dir, const char *name);

/* Binds ENDPOINT for peers of ROLE, whose public keys (tcp) are DIR/ROLE.pub and DIR/ROLE.*.pub.
 * Logs its own failure. */
MUST_USE enum status channel_listen(struct loop *loop, const char *endpoint, const char *role,
                                    const struct channel_events *events, void *arg,
                                    struct channel **ret_channel);

/* Connects to ENDPOINT, where SERVER ("vault") listens; its public key (tcp) is DIR/SERVER.pub. */
MUST_USE enum status channel_connect(struct loop *loop, const char *endpoint, const char *server,
                                     const struct channel_events *events, void *arg,
                                     struct channel **ret_channel);

/* Sends what is queued (lingers up to a second) and closes.  Takes NULL. */
void channel_close(struct channel **channel);

/* The one peer of a connecting channel (never NULL, up or not). */
struct channel_peer *channel_server(struct channel *channel);

/* The peers of a listening channel: the next after PEER, the first for NULL; NULL at the end. */
struct channel_peer *channel_next_peer(struct channel *channel, struct channel_peer *peer);

/* Queues a copy of RECORD.  STATUS_UNAVAILABLE when the peer is not up or its backlog is full,
 * STATUS_TOO_LARGE past CHANNEL_RECORD_MAX. */
MUST_USE enum status channel_send(struct channel_peer *peer, struct view record);

/* The same in two steps without the copy: append the record to the buffer (NULL when the peer is
 * not up or stuck), then finish; records are whole or not there. */
struct buffer *channel_record_begin(struct channel_peer *peer);
MUST_USE enum status channel_record_end(struct channel_peer *peer);

bool channel_peer_up(const struct channel_peer *peer);
/* How long it has been silent; CHANNEL_SILENCE_MS when what is queued for it cannot be handed on, as
 * when its connection has just gone. */
uint64_t channel_peer_quiet_ms(const struct channel_peer *peer);
size_t channel_peer_backlog(const struct channel_peer *peer); /* bytes queued and not yet sent */

/* The peer's instance id, or an empty view before it first spoke. */
struct view channel_peer_instance(const struct channel_peer *peer);

/* A slot for the owner's own state of a peer; NULL at first. */
void **channel_peer_slot(struct channel_peer *peer);

/* Frames that were malformed or came from a key that is not allowed, in this process. */
uint64_t channel_refused(void);

#endif
