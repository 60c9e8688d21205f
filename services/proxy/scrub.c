/* scrub.c - the matcher behind scrub.h.
 *
 * Nearly all text holds no two bytes that begin some form (places.c).  Where it does, the forms are tried in one order. A form says yes, no, or "the text ended
 * first"; the last holds the stream back at that byte, and because the order is fixed, where the text
 * is cut does not change the outcome. What a form looks like is computed from the secret as it is
 * compared: a call makes one of these, and most calls find nothing. */
#include "services/proxy/scrub.h"

#include <stdlib.h>
#include <string.h>

#include "common/secret.h"
#include "services/proxy/places.h"
#include "services/proxy/spare.h"
#include "services/proxy/spelling.h"

enum { SECRETS_MAX = 8, SHIFTS = 3, ESCAPE_MAX = 16 /* bytes, see spelling.c */ };

static const char *const alphabets[] = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};
enum { ALPHABETS = sizeof alphabets / sizeof alphabets[0] };

struct scrub {
    struct secret *secrets[SECRETS_MAX];
    size_t secret_count;
    struct places places;
    bool leads[256]; /* what the first character of a form can be, however it is written */
    bool events;
    size_t hits;
    struct buffer tail;
};

/* ---- what the forms look like ---- */

static uint8_t hex_digit(struct view secret, size_t index, bool upper)
{
    unsigned value = secret.data[index / 2] >> (index % 2 ? 0 : 4) & 15;
    return (uint8_t)(upper ? "0123456789ABCDEF" : "0123456789abcdef")[value];
}

/* The characters of base64 that depend on the secret alone when SHIFT bytes come before it are those
 * from first_sextet() up to last_sextet(). */
static size_t first_sextet(size_t shift)
{
    return (shift * 8 + 5) / 6;
}

static size_t last_sextet(struct view secret, size_t shift)
{
    return (shift + secret.size) * 8 / 6;
}

static uint8_t base64_digit(struct view secret, size_t shift, size_t index, const char *alphabet)
{
    size_t bit = index * 6 - shift * 8, at = bit / 8;
    unsigned two = (unsigned)secret.data[at] << 8 | (at + 1 < secret.size ? secret.data[at + 1] : 0);
    return (uint8_t)alphabet[two >> (10 - bit % 8) & 63];
}

/* ---- which bytes begin one ---- */

static void add_pair(struct scrub *scrub, uint8_t first, uint8_t second)
{
    places_add(&scrub->places, first, second);
}

static void add_pairs(struct scrub *scrub, uint8_t first, const char *seconds)
{
    for (; *seconds; seconds++) {
        add_pair(scrub, first, (uint8_t)*seconds);
    }
}

static void add_spelled(struct scrub *scrub, struct view secret)
{
    uint8_t first = secret.data[0];
    scrub->leads[first] = true;
    add_pair(scrub, first, secret.data[1]);
    add_pairs(scrub, first, "%\\&\r\n"); /* the second one in another spelling, or another event */
    add_pair(scrub, '%', '2');       /* %25XX */
    add_pairs(scrub, '%', "\r\n");
    add_pair(scrub, '%', hex_digit(secret, 0, false));
    add_pair(scrub, '%', hex_digit(secret, 0, true));
    add_pairs(scrub, '\\', "ux\\\r\n");
    add_pair(scrub, '\\', first);
    add_pairs(scrub, '&', "#alqg\r\n"); /* numbers, and the named ones of spelling.c */
}

/* Line breaks may stand between characters, also written as \n and \r; + and / may be escaped. */
static void add_base64(struct scrub *scrub, struct view secret, size_t shift, const char *alphabet)
{
    size_t first = first_sextet(shift);
    uint8_t byte = base64_digit(secret, shift, first, alphabet);
    scrub->leads[byte] = true;
    add_pair(scrub, byte, base64_digit(secret, shift, first + 1, alphabet));
    add_pairs(scrub, byte, "\r\n\\%&");
    if (byte == '+' || byte == '/' || byte == '-' || byte == '_') {
        add_pair(scrub, '\\', byte);
        add_pairs(scrub, '%', "25");
    }
}

static void add_secret(struct scrub *scrub, struct view secret)
{
    if (secret.size < SCRUB_MIN_BYTES) {
        scrub->leads[secret.data[0]] = true;
        for (unsigned second = 0; second < 256; second++) {
            if (secret.size == 1 || secret.data[1] == second) {
                add_pair(scrub, secret.data[0], (uint8_t)second);
            }
        }
        return;
    }
    add_spelled(scrub, secret);
    add_pair(scrub, secret.data[0], 0); /* UTF-16 */
    for (unsigned upper = 0; upper < 4; upper++) {
        scrub->leads[hex_digit(secret, 0, upper & 1)] = true;
        add_pair(scrub, hex_digit(secret, 0, upper & 1), hex_digit(secret, 1, upper & 2));
        add_pairs(scrub, hex_digit(secret, 0, upper & 1), "\r\n");
    }
    for (size_t shift = 0; shift < SHIFTS; shift++) {
        for (size_t i = 0; i < ALPHABETS; i++) {
            add_base64(scrub, secret, shift, alphabets[i]);
        }
    }
}

