/* test_spans.c - spans as JSON whatever is in them, and what the proxy believes of a gateway's traces. */
#include "tests/unit/unit.h"

#include <jansson.h>

#include "services/proxy/request.h"
#include "services/proxy/spans.h"
#include "services/proxy/tracing.h"

static const uint8_t trace_id[TRACE_ID_BYTES] = {0x4b, [15] = 0x36}, span_id[SPAN_ID_BYTES] = {1, [7] = 0xb7};

static const char *member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static json_t *written(const struct span *span)
{
    struct buffer text = BUFFER_EMPTY;
    span_write(span, &text);
    json_t *object = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    buffer_free(&text);
    assert_true(json_is_object(object));
    return object;
}

static void test_a_span_is_json_whatever_is_in_it(void **state)
{
    static const char hostile[] = "\"}]}\n\x01\x7f\xc2\x9b\xff\\ \xc3\xa9";
    const struct span span = {.trace_id = trace_id, .span_id = span_id, .parent_id = span_id,
                              .name = view_text(hostile), .kind = SPAN_SERVER, .began_us = 1, .ended_us = TRACE_US_MAX * 2,
                              .failed = true,
                              .attributes = {{"text", view_text(hostile), 0}, {"none", {NULL, 0}, 0},
                                             {"number", {NULL, 0}, UINT64_MAX}}};
    (void)state;
    json_t *object = written(&span);
    assert_string_equal(member(object, "traceId"), "4b000000000000000000000000000036");
    assert_string_equal(member(object, "spanId"), "01000000000000b7");
    assert_string_equal(member(object, "parentSpanId"), "01000000000000b7");
    assert_string_equal(member(object, "name"), "\"}]}\n\x01\x7f\xc2\x9b\xef\xbf\xbd\\ \xc3\xa9");
    assert_string_equal(member(object, "startTimeUnixNano"), "1000");
    assert_string_equal(member(object, "endTimeUnixNano"), "18446744073709550000");
    assert_int_equal(json_array_size(json_object_get(object, "attributes")), 2);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(object, "status"), "code")), 2);
    json_decref(object);
}

static void test_a_root_has_no_parent(void **state)
{
    const struct span span = {.trace_id = trace_id, .span_id = span_id, .name = VIEW("x"), .kind = SPAN_CLIENT};
    (void)state;
    json_t *object = written(&span);
    assert_null(json_object_get(object, "parentSpanId"));
    assert_null(json_object_get(object, "status"));
    assert_null(json_object_get(object, "events"));
    json_decref(object);
}

static bool take_call(uint64_t call, struct view trace, struct view span, const char *state, void *peer)
{
    struct buffer record = BUFFER_EMPTY;
    const struct trace_call message = {call, trace, span, view_text(state)};
    assert_int_equal(proto_encode(&trace_call_schema, &message, &record), STATUS_OK);
    bool good = tracing_take_call(peer, buffer_view(&record));
    buffer_free(&record);
    return good;
}

static void test_what_a_gateway_tells_of_a_call(void **state)
{
    static const uint8_t zeros[TRACE_ID_BYTES];
    const struct view trace = view_of(trace_id, sizeof trace_id), span = view_of(span_id, sizeof span_id);
    int one, other; /* stand for two gateways: their addresses are all that is looked at */
    (void)state;
    assert_false(take_call(1, view_of(zeros, sizeof zeros), span, "", &one));
    assert_false(take_call(1, trace, view_of(zeros, sizeof span_id), "", &one));
    assert_false(take_call(1, view_of(trace_id, 15), span, "", &one));
    assert_false(take_call(1, trace, view_of(span_id, 7), "", &one));
    assert_false(take_call(1, trace, span, "a=1\r\nEvil: 1", &one));
    assert_false(tracing_take_call((void *)&one, VIEW("\x93\x42\x01")));
    assert_null(tracing_of((void *)&one, 1));
    assert_true(take_call(1, trace, span, "a=1", &one));
    assert_null(tracing_of((void *)&other, 1)); /* and it is gone: it was for the record behind it */
    assert_null(tracing_of((void *)&one, 1));
    assert_true(take_call(1, trace, span, "a=1", &one));
    assert_null(tracing_of((void *)&one, 2));
    assert_true(take_call(3, trace, span, " a=1 ,b=2", &one));
    struct call_trace *told = tracing_of((void *)&one, 3);
    assert_non_null(told);
    struct request request = {0};
    assert_int_equal(tracing_add_headers(told, &request), STATUS_OK);
    struct trace_context context;
    assert_true(traceparent_read(view_text(strchr(request.headers->data, ' ')), &context));
    assert_memory_equal(context.trace_id, trace_id, sizeof trace_id);
    assert_memory_not_equal(context.span_id, span_id, sizeof span_id); /* the proxy's own */
    assert_true(context.sampled);
    assert_string_equal(request.headers->next->data, "tracestate: a=1,b=2");
    request_wipe(&request);
    tracing_free(&told);
}

static void test_what_a_gateway_tells_of_a_request(void **state)
{
    static const uint8_t zeros[TRACE_ID_BYTES];
    struct trace_visit visit = {.trace_id = view_of(trace_id, sizeof trace_id), .span_id = view_of(span_id, sizeof span_id)};
    const struct view parents[] = {{NULL, 0}, view_of(span_id, 8), view_of(span_id, 4), view_of(zeros, 8)};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct buffer record = BUFFER_EMPTY;
        visit.parent_id = parents[i];
        assert_int_equal(proto_encode(&trace_visit_schema, &visit, &record), STATUS_OK);
        assert_int_equal(tracing_take_visit(buffer_view(&record)), i < 2);
        record.size--;
        assert_false(tracing_take_visit(buffer_view(&record)));
        buffer_free(&record);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_span_is_json_whatever_is_in_it), cmocka_unit_test(test_a_root_has_no_parent),
        cmocka_unit_test(test_what_a_gateway_tells_of_a_call), cmocka_unit_test(test_what_a_gateway_tells_of_a_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
