/* test_http1.c - answers read at every split give the same lines and body; what is not an answer is
 * refused; and what gzip and deflate give, at every split too. */
#include "tests/unit/unit.h"

#include <zlib.h>

#include "services/proxy/decode.h"
#include "services/proxy/http1.h"

/* What came out: each line and '\n', then '|' and the body, then how it stands. */
static void feed(struct http1 *http1, struct buffer *kept, struct view bytes, struct buffer *lines,
                 struct buffer *body, enum http1_event *last)
{
    buffer_append_view(kept, bytes);
    struct view in = buffer_view(kept), got;
    do {
        *last = http1_next(http1, &in, &got);
        if (*last == HTTP1_LINE) {
            buffer_append_view(lines, got);
            buffer_append_byte(lines, '\n');
        } else if (*last == HTTP1_BODY) {
            buffer_append_view(body, got);
        }
    } while (*last == HTTP1_LINE || *last == HTTP1_BODY);
    buffer_consume(kept, kept->size - in.size);
}

/* Reads ANSWER in pieces that end at CUT and END, or byte by byte for 0. */
static void read_cut(const char *answer, bool head_request, size_t cut, struct buffer *out)
{
    CLEANUP(buffer_free) struct buffer kept = BUFFER_EMPTY, lines = BUFFER_EMPTY, body = BUFFER_EMPTY;
    struct view bytes = view_text(answer);
    enum http1_event last = HTTP1_MORE;
    struct http1 http1;
    http1_begin(&http1, head_request);
    for (size_t at = 0, to; at < bytes.size; at = to) {
        to = cut == 0 ? at + 1 : at < cut ? cut : bytes.size;
        feed(&http1, &kept, view_of(bytes.data + at, to - at), &lines, &body, &last);
    }
    buffer_append_view(out, buffer_view(&lines));
    buffer_append_byte(out, '|');
    buffer_append_view(out, buffer_view(&body));
    buffer_printf(out, "|%s%s%s left %zu",
                  last == HTTP1_END ? "end" : last == HTTP1_BAD ? "bad" : "more",
                  http1_whole_at_end(&http1) ? " whole" : "", http1_keeps(&http1) ? " keeps" : "",
                  last == HTTP1_BAD ? 0 : kept.size);
}

static void check(const char *answer, bool head_request, const char *wanted)
{
    for (size_t cut = 0; cut <= strlen(answer); cut++) {
        CLEANUP(buffer_free) struct buffer out = BUFFER_EMPTY;
        read_cut(answer, head_request, cut, &out);
        buffer_append_byte(&out, 0);
        assert_false(out.failed);
        if (strcmp((char *)out.data, wanted) != 0) {
            print_error("cut %zu of %s\n", cut, answer);
        }
        assert_string_equal((char *)out.data, wanted);
    }
}

static void test_good(void **state)
{
    (void)state;
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello", false,
          "HTTP/1.1 200 OK\nContent-Length: 5\nX: y\n\n|hello|end whole keeps left 0");
    check("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false,
          "HTTP/1.1 200\nContent-Length: 0\n\n||end whole keeps left 0");
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nokHTTP", false,
          "HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 2\n\n|ok|end whole keeps left 4");
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0a;x=y\r\n0123456789\r\n"
          "0\r\nTrailer: dropped\r\n\r\n", false,
          "HTTP/1.1 200 OK\nTransfer-Encoding: Chunked\n\n|abc0123456789|end whole keeps left 0");
    check("HTTP/1.1 200 OK\r\n\r\nto the end", false,
          "HTTP/1.1 200 OK\n\n|to the end|more whole left 0");
    check("HTTP/1.0 200 OK\nContent-Length: 1\n\nx", false,
          "HTTP/1.0 200 OK\nContent-Length: 1\n\n|x|end whole left 0");
    check("HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 Go\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 1\r\n"
          "Connection: x, Close\r\n\r\nx", false,
          "HTTP/1.1 103 Early\nLink: x\n\nHTTP/1.1 100 Go\n\nHTTP/1.1 404 No\nContent-Length: 1\n"
          "Connection: x, Close\n\n|x|end whole left 0");
    check("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", true,
          "HTTP/1.1 200 OK\nContent-Length: 500\n\n||end whole keeps left 0");
    check("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", false,
          "HTTP/1.1 304 Not Modified\nContent-Length: 500\n\n||end whole keeps left 0");
    check("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", false,
          "HTTP/1.1 204 No\nTransfer-Encoding: chunked\n\n||end whole keeps left 0");
}

