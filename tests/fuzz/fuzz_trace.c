/* Any bytes as traceparent and tracestate: what is taken can be passed on, and reads the same again. */
#include <stdlib.h>
#include <string.h>

#include "common/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool right)
{
    if (!right) {
        abort();
    }
}

static void check_parent(struct view value)
{
    struct trace_context context, again;
    char text[TRACEPARENT_SIZE];
    if (!traceparent_read(value, &context)) {
        return;
    }
    traceparent_write(&context, text);
    demand(strlen(text) == TRACEPARENT_SIZE - 1 && traceparent_read(view_text(text), &again));
    demand(memcmp(context.trace_id, again.trace_id, TRACE_ID_BYTES) == 0 &&
           memcmp(context.span_id, again.span_id, SPAN_ID_BYTES) == 0 && context.sampled == again.sampled);
}

static void check_state(struct view value)
{
    CLEANUP(buffer_free) struct buffer state = BUFFER_EMPTY, again = BUFFER_EMPTY;
    if (!tracestate_read(value, &state)) {
        demand(state.size == 0);
        return;
    }
    size_t members = state.size > 0;
    for (size_t i = 0; i < state.size; i++) {
        demand(state.data[i] >= 0x20 && state.data[i] < 0x7f);
        members += state.data[i] == ',';
    }
    demand(state.size <= TRACESTATE_MAX && members <= TRACESTATE_MEMBERS);
    demand(tracestate_read(buffer_view(&state), &again) && again.size == state.size &&
           (state.size == 0 || memcmp(again.data, state.data, state.size) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_parent(view_of(data, size));
    check_state(view_of(data, size));
    return 0;
}
