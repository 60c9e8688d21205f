/* places.c - looks two bytes up at each place of a text, sixteen places at a time where the machine can.
 *
 * Every byte of every answer comes by here.  A table of sixteen entries is looked up for sixteen bytes
 * by one instruction (PSHUFB), so a set of bytes is kept as the sets of their lower and upper halves;
 * what passes both is looked up exactly. */
#include "services/proxy/places.h"

#if defined(__x86_64__)
#include <tmmintrin.h>
#endif

enum { GROUPS = 16, COARSE_GROUPS = 8 };

void places_add(struct places *places, uint8_t first, uint8_t second)
{
    if (!places->first[first]) {
        places->first[first] = (uint16_t)(1 << places->group_count++ % GROUPS);
    }
    unsigned group = places->first[first];
    places->second[second] |= (uint16_t)group;
    uint8_t coarse = (uint8_t)(group | group >> COARSE_GROUPS);
    places->first_low[first & 15] |= coarse;
    places->first_high[first >> 4] |= coarse;
    places->second_low[second & 15] |= coarse;
    places->second_high[second >> 4] |= coarse;
}

static bool is_place(const struct places *places, struct view text, size_t at)
{
    return (places->first[text.data[at]] & places->second[text.data[at + 1]]) != 0;
}

#if defined(__x86_64__)

__attribute__((target("ssse3"))) static inline __m128i look_up(__m128i low, __m128i high, __m128i bytes)
{
    const __m128i half = _mm_set1_epi8(15);
    return _mm_and_si128(_mm_shuffle_epi8(low, _mm_and_si128(bytes, half)),
                         _mm_shuffle_epi8(high, _mm_and_si128(_mm_srli_epi16(bytes, 4), half)));
}

static __m128i load(const uint8_t *bytes)
{
    return _mm_loadu_si128((const __m128i *)(const void *)bytes);
}

/* The next place, or one that is too near to the end to be looked at in this way. */
__attribute__((target("ssse3"))) static size_t skip_by_16(const struct places *places, struct view text,
                                                          size_t at)
{
    const __m128i first_low = load(places->first_low), first_high = load(places->first_high);
    const __m128i second_low = load(places->second_low), second_high = load(places->second_high);
    for (; at + 17 <= text.size; at += 16) {
        __m128i both = _mm_and_si128(look_up(first_low, first_high, load(text.data + at)),
                                     look_up(second_low, second_high, load(text.data + at + 1)));
        int none = _mm_movemask_epi8(_mm_cmpeq_epi8(both, _mm_setzero_si128()));
        for (unsigned some = ~(unsigned)none & 0xffff; some; some &= some - 1) {
            size_t place = at + (size_t)__builtin_ctz(some);
            if (is_place(places, text, place)) {
                return place;
            }
        }
    }
    return at;
}

static size_t skip(const struct places *places, struct view text, size_t at)
{
    return __builtin_cpu_supports("ssse3") ? skip_by_16(places, text, at) : at;
}

#else

static size_t skip(const struct places *places, struct view text, size_t at)
{
    (void)places;
    (void)text;
    return at;
}

#endif

size_t places_next(const struct places *places, struct view text, size_t at)
{
    for (at = skip(places, text, at); at + 1 < text.size; at++) {
        if (is_place(places, text, at)) {
            return at;
        }
    }
    return at < text.size && places->first[text.data[at]] ? at : text.size;
}
