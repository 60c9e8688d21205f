/* What scrubbing costs: build/release/tests/scrub_bench prints GB/s on large bodies and nanoseconds for
 * a 1 KiB answer (a new scrubber, five header values, the body), for kinds of text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "services/proxy/scrub.h"

enum { LARGE = 64 << 20, CHUNK = 16384, SMALL = 1024, ROUNDS = 20000 };

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct scrub *new_scrub(void)
{
    const struct view key = VIEW("sk-proj-5f2e9c7a1b8d4036Qx7LmZ0pT4vR9wYk2JdNhB6sGfE");
    struct scrub *scrub = scrub_new(&key, 1);
    return scrub ? scrub : (abort(), NULL);
}

static void fill(uint8_t *data, size_t size, int kind)
{
    static const char json[] = "{\"id\":\"chatcmpl-9f\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,"
                               "\"message\":{\"role\":\"assistant\",\"content\":\"The sky scatters short wave"
                               "lengths; so it is blue.\\nSee \\u00a7 3 & ask again.\"}}]}\n";
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t state = 2463534242;
    for (size_t i = 0; i < size; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        data[i] = kind == 0 ? (uint8_t)json[i % (sizeof json - 1)]
                  : kind == 1 ? (uint8_t)letters[state >> 26]
                              : (uint8_t)(state >> 24);
    }
}

static void feed(struct scrub *scrub, struct view data, bool end, struct buffer *out)
{
    if (scrub_feed(scrub, data, end, out) != STATUS_OK) {
        abort();
    }
}

int main(void)
{
    static const char *const kinds[] = {"JSON", "base64", "random bytes"};
    uint8_t *data = malloc(LARGE);
    struct buffer out = BUFFER_EMPTY;
    for (int kind = 0; data && kind < 3; kind++) {
        fill(data, LARGE, kind);
        struct scrub *scrub = new_scrub();
        double begin = seconds();
        for (size_t at = 0; at < LARGE; at += CHUNK) {
            buffer_clear(&out);
            feed(scrub, view_of(data + at, CHUNK), at + CHUNK == LARGE, &out);
        }
        double large = seconds() - begin;
        scrub_free(&scrub);
        begin = seconds();
        for (int i = 0; i < ROUNDS; i++) {
            scrub = new_scrub();
            for (int header = 0; header < 5; header++) {
                buffer_clear(&out);
                if (scrub_text(scrub, view_of(data + header * 40, 30), &out) != STATUS_OK) {
                    abort();
                }
            }
            buffer_clear(&out);
            feed(scrub, view_of(data, SMALL), true, &out);
            scrub_free(&scrub);
        }
        printf("%-13s %5.2f GB/s, %6.0f ns for a 1 KiB answer\n", kinds[kind], LARGE / large / 1e9,
               (seconds() - begin) / ROUNDS * 1e9);
    }
    buffer_free(&out);
    free(data);
    return 0;
}
