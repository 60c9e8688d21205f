/* outcome.c - tells audit how each call ended.
 *
 * A record stays here until audit has it on disk; when audit comes back all that wait are sent
 * again (audit writes each request's outcome once).  There may be several audit daemons: a call's outcome goes
 * to the one that has its intent, which the grant names. */
#include "services/proxy/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "services/proxy/spare.h"
#include "services/proxy/tracing.h"

enum {
    WAITING_MAX = 10000, /* for one daemon; records of about 1 KiB: 10 MiB at the worst */
    RECORD_BYTES = 512, /* that most records need */
    RESEND_MS = 3000,
    GATHER_MS = 5,       /* so long an outcome may wait for others: its call is over, and it is kept anyway */
    GATHER_MAX = 64,
    LONG_MS = 10000, /* calls that run longer are claimed; audit waits several times that */
};

struct outcome {
    uint64_t call;
    struct outcome *next;
    struct buffer record;
    uint64_t sent_ms;
    char request[ID_SIZE_MAX + 1];
};

static struct spares spare_outcomes = {.size = sizeof(struct outcome)};

/* One audit daemon. */
struct shard {
    unsigned number;
    const char *endpoint;
    struct channel *audit;
    struct outcome *first, **last;
    size_t count;
    struct outcome *fresh; /* the first of those at the end of the list that were not sent yet, or NULL */
    size_t fresh_count;
    struct log_limit wrong;
};

static struct {
    struct shard shards[AUDIT_SHARDS_MAX];
    unsigned count;
    struct loop *loop;
    int gather_timer; /* runs while some shard has fresh ones; else -1 */
    uint64_t next_call;
    struct tally by_http, by_status, refusals;
    struct log_limit failures;
    struct histogram took;
    struct log_limit unknown;
} outcomes = {.gather_timer = -1, .next_call = 1};

static void drop(struct shard *shard, struct outcome **at)
{
    struct outcome *outcome = *at;
    *at = outcome->next;
    if (!*at) {
        shard->last = at;
    }
    if (shard->fresh == outcome) { /* acknowledged unsent: not by a daemon of ours */
        shard->fresh = outcome->next;
    }
    buffer_free(&outcome->record);
    spare_give(&spare_outcomes, outcome);
    shard->count--;
}

/* Whether the daemon could take the record later.  Anything else is final: the same record would be refused
 * again. */
static bool may_come_later(struct shard *shard, enum status status)
{
    uint64_t count;
    if (status == STATUS_MISDIRECTED && log_due(&shard->wrong, &count)) {
        log_error("audit", "what answers at %s says that it is not audit-%u: the order of --audit, or that "
                           "daemon's --shard, is wrong (%llu times)",
                  shard->endpoint, shard->number, (unsigned long long)count);
    }
    return status == STATUS_MISDIRECTED || status == STATUS_STORAGE_FULL;
}

static void on_record(void *arg, struct channel_peer *peer, struct view record)
{
    struct shard *shard = arg;
    struct audit_ack ack;
    (void)peer;
    if (proto_decode(&audit_ack_schema, record, &ack) != STATUS_OK) {
        log_warn("audit", "an acknowledgement that is none");
        return;
    }
    enum status status = status_from_wire((unsigned)ack.status);
    if (may_come_later(shard, status)) {
        return;
    }
    for (struct outcome **at = &shard->first; *at; at = &(*at)->next) {
        if ((*at)->call == ack.call) {
            if (status != STATUS_OK) {
                LOG_ABOUT(log_id((*at)->request), VIEW(""));
                log_warn("audit", "an outcome was refused: %s", status_name(status));
            }
            drop(shard, at);
            return;
        }
    }
}

/* Sends what was not sent since BEFORE_MS. */
static void send_since(struct shard *shard, uint64_t before_ms)
{
    struct channel_peer *peer = channel_server(shard->audit);
    for (struct outcome *outcome = shard->first; outcome; outcome = outcome->next) {
        if (outcome->sent_ms > before_ms) {
            continue;
        }
        if (channel_send(peer, buffer_view(&outcome->record)) != STATUS_OK) {
            return; /* the next `up` or tick sends them */
        }
        outcome->sent_ms = clock_mono_ms();
    }
}

