/* call_body.c - the request body between its arrival and `up`, and the credit for it.
 *
 * As in the gateway, a large body that its receiver takes as fast as it comes gets a wider window,
 * and all of those together stay within a limit. */
#include "services/proxy/chunks.h"
#include "services/proxy/proxy.h"

enum { LARGE_BYTES = 4 * STREAM_WINDOW_BYTES };

static size_t wide_bytes; /* of all calls */

/* The piece that has just come, as far as it is not taken yet: before what does not go out at once is kept, the
 * carrier may use it where it was received.  Of one call, which has nothing in `up` meanwhile. */
static struct {
    struct call *call; /* NULL: none */
    struct view piece;
} lent;

static size_t window(const struct call *call)
{
    return STREAM_WINDOW_BYTES + call->wide;
}

static void widen(struct call *call)
{
    if (call->wide == 0) {
        call->wide = wide_window(wide_bytes);
        wide_bytes += call->wide;
        call->up_owed += call->wide;
    }
}

void call_up_free(struct call *call)
{
    wide_bytes -= call->wide;
    call->wide = 0;
    lent.call = lent.call == call ? NULL : lent.call;
    buffer_free(&call->up);
}

struct view call_up(const struct call *call)
{
    return lent.call == call ? lent.piece
                             : view_of(call->up.data + call->up_read, call->up.size - call->up_read);
}

/* A quarter of the window at a time: the gateway has the rest meanwhile, or it is here.  Signing
 * chunks anew changes the body's size, so there credit follows what came, while `up` has room. */
static void settle(struct call *call)
{
    bool room = !call->chunks || call_up(call).size < window(call);
    if (room && call->up_owed >= window(call) / 4) {
        call_want(call, call->up_owed);
        call->up_owed = 0;
    }
}

void call_up_taken(struct call *call, size_t bytes)
{
    if (lent.call == call) {
        lent.piece = view_of(lent.piece.data + bytes, lent.piece.size - bytes);
    } else {
        call->up_read += bytes;
    }
    call->up_owed += call->chunks ? 0 : bytes;
    if (call_up(call).size == 0) {
        call->up_read = 0;
        buffer_clear(&call->up);
        /* When the gateway has no credit left either, the window is what it waits for. */
        if (call->up_bytes >= LARGE_BYTES && call->up_credit < STREAM_WINDOW_BYTES / 4) {
            widen(call);
        }
    }
    settle(call);
}

/* What was read is moved out of the way only where the buffer would grow otherwise. */
static void make_room(struct call *call, size_t size)
{
    if (call->up_read > 0 && call->up.size + size > call->up.capacity) {
        buffer_consume(&call->up, call->up_read);
        call->up_read = 0;
    }
}

static enum status keep(struct call *call, struct view data)
{
    make_room(call, data.size);
    buffer_append_view(&call->up, data);
    return call->up.failed ? STATUS_INTERNAL : STATUS_OK;
}

void call_keep_lent(void)
{
    struct call *call = lent.call;
    lent.call = NULL;
    if (call && keep(call, lent.piece) != STATUS_OK) {
        call_end(call, STATUS_INTERNAL, status_text(STATUS_INTERNAL));
    }
}

enum status call_push_up(struct call *call, struct view data, bool end)
{
    if (!call->chunks && call->transfer && call->up.size == 0) {
        lent.call = call;
        lent.piece = data;
        return STATUS_OK;
    }
    if (!call->chunks) {
        return keep(call, data);
    }
    make_room(call, data.size + CHUNKS_DATA_BYTES);
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
