/* calls.c - the calls in flight, and the only door by which a gateway reaches them.
 *
 * PROXY_CALL alone creates a call, once per request id, and only with a grant that opens for this
 * request, target and process.  Whatever comes late for an ended call is dropped. */
#include "services/proxy/proxy.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/keyfile.h"
#include "common/log.h"
#include "services/proxy/chunks.h"
#include "services/proxy/hold.h"
#include "services/proxy/request.h"
#include "services/proxy/spare.h"
#include "services/proxy/tracing.h"

enum {
    GRANT_KEY_BYTES = 32,
    USED_SLOTS = 1 << 18, /* a few ids each at 20,000 calls a second */
    BUCKETS = 4096,      /* of calls in flight */
    CROSSING_MS = 500, /* from a gateway's choice of this proxy to the call: the vault's decision */
};

/* Request ids whose grant was used, until the grant has expired by itself. */
struct used {
    char request[ID_SIZE_MAX + 1];
    uint64_t until_ms;
    struct used *next;
};

static struct {
    struct loop *loop;
    struct channel *gateways;
    const struct providers *providers;
    struct secret *grant_key;
    struct call *buckets[BUCKETS];
    size_t count;
    struct used *used[USED_SLOTS];
    uint64_t drains_from_ms; /* 0: it takes calls */
    struct log_limit limit;
} calls;

/* Ids count up, so calls spread evenly. */
static struct call **bucket_of(uint64_t id)
{
    return &calls.buckets[id % BUCKETS];
}

/* Of REQUEST and TENANT where the record told them, both as its sender says. */
static void refuse_call(const char *what, struct view request, struct view tenant)
{
    uint64_t count;
    count_refusal(what);
    if (log_due(&calls.limit, &count)) {
        LOG_ABOUT(request, tenant);
        log_warn("refused", "%s (%llu times)", what, (unsigned long long)count);
    }
}

static void refuse(const char *what)
{
    refuse_call(what, VIEW(""), VIEW(""));
}

/* ---- single use ---- */

static size_t slot_of(struct view request)
{
    return token_crc32(request) % USED_SLOTS;
}

/* Remembers REQUEST until UNTIL_MS; false when it was there already. */
static bool use_once(struct view request, uint64_t until_ms, uint64_t now_ms)
{
    struct used **at = &calls.used[slot_of(request)];
    while (*at) {
        struct used *used = *at;
        if (view_is(request, used->request)) {
            return false;
        }
        if (used->until_ms < now_ms) {
            *at = used->next;
            free(used);
            continue;
        }
        at = &used->next;
    }
    struct used *used = calloc(1, sizeof *used);
    if (!used || !view_copy(request, used->request, sizeof used->request)) {
        free(used);
        return false;
    }
    used->until_ms = until_ms;
    *at = used;
    return true;
}

/* ---- messages to the gateway ---- */

static void send_end(struct channel_peer *peer, uint64_t id, enum status status,
                     const char *detail)
{
    struct proxy_end end = {id, status_to_wire(status), view_text(detail)};
    (void)call_send_last(peer, &proxy_end_schema, &end); /* but for want of memory it gets there */
}

void call_want(struct call *call, size_t bytes)
{
    struct proxy_want want = {call->id, bytes};
    call->up_credit += bytes;
    (void)call_send(call->peer, &proxy_want_schema, &want);
}

/* ---- the life of a call ---- */

static struct spares spare_calls = {.size = sizeof(struct call)};

static void call_free(struct call *call)
{
    for (struct call **at = bucket_of(call->id); *at; at = &(*at)->next) {
        if (*at == call) {
            *at = call->next;
            calls.count--;
            break;
        }
    }
    call_answer_free(call);
    hold_free(&call->held);
    tracing_free(&call->trace);
    transfer_free(&call->transfer);
    chunks_free(&call->chunks);
    call_up_free(call);
    free(call->path);
    free(call->public_url);
    spare_give(&spare_calls, call);
}

