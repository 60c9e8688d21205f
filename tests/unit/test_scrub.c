/* test_scrub.c - every spelling is found at every split, and nothing else is touched. */
#include "tests/unit/unit.h"

#include "services/proxy/places.h"
#include "services/proxy/scrub.h"

static const char key[] = "sk-Planted/Key+0\"9z";

static struct scrub *new_scrub(void)
{
    struct view secret = VIEW("sk-Planted/Key+0\"9z");
    struct scrub *scrub = scrub_new(&secret, 1);
    assert_non_null(scrub);
    return scrub;
}

/* Feeds TEXT cut in two at CUT (or byte by byte when that is SIZE_MAX); the caller frees. */
static struct buffer scrubbed(struct view text, size_t cut)
{
    struct scrub *scrub = new_scrub();
    struct buffer out = BUFFER_EMPTY;
    size_t step = cut == SIZE_MAX ? 1 : cut;
    for (size_t at = 0; at < text.size;) {
        size_t size = step && step < text.size - at ? step : text.size - at;
        size_t clean = scrub_clean(scrub, view_of(text.data + at, size));
        buffer_append(&out, text.data + at, clean);
        assert_int_equal(scrub_feed(scrub, view_of(text.data + at + clean, size - clean), false, &out), STATUS_OK);
        at += size;
        step = cut == SIZE_MAX ? 1 : text.size;
    }
    assert_int_equal(scrub_feed(scrub, (struct view){NULL, 0}, true, &out), STATUS_OK);
    scrub_free(&scrub);
    return out;
}

static void every_split(struct view text, struct view want)
{
    assert_int_equal(text.size, want.size);
    for (size_t cut = 0; cut <= text.size; cut++) {
        struct buffer out = scrubbed(text, cut == text.size ? SIZE_MAX : cut);
        assert_int_equal(out.size, want.size);
        assert_memory_equal(out.data, want.data, want.size);
        buffer_free(&out);
    }
}

/* SPELLING between other text, all of it starred. */
static void hidden(const char *spelling, size_t size)
{
    struct buffer text = BUFFER_EMPTY, want = BUFFER_EMPTY;
    buffer_append_text(&text, "s{sk-Pla %s \\ & ");
    buffer_append_text(&want, "s{sk-Pla %s \\ & ");
    buffer_append(&text, spelling, size);
    for (size_t i = 0; i < size; i++) {
        buffer_append_byte(&want, '*');
    }
    buffer_append_text(&text, "; after sk-Planted");
    buffer_append_text(&want, "; after sk-Planted");
    every_split(buffer_view(&text), buffer_view(&want));
    buffer_free(&text);
    buffer_free(&want);
}

static void test_spellings(void **state)
{
    static const char *const formats[] = {"%%%02x", "%%%02X", "%%25%02x", "\\u%04x", "\\u%04X",
                                          "\\x%02x", "\\\\x%02x", "\\\\u%04x", "&#%d;", "&#x%x;", "&#X%X;"};
    (void)state;
    hidden(key, sizeof key - 1);
    hidden("sk-Planted\\/Key+0\\\"9z", sizeof "sk-Planted\\/Key+0\\\"9z" - 1);
    hidden("sk-Planted%2FKey%2b0&quot;9z", sizeof "sk-Planted%2FKey%2b0&quot;9z" - 1);
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        char text[512];
        size_t used = 0;
        for (const char *c = key; *c; c++) {
            char one[16];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            int size = snprintf(one, sizeof one, formats[f], (unsigned char)*c);
#pragma GCC diagnostic pop
            memcpy(text + used, one, (size_t)size);
            used += (size_t)size;
        }
        hidden(text, used);
    }
}

static void test_hex_and_base64(void **state)
{
    (void)state;
    hidden("736b2d506c616e7465642f4b65792b302239" "7a", 38);
    hidden("736B2D506C616E7465642F4B65792B302239" "7A", 38);
    /* base64 of the key alone; its last character depends on what follows, so it stays */
    struct view text = VIEW("c2stUGxhbnRlZC9LZXkrMCI5eg==");
    struct buffer out = scrubbed(text, 0);
    assert_memory_equal(out.data, "*************************g==", text.size);
    buffer_free(&out);
    text = VIEW("c2stUGxhbnRl\r\nZC9LZXkrMCI5\\neg==");
    out = scrubbed(text, SIZE_MAX);
    assert_null(memmem(out.data, out.size, "UGxhbn", 6));
    assert_null(memmem(out.data, out.size, "ZC9LZX", 6));
    buffer_free(&out);
}

/* 0xfb 0xff .. in the key makes + and / in its base64, which JSON, URLs and HTML may escape. */
static void test_escaped_base64(void **state)
{
    static const char *const texts[] = {"+\\/+\\/+\\/+\\/++", "%2B%2F%2B%2f%2b%2F%2B%2F%2B%2B",
                                        "&#43;&#47;&#x2b;/+/\\u002b/++", "-_-_-_-_--",
                                        "+/+/\n+/+/++", "%252B/+/+/+/++"};
    struct view secret = VIEW("\xfb\xff\xbf\xfb\xff\xbf\xfb\xef");
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct scrub *scrub = scrub_new(&secret, 1);
        struct buffer out = BUFFER_EMPTY;
        assert_int_equal(scrub_text(scrub, view_text(texts[i]), &out), STATUS_OK);
        assert_int_equal(scrub_hits(scrub), 1);
        assert_true(out.data[0] == '*' && out.data[out.size / 2] == '*');
        buffer_free(&out);
        scrub_free(&scrub);
    }
}

