/* exchange_ask.c - from a request to a running call: waits for a proxy, asks the vault, calls.
 *
 * The proxy is chosen first, since the grant is bound to it. */
#include <string.h>

#include "common/clock.h"
#include "services/gateway/collect.h"
#include "services/gateway/exchange_private.h"
#include "services/gateway/tracing.h"

struct header_copy {
    struct buffer rows;
    struct list list;
    bool failed;
};

static enum MHD_Result copy_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct header_copy *copy = arg;
    struct header_row row = {view_text(name), view_text(value ? value : "")};
    (void)kind;
    if (!credential_header(name)) {
        copy->failed = copy->failed || copy->list.count >= HEADERS_MAX ||
                       proto_list_add(&header_row_schema, &row, &copy->rows, &copy->list) !=
                           STATUS_OK;
    }
    return MHD_YES;
}

static enum status call_proxy(struct exchange *exchange, const struct vault_grant *grant)
{
    struct visit *visit = exchange->visit;
    static struct buffer rows; /* lent to each call */
    struct header_copy headers = {rows, {0, {NULL, 0}}, false};
    buffer_clear(&headers.rows);
    uint64_t body_size = visit->has_body ? visit->body_size : 0;
    if (exchange->collect) {
        headers.list = exchange->collect->headers;
        body_size = exchange->collect->body.size;
    } else {
        MHD_get_connection_values(visit->connection, MHD_HEADER_KIND, copy_header, &headers);
    }
    struct proxy_call message = {
        .call = exchange->call,
        .request = view_text(visit->request),
        .tenant = grant->tenant,
        .token_id = grant->token_id,
        .agent = grant->agent,
        .provider = grant->provider,
        .expires_ms = grant->expires_ms,
        .shard = grant->shard,
        .grant = grant->grant,
        .method = view_text(exchange->method),
        .target = buffer_view(&exchange->target),
        .public_url = view_text(config.public_url),
        .client = view_text(visit->client),
        .headers = headers.list,
        .body_size = body_size,
        .end = body_size == 0,
    };
    if (visit->trace) {
        tracing_calls(visit, exchange->proxy, exchange->call);
    }
    enum status status = headers.failed
                             ? STATUS_TOO_LARGE
                             : proxy_send(exchange->proxy, &proxy_call_schema, &message);
    rows = headers.rows;
    return status;
}

/* The promise of a proxy ends: it has the call, or there is none. */
static void unpick(struct exchange *exchange)
{
    if (exchange->picked) {
        proxy_unpick(exchange->proxy);
        exchange->picked = false;
    }
}

/* Whether the process that the grant is bound to still runs there: no other one could open it. */
static bool is_for(const struct exchange *exchange)
{
    return channel_peer_up(exchange->proxy) &&
           view_equal(channel_peer_instance(exchange->proxy),
                      view_of(exchange->asked_for, sizeof exchange->asked_for));
}

static void on_grant(void *arg, enum status status, const struct vault_grant *grant)
{
    struct exchange *exchange = arg;
    exchange->question = 0;
    unpick(exchange);
    metrics_vault(exchange->asked_us);
    if (exchange->visit->trace && grant) {
        tracing_judged(exchange->visit, grant);
    }
    bool again = status == STATUS_CONFLICT || (status == STATUS_OK && !is_for(exchange));
    if (again && exchange->tries < TRIES_MAX) {
        id_new("req", exchange->visit->request); /* this one was used, by another or for nothing */
        exchange_ask(exchange);
        return;
    }
    if (status != STATUS_OK) {
        struct view detail = grant ? grant->detail : VIEW("the vault did not answer; try again");
        exchange_fail(exchange, status, detail);
        return;
    }
    exchange->call = proxy_call_begin(exchange->proxy, exchange);
    status = exchange->call ? call_proxy(exchange, grant) : STATUS_UNAVAILABLE;
    if (status != STATUS_OK) {
        exchange_drop_call(exchange, false);
        exchange_fail(exchange, status, VIEW("the proxy is away; try again"));
        return;
    }
    exchange->state = CALLING;
    exchange->called_us = clock_mono_us();
    exchange->up_credit = exchange->credit_left = STREAM_WINDOW_BYTES;
    exchange->up_end = !exchange->visit->has_body || exchange->collect;
    if (exchange->collect) {
        exchange_send_collected(exchange);
    } else if (exchange->visit->has_body) {
        visit_resume(exchange->visit);
    }
}

/* A proxy came up, or did not for as long as a caller may wait. */
static void on_waited(void *arg)
{
    struct exchange *exchange = arg;
    exchange->waits = false;
    if (proxy_any()) {
        exchange_ask(exchange);
    } else {
        exchange_fail(exchange, STATUS_UNAVAILABLE, VIEW("no proxy is up; try again"));
    }
}

static void wait_for_proxy(struct exchange *exchange)
{
    if (proxy_wait(on_waited, exchange) != STATUS_OK) {
        exchange_fail(exchange, STATUS_UNAVAILABLE, VIEW("too many requests are waiting"));
        return;
    }
    exchange->waits = true;
}

void exchange_ask(struct exchange *exchange)
{
    exchange->proxy = proxy_pick();
    if (!exchange->proxy) {
        wait_for_proxy(exchange);
        return;
    }
    exchange->picked = true;
    memcpy(exchange->asked_for, channel_peer_instance(exchange->proxy).data,
           sizeof exchange->asked_for);
    exchange->tries++;
    exchange->asked_us = clock_mono_us();
    struct judged judged = {BUFFER_EMPTY, {0, {NULL, 0}}, false};
    exchange_judged(exchange, &judged);
    struct vault_authorize message = {
        .request = view_text(exchange->visit->request),
        .token = view_text(exchange->token),
        .provider = view_text(exchange->provider),
        .proxy = channel_peer_instance(exchange->proxy),
        .method = view_text(exchange->method),
        .target = buffer_view(&exchange->target),
        .client = view_text(exchange->visit->client),
        .headers = judged.list,
    };
    if (exchange->visit->trace) {
        tracing_asks(exchange->visit);
    }
    exchange->question = judged.failed ? 0 : vault_authorize_send(&message, on_grant, exchange);
    buffer_free(&judged.rows);
    if (judged.failed) {
        exchange_fail(exchange, STATUS_TOO_LARGE, VIEW("too many headers that change permissions"));
        return;
    }
    if (exchange->question == 0) {
        exchange_fail(exchange, STATUS_UNAVAILABLE, VIEW("too many requests are waiting"));
    }
}

void exchange_stop_asking(struct exchange *exchange)
{
    vault_forget(exchange->question);
    exchange->question = 0;
    unpick(exchange);
    if (exchange->waits) {
        proxy_wait_forget(exchange);
        exchange->waits = false;
    }
}
