/* What the vetting takes and refuses, each sample whole, byte by byte and cut in two everywhere. */
#include "unit.h"

#include "services/gateway/vet.h"

#define HEAD(line) line "\r\nHost: a\r\n"
#define GET HEAD("GET / HTTP/1.1")
#define POST HEAD("POST / HTTP/1.1")
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

struct sample {
    const char *raw;
    size_t size;
    unsigned http;     /* 0: good */
    uint64_t messages; /* whole ones before the end or the bad byte */
};
#define SAMPLE(raw, http, messages) {raw, sizeof(raw) - 1, http, messages}

static const struct sample samples[] = {
    SAMPLE(GET "\r\n", 0, 1),
    SAMPLE("GET /?a=b&c=[d]|\"<> HTTP/1.0\r\n\r\n", 0, 1),
    SAMPLE("\r\n\r\n" GET "\r\n\r\n" GET "\r\n", 0, 2),
    SAMPLE(GET "X-Empty:\r\nX: \t \xe9 \t\r\n\r\n", 0, 1),
    SAMPLE(POST "Content-Length: 3\r\n\r\nabc" GET "\r\n", 0, 2),
    SAMPLE(POST "content-length:003\r\n\r\nabc", 0, 1),
    SAMPLE(POST "Content-Length: 4\r\n\r\nabc", 0, 0),
    SAMPLE(POST "Content-Length: 0\r\nExpect: 100-Continue\r\n\r\n", 0, 1),
    SAMPLE(CHUNKED "3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\n" GET "\r\n", 0, 2),
    SAMPLE(CHUNKED "0\r\nContent-Length: 9\r\nHost: b\r\n\r\n", 0, 1),
    /* the request line */
    SAMPLE("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0),
    SAMPLE("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0),
    SAMPLE("\x16\x03\x01", 400, 0),
    SAMPLE("GET /\r\n", 400, 0),
    SAMPLE("GET  / HTTP/1.1\r\n", 400, 0),
    SAMPLE("GET\t/ HTTP/1.1\r\n", 400, 0),
    SAMPLE("GET /a b HTTP/1.1\r\n", 400, 0),
    SAMPLE("GET /\0 HTTP/1.1\r\n", 400, 0),
    SAMPLE("GET /#a HTTP/1.1\r\n", 400, 0),
    SAMPLE("GET /\xc3\xa9 HTTP/1.1\r\n", 400, 0),
    SAMPLE("GET a HTTP/1.1\r\n", 400, 0),
    SAMPLE("GET http://a/ HTTP/1.1\r\n", 400, 0),
    SAMPLE("OPTIONS * HTTP/1.1\r\n", 400, 0),
    SAMPLE("CONNECT a:1 HTTP/1.1\r\n", 405, 0),
    SAMPLE("TRACE / HTTP/1.1\r\n", 405, 0),
    SAMPLE("track / HTTP/1.1\r\n", 405, 0),
    SAMPLE("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n", 501, 0),
    SAMPLE("GET / HTTP/1.1 \r\n", 400, 0),
    SAMPLE("GET / HTTP/1.1\n", 400, 0),
    SAMPLE("GET / HTTP/1.1\r\r\n", 400, 0),
    SAMPLE("GET / http/1.1\r\n", 400, 0),
    SAMPLE("GET / HTTP/1.10\r\n", 400, 0),
    SAMPLE("GET / HTTP/2.0\r\n", 505, 0),
    SAMPLE("GET / HTTP/1.2\r\n", 505, 0),
    /* header fields */
    SAMPLE("GET / HTTP/1.1\r\n\r\n", 400, 0),
    SAMPLE(GET "Host: a\r\n\r\n", 400, 0),
    SAMPLE("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, 0),
    SAMPLE(GET "X: a\r\n b\r\n\r\n", 400, 0),
    SAMPLE(GET "X: a\nY: b\r\n\r\n", 400, 0),
    SAMPLE(GET "X: a\rb\r\n\r\n", 400, 0),
    SAMPLE(GET "X: a\0b\r\n\r\n", 400, 0),
    SAMPLE(GET "X: a\0\n\r\n", 400, 0),
    SAMPLE("GET / HTTP/1.1\0\nHost: a\r\n\r\n", 400, 0),
    SAMPLE(GET "\0\n", 400, 0),
    SAMPLE(GET "X: a\x01" "b\r\n\r\n", 400, 0),
    SAMPLE(GET "X: a\x7f\r\n\r\n", 400, 0),
    SAMPLE(GET "X : a\r\n\r\n", 400, 0),
    SAMPLE(GET "X\r\n\r\n", 400, 0),
    SAMPLE(GET ": a\r\n\r\n", 400, 0),
    SAMPLE(GET "X(: a\r\n\r\n", 400, 0),
    SAMPLE(GET "X\xe9: a\r\n\r\n", 400, 0),
    SAMPLE(GET "Authorization: a\r\nauthorization: b\r\n\r\n", 400, 0),
    SAMPLE(GET "Expect: foo\r\n\r\n", 417, 0),
    SAMPLE(GET "\n", 400, 0),
    SAMPLE(GET "\r\r\n", 400, 0),
    SAMPLE(GET "\r\n" GET "X: a\x01", 400, 1),
    /* framing */
    SAMPLE(POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400, 0),
    SAMPLE(POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400, 0),
    SAMPLE(POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", 400, 0),
    SAMPLE(POST "Content-Length: 3, 3\r\n\r\n", 400, 0),
    SAMPLE(POST "Content-Length: +3\r\n\r\n", 400, 0),
    SAMPLE(POST "Content-Length: 3 \r\n\r\n", 400, 0),
    SAMPLE(POST "Content-Length: 0x3\r\n\r\n", 400, 0),
    SAMPLE(POST "Content-Length:\r\n\r\n", 400, 0),
    SAMPLE(POST "Content-Length: 18446744073709551619\r\n\r\n", 400, 0),
    SAMPLE(POST "Transfer-Encoding: xchunked\r\n\r\n", 400, 0),
    SAMPLE(POST "Transfer-Encoding: identity, chunked\r\n\r\n", 400, 0),
    SAMPLE(POST "Transfer-Encoding: chunked, identity\r\n\r\n", 400, 0),
    SAMPLE(POST "Transfer-Encoding: chunked;a=b\r\n\r\n", 400, 0),
    SAMPLE(POST "Transfer-Encoding: chunked \r\n\r\n", 400, 0),
    SAMPLE(POST "Transfer-Encoding: \"chunked\"\r\n\r\n", 400, 0),
    SAMPLE(POST "Transfer-Encoding:\r\n\r\n", 400, 0),
    SAMPLE(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400, 0),
    SAMPLE("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, 0),
    /* chunks */
    SAMPLE(CHUNKED "\r\n", 400, 0),
    SAMPLE(CHUNKED "0x3\r\n", 400, 0),
    SAMPLE(CHUNKED "-3\r\n", 400, 0),
    SAMPLE(CHUNKED " 3\r\n", 400, 0),
    SAMPLE(CHUNKED "3 \r\n", 400, 0),
    SAMPLE(CHUNKED "3\n", 400, 0),
    SAMPLE(CHUNKED "3;a\nb\r\n", 400, 0),
    SAMPLE(CHUNKED "3;a\r \n", 400, 0),
    SAMPLE(CHUNKED "g\r\n", 400, 0),
    SAMPLE(CHUNKED "1000000000000000\r\n", 400, 0),
    SAMPLE(CHUNKED "3\r\nabcd\r\n", 400, 0),
    SAMPLE(CHUNKED "3\r\nabc\n", 400, 0),
    SAMPLE(CHUNKED "3\r\nabcx\n0\r\n\r\n", 400, 0),
    SAMPLE(CHUNKED "0\r\nX: a\r\n b\r\n\r\n", 400, 0),
    SAMPLE(CHUNKED "0\r\nX : a\r\n\r\n", 400, 0),
    SAMPLE(CHUNKED "0\r\n\n", 400, 0),
};

static void expect(const struct vet *vet, const struct sample *sample)
{
    if (vet->http != sample->http || vet->messages != sample->messages) {
        fail_msg("%u and %llu messages for: %s", vet->http, (unsigned long long)vet->messages,
                 sample->raw);
    }
}

/* Feeds a piece as it would be read: from memory of its own size. */
static size_t feed(struct vet *state, const char *at, size_t size)
{
    uint8_t *piece = malloc(size ? size : 1);
    assert_non_null(piece);
    memcpy(piece, at, size);
    size_t handed = vet(state, piece, size);
    free(piece);
    return handed;
}

static void verdicts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        const struct sample *sample = &samples[i];
        struct vet whole = {0}, bytes = {0};
        size_t handed = feed(&whole, sample->raw, sample->size);
        expect(&whole, sample);
        assert_true(whole.http ? handed < sample->size : handed == sample->size);
        for (size_t at = 0; at < sample->size; at++) {
            (void)feed(&bytes, sample->raw + at, 1);
        }
        expect(&bytes, sample);
        for (size_t cut = 0; cut <= sample->size; cut++) {
            struct vet two = {0};
            (void)feed(&two, sample->raw, cut);
            (void)feed(&two, sample->raw + cut, sample->size - cut);
            expect(&two, sample);
        }
    }
}

/* A good request before a bad one is handed on, and not a byte of the bad one. */
static void good_before_bad(void **state)
{
    static const char good[] = GET "\r\n", bad[] = GET "X : a\r\n\r\n";
    struct vet one = {0};
    char both[sizeof good + sizeof bad];
    (void)state;
    (void)snprintf(both, sizeof both, "%s%s", good, bad);
    assert_int_equal(feed(&one, both, strlen(both)), strlen(good));
    assert_int_equal(one.http, 400);
    assert_int_equal(feed(&one, good, strlen(good)), 0); /* for good */
}

/* The head's last byte decides: without it nothing is dispatched. */
static void last_byte_is_withheld(void **state)
{
    static const char head[] = POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    struct vet one = {0};
    (void)state;
    for (size_t i = 0; i + 2 < sizeof head; i++) {
        assert_int_equal(feed(&one, head + i, 1), 1);
    }
    assert_int_equal(feed(&one, "\n", 1), 0);
    assert_int_equal(one.http, 400);
}

static struct vet repeat(const char *begin, const char *again, size_t times, const char *end)
{
    struct vet one = {0};
    (void)feed(&one, begin, strlen(begin));
    for (size_t i = 0; i < times; i++) {
        (void)feed(&one, again, strlen(again));
    }
    (void)feed(&one, end, strlen(end));
    return one;
}

static void limits(void **state)
{
    (void)state;
    assert_int_equal(repeat("GET /", "a", 8191, " HTTP/1.1\r\nHost: a\r\n\r\n").messages, 1);
    assert_int_equal(repeat("GET /", "a", 8192, " HTTP/1.1\r\n").http, 414);
    assert_int_equal(repeat(GET, "X: a\r\n", 99, "\r\n").messages, 1);
    assert_int_equal(repeat(GET, "X: a\r\n", 100, "\r\n").http, 431);
    assert_int_equal(repeat(GET "X: ", "aaaaaaaa", 4000, "\r\n\r\n").messages, 1);
    assert_int_equal(repeat(GET "X: ", "aaaaaaaa", 4096, "\r\n\r\n").http, 431);
    assert_int_equal(repeat(GET, "n", 257, ": a\r\n\r\n").http, 431);
    assert_int_equal(repeat(CHUNKED "1;", "a", 257, "\r\n").http, 400);
    assert_int_equal(repeat(CHUNKED "0\r\nX: ", "a", 4096, "\r\n\r\n").http, 431);
    assert_int_equal(repeat(CHUNKED, "1\r\na\r\n", 10000, "0\r\n\r\n").messages, 1);
}

static void where_it_is(void **state)
{
    struct vet one = {0};
    (void)state;
    assert_true(vet_between(&one));
    (void)feed(&one, "G", 1);
    assert_false(vet_between(&one));
    one = repeat("POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", "a", 4, "");
    assert_true(vet_in_body(&one));
    assert_true(one.api);
    assert_int_equal(one.body_bytes, 4);
    assert_int_equal(one.length, 9);
    assert_int_equal(one.target_size, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts),      cmocka_unit_test(good_before_bad),
        cmocka_unit_test(last_byte_is_withheld), cmocka_unit_test(limits),
        cmocka_unit_test(where_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
