/* tracing.c - from what gateways tell and what calls do to spans.
 *
 * Attributes are those of the stable semantic conventions for HTTP, but for the two that would say what was
 * asked for (url.path, url.full); who asked is under names of our own.  Those for generative models are not
 * stable yet. */
#include "services/proxy/tracing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "services/proxy/origin.h"
#include "services/proxy/request.h"
#include "services/proxy/spans.h"

enum { ADDRESS_MAX = 256 };

struct call_trace {
    uint8_t trace_id[TRACE_ID_BYTES], parent_id[SPAN_ID_BYTES], span_id[SPAN_ID_BYTES];
    struct buffer state; /* tracestate */
    uint64_t began_us, head_us;
    char address[ADDRESS_MAX];
    uint64_t port;
};

/* What a gateway told, until its next record. */
static struct {
    const struct channel_peer *peer; /* compared and no more */
    uint64_t call;
    struct call_trace *trace;
} told;

static bool is_id(struct view id, size_t size)
{
    static const uint8_t zeros[TRACE_ID_BYTES];
    return id.size == size && memcmp(id.data, zeros, size) != 0;
}

/* ---- calls ---- */

bool tracing_take_call(struct channel_peer *peer, struct view record)
{
    struct trace_call message;
    struct buffer state = BUFFER_EMPTY;
    tracing_free(&told.trace);
    if (proto_decode(&trace_call_schema, record, &message) != STATUS_OK ||
        !is_id(message.trace_id, TRACE_ID_BYTES) || !is_id(message.span_id, SPAN_ID_BYTES) ||
        !tracestate_read(message.tracestate, &state)) {
        return false;
    }
    struct call_trace *trace = calloc(1, sizeof *trace);
    if (!trace || state.failed) {
        buffer_free(&state);
        free(trace);
        return true; /* it is not traced */
    }
    memcpy(trace->trace_id, message.trace_id.data, TRACE_ID_BYTES);
    memcpy(trace->parent_id, message.span_id.data, SPAN_ID_BYTES);
    span_id_new(trace->span_id);
    trace->state = state;
    trace->began_us = clock_wall_us();
    told.peer = peer;
    told.call = message.call;
    told.trace = trace;
    return true;
}

struct call_trace *tracing_of(const struct channel_peer *peer, uint64_t call)
{
    if (told.trace && (told.peer != peer || told.call != call)) {
        tracing_free(&told.trace);
    }
    return TAKE(told.trace);
}

void tracing_free(struct call_trace **trace)
{
    if (*trace) {
        buffer_free(&(*trace)->state);
        free(*trace);
        *trace = NULL;
    }
}

bool tracing_replaces(struct view name)
{
    return view_is_nocase(name, "traceparent") || view_is_nocase(name, "tracestate");
}

enum status tracing_add_headers(const struct call_trace *trace, struct request *request)
{
    struct trace_context context = {.sampled = true};
    char parent[TRACEPARENT_SIZE];
    memcpy(context.trace_id, trace->trace_id, sizeof context.trace_id);
    memcpy(context.span_id, trace->span_id, sizeof context.span_id);
    traceparent_write(&context, parent);
    enum status status = request_add_header(request, VIEW("traceparent"), view_text(parent));
    if (status == STATUS_OK && trace->state.size > 0) {
        status = request_add_header(request, VIEW("tracestate"), buffer_view(&trace->state));
    }
    return status;
}

void tracing_sent(struct call *call, const struct request *request)
{
    struct call_trace *trace = call->trace;
    struct view url = buffer_view(&request->url);
    struct origin origin;
    url.size -= url.size > 0; /* its NUL */
    if (!origin_split(url, &origin)) {
        return;
    }
    const uint8_t *end = origin.host.data + origin.host.size;
    const uint8_t *colon = memrchr(origin.host.data, ':', origin.host.size);
    bool has_port = colon && !memchr(colon, ']', (size_t)(end - colon));
    origin.host.size = has_port ? (size_t)(colon - origin.host.data) : origin.host.size;
    trace->port = origin.tls ? 443 : 80;
    if (has_port) {
        trace->port = 0;
        while (++colon < end) {
            trace->port = trace->port * 10 + (uint64_t)(*colon - '0');
        }
    }
    if (!view_copy(origin.host, trace->address, sizeof trace->address)) {
        trace->address[0] = 0;
    }
}

void tracing_head(struct call *call)
{
    call->trace->head_us = clock_wall_us();
}

/* HTTP semantic conventions, "Status": for a client 4xx and 5xx are failures, for a server 5xx alone; the
 * type is the status code when there is nothing better. */
