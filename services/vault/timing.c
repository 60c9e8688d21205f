/* timing.c - how long a question took here, and its record in audit, for gateways that trace it.
 *
 * A gateway asks for that right before its question, and is told right before its answer. */
#include "timing.h"

void take_time(struct vault *vault, struct channel_peer *peer, struct view record)
{
    struct trace_time time;
    if (proto_decode(&trace_time_schema, record, &time) != STATUS_OK) {
        vault_refuse_record(vault, "that is malformed");
        return;
    }
    vault->timing.peer = peer;
    vault->timing.call = time.call;
    vault->timing.at_us = clock_wall_us();
}

uint64_t timing_of(struct vault *vault, const struct channel_peer *peer, uint64_t call)
{
    bool its = vault->timing.peer == peer && vault->timing.call == call;
    vault->timing.peer = NULL;
    return its ? vault->timing.at_us : 0;
}

void timing_hold(struct vault *vault, struct pending *pending, uint64_t timed_us)
{
    pending->timed_us = timed_us;
    audit_time_next(vault->audit, timed_us > 0);
}

void timing_tell(struct channel_peer *peer, uint64_t call, uint64_t began_us,
                 const struct trace_timed *audit)
{
    if (began_us == 0 || !peer) {
        return;
    }
    uint64_t now_us = clock_wall_us(), took_us = now_us > began_us ? now_us - began_us : 0;
    struct trace_timed timed = {.call = call,
                                .began_us = began_us,
                                .took_us = took_us < UINT32_MAX ? took_us : UINT32_MAX,
                                .audit_began_us = audit ? audit->began_us : 0,
                                .audit_took_us = audit ? audit->took_us : 0};
    vault_send(peer, &trace_timed_schema, &timed);
}
