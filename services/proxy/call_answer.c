/* call_answer.c - the answer on its way to the gateway, gathered for a turn of the loop: a short one is
 * one record, head, body and end together. */
#include "services/proxy/tracing.h"

enum { DIRECT_MIN_BYTES = 2048 }; /* a smaller piece is rather copied than sent by itself */

static struct call *first_due;
static size_t begun;

static void set_due(struct call *call)
{
    if (!call->due) {
        call->due = true;
        call->next_due = first_due;
        call->at_due = &first_due;
        if (first_due) {
            first_due->at_due = &call->next_due;
        }
        first_due = call;
    }
}

static void unset_due(struct call *call)
{
    if (call->due) {
        call->due = false;
        *call->at_due = call->next_due;
        if (call->next_due) {
            call->next_due->at_due = call->at_due;
        }
    }
}

bool call_answer_flush(struct call *call, bool end)
{
    enum status (*send_it)(struct channel_peer *, const struct schema *, const void *) =
        end ? call_send_last : call_send;
    struct view piece = buffer_view(&call->piece);
    enum status status = STATUS_OK;
    if (call->head_due) {
        struct proxy_head head = {.call = call->id,
                                  .http = call->http,
                                  .headers = {call->head_count, buffer_view(&call->head_rows)},
                                  .body_size = call->body_size,
                                  .data = piece,
                                  .end = end};
        status = send_it(call->peer, &proxy_head_schema, &head);
    } else if (piece.size > 0 || end) {
        struct proxy_data data = {call->id, piece, end};
        status = send_it(call->peer, &proxy_data_schema, &data);
    }
    if (status != STATUS_OK) {
        return false;
    }
    call->head_due = false;
    buffer_free(&call->head_rows);
    buffer_free(&call->piece); /* a stream that is silent holds nothing */
    unset_due(call);
    return true;
}

size_t call_answers_begun(void)
{
    return begun;
}

void call_answer_free(struct call *call)
{
    begun -= call->http > 0;
    unset_due(call);
    buffer_free(&call->head_rows);
    buffer_free(&call->piece);
}

/* What cannot be sent (the gateway is stuck) stays for a later turn. */
void call_answers_flush(void *arg)
{
    (void)arg;
    call_sends_flush();
    for (struct call *call = first_due, *next; call; call = next) {
        next = call->next_due;
        (void)call_answer_flush(call, false);
    }
}

enum status call_head(struct call *call, unsigned http, struct list headers, uint64_t body_size)
{
    buffer_append_view(&call->head_rows, headers.rows);
    if (call->head_rows.failed) {
        return STATUS_INTERNAL;
    }
    call->head_count = headers.count;
    begun += call->http == 0 && http > 0;
    call->http = http;
    call->body_size = body_size;
    call->head_due = true;
    if (call->trace) {
        tracing_head(call);
    }
    set_due(call);
    return STATUS_OK;
}

/* A large piece that nothing is before goes into the message without a copy between. */
static size_t take_piece(struct call *call, struct view data)
{
    size_t room = CHUNK_MAX - call->piece.size;
    size_t size = data.size > room ? room : data.size;
    size = size > call->credit ? (size_t)call->credit : size;
    if (call->head_due || call->piece.size > 0 || size < DIRECT_MIN_BYTES) {
        buffer_append(&call->piece, data.data, size);
        set_due(call);
        return call->piece.failed ? 0 : size;
    }
    struct proxy_data message = {call->id, view_of(data.data, size), false};
    return call_send(call->peer, &proxy_data_schema, &message) == STATUS_OK ? size : 0;
}

size_t call_data(struct call *call, struct view data)
{
    size_t taken = 0;
    while (taken < data.size && call->credit > 0) {
        if (call->piece.size == CHUNK_MAX && !call_answer_flush(call, false)) {
            break;
        }
        size_t size = take_piece(call, view_of(data.data + taken, data.size - taken));
        if (size == 0) {
            break;
        }
        taken += size;
        call->credit -= size;
        call->down_bytes += size;
    }
    return taken;
}