static struct spares spare_scrubs = {.size = sizeof(struct scrub)};

struct scrub *scrub_new(const struct view *secrets, size_t count)
{
    struct scrub *scrub = spare_take(&spare_scrubs);
    for (size_t i = 0; scrub && i < count && i < SECRETS_MAX; i++) {
        if (secrets[i].size == 0) {
            continue;
        }
        struct secret *copy = secret_new(secrets[i].data, secrets[i].size);
        if (!copy) {
            scrub_free(&scrub);
            return NULL;
        }
        scrub->secrets[scrub->secret_count++] = copy;
        add_secret(scrub, secrets[i]);
    }
    return scrub;
}

void scrub_free(struct scrub **scrub)
{
    if (!*scrub) {
        return;
    }
    for (size_t i = 0; i < (*scrub)->secret_count; i++) {
        secret_free(&(*scrub)->secrets[i]);
    }
    buffer_wipe(&(*scrub)->tail);
    spare_give(&spare_scrubs, *scrub); /* zeroed: the pairs tell something of the secret */
    *scrub = NULL;
}

/* ---- matching ---- */

static const struct match no = {MATCH_NO, 0}, more = {MATCH_MORE, 0};

enum form { FORM_SPELLED, FORM_HEX, FORM_UTF16, FORM_BASE64, FORMS = FORM_BASE64 + SHIFTS * ALPHABETS };

/* One character of a form, the one at INDEX. */
static struct match match_character(struct view secret, size_t form, size_t index, struct view text)
{
    size_t base64 = form - FORM_BASE64;
    bool same = false;
    switch (form) {
    case FORM_SPELLED:
        return match_byte(secret.data[index], text);
    case FORM_HEX:
        same = text.data[0] == hex_digit(secret, index, false) ||
               text.data[0] == hex_digit(secret, index, true);
        return (struct match){same ? MATCH_YES : MATCH_NO, 1};
    case FORM_UTF16: /* a zero byte between the bytes: right for either order */
        same = text.data[0] == (index % 2 ? 0 : secret.data[index / 2]);
        return (struct match){same ? MATCH_YES : MATCH_NO, 1};
    default:
        return match_byte(base64_digit(secret, base64 / ALPHABETS,
                                       index + first_sextet(base64 / ALPHABETS),
                                       alphabets[base64 % ALPHABETS]),
                          text);
    }
}

static size_t characters(struct view secret, size_t form)
{
    size_t shift = (form - FORM_BASE64) / ALPHABETS;
    return form == FORM_SPELLED ? secret.size
           : form == FORM_HEX   ? 2 * secret.size
           : form == FORM_UTF16 ? 2 * secret.size - 1
                                : last_sextet(secret, shift) - first_sextet(shift);
}

/* What may be between two characters: in an event stream the seam of two data lines, and one line
 * break in base64. */
static struct match match_gap(size_t form, bool events, struct view text)
{
    struct match gap = events ? match_event_seam(text) : no;
    return gap.kind == MATCH_NO && form >= FORM_BASE64 ? match_line_break(text) : gap;
}

/* One character whose escape may go on in the next event: tried as if the seam were not there. */
static struct match match_across(struct view secret, size_t form, size_t index, bool events,
                                 struct view text)
{
    struct match match = match_character(secret, form, index, text);
    if (!events || match.kind != MATCH_NO || !memchr("%\\&", text.data[0], 3)) {
        return match;
    }
    for (size_t cut = 1; cut < ESCAPE_MAX && cut < text.size; cut++) {
        struct match seam = match_event_seam(view_of(text.data + cut, text.size - cut));
        if (seam.kind == MATCH_NO) {
            continue;
        }
        if (seam.kind == MATCH_MORE || cut + seam.size == text.size) {
            return more;
        }
        uint8_t joined[2 * ESCAPE_MAX];
        size_t rest = text.size - cut - seam.size;
        rest = rest > ESCAPE_MAX ? ESCAPE_MAX : rest;
        memcpy(joined, text.data, cut);
        memcpy(joined + cut, text.data + cut + seam.size, rest);
        match = match_character(secret, form, index, view_of(joined, cut + rest));
        match.size += match.size > cut ? seam.size : 0;
        return match;
    }
    return match;
}

static struct match match_form(struct view secret, size_t form, bool events, struct view text)
{
    size_t at = 0, count = characters(secret, form);
    for (size_t i = 0; i < count; i++) {
        struct match gap = i > 0 ? match_gap(form, events, view_of(text.data + at, text.size - at))
                                 : no;
        at += gap.kind == MATCH_YES ? gap.size : 0;
        if (gap.kind == MATCH_MORE || at == text.size) {
            return more;
        }
        struct match one = match_across(secret, form, i, events, view_of(text.data + at, text.size - at));
        if (one.kind != MATCH_YES) {
            return one;
        }
        at += one.size;
    }
    return (struct match){MATCH_YES, at};
}