static void test_cut_short(void **state)
{
    (void)state;
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", false,
          "HTTP/1.1 200 OK\nContent-Length: 5\n\n|hell|more left 0");
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", false,
          "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n|abc|more left 0");
    check("HTTP/1.1 200 O", false, "||more left 14");
}

static void test_bad(void **state)
{
    static const char *const heads[] = {
        "HTTP/1.1 20 OK\r\n", "HTTP/2 200 OK\r\n", "HTTP/1.2 200 OK\r\n", "HTTP/1.1  200 OK\r\n",
        "HTTP/1.1 099 OK\r\n", "HTTP/1.1 2000 OK\r\n", "ICY 200 OK\r\n", "\r\n", "HTTP/1.1 101 Switch\r\n",
        "HTTP/1.1 200 O\001K\r\n", "HTTP/1.1 200 OK\r\r\n",
    };
    static const char *const fields[] = {
        "no colon\r\n", ": no name\r\n", "Name : x\r\n", " folded: x\r\n", "X: a\rb\r\n", "X: \177\r\n",
        "Content-Length: 5x\r\n", "Content-Length: -5\r\n", "Content-Length:\r\n", "Content-Length: 5, 5\r\n",
        "Content-Length: 99999999999999999999\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    static const char *const chunks[] = {"x\r\n", "\r\n", "5 5\r\n", "-1\r\n", "0x5\r\n",
                                         "1234567890abcdef\r\n", "1\r\nab\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        check(heads[i], false, "||bad left 0");
    }
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        CLEANUP(buffer_free) struct buffer answer = BUFFER_EMPTY, out = BUFFER_EMPTY;
        buffer_printf(&answer, "HTTP/1.1 200 OK\r\n%s", fields[i]);
        buffer_append_byte(&answer, 0);
        read_cut((char *)answer.data, false, 0, &out);
        if (!memmem(out.data, out.size, "|bad", 4)) {
            fail_msg("taken: %s", fields[i]);
        }
    }
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        CLEANUP(buffer_free) struct buffer answer = BUFFER_EMPTY, out = BUFFER_EMPTY;
        buffer_printf(&answer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s", chunks[i]);
        buffer_append_byte(&answer, 0);
        read_cut((char *)answer.data, false, 0, &out);
        if (!memmem(out.data, out.size, "|bad", 4)) {
            fail_msg("taken: %s", chunks[i]);
        }
    }
    check("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false,
          "HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n||bad left 0");
}

static bool is_bad(const struct buffer *answer)
{
    struct view in = buffer_view(answer), got;
    struct http1 http1;
    enum http1_event event;
    http1_begin(&http1, false);
    do {
        event = http1_next(&http1, &in, &got);
    } while (event == HTTP1_LINE || event == HTTP1_BODY);
    return event == HTTP1_BAD;
}

