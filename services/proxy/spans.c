/* spans.c - a span as JSON, and those that wait as one body. */
#include "services/proxy/spans.h"

#include "common/clock.h"
#include "common/json_text.h"
#include "common/metrics.h"
#include "services/proxy/otlp.h"

enum {
    WAITING_MAX = 2 << 20,  /* bytes: about 3,000 spans of 700 */
    BATCH_BYTES = 256 << 10, /* that do not wait for the exporter's tick */
};

static struct {
    bool open;
    struct buffer waiting[SPAN_DAEMONS]; /* JSON objects with commas between */
    size_t bytes;
    uint64_t count, dropped;
} spans;

/* ---- one span ---- */

static void add_id(struct buffer *json, const char *name, const uint8_t *id, size_t size)
{
    char text[2 * TRACE_ID_BYTES + 1];
    trace_hex(id, size, text);
    buffer_printf(json, "\"%s\":\"%s\",", name, text);
}

static void add_text(struct buffer *json, struct view text)
{
    buffer_append_byte(json, '"');
    json_escape(text, json);
    buffer_append_byte(json, '"');
}

static void add_attribute(struct buffer *json, const struct span_attribute *attribute, bool first)
{
    buffer_printf(json, "%s{\"key\":\"%s\",\"value\":{", first ? "" : ",", attribute->key);
    if (attribute->text.size > 0) {
        buffer_append_text(json, "\"stringValue\":");
        add_text(json, attribute->text);
    } else {
        buffer_printf(json, "\"intValue\":\"%llu\"", (unsigned long long)attribute->number);
    }
    buffer_append_text(json, "}}");
}

static unsigned long long nanoseconds(uint64_t us)
{
    return (unsigned long long)us * 1000;
}

void span_write(const struct span *span, struct buffer *ret_json)
{
    bool first = true;
    buffer_append_byte(ret_json, '{');
    add_id(ret_json, "traceId", span->trace_id, TRACE_ID_BYTES);
    add_id(ret_json, "spanId", span->span_id, SPAN_ID_BYTES);
    if (span->parent_id) {
        add_id(ret_json, "parentSpanId", span->parent_id, SPAN_ID_BYTES);
    }
    buffer_append_text(ret_json, "\"name\":");
    add_text(ret_json, span->name);
    buffer_printf(ret_json,
                  ",\"kind\":%d,\"startTimeUnixNano\":\"%llu\",\"endTimeUnixNano\":\"%llu\",\"attributes\":[",
                  span->kind, nanoseconds(span->began_us), nanoseconds(span->ended_us));
    for (size_t i = 0; i < SPAN_ATTRIBUTES_MAX && span->attributes[i].key; i++) {
        if (span->attributes[i].text.size > 0 || span->attributes[i].number > 0) {
            add_attribute(ret_json, &span->attributes[i], first);
            first = false;
        }
    }
    buffer_append_byte(ret_json, ']');
    if (span->first_byte_us) {
        buffer_printf(ret_json, ",\"events\":[{\"timeUnixNano\":\"%llu\",\"name\":\"first byte\"}]",
                      nanoseconds(span->first_byte_us));
    }
    buffer_append_text(ret_json, span->failed ? ",\"status\":{\"code\":2}}" : "}");
}

/* ---- those that wait ---- */

static void write_resource(struct buffer *body, enum span_daemon daemon)
{
    static const char *const names[SPAN_DAEMONS] = {"gateway", "vault", "proxy", "audit"};
    buffer_printf(body,
                  "%s{\"resource\":{\"attributes\":["
                  "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"seks-%s\"}},"
                  "{\"key\":\"service.namespace\",\"value\":{\"stringValue\":\"seks-broker\"}},"
                  "{\"key\":\"service.version\",\"value\":{\"stringValue\":\"" SEKS_VERSION "\"}}]},"
                  "\"scopeSpans\":[{\"scope\":{\"name\":\"seks-broker\",\"version\":\"" SEKS_VERSION
                  "\"},\"spans\":[",
                  body->data[body->size - 1] == '[' ? "" : ",", names[daemon]);
    buffer_append_view(body, buffer_view(&spans.waiting[daemon]));
    buffer_append_text(body, "]}]}");
    buffer_clear(&spans.waiting[daemon]);
}

/* Hands over what waits when the exporter has nothing in hand. */
static void send_waiting(void)
{
    struct buffer *body = spans.count > 0 ? otlp_body() : NULL;
    if (!body) {
        return;
    }
    buffer_append_text(body, "{\"resourceSpans\":[");
    for (int daemon = 0; daemon < SPAN_DAEMONS; daemon++) {
        if (spans.waiting[daemon].size > 0) {
            write_resource(body, (enum span_daemon)daemon);
        }
    }
    buffer_append_text(body, "]}");
    otlp_send(spans.count);
    spans.bytes = 0;
    spans.count = 0;
}

void spans_add(enum span_daemon daemon, const struct span *span)
{
    struct buffer *waiting = &spans.waiting[daemon];
    size_t before = waiting->size;
    if (!spans.open) {
        return;
    }
    if (spans.bytes >= WAITING_MAX) {
        spans.dropped++;
        return;
    }
    buffer_append_text(waiting, before ? "," : "");
    span_write(span, waiting);
    if (waiting->failed) { /* no memory: what was there is whole */
        waiting->failed = false;
        waiting->size = before;
        spans.dropped++;
        return;
    }
    spans.bytes += waiting->size - before;
    spans.count++;
    if (spans.bytes >= BATCH_BYTES) {
        send_waiting();
    }
}

bool spans_wanted(void)
{
    return spans.open;
}

enum status spans_open(struct loop *loop, const char *endpoint, const char *ca_file)
{
    enum status status = endpoint ? otlp_open(loop, endpoint, ca_file, send_waiting) : STATUS_OK;
    spans.open = endpoint && status == STATUS_OK;
    return status;
}

void spans_close(void)
{
    spans.open = false;
    for (size_t i = 0; i < SPAN_DAEMONS; i++) {
        buffer_free(&spans.waiting[i]);
    }
    otlp_close();
}

void spans_drain(void)
{
    if (spans.open) {
        otlp_hurry();
        send_waiting();
    }
}

bool spans_drained(void)
{
    return !spans.open || otlp_given_up() || (spans.count == 0 && otlp_idle());
}

void spans_metrics(struct buffer *text)
{
    const struct metric rows[] = {
        {"seks_spans_waiting", "gauge", spans.count},
        {"seks_spans_exported_total", "counter", otlp_exported()},
    };
    metrics_rows(text, rows, sizeof rows / sizeof rows[0]);
    buffer_printf(text,
                  "# TYPE seks_spans_dropped_total counter\n"
                  "seks_spans_dropped_total{reason=\"full\"} %llu\n"
                  "seks_spans_dropped_total{reason=\"refused\"} %llu\n",
                  (unsigned long long)spans.dropped, (unsigned long long)otlp_refused());
}
