/* outcome.c - tells audit how each call ended.
 *
 * A record stays here until audit has it on disk; when audit comes back all that wait are sent
 * again (audit writes each request's outcome once). */
#include "services/proxy/proxy.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

enum {
    WAITING_MAX = 10000, /* records of about 1 KiB: 10 MiB at the worst */
    RESEND_MS = 3000,
};

struct outcome {
    uint64_t call;
    struct outcome *next;
    struct buffer record;
    uint64_t sent_ms;
};

static struct {
    struct channel *audit;
    struct outcome *first, **last;
    size_t count;
    uint64_t next_call;
} outcomes = {.last = &outcomes.first, .next_call = 1};

static void drop(struct outcome **at)
{
    struct outcome *outcome = *at;
    *at = outcome->next;
    if (!*at) {
        outcomes.last = at;
    }
    buffer_free(&outcome->record);
    free(outcome);
    outcomes.count--;
}

static void on_record(void *arg, struct channel_peer *peer, struct view record)
{
    struct audit_ack ack;
    (void)arg;
    (void)peer;
    if (proto_decode(&audit_ack_schema, record, &ack) != STATUS_OK) {
        log_warn("audit", "an acknowledgement that is none");
        return;
    }
    /* Anything but a full disk is final: the same record would be refused again. */
    if (status_from_wire((unsigned)ack.status) == STATUS_STORAGE_FULL) {
        return;
    }
    for (struct outcome **at = &outcomes.first; *at; at = &(*at)->next) {
        if ((*at)->call == ack.call) {
            drop(at);
            return;
        }
    }
}

/* Sends what was not sent since BEFORE_MS. */
static void send_since(uint64_t before_ms)
{
    struct channel_peer *peer = channel_server(outcomes.audit);
    for (struct outcome *outcome = outcomes.first; outcome; outcome = outcome->next) {
        if (outcome->sent_ms > before_ms) {
            continue;
        }
        if (channel_send(peer, buffer_view(&outcome->record)) != STATUS_OK) {
            return; /* the next `up` or tick sends them */
        }
        outcome->sent_ms = clock_mono_ms();
    }
}

static void tick(void *arg)
{
    (void)arg;
    send_since(clock_mono_ms() - RESEND_MS);
}

static void on_up(void *arg, struct channel_peer *peer)
{
    (void)arg;
    (void)peer;
    send_since(clock_mono_ms());
}

static const struct channel_events events = {on_record, on_up, NULL};

enum status outcomes_open(struct loop *loop, const char *endpoint)
{
    if (loop_every(loop, RESEND_MS, tick, NULL) < 0) {
        return STATUS_INTERNAL;
    }
    return channel_connect(loop, endpoint, "audit", &events, NULL, &outcomes.audit);
}

void outcomes_close(void)
{
    channel_close(&outcomes.audit);
    while (outcomes.first) {
        drop(&outcomes.first);
    }
}

bool outcomes_accepting(void)
{
    return outcomes.count < WAITING_MAX;
}

size_t outcomes_waiting(void)
{
    return outcomes.count;
}

static enum status encode(const struct call *call, enum status status, struct outcome *outcome)
{
    struct audit_record record = {
        .call = outcome->call,
        .kind = AUDIT_OUTCOME,
        .action = VIEW("call"),
        .request = view_text(call->request),
        .tenant = view_text(call->tenant),
        .agent = view_text(call->agent),
        .token = view_text(call->token),
        .provider = view_text(call->provider->name),
        .method = view_text(call->method),
        .path = view_text(call->path),
        .decision = VIEW("allow"),
        .reason = status == STATUS_OK ? VIEW("") : view_text(status_name(status)),
        .status = call->http ? call->http : AUDIT_NONE,
        .bytes_in = call->up_bytes,
        .bytes_out = call->down_bytes,
        .duration_ms = clock_mono_ms() - call->started_ms,
        .client = view_text(call->client),
    };
    return proto_encode(&audit_record_schema, &record, &outcome->record);
}

void outcome_record(const struct call *call, enum status status)
{
    struct outcome *outcome = calloc(1, sizeof *outcome);
    if (!outcome) {
        log_error("outcome", "no memory for the outcome of %s", call->request);
        return;
    }
    outcome->call = outcomes.next_call++;
    if (encode(call, status, outcome) != STATUS_OK) {
        log_error("outcome", "cannot encode the outcome of %s", call->request);
        buffer_free(&outcome->record);
        free(outcome);
        return;
    }
    *outcomes.last = outcome;
    outcomes.last = &outcome->next;
    outcomes.count++;
    if (channel_send(channel_server(outcomes.audit), buffer_view(&outcome->record)) == STATUS_OK) {
        outcome->sent_ms = clock_mono_ms();
    } /* else it waits here until audit is up */
}
