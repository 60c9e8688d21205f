/* fuzz_chunks.c - an aws-chunked body, cut in two places that its first bytes choose: however it is
 * cut, the same comes out, and never more than the announced size. */
#include <stdlib.h>
#include <string.h>

#include "services/proxy/chunks.h"

static enum status run(const uint8_t *data, size_t size, size_t cut, struct buffer *out)
{
    static const uint8_t key[32] = {1};
    static const char seed[] = "0000000000000000000000000000000000000000000000000000000000000000";
    const struct sigv4_scope scope = {.key = view_of(key, sizeof key), .region = VIEW("us-east-1"),
                                      .service = VIEW("s3"), .time = "20130524T000000Z"};
    const struct chunks_plan plan = {.scope = &scope, .seed = seed, .data_size = data[1],
                                     .chunk_size = 64, .trailer = data[0] & 1,
                                     .trailers = VIEW("x-amz-checksum-crc32")};
    struct chunks *chunks = chunks_new(&plan);
    uint64_t most = chunks_body_size(&plan);
    data += 3;
    size -= 3;
    cut = cut > size ? size : cut;
    enum status status = chunks_push(chunks, view_of(data, cut), false, out);
    if (status == STATUS_OK) {
        status = chunks_push(chunks, view_of(data + cut, size - cut), true, out);
    }
    if (status == STATUS_OK && out->size != most) {
        abort();
    }
    chunks_free(&chunks);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer whole = BUFFER_EMPTY, cut = BUFFER_EMPTY;
    if (size < 3) {
        return 0;
    }
    enum status first = run(data, size, size, &whole);
    enum status second = run(data, size, data[2], &cut);
    if (first != second || (first == STATUS_OK && (whole.size != cut.size ||
                                                   memcmp(whole.data, cut.data, cut.size) != 0))) {
        abort();
    }
    buffer_free(&whole);
    buffer_free(&cut);
    return 0;
}
