/* scrub.c - the matcher behind scrub.h.
 *
 * At each byte that can begin a form, the forms are tried in one order.  A form says yes, no, or
 * "the text ended first"; the last holds the stream back at that byte, and because the order is
 * fixed, where the text is cut does not change the outcome. */
#include "services/proxy/scrub.h"

#include <stdlib.h>
#include <string.h>

#include "common/secret.h"
#include "services/proxy/spelling.h"

enum { FORMS_PER_SECRET = 12, SECRETS_MAX = 8 };

enum form_kind { FORM_SPELLED, FORM_EXACT, FORM_HEX, FORM_BASE64 };

struct form {
    enum form_kind kind;
    uint8_t first; /* of the text */
    struct secret *text;
};

struct scrub {
    struct form forms[FORMS_PER_SECRET * SECRETS_MAX];
    size_t form_count;
    bool begins[256]; /* bytes that can begin some form */
    struct buffer tail;
};

/* ---- building ---- */

static void add_first(struct scrub *scrub, enum form_kind kind, uint8_t byte)
{
    scrub->begins[byte] = true;
    if (kind == FORM_HEX && byte >= 'a' && byte <= 'f') {
        scrub->begins[byte - 0x20] = true;
    }
    if (kind == FORM_SPELLED) {
        scrub->begins['%'] = scrub->begins['\\'] = scrub->begins['&'] = true;
    }
}

static bool add_form(struct scrub *scrub, enum form_kind kind, struct view text)
{
    if (text.size == 0) {
        return true;
    }
    struct secret *copy = secret_new(text.data, text.size);
    if (!copy) {
        return false;
    }
    scrub->forms[scrub->form_count++] = (struct form){kind, text.data[0], copy};
    add_first(scrub, kind, text.data[0]);
    return true;
}

static bool add_hex(struct scrub *scrub, struct view secret)
{
    static const char digits[] = "0123456789abcdef";
    CLEANUP(buffer_wipe) struct buffer hex = BUFFER_EMPTY;
    uint8_t *room = buffer_room(&hex, 2 * secret.size);
    for (size_t i = 0; room && i < secret.size; i++) {
        room[hex.size++] = (uint8_t)digits[secret.data[i] >> 4];
        room[hex.size++] = (uint8_t)digits[secret.data[i] & 15];
    }
    return !hex.failed && add_form(scrub, FORM_HEX, buffer_view(&hex));
}

/* With the zeroes between the bytes only: right for either order. */
static bool add_utf16(struct scrub *scrub, struct view secret)
{
    CLEANUP(buffer_wipe) struct buffer wide = BUFFER_EMPTY;
    uint8_t *room = buffer_room(&wide, 2 * secret.size);
    for (size_t i = 0; room && i < secret.size; i++) {
        room[2 * i] = secret.data[i];
        room[2 * i + 1] = 0;
        wide.size = 2 * i + 1;
    }
    return !wide.failed && add_form(scrub, FORM_EXACT, buffer_view(&wide));
}

/* The characters of base64 that depend on the secret alone when SHIFT bytes come before it; in
 * base64url too, where that is another text. */
static bool add_base64(struct scrub *scrub, struct view secret, size_t shift)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    CLEANUP(buffer_wipe) struct buffer core = BUFFER_EMPTY;
    size_t first = (shift * 8 + 5) / 6, last = (shift + secret.size) * 8 / 6, bits = 0, at = 0;
    uint8_t *room = buffer_room(&core, last - first);
    uint32_t held = 0;
    for (size_t i = 0; room && i < last; i++) {
        if (bits < 6) {
            held = held << 8 | (at < shift ? 0 : secret.data[at - shift]);
            at++;
            bits += 8;
        }
        bits -= 6;
        if (i >= first) {
            room[core.size++] = (uint8_t)alphabet[held >> bits & 63];
        }
    }
    bool good = !core.failed && add_form(scrub, FORM_BASE64, buffer_view(&core)), other = false;
    for (size_t i = 0; good && i < core.size; i++) {
        other = other || room[i] == '+' || room[i] == '/';
        room[i] = room[i] == '+' ? '-' : room[i] == '/' ? '_' : room[i];
    }
    return good && (!other || add_form(scrub, FORM_BASE64, buffer_view(&core)));
}

static bool add_secret(struct scrub *scrub, struct view secret)
{
    if (secret.size < SCRUB_MIN_BYTES) {
        return add_form(scrub, FORM_EXACT, secret);
    }
    bool good = add_form(scrub, FORM_SPELLED, secret) && add_hex(scrub, secret) &&
                add_utf16(scrub, secret);
    for (size_t shift = 0; shift < 3; shift++) {
        good = good && add_base64(scrub, secret, shift);
    }
    return good;
}

