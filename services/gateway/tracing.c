/* tracing.c - reads the client's trace context, and tells a proxy of each traced request when it is over.
 *
 * Never a target, a query, a header or a body: a route is a pattern of ours, a provider a row's name. */
#include "services/gateway/tracing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/log.h"

struct visit_trace {
    uint8_t trace_id[TRACE_ID_BYTES], span_id[SPAN_ID_BYTES]; /* the span is the gateway's own */
    uint8_t parent_id[SPAN_ID_BYTES];
    bool has_parent;
    bool asks;                  /* an operation of the vault, not a call */
    struct buffer state;        /* tracestate */
    struct trace_timed vault;
    char tenant[ID_SIZE_MAX + 1], agent[ID_SIZE_MAX + 1];
};

static struct sampler sampler;
static uint64_t lost;

enum status tracing_open(const char *name, const char *ratio)
{
    enum status status = sampler_read(name, ratio, &sampler);
    if (status != STATUS_OK) {
        log_error("trace", "--trace-sampler takes always_on, always_off or traceidratio, each also behind "
                           "parentbased_, and --trace-ratio a number from 0 to 1");
    }
    return status;
}

/* ---- what the client sent ---- */

struct given {
    size_t parents;
    struct view parent;
    struct buffer state; /* of several lines, in their order */
};

static enum MHD_Result look(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct given *given = arg;
    (void)kind;
    if (strcasecmp(name, "traceparent") == 0) {
        given->parents++;
        given->parent = view_text(value);
    } else if (strcasecmp(name, "tracestate") == 0) {
        buffer_append_text(&given->state, given->state.size ? "," : "");
        buffer_append_text(&given->state, value ? value : "");
    }
    return MHD_YES;
}

/* Section 3.2.2.5 and 4.3 of the recommendation: without one valid parent the trace begins here, and the
 * state of another is dropped. */
static struct visit_trace *trace_new(const struct trace_context *parent, const uint8_t *trace_id,
                                     const struct given *given)
{
    struct visit_trace *trace = calloc(1, sizeof *trace);
    if (!trace) {
        return NULL;
    }
    memcpy(trace->trace_id, trace_id, sizeof trace->trace_id);
    span_id_new(trace->span_id);
    if (parent) {
        trace->has_parent = true;
        memcpy(trace->parent_id, parent->span_id, sizeof trace->parent_id);
        (void)tracestate_read(buffer_view(&given->state), &trace->state); /* an invalid one is none */
    }
    return trace;
}

void tracing_begin(struct visit *visit)
{
    struct given given = {.state = BUFFER_EMPTY};
    struct trace_context context;
    MHD_get_connection_values(visit->connection, MHD_HEADER_KIND, look, &given);
    const struct trace_context *parent =
        given.parents == 1 && traceparent_read(given.parent, &context) ? &context : NULL;
    if (!parent) {
        trace_id_new(context.trace_id);
    }
    if (sampler_takes(&sampler, context.trace_id, parent)) {
        visit->trace = trace_new(parent, context.trace_id, &given);
    }
    buffer_free(&given.state);
}

/* ---- on the request's way ---- */

void tracing_asks(struct visit *visit)
{
    visit->trace->asks = visit->exchange == NULL;
    vault_time_next();
}

void tracing_answered(struct visit *visit, uint64_t call)
{
    const struct trace_timed *timed = vault_timed(call);
    if (timed) {
        visit->trace->vault = *timed;
    }
}

void tracing_judged(struct visit *visit, const struct vault_grant *grant)
{
    struct visit_trace *trace = visit->trace;
    tracing_answered(visit, grant->call);
    if (!view_copy(grant->tenant, trace->tenant, sizeof trace->tenant) ||
        !view_copy(grant->agent, trace->agent, sizeof trace->agent)) {
        trace->tenant[0] = trace->agent[0] = 0;
    }
}

void tracing_calls(struct visit *visit, struct channel_peer *proxy, uint64_t call)
{
    const struct visit_trace *trace = visit->trace;
    const struct trace_call message = {
        .call = call,
        .trace_id = view_of(trace->trace_id, sizeof trace->trace_id),
        .span_id = view_of(trace->span_id, sizeof trace->span_id),
        .tracestate = buffer_view(&trace->state),
    };
    if (proxy_send(proxy, &trace_call_schema, &message) != STATUS_OK) {
        lost++; /* the call itself will find out */
    }
}

/* ---- the end ---- */

static void tell(const struct visit *visit)
{
    const struct visit_trace *trace = visit->trace;
    uint64_t took_us = clock_mono_us() - visit->began_us;
    char route[ROUTE_MAX];
    (void)snprintf(route, sizeof route, visit->route ? "%s" : "/api/%s/{path}",
                   visit->route ? visit->route : visit->provider);
    const struct trace_visit message = {
        .trace_id = view_of(trace->trace_id, sizeof trace->trace_id),
        .span_id = view_of(trace->span_id, sizeof trace->span_id),
        .parent_id = view_of(trace->parent_id, trace->has_parent ? sizeof trace->parent_id : 0),
        .began_us = clock_wall_us() - took_us,
        .took_us = took_us,
        .method = view_text(trace_method(visit->method)),
        .https = view_starts(view_text(config.public_url), "https:"),
        .route = view_text(route),
        .http = visit->http,
        .request = view_text(visit->request),
        .tenant = view_text(trace->tenant),
        .agent = view_text(trace->agent),
        .provider = view_text(visit->provider),
        .asks = trace->asks,
        .vault_began_us = trace->vault.began_us,
        .vault_took_us = trace->vault.took_us,
        .audit_began_us = trace->vault.audit_began_us,
        .audit_took_us = trace->vault.audit_took_us,
    };
    lost += proxy_tell(&trace_visit_schema, &message) != STATUS_OK;
}

/* The page's files, health, and paths that are none have no route: they are no part of a trace. */
void tracing_end(struct visit *visit)
{
    if (visit->route || visit->provider) {
        tell(visit);
    }
    buffer_free(&visit->trace->state);
    free(visit->trace);
    visit->trace = NULL;
}

uint64_t tracing_lost(void)
{
    return lost;
}
