/* call_body.c - the request body between its arrival and `up`, and the credit for it. */
#include "services/proxy/chunks.h"
#include "services/proxy/proxy.h"

/* Signing chunks anew changes the body's size, so credit follows what came, while `up` has room. */
static void settle(struct call *call)
{
    if (call->up_owed > 0 && call->up.size < STREAM_WINDOW_BYTES) {
        call_want(call, call->up_owed);
        call->up_owed = 0;
    }
}

size_t call_up_max(const struct call *call)
{
    /* What came on credit makes at most two chunks whole, beside what was there. */
    return call->chunks ? STREAM_WINDOW_BYTES + 3 * CHUNKS_DATA_BYTES : STREAM_WINDOW_BYTES;
}

void call_up_taken(struct call *call, size_t bytes)
{
    if (!call->chunks) {
        call_want(call, bytes);
        return;
    }
    settle(call);
}

enum status call_push_up(struct call *call, struct view data, bool end)
{
    if (!call->chunks) {
        buffer_append_view(&call->up, data);
        return call->up.failed ? STATUS_INTERNAL : STATUS_OK;
    }
    enum status status = chunks_push(call->chunks, data, end, &call->up);
    call->up_owed += data.size;
    settle(call);
    if (status == STATUS_INVALID) {
        call->why = "the body is not what its headers say: malformed chunks, or another length";
    }
    return status;
}

enum status call_set_chunks(struct call *call, struct chunks *chunks)
{
    CLEANUP(buffer_free) struct buffer here = call->up;
    call->up = BUFFER_EMPTY;
    call->chunks = chunks;
    return call_push_up(call, buffer_view(&here), call->up_end);
}
