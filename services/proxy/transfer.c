/* transfer.c - what every upstream call has in common, however it is carried: the body that goes up,
 * the answer that comes down against credit, the deadlines, and the one end. */
#include "services/proxy/transfer_private.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "services/proxy/connection.h"
#include "services/proxy/curl_loop.h"

enum { SWEEP_MS = 250 };

static struct {
    struct loop *loop;
    int sweep_timer;
    struct transfer *first;
} transfers = {.sweep_timer = -1};

/* ---- the end ---- */

/* Ends the call once all that came has gone out. */
static void end_if_done(struct transfer *transfer)
{
    if (transfer->finished &&
        (transfer->status != STATUS_OK || answer_held(transfer->answer) == 0)) {
        call_end(transfer->call, transfer->status, transfer->detail);
    }
}

void transfer_finish(struct transfer *transfer, enum status status, const char *detail)
{
    transfer->finished = true;
    if (status == STATUS_OK && answer_end(transfer->answer) != STATUS_OK) {
        status = STATUS_UPSTREAM;
        detail = status_text(STATUS_UPSTREAM);
    }
    if (status == STATUS_OK && transfer->call->http == 0) {
        status = STATUS_UPSTREAM;
        detail = "the provider ended the connection without an answer";
    }
    transfer->status = status;
    transfer->detail = detail;
    end_if_done(transfer);
}

/* ---- the answer ---- */

enum status transfer_header(struct transfer *transfer, struct view line)
{
    transfer->active_ms = clock_mono_ms();
    return answer_header(transfer->answer, line);
}

enum taken transfer_take(struct transfer *transfer, struct view data)
{
    transfer->active_ms = clock_mono_ms();
    if (answer_held(transfer->answer) > 0 || transfer->call->credit == 0) {
        transfer->writing_paused = true;
        return TAKEN_NOT;
    }
    return answer_body(transfer->answer, data) == STATUS_OK ? TAKEN : TAKEN_FAILED;
}

void transfer_credit_arrived(struct transfer *transfer)
{
    answer_flush(transfer->answer);
    if (transfer->finished) {
        end_if_done(transfer);
        return;
    }
    if (transfer->writing_paused && answer_held(transfer->answer) == 0 &&
        transfer->call->credit > 0) {
        transfer->writing_paused = false;
        transfer->active_ms = clock_mono_ms();
        transfer->carrier->credit(transfer);
    }
}

/* ---- the request's body ---- */

ssize_t transfer_pull(struct transfer *transfer, uint8_t *room, size_t size)
{
    struct call *call = transfer->call;
    size_t left = call->up.size - transfer->up_sent;
    transfer->active_ms = clock_mono_ms();
    if (left == 0 && !call->up_end) {
        transfer->reading_paused = true;
        return -1;
    }
    left = left > size ? size : left;
    if (left == 0) {
        return 0;
    }
    memcpy(room, call->up.data + transfer->up_sent, left);
    if (transfer->keep_up) {
        transfer->up_sent += left;
        return (ssize_t)left;
    }
    buffer_consume(&call->up, left);
    call_up_taken(call, left);
    return (ssize_t)left;
}

bool transfer_rewind(struct transfer *transfer)
{
    transfer->up_sent = 0;
    return transfer->keep_up;
}

void transfer_body_arrived(struct transfer *transfer)
{
    if (transfer->reading_paused) {
        transfer->reading_paused = false;
        transfer->active_ms = clock_mono_ms();
        transfer->carrier->body(transfer);
    }
}

/* ---- deadlines ---- */

/* Before the head the row's first_byte_ms counts, after it idle_ms; a client that does not take
 * what is there is not the provider's silence. */
static void sweep(void *arg)
{
    uint64_t now = clock_mono_ms();
    (void)arg;
    for (struct transfer *transfer = transfers.first, *next; transfer; transfer = next) {
        const struct provider *provider = transfer->call->provider;
        uint64_t limit = transfer->call->http ? provider->idle_ms : provider->first_byte_ms;
        next = transfer->next;
        if (!transfer->writing_paused && !transfer->reading_paused &&
            now - transfer->active_ms > limit) {
            call_end(transfer->call, STATUS_TIMEOUT, "the provider did not answer in time");
        }
    }
}

/* ---- starting and dropping ---- */

enum status transfer_start(struct call *call, const struct proxy_call *message,
                           struct list credentials)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer) {
        return STATUS_INTERNAL;
    }
    call->transfer = transfer;
    *transfer = (struct transfer){.call = call,
                                  .active_ms = clock_mono_ms(),
                                  .next = transfers.first,
                                  .at = &transfers.first};
    if (transfer->next) {
        transfer->next->at = &transfer->next;
    }
    transfers.first = transfer;
    enum status status = request_build(call->provider, message, credentials,
                                       buffer_view(&call->up), &transfer->request, &call->why);
    if (status == STATUS_OK && transfer->request.chunks) {
        status = call_set_chunks(call, TAKE(transfer->request.chunks));
    }
    if (status != STATUS_OK) {
        return status;
    }
    transfer->answer = answer_new(call, credentials, transfer->request.untouched);
    if (!transfer->answer) {
        return STATUS_INTERNAL;
    }
    transfer->carrier = origin_carrier(transfer);
    /* What fits in the window needs no credit, so it can stay here until the answer comes. */
    transfer->keep_up = message->end || (!call->chunks && message->body_size <= STREAM_WINDOW_BYTES);
    struct proxy_call sent = *message;
    sent.body_size = transfer->request.body_size; /* chunks that are signed anew have another */
    return transfer->carrier->start(transfer, &sent);
}

void transfer_free(struct transfer **transfer_at)
{
    struct transfer *transfer = *transfer_at;
    if (!transfer) {
        return;
    }
    *transfer->at = transfer->next;
    if (transfer->next) {
        transfer->next->at = transfer->at;
    }
    if (transfer->state) {
        transfer->carrier->drop(transfer);
    }
    answer_free(&transfer->answer);
    request_wipe(&transfer->request);
    free(transfer);
    *transfer_at = NULL;
}

enum status transfers_open(struct loop *loop, const char *ca_file)
{
    transfers.loop = loop;
    transfers.sweep_timer = loop_every(loop, SWEEP_MS, sweep, NULL);
    enum status status = transfers.sweep_timer < 0 ? STATUS_INTERNAL : curl_loop_open(loop);
    if (status == STATUS_OK) {
        status = multi_open(ca_file);
    }
    return status == STATUS_OK ? connections_open(loop, ca_file) : status;
}

void transfers_close(void)
{
    if (transfers.loop) {
        loop_unevery(transfers.loop, transfers.sweep_timer);
        connections_close();
        curl_loop_close();
        origins_forget();
        transfers.loop = NULL;
    }
}
