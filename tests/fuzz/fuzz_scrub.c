/* Any text through the scrubber: however it is cut the outcome is the same, of the same size, with
 * nothing but stars in place of what was there, and without the key in its plainest spellings.
 *
 * The first byte says how the text is cut and whether it is an event stream. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct view text = view_of(data + 1, size - 1);
    size_t step = (data[0] & 31) + 1;
    bool events = data[0] & 128;
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