static void test_limits(void **state)
{
    CLEANUP(buffer_free) struct buffer many = BUFFER_EMPTY, lng = BUFFER_EMPTY, interim = BUFFER_EMPTY;
    (void)state;
    buffer_append_text(&many, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < HTTP1_FIELDS_MAX; i++) {
        buffer_append_text(&many, "a: b\r\n");
    }
    assert_false(is_bad(&many));
    buffer_append_text(&many, "a: b\r\n");
    assert_true(is_bad(&many));
    buffer_append_text(&lng, "HTTP/1.1 200 OK\r\nx: ");
    for (int i = 0; i < HTTP1_LINE_MAX; i++) {
        buffer_append_byte(&lng, 'x');
    }
    assert_true(is_bad(&lng)); /* although its line may still end */
    for (int i = 0; i < HTTP1_INTERIM_MAX; i++) {
        buffer_append_text(&interim, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    assert_false(is_bad(&interim));
    buffer_append_text(&interim, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_true(is_bad(&interim));
}

/* ---- decoding ---- */

static void deflate_text(const uint8_t *text, size_t size, int bits, struct buffer *ret)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    uint8_t *room = buffer_room(ret, size + 256);
    stream.next_in = (uint8_t *)(uintptr_t)text;
    stream.avail_in = (unsigned)size;
    stream.next_out = room;
    stream.avail_out = (unsigned)size + 256;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    ret->size += size + 256 - stream.avail_out;
    deflateEnd(&stream);
}

/* Decodes BYTES cut at CUT, with little room. */
static enum status decode_cut(const char *coding, struct view bytes, size_t cut, struct buffer *out,
                              bool *ret_whole)
{
    struct decode *decode = decode_new(view_text(coding));
    struct view parts[] = {view_of(bytes.data, cut), view_of(bytes.data + cut, bytes.size - cut)};
    enum status status = STATUS_OK;
    uint8_t room[7];
    assert_non_null(decode);
    for (size_t i = 0; i < 2 && status == STATUS_OK; i++) {
        size_t got = sizeof room;
        while (status == STATUS_OK && (parts[i].size > 0 || got == sizeof room)) {
            status = decode_next(decode, &parts[i], room, sizeof room, &got);
            buffer_append(out, room, status == STATUS_OK ? got : 0);
        }
    }
    *ret_whole = decode_whole(decode);
    decode_free(&decode);
    return status;
}

static void test_decode(void **state)
{
    static const char text[] = "the same words, the same words, the same words; and an end";
    const struct {
        const char *coding;
        int bits;
    } rows[] = {{"gzip", 31}, {"X-Gzip", 31}, {"deflate", 15}, {"deflate", -15}};
    bool whole;
    (void)state;
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        CLEANUP(buffer_free) struct buffer packed = BUFFER_EMPTY;
        deflate_text((const uint8_t *)text, sizeof text, rows[row].bits, &packed);
        if (rows[row].bits == 31) { /* a second member */
            deflate_text((const uint8_t *)text, sizeof text, 31, &packed);
        }
        for (size_t cut = 0; cut <= packed.size; cut++) {
            CLEANUP(buffer_free) struct buffer out = BUFFER_EMPTY;
            assert_int_equal(decode_cut(rows[row].coding, buffer_view(&packed), cut, &out, &whole),
                             STATUS_OK);
            assert_true(whole);
            assert_int_equal(out.size, sizeof text * (rows[row].bits == 31 ? 2 : 1));
            assert_memory_equal(out.data, text, sizeof text);
        }
        CLEANUP(buffer_free) struct buffer out = BUFFER_EMPTY;
        struct view cut_off = view_of(packed.data, packed.size - 1);
        assert_int_equal(decode_cut(rows[row].coding, cut_off, 3, &out, &whole), STATUS_OK);
        assert_false(whole);
        buffer_append_byte(&packed, 'x');
        assert_true(decode_cut(rows[row].coding, buffer_view(&packed), 3, &out, &whole) != STATUS_OK ||
                    !whole);
    }
    CLEANUP(buffer_free) struct buffer out = BUFFER_EMPTY;
    assert_int_equal(decode_cut("gzip", VIEW("this is not gzip"), 1, &out, &whole), STATUS_UPSTREAM);
    assert_int_equal(decode_cut("gzip", VIEW(""), 0, &out, &whole), STATUS_OK);
    assert_true(whole);
    assert_null(decode_new(VIEW("br")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),   cmocka_unit_test(test_cut_short), cmocka_unit_test(test_bad),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
