/* fuzz_http1.c - an upstream answer read whole and byte by byte must give the same; the first byte
 * of the input says whether it answers HEAD. */
#include <stdlib.h>
#include <string.h>

#include "services/proxy/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(struct view bytes, bool head, size_t step, struct buffer *out, int *ret_last)
{
    CLEANUP(buffer_free) struct buffer kept = BUFFER_EMPTY;
    struct http1 http1;
    enum http1_event event = HTTP1_MORE;
    http1_begin(&http1, head);
    for (size_t at = 0; at < bytes.size && event == HTTP1_MORE; at += step) {
        size_t piece = bytes.size - at < step ? bytes.size - at : step;
        buffer_append(&kept, bytes.data + at, piece);
        struct view in = buffer_view(&kept), got = {NULL, 0};
        while ((event = http1_next(&http1, &in, &got)) == HTTP1_LINE || event == HTTP1_BODY) {
            buffer_append_view(out, got);
            buffer_append_text(out, event == HTTP1_LINE ? "\n" : "");
        }
        buffer_consume(&kept, kept.size - in.size);
    }
    *ret_last = (int)event * 4 + http1_keeps(&http1) * 2 + http1_whole_at_end(&http1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buffer_free) struct buffer whole = BUFFER_EMPTY, bytes = BUFFER_EMPTY;
    int first, second;
    if (size == 0) {
        return 0;
    }
    struct view answer = view_of(data + 1, size - 1);
    read_all(answer, data[0] & 1, answer.size + 1, &whole, &first);
    read_all(answer, data[0] & 1, 1, &bytes, &second);
    if (first != second || whole.size != bytes.size ||
        (whole.size > 0 && memcmp(whole.data, bytes.data, whole.size) != 0)) {
        abort();
    }
    return 0;
}