static const char *error_of(unsigned http, unsigned from)
{
    return http >= from ? metrics_http(http) : "";
}

void tracing_over(const struct call *call, enum status status)
{
    const struct call_trace *trace = call->trace;
    const char *error = status != STATUS_OK ? status_name(status) : error_of(call->http, 400);
    const char *method = trace_method(call->method);
    const struct span span = {
        .trace_id = trace->trace_id,
        .span_id = trace->span_id,
        .parent_id = trace->parent_id,
        .name = view_text(method),
        .kind = SPAN_CLIENT,
        .began_us = trace->began_us,
        .ended_us = clock_wall_us(),
        .first_byte_us = trace->head_us,
        .failed = *error != 0,
        .attributes = {
            {"http.request.method", view_text(method), 0},
            {"http.response.status_code", VIEW(""), call->http},
            {"server.address", view_text(trace->address), 0},
            {"server.port", VIEW(""), trace->port},
            {"error.type", view_text(error), 0},
            {"seks.request.id", view_text(call->request), 0},
            {"seks.tenant.id", view_text(call->tenant), 0},
            {"seks.agent.id", view_text(call->agent), 0},
            {"seks.provider", view_text(call->provider->name), 0},
        },
    };
    spans_add(SPAN_PROXY, &span);
}

/* ---- whole requests ---- */

/* One that another daemon only told the time of. */
static void add_timed(enum span_daemon daemon, const struct trace_visit *visit, const char *name,
                      const uint8_t *parent_id, const uint8_t *span_id, uint64_t began_us,
                      uint64_t took_us)
{
    const struct span span = {
        .trace_id = visit->trace_id.data,
        .span_id = span_id,
        .parent_id = parent_id,
        .name = view_text(name),
        .kind = SPAN_SERVER,
        .began_us = began_us,
        .ended_us = began_us + took_us,
        .attributes = {
            {"seks.request.id", visit->request, 0},
            {"seks.tenant.id", visit->tenant, 0},
        },
    };
    spans_add(daemon, &span);
}

static void add_gateway(const struct trace_visit *visit)
{
    char name[METHOD_MAX + ROUTE_MAX + 2];
    const char *error = visit->http == 0 ? "cancelled" : error_of((unsigned)visit->http, 500);
    (void)snprintf(name, sizeof name, "%.*s %.*s", (int)visit->method.size,
                   (const char *)visit->method.data, (int)visit->route.size,
                   (const char *)visit->route.data);
    const struct span span = {
        .trace_id = visit->trace_id.data,
        .span_id = visit->span_id.data,
        .parent_id = visit->parent_id.size ? visit->parent_id.data : NULL,
        .name = view_text(name),
        .kind = SPAN_SERVER,
        .began_us = visit->began_us,
        .ended_us = visit->began_us + visit->took_us,
        .failed = *error != 0,
        .attributes = {
            {"http.request.method", visit->method, 0},
            {"http.route", visit->route, 0},
            {"http.response.status_code", VIEW(""), visit->http},
            {"url.scheme", visit->https ? VIEW("https") : VIEW("http"), 0},
            {"error.type", view_text(error), 0},
            {"seks.request.id", visit->request, 0},
            {"seks.tenant.id", visit->tenant, 0},
            {"seks.agent.id", visit->agent, 0},
            {"seks.provider", visit->provider, 0},
        },
    };
    spans_add(SPAN_GATEWAY, &span);
}

bool tracing_take_visit(struct view record)
{
    struct trace_visit visit;
    uint8_t vault_id[SPAN_ID_BYTES], audit_id[SPAN_ID_BYTES];
    if (proto_decode(&trace_visit_schema, record, &visit) != STATUS_OK ||
        !is_id(visit.trace_id, TRACE_ID_BYTES) || !is_id(visit.span_id, SPAN_ID_BYTES) ||
        (visit.parent_id.size > 0 && !is_id(visit.parent_id, SPAN_ID_BYTES))) {
        return false;
    }
    if (!spans_wanted()) {
        return true;
    }
    add_gateway(&visit);
    span_id_new(vault_id);
    span_id_new(audit_id);
    if (visit.vault_began_us > 0) {
        add_timed(SPAN_VAULT, &visit, visit.asks ? "ask" : "authorize", visit.span_id.data, vault_id,
                  visit.vault_began_us, visit.vault_took_us);
    }
    if (visit.vault_began_us > 0 && visit.audit_began_us > 0) {
        add_timed(SPAN_AUDIT, &visit, "append", vault_id, audit_id, visit.audit_began_us,
                  visit.audit_took_us);
    }
    return true;
}
