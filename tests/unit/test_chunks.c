/* test_chunks.c - aws-chunked bodies: the examples of the S3 documentation to the byte, every way of
 * cutting the input, and what is malformed. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/crypto.h"
#include "services/proxy/chunks.h"

enum { DATA_BYTES = 66560, CHUNK = 65536 };

#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

static uint8_t key[32];
static struct sigv4_scope scope = {.region = VIEW("us-east-1"), .service = VIEW("s3"),
                                   .time = "20130524T000000Z"};

static int derive(void **state)
{
    const struct view steps[] = {VIEW("20130524"), VIEW("us-east-1"), VIEW("s3"),
                                 VIEW("aws4_request")};
    struct view from = VIEW("AWS4" SECRET);
    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        uint8_t made[32];
        assert_int_equal(crypto_hmac(from, steps[i], made), STATUS_OK);
        memcpy(key, made, sizeof key);
        from = view_of(key, sizeof key);
    }
    scope.key = view_of(key, sizeof key);
    return 0;
}

/* What the documentation prints for each of its two examples. */
static const struct example {
    const char *payload, *trailer; /* header and value of the trailer, or NULL */
    struct sigv4_header last;      /* the header in which the two requests differ */
    const char *hash, *seed, *chunks[3], *trailer_signature;
} examples[] = {
    {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", NULL, {VIEW("content-length"), VIEW("66824")},
     "cee3fed04b70f867d036f722359b0b1f2f0e5dc0efadbc082b76c4c60e316455",
     "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
     {"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
      "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
      "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"},
     NULL},
    {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "x-amz-checksum-crc32c:sOO8/Q==",
     {VIEW("x-amz-trailer"), VIEW("x-amz-checksum-crc32c")},
     "44d48b8c2f70eae815a0198cc73d7a546a73a93359c070abbaa5e6c7de112559",
     "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
     {"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
      "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
      "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"},
     "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"},
};

static void sign_seed(const struct example *example, char seed[SIGV4_HEX_SIZE])
{
    struct buffer canonical = BUFFER_EMPTY, names = BUFFER_EMPTY, string = BUFFER_EMPTY;
    char hash[SIGV4_HEX_SIZE];
    const struct sigv4_header headers[] = {
        {VIEW("host"), VIEW("s3.amazonaws.com")},
        {VIEW("x-amz-date"), VIEW("20130524T000000Z")},
        {VIEW("x-amz-storage-class"), VIEW("REDUCED_REDUNDANCY")},
        {VIEW("x-amz-content-sha256"), view_text(example->payload)},
        {VIEW("content-encoding"), VIEW("aws-chunked")},
        {VIEW("x-amz-decoded-content-length"), VIEW("66560")},
        example->last,
    };
    const struct sigv4_request request = {.method = VIEW("PUT"),
                                          .path = VIEW("/examplebucket/chunkObject.txt"),
                                          .headers = headers,
                                          .header_count = sizeof headers / sizeof headers[0],
                                          .payload = view_text(example->payload)};
    assert_int_equal(sigv4_canonical(&request, &canonical, &names), STATUS_OK);
    assert_int_equal(sigv4_hash(buffer_view(&canonical), hash), STATUS_OK);
    assert_string_equal(hash, example->hash);
    assert_int_equal(sigv4_string(&scope, buffer_view(&canonical), &string), STATUS_OK);
    assert_int_equal(sigv4_sign(&scope, buffer_view(&string), seed), STATUS_OK);
    assert_string_equal(seed, example->seed);
    buffer_free(&canonical);
    buffer_free(&names);
    buffer_free(&string);
}

/* A chunk of SIZE 'a', as it stands in a body. */
static void append_chunk(struct buffer *body, size_t size, const char *signature)
{
    buffer_printf(body, "%zx;chunk-signature=%s\r\n", size, signature);
    for (size_t i = 0; i < size; i++) {
        buffer_append_byte(body, 'a');
    }
    buffer_append_text(body, size ? "\r\n" : "");
}

static void append_body(struct buffer *body, const struct example *example, bool real)
{
    const char *fake = "0000000000000000000000000000000000000000000000000000000000000000";
    append_chunk(body, CHUNK, real ? example->chunks[0] : fake);
    append_chunk(body, DATA_BYTES - CHUNK, real ? example->chunks[1] : fake);
    append_chunk(body, 0, real ? example->chunks[2] : fake);
    if (example->trailer) {
        buffer_printf(body, "%s\r\nx-amz-trailer-signature:%s\r\n", example->trailer,
                      real ? example->trailer_signature : fake);
    }
    buffer_append_text(body, "\r\n");
}

