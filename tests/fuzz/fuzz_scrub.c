/* Any text through the scrubber: however it is cut the outcome is the same, of the same size, with
 * nothing but stars in place of what was there, and without the key in its plainest spellings.
 *
 * The first byte says how the text is cut, whether it is an event stream, and whether what follows is that
 * text: otherwise the key is written in a spelling that the other bytes choose character by character,
 * with events and line breaks in between, and nothing of it may stay. */
#include <ctype.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/proxy/scrub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char key[] = "sk-Fuzz/Key+9\"z", hex[] = "736b2d46757a7a2f4b65792b39227a",
                  base64[] = "c2stRnV6ei9LZXkrOSJ6";

static struct buffer scrubbed(struct view text, size_t step, bool events)
{
    const struct view secrets[] = {view_of(key, sizeof key - 1), VIEW("short")};
    struct scrub *scrub = scrub_new(secrets, 2);
    struct buffer out = BUFFER_EMPTY;
    if (!scrub) {
        abort();
    }
    if (events) {
        scrub_events(scrub);
    }
    for (size_t at = 0; at < text.size; at += step) {
        size_t piece = text.size - at < step ? text.size - at : step;
        if (scrub_feed(scrub, view_of(text.data + at, piece), false, &out) != STATUS_OK) {
            abort();
        }
    }
    if (scrub_feed(scrub, (struct view){NULL, 0}, true, &out) != STATUS_OK) {
        abort();
    }
    scrub_free(&scrub);
    return out;
}

static void require(bool good)
{
    if (!good) {
        abort();
    }
}

static bool holds(struct buffer text, const char *needle)
{
    return text.size > 0 && memmem(text.data, text.size, needle, strlen(needle)) != NULL;
}

/* ---- a key that is there, in a spelling that the input chooses ---- */

struct spelling {
    struct view choices; /* what is left of the input */
    bool events;
    struct buffer text, keys; /* `keys` has a byte for each of the text's: 1 where nothing may stay */
};

static uint8_t choose(struct spelling *spelling, unsigned count)
{
    uint8_t choice = 0;
    if (spelling->choices.size > 0) {
        choice = spelling->choices.data[0];
        spelling->choices = view_of(spelling->choices.data + 1, spelling->choices.size - 1);
    }
    return (uint8_t)(choice % count);
}

static void write_text(struct spelling *spelling, const char *written, uint8_t is_key)
{
    buffer_append_text(&spelling->text, written);
    for (; *written; written++) {
        buffer_append_byte(&spelling->keys, is_key);
    }
}

static void write_seam(struct spelling *spelling)
{
    static const char *const seams[] = {"\n\ndata: ", "\r\n\r\ndata:", "\n\nid: 7\nevent: x\ndata: ", "\ndata: ", "\n\n: hello\ndata: ",
                                        "\r\rdata: ", "\r\rid: 7\revent: x\rdata:"};
    if (spelling->events && choose(spelling, 8) == 0) {
        write_text(spelling, seams[choose(spelling, 7)], 0);
    }
}

static void write_break(struct spelling *spelling)
{
    static const char *const breaks[] = {"\r\n", "\n", "\\r\\n", "\\n"};
    if (choose(spelling, 16) == 0) {
        write_text(spelling, breaks[choose(spelling, 4)], 0);
    }
}

static void write_character(struct spelling *spelling, char character)
{
    static const char *const formats[] = {"%c", "%%%02x", "%%%02X", "%%25%02x", "\\u%04x", "\\u%04X", "\\x%02X",
                                          "\\\\u%04x", "&#%d;", "&#x%X;", "&#x%04x;", "\\\\x%02x"};
    char written[16];
    const char *format = formats[choose(spelling, sizeof formats / sizeof formats[0])];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(written, sizeof written, format, (unsigned char)character);
#pragma GCC diagnostic pop
    write_text(spelling, written, 1);
}

static void write_spelled(struct spelling *spelling)
{
    for (const char *at = key; *at; at++) {
        if (at > key) {
            write_seam(spelling);
        }
        write_character(spelling, *at);
    }
}

static void write_hex(struct spelling *spelling)
{
    for (const char *at = hex; *at; at++) {
        const char one[2] = {choose(spelling, 2) ? (char)toupper(*at) : *at, 0};
        if (at > hex) {
            write_seam(spelling);
        }
        write_text(spelling, one, 1);
    }
}

/* With other bytes before and behind it, and line breaks. */
static void write_base64(struct spelling *spelling)
{
    char plain[64], encoded[96];
    size_t before = choose(spelling, 3), size = sizeof key - 1;
    int variant = choose(spelling, 2) ? sodium_base64_VARIANT_ORIGINAL : sodium_base64_VARIANT_URLSAFE;
    memset(plain, 'x', sizeof plain);
    memcpy(plain + before, key, size);
    sodium_bin2base64(encoded, sizeof encoded, (const uint8_t *)plain, before + size + 3, variant);
    size_t first = (before * 8 + 5) / 6, last = (before + size) * 8 / 6;
    for (size_t i = 0; encoded[i]; i++) {
        const char one[2] = {encoded[i], 0};
        bool inside = i >= first && i < last;
        if (inside && i > first) {
            write_break(spelling);
        }
        if (inside && strchr("+/", encoded[i]) && choose(spelling, 2)) {
            write_character(spelling, encoded[i]);
        } else {
            write_text(spelling, one, inside);
        }
    }
}

static void check_spelled(struct view choices, size_t step, bool events)
{
    struct spelling spelling = {.choices = choices, .events = events};
    write_text(&spelling, events ? "data: {" : "{", 0);
    for (unsigned i = 0; i < 3; i++) {
        const char other[2] = {(char)(' ' + choose(&spelling, 95)), 0};
        write_text(&spelling, other, 0);
        (choose(&spelling, 2) ? write_spelled : choose(&spelling, 2) ? write_hex : write_base64)(&spelling);
    }
    write_text(&spelling, " }\n\n", 0);
    struct buffer out = scrubbed(buffer_view(&spelling.text), step, events);
    require(out.size == spelling.text.size && out.size == spelling.keys.size);
    for (size_t i = 0; i < out.size; i++) {
        require(!spelling.keys.data[i] || out.data[i] == '*');
    }
    buffer_free(&out);
    buffer_free(&spelling.text);
    buffer_free(&spelling.keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct view text = view_of(data + 1, size - 1);
    size_t step = (data[0] & 31) + 1;
    bool events = data[0] & 128;
    if (data[0] & 64) {
        check_spelled(text, step, events);
        return 0;
    }
    struct buffer whole = scrubbed(text, text.size, events);
    struct buffer pieces = scrubbed(text, step, events);
    require(whole.size == text.size && pieces.size == text.size);
    require(memcmp(whole.data, pieces.data, text.size) == 0);
    for (size_t i = 0; i < text.size; i++) {
        require(whole.data[i] == text.data[i] || whole.data[i] == '*');
    }
    require(!holds(whole, key) && !holds(whole, hex) && !holds(whole, base64));
    buffer_free(&whole);
    buffer_free(&pieces);
    return 0;
}
