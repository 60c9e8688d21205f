/* tracing.h - what the proxy knows of the traces that calls belong to, and the spans that come of it.
 *
 * A gateway is not believed more than it has to be: what it tells is checked for its form and goes to the
 * collector as text; it can lie about its own requests and about the times of vault and audit. */
#ifndef SERVICES_PROXY_TRACING_H
#define SERVICES_PROXY_TRACING_H

#include "proto/trace_messages.h"
#include "services/proxy/proxy.h"

struct request;

/* TRACE_CALL and TRACE_VISIT; false when it is malformed. */
MUST_USE bool tracing_take_call(struct channel_peer *peer, struct view record);
MUST_USE bool tracing_take_visit(struct view record);

/* The trace of a new call, when the gateway told one right before it; else NULL. */
struct call_trace *tracing_of(const struct channel_peer *peer, uint64_t call);
void tracing_free(struct call_trace **trace);

/* Whether a client's header is replaced by tracing_add_headers(). */
bool tracing_replaces(struct view name);
/* `traceparent` with the proxy's span as the parent, and `tracestate`. */
MUST_USE enum status tracing_add_headers(const struct call_trace *trace, struct request *request);

void tracing_sent(struct call *call, const struct request *request); /* where it goes is known */
void tracing_head(struct call *call);                                /* the answer's head is here */
void tracing_over(const struct call *call, enum status status);      /* exports its span */

#endif