static struct chunks_plan plan_of(const struct example *example, const char *seed, uint64_t size)
{
    return (struct chunks_plan){.scope = &scope,
                                .seed = seed,
                                .data_size = size,
                                .chunk_size = CHUNK,
                                .trailer = example->trailer != NULL,
                                .trailers = example->trailer ? VIEW("x-amz-checksum-crc32c")
                                                             : view_of(NULL, 0)};
}

/* With STEP bytes at a time. */
static void run_example(const struct example *example, size_t step)
{
    struct buffer in = BUFFER_EMPTY, wanted = BUFFER_EMPTY, out = BUFFER_EMPTY;
    char seed[SIGV4_HEX_SIZE];
    sign_seed(example, seed);
    struct chunks_plan plan = plan_of(example, seed, DATA_BYTES);
    struct chunks *chunks = chunks_new(&plan);
    assert_non_null(chunks);
    append_body(&in, example, false);
    append_body(&wanted, example, true);
    for (size_t at = 0; at < in.size; at += step) {
        size_t size = in.size - at < step ? in.size - at : step;
        assert_int_equal(chunks_push(chunks, view_of(in.data + at, size), false, &out), STATUS_OK);
    }
    assert_int_equal(chunks_push(chunks, (struct view){NULL, 0}, true, &out), STATUS_OK);
    assert_int_equal(out.size, wanted.size);
    assert_memory_equal(out.data, wanted.data, out.size);
    assert_int_equal(chunks_body_size(&plan), wanted.size);
    chunks_free(&chunks);
    chunks_free(&chunks);
    buffer_free(&in);
    buffer_free(&wanted);
    buffer_free(&out);
}

static void the_documentation_agrees(void **state)
{
    static const size_t steps[] = {1, 7, 83, 1000, 16384, 65536, 1 << 20};
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        for (size_t j = 0; j < sizeof steps / sizeof steps[0]; j++) {
            run_example(&examples[i], steps[j]);
        }
    }
}

static enum status push(const struct example *example, const char *body, uint64_t size)
{
    struct buffer out = BUFFER_EMPTY;
    struct chunks_plan plan = plan_of(example, examples[0].seed, size);
    struct chunks *chunks = chunks_new(&plan);
    enum status status = chunks_push(chunks, view_text(body), true, &out);
    chunks_free(&chunks);
    buffer_free(&out);
    return status;
}

static void malformed_bodies_are_refused(void **state)
{
    (void)state;
    assert_int_equal(push(&examples[0], "5\r\nhello\r\n0\r\n\r\n", 5), STATUS_OK);
    assert_int_equal(push(&examples[0], "2;x=y\nhe\n3\nllo\n0\n", 5), STATUS_OK);
    assert_int_equal(push(&examples[1], "5\r\nhello\r\n0\r\nX-Amz-Checksum-CRC32C: sOO8/Q==\r\n\r\n", 5),
                     STATUS_OK);
    static const char *const bad[] = {
        "", "5\r\nhello\r\n", "5\r\nhello\r\n0", "5\r\nhello!\r\n0\r\n\r\n", "6\r\nhello!\r\n0\r\n\r\n",
        "4\r\nhell\r\n0\r\n\r\n", "g\r\nhello\r\n0\r\n\r\n", ";\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(push(&examples[0], bad[i], 5), STATUS_INVALID);
    }
    static const char *const bad_trailers[] = {
        "5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nx-amz-meta-a:b\r\n\r\n",
        "5\r\nhello\r\n0\r\nx-amz-checksum-crc32c\r\n\r\n",
        "5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:short\r\n\r\n",
        "5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:far too long\r\n\r\n",
        "5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:sO\r8/Q==\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad_trailers / sizeof bad_trailers[0]; i++) {
        assert_int_equal(push(&examples[1], bad_trailers[i], 5), STATUS_INVALID);
    }
}

static void an_unknown_trailer_has_no_size(void **state)
{
    struct chunks_plan plan = plan_of(&examples[1], examples[0].seed, 5);
    (void)state;
    assert_int_not_equal(chunks_body_size(&plan), CHUNKS_SIZE_UNKNOWN);
    plan.trailers = VIEW("x-amz-checksum-other");
    assert_int_equal(chunks_body_size(&plan), CHUNKS_SIZE_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_documentation_agrees),
        cmocka_unit_test(malformed_bodies_are_refused),
        cmocka_unit_test(an_unknown_trailer_has_no_size),
    };
    return cmocka_run_group_tests(tests, derive, NULL);
}
