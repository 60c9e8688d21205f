/* send.c - encodes into the peer's own queue, so that nothing is copied or allocated for it. */
#include "proto/send.h"

enum status proto_send(struct channel_peer *peer, const struct schema *schema, const void *message)
{
    struct buffer *out = channel_record_begin(peer);
    if (!out) {
        return STATUS_UNAVAILABLE;
    }
    enum status status = proto_encode(schema, message, out);
    enum status sent = channel_record_end(peer); /* takes an empty record back */
    return status == STATUS_OK ? sent : status;
}
