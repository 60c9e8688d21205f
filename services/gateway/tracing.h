/* tracing.h - the trace that a request belongs to, for requests that are traced.
 *
 * Without --trace, and for requests that the sampler leaves out, `trace` of a visit is NULL and nothing here
 * runs: `traceparent` and `tracestate` pass as any header does. */
#ifndef SERVICES_GATEWAY_TRACING_H
#define SERVICES_GATEWAY_TRACING_H

#include "services/gateway/gateway.h"

struct visit_trace;

/* Reads --trace-sampler and --trace-ratio.  Logs its own failure. */
MUST_USE enum status tracing_open(const char *sampler, const char *ratio);

/* The request's head is here: sets `trace`, or leaves it NULL. */
void tracing_begin(struct visit *visit);
/* Right before the vault is asked, and when its answer to CALL is here. */
void tracing_asks(struct visit *visit);
void tracing_answered(struct visit *visit, uint64_t call);
/* Whose request it is. */
void tracing_judged(struct visit *visit, const struct vault_grant *grant);
/* Right before PROXY_CALL of CALL. */
void tracing_calls(struct visit *visit, struct channel_peer *proxy, uint64_t call);
/* The request is over: tells a proxy, and frees. */
void tracing_end(struct visit *visit);

uint64_t tracing_lost(void); /* requests of which no proxy could be told */

#endif