static struct match match_exact(struct view secret, struct view text)
{
    size_t size = secret.size < text.size ? secret.size : text.size;
    if (memcmp(secret.data, text.data, size) != 0) {
        return no;
    }
    return (struct match){size == secret.size ? MATCH_YES : MATCH_MORE, size};
}

/* Most escapes are of characters that no form begins with: one look instead of one for each form. */
static bool may_lead(const struct scrub *scrub, struct view text)
{
    unsigned value;
    struct match escape = match_escape(text, &value);
    if (scrub->events && memchr("%\\&", text.data[0], 3)) {
        return true; /* it may go on in the next event */
    }
    return scrub->leads[text.data[0]] || escape.kind == MATCH_MORE ||
           (escape.kind == MATCH_YES && value < 256 && scrub->leads[value]);
}

static struct match match_any(const struct scrub *scrub, struct view text, bool end)
{
    if (!may_lead(scrub, text)) {
        return no;
    }
    for (size_t i = 0; i < scrub->secret_count; i++) {
        struct view secret = secret_view(scrub->secrets[i]);
        bool is_short = secret.size < SCRUB_MIN_BYTES;
        for (size_t form = 0; form < (is_short ? 1 : FORMS); form++) {
            struct match match = is_short ? match_exact(secret, text)
                                          : match_form(secret, form, scrub->events, text);
            if (match.kind == MATCH_YES || (match.kind == MATCH_MORE && !end)) {
                return match;
            }
        }
    }
    return no;
}

static size_t scan(struct scrub *scrub, struct view text, bool end, struct buffer *out);

/* Other fields stand in a seam, and may hold the key too. */
static void append_seam(struct scrub *scrub, struct view seam, struct buffer *out)
{
    scrub->events = false;
    (void)scan(scrub, seam, true, out);
    scrub->events = true;
}

/* Appends what stands for HIT: as many stars, and the seams of an event stream. */
static void append_stars(struct scrub *scrub, struct view hit, struct buffer *out)
{
    for (size_t at = 0; at < hit.size;) {
        struct view rest = view_of(hit.data + at, hit.size - at);
        struct match seam = scrub->events ? match_event_seam(rest) : no;
        if (seam.kind == MATCH_YES) {
            append_seam(scrub, view_of(rest.data, seam.size), out);
            at += seam.size;
            continue;
        }
        buffer_append_byte(out, '*');
        at++;
    }
}

/* Appends the clean beginning of TEXT to OUT; returns how much of TEXT that was. */
static size_t scan(struct scrub *scrub, struct view text, bool end, struct buffer *out)
{
    size_t clean = 0, at = 0;
    if (text.size == 0) {
        return 0;
    }
    while ((at = places_next(&scrub->places, text, at)) < text.size) {
        struct match match = match_any(scrub, view_of(text.data + at, text.size - at), end);
        if (match.kind == MATCH_MORE) {
            break;
        }
        if (match.kind == MATCH_NO) {
            at++;
            continue;
        }
        buffer_append(out, text.data + clean, at - clean);
        append_stars(scrub, view_of(text.data + at, match.size), out);
        scrub->hits++;
        at += match.size;
        clean = at;
    }
    buffer_append(out, text.data + clean, at - clean);
    return at;
}

/* Where in TEXT the first form begins, or may begin unless this is the END; TEXT's size for nowhere. */
static size_t first_form(const struct scrub *scrub, struct view text, bool end)
{
    size_t at = 0;
    while ((at = places_next(&scrub->places, text, at)) < text.size &&
           match_any(scrub, view_of(text.data + at, text.size - at), end).kind == MATCH_NO) {
        at++;
    }
    return at;
}

size_t scrub_clean(const struct scrub *scrub, struct view in)
{
    return scrub->tail.size > 0 ? 0 : first_form(scrub, in, false);
}

bool scrub_passes(const struct scrub *scrub, struct view text)
{
    return first_form(scrub, text, true) == text.size;
}

enum status scrub_feed(struct scrub *scrub, struct view in, bool end, struct buffer *out)
{
    struct buffer *tail = &scrub->tail;
    if (tail->size == 0 && in.size > 0) {
        size_t used = scan(scrub, in, end, out);
        buffer_append(tail, in.data + used, in.size - used);
    } else if (tail->size > 0) {
        buffer_append_view(tail, in);
        buffer_consume(tail, scan(scrub, buffer_view(tail), end, out));
    }
    return tail->failed || out->failed ? STATUS_INTERNAL : STATUS_OK;
}

enum status scrub_text(struct scrub *scrub, struct view in, struct buffer *out)
{
    scan(scrub, in, true, out);
    return out->failed ? STATUS_INTERNAL : STATUS_OK;
}

void scrub_events(struct scrub *scrub)
{
    scrub->events = true;
}

size_t scrub_hits(const struct scrub *scrub)
{
    return scrub->hits;
}