void call_end(struct call *call, enum status status, const char *detail)
{
    if (status != STATUS_OK && status_http(status) >= 500) {
        outcome_failed(call, status, detail);
    }
    outcome_record(call, status);
    bool unseen = status != STATUS_OK && call->head_due; /* the client gets an error instead */
    if (status != STATUS_CANCELLED && !unseen) {
        (void)call_answer_flush(call, status == STATUS_OK); /* fails only where an end with an error follows */
    }
    if (status != STATUS_OK && status != STATUS_CANCELLED) {
        send_end(call->peer, call->id, status, detail);
    }
    call_free(call);
}

static struct call *call_find(struct channel_peer *peer, uint64_t id)
{
    for (struct call *call = *bucket_of(id); call; call = call->next) {
        if (call->id == id && call->peer == peer) {
            return call;
        }
    }
    return NULL;
}

static bool copy_names(struct call *call, const struct proxy_call *message)
{
    struct view path = message->target;
    const uint8_t *query = path.size ? memchr(path.data, '?', path.size) : NULL;
    path.size = query ? (size_t)(query - path.data) : path.size;
    call->path = view_dup(path);
    call->public_url = view_dup(message->public_url);
    return call->path && call->public_url &&
           view_copy(message->request, call->request, sizeof call->request) &&
           view_copy(message->tenant, call->tenant, sizeof call->tenant) &&
           view_copy(message->token_id, call->token, sizeof call->token) &&
           view_copy(message->agent, call->agent, sizeof call->agent) &&
           view_copy(message->client, call->client, sizeof call->client) &&
           view_copy(message->method, call->method, sizeof call->method);
}

static struct call *call_new(struct channel_peer *peer, const struct proxy_call *message,
                             const struct provider *provider)
{
    struct call *call = spare_take(&spare_calls);
    if (!call) {
        return NULL;
    }
    *call = (struct call){.id = message->call,
                          .peer = peer,
                          .provider = provider,
                          .credit = STREAM_WINDOW_BYTES,
                          .up_credit = STREAM_WINDOW_BYTES,
                          .up_end = message->end,
                          .up_bytes = message->body.size,
                          .shard = (unsigned)message->shard,
                          .started_ms = clock_mono_ms(),
                          .trace = tracing_of(peer, message->call),
                          .next = *bucket_of(message->call)};
    *bucket_of(message->call) = call;
    calls.count++;
    buffer_append_view(&call->up, message->body);
    if (!copy_names(call, message) || call->up.failed) {
        call_free(call);
        return NULL;
    }
    return call;
}

/* Of the headers to be sent those that the vault judged, or would have; none needs no memory. */
static enum status judged_headers(const struct provider *provider, struct list headers,
                                  struct buffer *ret_rows)
{
    struct header_row row;
    struct list judged = {0, {NULL, 0}};
    enum status status = STATUS_OK;
    while (provider->judges_headers && status == STATUS_OK &&
           proto_list_next(&header_row_schema, &headers, &row)) {
        if (provider_judges_header(provider, row.name)) {
            status = proto_list_add(&header_row_schema, &row, ret_rows, &judged);
        }
    }
    return status;
}

static enum status open_grant(const struct proxy_call *message, const struct provider *provider,
                              struct secret **ret_content, struct list *ret_credentials)
{
    CLEANUP(buffer_free) struct buffer judged = BUFFER_EMPTY;
    uint64_t now = clock_wall_ms();
    enum status status = judged_headers(provider, message->headers, &judged);
    if (status != STATUS_OK) {
        return status;
    }
    struct grant_binding binding = {
        .request = message->request,
        .tenant = message->tenant,
        .token_id = message->token_id,
        .agent = message->agent,
        .provider = view_text(provider->name),
        .proxy = channel_own_instance(),
        .method = message->method,
        .target = message->target,
        .headers = buffer_view(&judged),
        .expires_ms = message->expires_ms,
        .shard = message->shard,
    };
    status = grant_open(secret_view(calls.grant_key), &binding, message->grant, now, ret_content,
                        ret_credentials);
    if (status == STATUS_OK && !use_once(message->request, message->expires_ms + 1000, now)) {
        secret_free(ret_content);
        return STATUS_DENIED;
    }
    return status;
}

