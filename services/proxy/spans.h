/* spans.h - spans of all four daemons on their way to an OpenTelemetry collector.
 *
 * OTLP over HTTP with JSON bodies (the OTLP specification, "JSON Protobuf Encoding": ids in hex, 64-bit
 * numbers as text).  Spans wait in memory up to a bound and leave in batches; when the collector is away
 * or slow they are dropped and counted, and no call waits for any of it. */
#ifndef SERVICES_PROXY_SPANS_H
#define SERVICES_PROXY_SPANS_H

#include "common/loop.h"
#include "proto/trace_messages.h"

enum span_daemon { SPAN_GATEWAY, SPAN_VAULT, SPAN_PROXY, SPAN_AUDIT, SPAN_DAEMONS };
enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER = 2, SPAN_CLIENT = 3 };

enum { SPAN_ATTRIBUTES_MAX = 16 };

/* An attribute is left out when it has neither text nor number. */
struct span_attribute {
    const char *key;
    struct view text;
    uint64_t number;
};

struct span {
    const uint8_t *trace_id, *span_id, *parent_id; /* the last NULL for a root */
    struct view name;
    enum span_kind kind;
    uint64_t began_us, ended_us; /* wall clock; at most 2 * TRACE_US_MAX */
    uint64_t first_byte_us;      /* 0 for none */
    bool failed;
    struct span_attribute attributes[SPAN_ATTRIBUTES_MAX]; /* up to the first without a key */
};

/* Where they go; ENDPOINT NULL: nowhere, and spans_add() does nothing.  "http[s]://HOST[:PORT][/PATH]", to
 * which "/v1/traces" is added.  Logs its own failure.  After curl_loop_open(). */
MUST_USE enum status spans_open(struct loop *loop, const char *endpoint, const char *ca_file);
void spans_close(void);

bool spans_wanted(void);
void spans_add(enum span_daemon daemon, const struct span *span);

/* What waits is sent now; whether nothing waits any more, or it has been tried for long enough. */
void spans_drain(void);
bool spans_drained(void);

void spans_metrics(struct buffer *text);

/* For tests: appends the JSON object of SPAN, and takes the whole body that waits. */
void span_write(const struct span *span, struct buffer *ret_json);

#endif