/* Those that cannot be sent now are sent by the next `up` or tick, as those are that got lost. */
static void send_fresh(struct shard *shard)
{
    struct channel_peer *peer = channel_server(shard->audit);
    for (struct outcome *outcome = shard->fresh; outcome; outcome = outcome->next) {
        if (outcome->sent_ms > 0) {
            continue; /* with all others, when audit came back */
        }
        if (channel_send(peer, buffer_view(&outcome->record)) != STATUS_OK) {
            break;
        }
        outcome->sent_ms = clock_mono_ms();
    }
    shard->fresh = NULL;
    shard->fresh_count = 0;
}

static void gathered(void *arg)
{
    (void)arg;
    outcomes.gather_timer = -1;
    for (unsigned i = 0; i < outcomes.count; i++) {
        send_fresh(&outcomes.shards[i]);
    }
}

/* The last of the list waits for company: frames and wake-ups cost audit more than records do. */
static void gather(struct shard *shard, struct outcome *outcome)
{
    shard->fresh = shard->fresh ? shard->fresh : outcome;
    if (outcomes.gather_timer < 0) {
        outcomes.gather_timer = loop_once(outcomes.loop, GATHER_MS, gathered, NULL);
    }
    if (++shard->fresh_count >= GATHER_MAX || outcomes.gather_timer < 0) {
        send_fresh(shard);
    }
}

/* The list that is being made; sent whenever it is full. */
struct claims {
    const struct shard *shard;
    struct buffer rows;
    struct audit_running message;
};

static void send_claims(struct claims *claims)
{
    CLEANUP(buffer_free) struct buffer out = BUFFER_EMPTY;
    claims->message.requests.rows = buffer_view(&claims->rows);
    if (claims->message.requests.count > 0 &&
        proto_encode(&audit_running_schema, &claims->message, &out) == STATUS_OK) {
        /* When audit is down it is told again a few seconds later. */
        (void)!channel_send(channel_server(claims->shard->audit), buffer_view(&out));
    }
    buffer_clear(&claims->rows);
    claims->message.requests.count = 0;
}

static void claim(void *arg, const char *request)
{
    struct claims *claims = arg;
    struct name_row row = {view_text(request)};
    if (proto_list_add(&name_row_schema, &row, &claims->rows, &claims->message.requests) !=
        STATUS_OK) {
        return; /* no memory; the next tick tries again */
    }
    if (claims->message.requests.count == AUDIT_RUNNING_MAX) {
        send_claims(claims);
    }
}

static void claim_all(const struct shard *shard)
{
    struct claims claims = {.shard = shard, .rows = BUFFER_EMPTY, .message = {.shard = shard->number}};
    calls_each(clock_mono_ms() - LONG_MS, shard->number, claim, &claims);
    for (const struct outcome *outcome = shard->first; outcome; outcome = outcome->next) {
        claim(&claims, outcome->request);
    }
    send_claims(&claims);
    buffer_free(&claims.rows);
}

static void tick(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < outcomes.count; i++) {
        claim_all(&outcomes.shards[i]);
        send_since(&outcomes.shards[i], clock_mono_ms() - RESEND_MS);
    }
}

static void on_up(void *arg, struct channel_peer *peer)
{
    (void)peer;
    send_since(arg, clock_mono_ms());
}

static const struct channel_events events = {on_record, on_up, NULL};

static enum status open_shard(struct loop *loop, const char *endpoint)
{
    struct shard *shard = &outcomes.shards[outcomes.count];
    for (unsigned i = 0; i < outcomes.count; i++) {
        if (strcmp(outcomes.shards[i].endpoint, endpoint) == 0) {
            log_error("audit", "--audit names %s twice", endpoint);
            return STATUS_INVALID;
        }
    }
    *shard = (struct shard){.number = outcomes.count++, .endpoint = endpoint, .last = &shard->first};
    return channel_connect(loop, endpoint, "audit", &events, shard, &shard->audit);
}

enum status outcomes_open(struct loop *loop, const struct option_list *endpoints)
{
    if (loop_every(loop, RESEND_MS, tick, NULL) < 0) {
        return STATUS_INTERNAL;
    }
    outcomes.loop = loop;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < endpoints->count && status == STATUS_OK; i++) {
        status = open_shard(loop, endpoints->values[i]);
    }
    return status;
}

void outcomes_close(void)
{
    if (outcomes.gather_timer >= 0) {
        loop_unevery(outcomes.loop, outcomes.gather_timer);
        gathered(NULL); /* those of calls that ended with the daemon; the channel sends as it closes */
    }
    for (unsigned i = 0; i < outcomes.count; i++) {
        channel_close(&outcomes.shards[i].audit);
        while (outcomes.shards[i].first) {
            drop(&outcomes.shards[i], &outcomes.shards[i].first);
        }
    }
    outcomes.count = 0;
}