static void call_fail(struct call *call, enum status status)
{
    call_end(call, status, call->why ? call->why : status_text(status));
}

static void on_call(struct channel_peer *peer, struct view record)
{
    CLEANUP(secret_free) struct secret *content = NULL;
    struct list credentials;
    struct proxy_call message;
    if (proto_decode(&proxy_call_schema, record, &message) != STATUS_OK ||
        call_find(peer, message.call)) {
        refuse("a call that is malformed or running already");
        return;
    }
    if (calls.drains_from_ms > 0 && clock_mono_ms() >= calls.drains_from_ms) {
        send_end(peer, message.call, STATUS_UNAVAILABLE, "the proxy is stopping");
        return;
    }
    const struct provider *provider = providers_find(calls.providers, message.provider);
    if (!provider || open_grant(&message, provider, &content, &credentials) != STATUS_OK) {
        refuse_call("a grant that does not open", message.request, message.tenant);
        send_end(peer, message.call, STATUS_DENIED, "the grant is not valid here");
        return;
    }
    if (!outcomes_knows(message.shard)) {
        send_end(peer, message.call, STATUS_UNAVAILABLE, "the proxy does not know the audit daemon of this account");
        return;
    }
    struct call *call = call_new(peer, &message, provider);
    if (!call) {
        send_end(peer, message.call, STATUS_UNAVAILABLE, "the proxy cannot take more calls");
        return;
    }
    if (!outcomes_accepting(call->shard)) {
        call_end(call, STATUS_UNAVAILABLE, "the proxy cannot take more calls");
        return;
    }
    bool hold = !message.end && request_needs_body(provider, &message);
    enum status status = hold ? hold_begin(call, record, &content, credentials)
                              : transfer_start(call, &message, credentials);
    if (status != STATUS_OK) {
        call_fail(call, status);
    }
}

static void on_body(struct channel_peer *peer, struct view record)
{
    struct proxy_body message;
    if (proto_decode(&proxy_body_schema, record, &message) != STATUS_OK) {
        refuse("a malformed body");
        return;
    }
    struct call *call = call_find(peer, message.call);
    if (!call || call->up_end) {
        return;
    }
    if (message.data.size > call->up_credit) {
        call_end(call, STATUS_PROTOCOL, "the body came without credit");
        return;
    }
    call->up_credit -= message.data.size;
    call->up_bytes += message.data.size;
    call->up_end = message.end;
    enum status status = call->held ? hold_push(call, message.data, message.end)
                                    : call_push_up(call, message.data, message.end);
    if (status != STATUS_OK) {
        call_fail(call, status);
        return;
    }
    if (call->transfer) {
        transfer_body_arrived(call->transfer); /* may end it */
    }
    call_keep_lent();
}

static void on_credit(struct channel_peer *peer, struct view record)
{
    struct proxy_credit message;
    if (proto_decode(&proxy_credit_schema, record, &message) != STATUS_OK) {
        refuse("a malformed credit");
        return;
    }
    struct call *call = call_find(peer, message.call);
    if (call) {
        call->credit += message.bytes;
        call->credit = call->credit > WINDOW_MAX_BYTES ? WINDOW_MAX_BYTES : call->credit;
        if (call->transfer) {
            transfer_credit_arrived(call->transfer);
        }
    }
}