struct scrub *scrub_new(const struct view *secrets, size_t count)
{
    struct scrub *scrub = calloc(1, sizeof *scrub);
    for (size_t i = 0; scrub && i < count && i < SECRETS_MAX; i++) {
        if (!add_secret(scrub, secrets[i])) {
            scrub_free(&scrub);
        }
    }
    return scrub;
}

void scrub_free(struct scrub **scrub)
{
    if (!*scrub) {
        return;
    }
    for (size_t i = 0; i < (*scrub)->form_count; i++) {
        secret_free(&(*scrub)->forms[i].text);
    }
    buffer_wipe(&(*scrub)->tail);
    free(*scrub);
    *scrub = NULL;
}

/* ---- matching ---- */

static struct match match_exact(struct view needle, struct view text)
{
    size_t size = needle.size < text.size ? needle.size : text.size;
    if (memcmp(needle.data, text.data, size) != 0) {
        return (struct match){MATCH_NO, 0};
    }
    return (struct match){size == needle.size ? MATCH_YES : MATCH_MORE, size};
}

static struct match match_hex(struct view needle, struct view text)
{
    for (size_t i = 0; i < needle.size; i++) {
        if (i == text.size) {
            return (struct match){MATCH_MORE, 0};
        }
        uint8_t byte = text.data[i];
        byte = byte >= 'A' && byte <= 'F' ? (uint8_t)(byte + 0x20) : byte;
        if (byte != needle.data[i]) {
            return (struct match){MATCH_NO, 0};
        }
    }
    return (struct match){MATCH_YES, needle.size};
}

/* Line breaks between the characters do not count, as they are or written "\n" and "\r". */
static struct match match_base64(struct view needle, struct view text)
{
    size_t at = 0;
    for (size_t i = 0; i < needle.size; i++) {
        while (i > 0 && at < text.size) {
            bool written = text.data[at] == '\\' && at + 1 < text.size &&
                           (text.data[at + 1] == 'n' || text.data[at + 1] == 'r');
            if (text.data[at] != '\r' && text.data[at] != '\n' && !written) {
                break;
            }
            at += written ? 2 : 1;
        }
        if (at == text.size || (i > 0 && text.data[at] == '\\' && at + 1 == text.size)) {
            return (struct match){MATCH_MORE, 0};
        }
        if (text.data[at++] != needle.data[i]) {
            return (struct match){MATCH_NO, 0};
        }
    }
    return (struct match){MATCH_YES, at};
}

static struct match match_form(const struct form *form, struct view text)
{
    switch (form->kind) {
    case FORM_SPELLED:
        return match_spelled(secret_view(form->text), text);
    case FORM_EXACT:
        return match_exact(secret_view(form->text), text);
    case FORM_HEX:
        return match_hex(secret_view(form->text), text);
    case FORM_BASE64:
        return match_base64(secret_view(form->text), text);
    }
    return (struct match){MATCH_NO, 0};
}

static struct match match_any(const struct scrub *scrub, struct view text, bool end)
{
    for (size_t i = 0; i < scrub->form_count; i++) {
        const struct form *form = &scrub->forms[i];
        bool fixed = form->kind == FORM_EXACT || form->kind == FORM_BASE64;
        if (fixed && form->first != text.data[0]) {
            continue;
        }
        struct match match = match_form(form, text);
        if (match.kind == MATCH_YES || (match.kind == MATCH_MORE && !end)) {
            return match;
        }
    }
    return (struct match){MATCH_NO, 0};
}

/* Appends the clean beginning of TEXT to OUT; returns how much of TEXT that was. */
static size_t scan(const struct scrub *scrub, struct view text, bool end, struct buffer *out)
{
    size_t clean = 0, at = 0;
    while (at < text.size) {
        if (!scrub->begins[text.data[at]]) {
            at++;
            continue;
        }
        struct match match = match_any(scrub, view_of(text.data + at, text.size - at), end);
        if (match.kind == MATCH_MORE) {
            break;
        }
        if (match.kind == MATCH_NO) {
            at++;
            continue;
        }
        buffer_append(out, text.data + clean, at - clean);
        uint8_t *stars = buffer_room(out, match.size);
        if (stars) {
            memset(stars, '*', match.size);
            out->size += match.size;
        }
        at += match.size;
        clean = at;
    }
    buffer_append(out, text.data + clean, at - clean);
    return at;
}

enum status scrub_feed(struct scrub *scrub, struct view in, bool end, struct buffer *out)
{
    struct buffer *tail = &scrub->tail;
    if (tail->size == 0) {
        size_t used = in.size ? scan(scrub, in, end, out) : 0;
        buffer_append(tail, in.data + used, in.size - used);
    } else {
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
