/* trace_messages.h - what tracing tells beside a call; while it is off none of this is sent.
 *
 * Only the proxy has a way out, so it exports for all four daemons: audit tells the vault, and the vault
 * the gateway, how long each took, and the gateway tells a proxy of the whole request when it is over.
 * A message that is lost costs a span and nothing else. */
#ifndef PROTO_TRACE_MESSAGES_H
#define PROTO_TRACE_MESSAGES_H

#include "common/trace.h"
#include "proto/vault_messages.h"

/* On the channels of the gateway and of the vault beside the messages of those. */
enum trace_message {
    TRACE_TIME = 64,
    TRACE_TIMED = 65,
    TRACE_CALL = 66,
    TRACE_VISIT = 68,
};

enum { ROUTE_MAX = PROVIDER_MAX + 64 };
#define TRACE_US_MAX (UINT64_MAX / 2000) /* the year 2262: the sum of two is a number in nanoseconds too */

/* To the vault or audit: the record of this sender that comes next, CALL, is to be timed. */
#define FIELDS_trace_time(F, L, M) F(M, call, UINT, UINT64_MAX)
PROTO_DECLARE(trace_time);

/* Before the answer to CALL: since when (wall clock, microseconds since 1970) and for how long the
 * answering daemon had it, and audit the record that it waited for.  0 for what did not take place. */
#define FIELDS_trace_timed(F, L, M)          \
    F(M, call, UINT, UINT64_MAX)             \
    F(M, began_us, UINT, TRACE_US_MAX)       \
    F(M, took_us, UINT, UINT32_MAX)          \
    F(M, audit_began_us, UINT, TRACE_US_MAX) \
    F(M, audit_took_us, UINT, UINT32_MAX)
PROTO_DECLARE(trace_timed);

/* To the proxy, before PROXY_CALL of the same CALL: it belongs to the trace TRACE_ID, as a child of the
 * gateway's span SPAN_ID.  TRACESTATE is for the provider. */
#define FIELDS_trace_call(F, L, M)           \
    F(M, call, UINT, UINT64_MAX)             \
    F(M, trace_id, BYTES, TRACE_ID_BYTES)    \
    F(M, span_id, BYTES, SPAN_ID_BYTES)      \
    F(M, tracestate, TEXT, TRACESTATE_MAX)
PROTO_DECLARE(trace_call);

/* To a proxy: a request is over.  PARENT_ID is empty where the client named none; HTTP is 0 where there
 * was no answer.  Texts that are not known are empty, times as in TRACE_TIMED. */
#define FIELDS_trace_visit(F, L, M)          \
    F(M, trace_id, BYTES, TRACE_ID_BYTES)    \
    F(M, span_id, BYTES, SPAN_ID_BYTES)      \
    F(M, parent_id, BYTES, SPAN_ID_BYTES)    \
    F(M, began_us, UINT, TRACE_US_MAX)       \
    F(M, took_us, UINT, TRACE_US_MAX)        \
    F(M, method, TEXT, METHOD_MAX)           \
    F(M, https, BOOL, 1)                     \
    F(M, route, TEXT, ROUTE_MAX)             \
    F(M, http, UINT, 999)                    \
    F(M, request, TEXT, ID_SIZE_MAX)         \
    F(M, tenant, TEXT, ID_SIZE_MAX)          \
    F(M, agent, TEXT, ID_SIZE_MAX)           \
    F(M, provider, TEXT, PROVIDER_MAX)       \
    F(M, asks, BOOL, 1)                      \
    F(M, vault_began_us, UINT, TRACE_US_MAX) \
    F(M, vault_took_us, UINT, UINT32_MAX)    \
    F(M, audit_began_us, UINT, TRACE_US_MAX) \
    F(M, audit_took_us, UINT, UINT32_MAX)
PROTO_DECLARE(trace_visit);

#endif
