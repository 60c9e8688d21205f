/* transfer.c - what every upstream call has in common, however it is carried: the body that goes up,
 * the answer that comes down against credit, the deadlines, and the one end. */
#include "services/proxy/transfer_private.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "services/proxy/connection.h"
#include "services/proxy/curl_loop.h"
#include "services/proxy/spare.h"
#include "services/proxy/tracing.h"

enum { SWEEP_MS = 250 };

static struct spares spare_transfers = {.size = sizeof(struct transfer)};

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

bool transfer_look(struct transfer *transfer, struct view *ret_piece)
{
    const struct call *call = transfer->call;
    struct view here = call_up(call);
    *ret_piece = view_of(here.data + transfer->up_sent, here.size - transfer->up_sent);
    transfer->reading_paused = ret_piece->size == 0 && !call->up_end;
    return !transfer->reading_paused;
}

void transfer_pulled(struct transfer *transfer, size_t size)
{
    transfer->active_ms = clock_mono_ms();
    if (transfer->keep_up) {
        transfer->up_sent += size;
        return;
    }
    call_up_taken(transfer->call, size);
}

ssize_t transfer_pull(struct transfer *transfer, uint8_t *room, size_t size)
{
    struct view here;
    if (!transfer_look(transfer, &here)) {
        return -1;
    }
    size = here.size > size ? size : here.size;
    if (size > 0) {
        memcpy(room, here.data, size);
        transfer_pulled(transfer, size);
    }
    return (ssize_t)size;
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

/* Whether the call stands still because of its client, who has more to send or does not take what is
 * there.  One whose body the provider does not take cannot take the answer, either: that is not its
 * fault. */
static bool waits_for_client(const struct transfer *transfer)
{
    bool stuck = call_up(transfer->call).size > transfer->up_sent && !transfer->reading_paused;
    return transfer->reading_paused || (transfer->writing_paused && !stuck);
}

/* Before the head the row's first_byte_ms counts, after it idle_ms.  What waits although there is
 * credit was not taken because the gateway's queue was full: no credit will come for it. */
static void sweep(void *arg)
{
    uint64_t now = clock_mono_ms();
    (void)arg;
    for (struct transfer *transfer = transfers.first, *next; transfer; transfer = next) {
        const struct provider *provider = transfer->call->provider;
        uint64_t limit = transfer->call->http ? provider->idle_ms : provider->first_byte_ms;
        next = transfer->next;
        if ((transfer->writing_paused || transfer->finished) && transfer->call->credit > 0) {
            transfer_credit_arrived(transfer); /* may end it */
        } else if (!waits_for_client(transfer) && now - transfer->active_ms > limit) {
            call_end(transfer->call, STATUS_TIMEOUT,
                     transfer->writing_paused
                         ? "the provider stopped reading the request before it had all of it"
                         : "the provider did not answer in time");
        }
    }
}

/* ---- starting and dropping ---- */

enum status transfer_start(struct call *call, const struct proxy_call *message,
                           struct list credentials)
{
    struct transfer *transfer = spare_take(&spare_transfers);
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
                                       buffer_view(&call->up), call->trace, &transfer->request,
                                       &call->why);
    if (status == STATUS_OK && call->trace) {
        tracing_sent(call, &transfer->request);
    }
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
    spare_give(&spare_transfers, transfer);
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