static void on_cancel(struct channel_peer *peer, struct view record)
{
    struct proxy_cancel message;
    if (proto_decode(&proxy_cancel_schema, record, &message) != STATUS_OK) {
        refuse("a malformed cancel");
        return;
    }
    struct call *call = call_find(peer, message.call);
    if (call) { /* a client that has read all that was announced may leave before our end came */
        bool whole = call->http && call->down_bytes >= call->body_size;
        outcome_record(call, whole ? STATUS_OK : STATUS_CANCELLED);
        call_free(call);
    }
}

static void on_trace(struct channel_peer *peer, struct view record)
{
    bool good = proto_id(record) == TRACE_CALL ? tracing_take_call(peer, record)
                                               : tracing_take_visit(record);
    if (!good) {
        refuse("a malformed trace");
    }
}

static const struct {
    unsigned id;
    void (*handle)(struct channel_peer *peer, struct view record);
} doors[] = {
    {PROXY_CALL, on_call},
    {PROXY_BODY, on_body},
    {PROXY_CREDIT, on_credit},
    {PROXY_CANCEL, on_cancel},
    {TRACE_CALL, on_trace},
    {TRACE_VISIT, on_trace},
};

static void on_record(void *arg, struct channel_peer *peer, struct view record)
{
    unsigned id = proto_id(record);
    (void)arg;
    for (size_t i = 0; i < sizeof doors / sizeof doors[0]; i++) {
        if (doors[i].id == id) {
            doors[i].handle(peer, record);
            return;
        }
    }
    refuse("a message that gateways may not send");
}

static void on_down(void *arg, struct channel_peer *peer)
{
    (void)arg;
    call_sends_forget(peer);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct call *call = calls.buckets[i], *next; call; call = next) {
            next = call->next;
            if (call->peer == peer) {
                call_end(call, STATUS_CANCELLED, "");
            }
        }
    }
}

static const struct channel_events events = {on_record, NULL, on_down};

enum status calls_open(struct loop *loop, const char *endpoint, const char *key_dir,
                       const struct providers *providers)
{
    calls.providers = providers;
    enum status status = keyfile_read(key_dir, "grant.key", GRANT_KEY_BYTES, &calls.grant_key);
    if (status != STATUS_OK) {
        return status;
    }
    status = loop_turn_end(loop, call_answers_flush, NULL);
    if (status != STATUS_OK) {
        return status;
    }
    calls.loop = loop;
    return channel_listen(loop, endpoint, "gateway", &events, NULL, &calls.gateways);
}

void calls_close(void)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        while (calls.buckets[i]) {
            call_end(calls.buckets[i], STATUS_UNAVAILABLE, "the proxy is stopping");
        }
    }
    if (calls.loop) {
        loop_unturn_end(calls.loop, call_answers_flush, NULL);
    }
    call_sends_flush();
    call_sends_forget(NULL);
    channel_close(&calls.gateways);
    secret_free(&calls.grant_key);
    for (size_t i = 0; i < USED_SLOTS; i++) {
        while (calls.used[i]) {
            struct used *used = calls.used[i];
            calls.used[i] = used->next;
            free(used);
        }
    }
}

void calls_drain(void)
{
    struct proxy_leaving message = {calls.count};
    struct channel_peer *peer = NULL;
    calls.drains_from_ms = clock_mono_ms() + CROSSING_MS;
    while ((peer = channel_next_peer(calls.gateways, peer))) {
        (void)call_send(peer, &proxy_leaving_schema, &message); /* who is gone need not know */
    }
}

bool calls_drained(void)
{
    return calls.count == 0 && !call_sends_wait() && clock_mono_ms() >= calls.drains_from_ms;
}

void calls_each(uint64_t before_ms, unsigned shard, void (*fn)(void *arg, const char *request), void *arg)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (const struct call *call = calls.buckets[i]; call; call = call->next) {
            if (call->started_ms < before_ms && call->shard == shard) {
                fn(arg, call->request);
            }
        }
    }
}

size_t calls_in_flight(void)
{
    return calls.count;
}

bool calls_ready(void)
{
    return calls.drains_from_ms == 0 && outcomes_ready();
}