/* A key that goes on in the next event: the frame stays, the key does not, at every split. */
static void test_event_seams(void **state)
{
    static const char *const seams[] = {"\n\ndata: ", "\n\ndata:", "\r\n\r\ndata: ", "\ndata: ",
                                        "\n\nevent: part\nid: 7\ndata: ", "\n\n: ping\n\ndata: "};
    (void)state;
    for (size_t s = 0; s < sizeof seams / sizeof seams[0]; s++) {
        for (size_t cut = 1; cut < sizeof key - 1; cut++) {
            char text[256];
            int size = snprintf(text, sizeof text, "data: %.*s%s%s\n\n", (int)cut, key, seams[s],
                                key + cut);
            struct view secret = view_of(key, sizeof key - 1);
            struct scrub *scrub = scrub_new(&secret, 1);
            struct buffer out = BUFFER_EMPTY;
            scrub_events(scrub);
            for (int i = 0; i < size; i++) {
                assert_int_equal(scrub_feed(scrub, view_of(text + i, 1), false, &out), STATUS_OK);
            }
            assert_int_equal(scrub_feed(scrub, (struct view){NULL, 0}, true, &out), STATUS_OK);
            bool two_events = strstr(seams[s], "ping") != NULL; /* a comment between blank lines */
            assert_int_equal(scrub_hits(scrub), two_events ? 0 : 1);
            assert_int_equal(out.size, size);
            size_t stars = 0;
            for (size_t i = 0; i < out.size; i++) {
                stars += out.data[i] == '*';
                assert_true(out.data[i] == '*' || out.data[i] == (uint8_t)text[i]);
            }
            assert_int_equal(stars, two_events ? 0 : sizeof key - 1);
            buffer_free(&out);
            scrub_free(&scrub);
        }
    }
}

static void test_clean_text_is_untouched(void **state)
{
    static const char text[] = "{\"a\":\"sk-Planted/Key+0\\u00229\",\"b\":\"%73%6b-\\\\ &amp; sk-P\"}";
    (void)state;
    every_split(view_of(text, sizeof text - 1), view_of(text, sizeof text - 1));
}

static void test_short_secret(void **state)
{
    struct view secret = VIEW("ab");
    struct scrub *scrub = scrub_new(&secret, 1);
    struct buffer out = BUFFER_EMPTY;
    (void)state;
    assert_int_equal(scrub_text(scrub, VIEW("xaby a%62"), &out), STATUS_OK);
    assert_memory_equal(out.data, "x**y a%62", 9);
    buffer_free(&out);
    scrub_free(&scrub);
    scrub_free(&scrub);
}

/* Nothing is held back longer than it could still become the key. */
static void test_no_delay(void **state)
{
    struct scrub *scrub = new_scrub();
    struct buffer out = BUFFER_EMPTY;
    (void)state;
    assert_int_equal(scrub_feed(scrub, VIEW("data: hello\n\n"), false, &out), STATUS_OK);
    assert_int_equal(out.size, 13);
    assert_int_equal(scrub_feed(scrub, VIEW("a sk-Pl"), false, &out), STATUS_OK);
    assert_int_equal(out.size, 15);
    assert_int_equal(scrub_feed(scrub, VIEW("ace"), false, &out), STATUS_OK);
    assert_int_equal(out.size, 23);
    /* Base64 may be wrapped, but not by an empty line: an event's end is not waited behind. */
    assert_int_equal(scrub_feed(scrub, VIEW("c\n"), false, &out), STATUS_OK);
    assert_int_equal(out.size, 23);
    assert_int_equal(scrub_feed(scrub, VIEW("\n"), false, &out), STATUS_OK);
    assert_int_equal(out.size, 26);
    buffer_free(&out);
    scrub_free(&scrub);
}

/* Sixteen at a time finds what one at a time finds, wherever it lies. */
static void test_places(void **state)
{
    static const char firsts[] = "sk\\%&aZ0+/\xff\x80", seconds[] = "\r\n\\%&kx7\x80";
    uint8_t text[200];
    uint32_t seed = 7;
    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct places places = {.group_count = 0};
        bool pair[256][256] = {{false}}, first[256] = {false};
        for (size_t i = 0; i < 24; i++) {
            uint8_t a = (uint8_t)firsts[(seed = seed * 1103515245 + 12345) >> 16 & 7];
            uint8_t b = (uint8_t)seconds[(seed = seed * 1103515245 + 12345) >> 16 & 7];
            places_add(&places, a, b);
            pair[a][b] = first[a] = true;
        }
        for (size_t i = 0; i < sizeof text; i++) {
            seed = seed * 1103515245 + 12345;
            text[i] = (uint8_t)(seed >> 30 ? (uint32_t)'.' : (uint32_t)firsts[seed >> 16 & 7]);
            text[i] = (uint8_t)(seed >> 29 & 1 ? (uint32_t)seconds[seed >> 20 & 7] : text[i]);
        }
        size_t want = (size_t)round % sizeof text, from = want;
        while (want + 1 < sizeof text && !pair[text[want]][text[want + 1]]) {
            want++;
        }
        want = want + 1 == sizeof text && !first[text[want]] ? sizeof text : want;
        assert_int_equal(places_next(&places, view_of(text, sizeof text), from), want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_spellings),        cmocka_unit_test(test_hex_and_base64),
        cmocka_unit_test(test_clean_text_is_untouched), cmocka_unit_test(test_short_secret),
        cmocka_unit_test(test_no_delay),         cmocka_unit_test(test_escaped_base64),
        cmocka_unit_test(test_event_seams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
