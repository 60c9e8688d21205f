/* sends.c - records to gateways.  One whose queue is full gets no more pieces, which stay with their calls; but the
 * end of a call has nothing left to stay with, so it waits here until there is room: without it a client would
 * wait for ever. */
#include "services/proxy/proxy.h"

#include <stdlib.h>

/* The last record of one call: at most its head and one piece. */
struct owed {
    struct owed *next;
    struct channel_peer *peer;
    struct buffer record;
};

static struct owed *first, **last = &first;

enum status call_send(struct channel_peer *peer, const struct schema *schema, const void *message)
{
    struct buffer *out = channel_record_begin(peer);
    if (!out) {
        return STATUS_UNAVAILABLE;
    }
    enum status status = proto_encode(schema, message, out);
    enum status sent = channel_record_end(peer);
    return status == STATUS_OK ? sent : status;
}

static void drop(struct owed **at)
{
    struct owed *owed = *at;
    *at = owed->next;
    if (!*at) {
        last = at;
    }
    buffer_free(&owed->record);
    free(owed);
}

enum status call_send_last(struct channel_peer *peer, const struct schema *schema, const void *message)
{
    enum status status = call_send(peer, schema, message);
    if (status != STATUS_UNAVAILABLE || !channel_peer_up(peer)) {
        return status; /* one that is gone needs no end */
    }
    struct owed *owed = calloc(1, sizeof *owed);
    if (!owed || proto_encode(schema, message, &owed->record) != STATUS_OK) {
        if (owed) {
            buffer_free(&owed->record);
        }
        free(owed);
        return STATUS_INTERNAL;
    }
    owed->peer = peer;
    *last = owed;
    last = &owed->next;
    return STATUS_OK;
}

void call_sends_flush(void)
{
    for (struct owed **at = &first; *at;) {
        if (channel_send((*at)->peer, buffer_view(&(*at)->record)) == STATUS_UNAVAILABLE) {
            at = &(*at)->next;
        } else {
            drop(at);
        }
    }
}

bool call_sends_wait(void)
{
    return first != NULL;
}

void call_sends_forget(const struct channel_peer *peer)
{
    for (struct owed **at = &first; *at;) {
        if (!peer || (*at)->peer == peer) {
            drop(at);
        } else {
            at = &(*at)->next;
        }
    }
}