bool outcomes_knows(uint64_t shard)
{
    uint64_t count;
    if (shard >= outcomes.count && log_due(&outcomes.unknown, &count)) {
        log_error("audit", "a grant names audit-%u, and this proxy's --audit has %u: give the proxies the longer "
                           "list first (%llu times)",
                  (unsigned)shard, outcomes.count, (unsigned long long)count);
    }
    return shard < outcomes.count;
}

bool outcomes_accepting(unsigned shard)
{
    return outcomes.shards[shard].count < WAITING_MAX;
}

bool outcomes_ready(void)
{
    bool ready = false;
    for (unsigned i = 0; i < outcomes.count; i++) {
        ready = ready || outcomes_accepting(i);
    }
    return ready;
}

size_t outcomes_waiting(void)
{
    size_t waiting = 0;
    for (unsigned i = 0; i < outcomes.count; i++) {
        waiting += outcomes.shards[i].count;
    }
    return waiting;
}

static enum status encode(const struct call *call, enum status status, struct outcome *outcome)
{
    char reason[128];
    snprintf(reason, sizeof reason, "%s%s%s", status == STATUS_OK ? "" : status_name(status),
             status != STATUS_OK && call->scrubbed ? "; " : "",
             call->scrubbed ? "the key was taken out of the answer" : "");
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
        .reason = view_text(reason),
        .status = call->http ? call->http : AUDIT_NONE,
        .bytes_in = call->up_bytes,
        .bytes_out = call->down_bytes,
        .duration_ms = clock_mono_ms() - call->started_ms,
        .client = view_text(call->client),
        .shard = call->shard,
    };
    return proto_encode(&audit_record_schema, &record, &outcome->record);
}

static void count(const struct call *call, enum status status)
{
    tally_add(&outcomes.by_http, call->provider->name, metrics_http(call->http));
    tally_add(&outcomes.by_status, call->provider->name, status_name(status));
    histogram_add(&outcomes.took, (clock_mono_ms() - call->started_ms) * 1000);
}

void count_refusal(const char *what)
{
    tally_add(&outcomes.refusals, what, NULL);
}

void outcomes_metrics(struct buffer *text)
{
    metrics_tally(text, "seks_proxy_refusals_total", "reason", NULL, &outcomes.refusals);
    metrics_tally(text, "seks_upstream_answers_total", "provider", "code", &outcomes.by_http);
    metrics_tally(text, "seks_upstream_outcomes_total", "provider", "outcome", &outcomes.by_status);
    metrics_histogram(text, "seks_upstream_call_seconds", &outcomes.took);
}

/* The provider's name is the table's, DETAIL a sentence of ours or libcurl's. */
void outcome_failed(const struct call *call, enum status status, const char *detail)
{
    uint64_t count;
    if (log_due(&outcomes.failures, &count)) {
        LOG_ABOUT(log_id(call->request), log_id(call->tenant));
        log_warn("call", "%s: %s: %s (%llu calls failed since the last such line)",
                 call->provider->name, status_name(status), detail, (unsigned long long)count);
    }
}

void outcome_record(const struct call *call, enum status status)
{
    struct shard *shard = &outcomes.shards[call->shard];
    count(call, status);
    if (call->trace) {
        tracing_over(call, status);
    }
    struct outcome *outcome = spare_take(&spare_outcomes);
    if (!outcome) {
        LOG_ABOUT(log_id(call->request), log_id(call->tenant));
        log_error("outcome", "no memory for the outcome");
        return;
    }
    outcome->call = outcomes.next_call++;
    (void)buffer_room(&outcome->record, RECORD_BYTES); /* once, not doubling; encoding tells a failure */
    memcpy(outcome->request, call->request, sizeof outcome->request);
    if (encode(call, status, outcome) != STATUS_OK) {
        LOG_ABOUT(log_id(call->request), log_id(call->tenant));
        log_error("outcome", "cannot encode the outcome");
        buffer_free(&outcome->record);
        spare_give(&spare_outcomes, outcome);
        return;
    }
    *shard->last = outcome;
    shard->last = &outcome->next;
    shard->count++;
    gather(shard, outcome);
}
