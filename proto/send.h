/* send.h - a message on its way to a peer, encoded where it leaves from. */
#ifndef PROTO_SEND_H
#define PROTO_SEND_H

#include "common/channel.h"
#include "proto/codec.h"

/* Queues MESSAGE for PEER, whole or not at all.  As proto_encode() and channel_send(): STATUS_UNAVAILABLE
 * when the peer is not up or its backlog is full, STATUS_INVALID when a field passes its limit. */
MUST_USE enum status proto_send(struct channel_peer *peer, const struct schema *schema,
                                const void *message);

#endif
