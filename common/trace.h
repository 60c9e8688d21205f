/* trace.h - W3C Trace Context (the recommendation of 23 November 2021): reading and writing
 * `traceparent` and `tracestate`, and which requests are traced.
 *
 * Reads strictly and allocates nothing: what is not valid is as if it were not there. */
#ifndef COMMON_TRACE_H
#define COMMON_TRACE_H

#include "common/bytes.h"

enum {
    TRACE_ID_BYTES = 16,
    SPAN_ID_BYTES = 8,
    TRACEPARENT_SIZE = 56,    /* "00-" 32 "-" 16 "-01" and its NUL */
    TRACESTATE_MAX = 4096,    /* bytes that are passed on; the recommendation asks for 512 */
    TRACESTATE_MEMBERS = 32,  /* section 3.3.1.1 */
    TRACESTATE_LONG = 128,    /* a member that is longer goes first when there is no room (3.3.1.5) */
};

struct trace_context {
    uint8_t trace_id[TRACE_ID_BYTES], span_id[SPAN_ID_BYTES];
    bool sampled;
};

/* Section 3.2: false unless VALUE, blanks around it apart, is a traceparent of version 00, or begins like
 * one where its version is a later one.  Version ff and ids of zeros are not valid. */
bool traceparent_read(struct view value, struct trace_context *ret_context);
/* Version 00; RET_TEXT takes TRACEPARENT_SIZE bytes.  No flag but `sampled` is ever set. */
void traceparent_write(const struct trace_context *context, char *ret_text);

/* Section 3.3: appends the members of VALUE (several header lines are joined by commas before) without the
 * blanks around them; of more than TRACESTATE_MAX bytes the longest go first, then the last.  False, and
 * nothing appended, when a member is malformed or there are more than TRACESTATE_MEMBERS. */
bool tracestate_read(struct view value, struct buffer *ret_state);

/* Random, never all zeros. */
void trace_id_new(uint8_t *ret_trace_id);
void span_id_new(uint8_t *ret_span_id);

/* Which requests are traced, by the names that OpenTelemetry's SDKs give their samplers. */
struct sampler {
    bool by_parent;   /* what a valid traceparent says decides */
    double ratio;     /* of the others */
};
/* TEXT: always_on, always_off, traceidratio, or one of these behind "parentbased_"; RATIO: "0" to "1",
 * for the ratio alone.  STATUS_INVALID for anything else. */
MUST_USE enum status sampler_read(const char *text, const char *ratio, struct sampler *ret_sampler);
/* PARENT is what the client sent, or NULL. */
bool sampler_takes(const struct sampler *sampler, const uint8_t *trace_id,
                   const struct trace_context *parent);

/* METHOD, or "_OTHER" for one that is not in the semantic conventions' list: it is a client's own word. */
const char *trace_method(const char *method);

/* Writes SIZE bytes as lower-case hex with a NUL. */
void trace_hex(const uint8_t *bytes, size_t size, char *ret_text);

#endif
