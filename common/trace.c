/* trace.c - traceparent and tracestate as W3C Trace Context has them; ids and samplers. */
#include "common/trace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"

/* ---- traceparent ---- */

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static struct view trim(struct view text)
{
    while (text.size > 0 && is_blank(text.data[0])) {
        text = view_of(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && is_blank(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}

/* Lower case alone (section 2.3, HEXDIGLC). */
static int digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9' ? byte - '0' : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static bool read_hex(const uint8_t *text, size_t size, uint8_t *ret_bytes)
{
    for (size_t i = 0; i < size; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret_bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    uint8_t all = 0;
    for (size_t i = 0; i < size; i++) {
        all |= bytes[i];
    }
    return all == 0;
}

bool traceparent_read(struct view value, struct trace_context *ret_context)
{
    enum { SIZE = TRACEPARENT_SIZE - 1, TRACE_AT = 3, SPAN_AT = 36, FLAGS_AT = 53 };
    struct trace_context context;
    uint8_t version, flags;
    struct view text = trim(value);
    if (text.size < SIZE || text.data[2] != '-' || text.data[SPAN_AT - 1] != '-' ||
        text.data[FLAGS_AT - 1] != '-') {
        return false;
    }
    if (!read_hex(text.data, 1, &version) || version == 0xff ||
        !read_hex(text.data + TRACE_AT, TRACE_ID_BYTES, context.trace_id) ||
        !read_hex(text.data + SPAN_AT, SPAN_ID_BYTES, context.span_id) ||
        !read_hex(text.data + FLAGS_AT, 1, &flags)) {
        return false;
    }
    if (text.size > SIZE && (version == 0 || text.data[SIZE] != '-')) {
        return false; /* only a later version may say more */
    }
    if (is_zero(context.trace_id, TRACE_ID_BYTES) || is_zero(context.span_id, SPAN_ID_BYTES)) {
        return false;
    }
    context.sampled = flags & 1;
    *ret_context = context;
    return true;
}

void trace_hex(const uint8_t *bytes, size_t size, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        ret_text[2 * i] = digits[bytes[i] >> 4];
        ret_text[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_text[2 * size] = 0;
}

void traceparent_write(const struct trace_context *context, char *ret_text)
{
    memcpy(ret_text, "00-", 3);
    trace_hex(context->trace_id, TRACE_ID_BYTES, ret_text + 3);
    ret_text[35] = '-';
    trace_hex(context->span_id, SPAN_ID_BYTES, ret_text + 36);
    memcpy(ret_text + 52, context->sampled ? "-01" : "-00", 4);
}

/* ---- tracestate ---- */

static bool is_key_byte(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
           (byte != 0 && strchr("_-*/", byte));
}

/* A run of key bytes that begins with a letter, or where DIGIT with one of these. */
static bool is_key_part(struct view part, size_t most, bool digit_first)
{
    if (part.size == 0 || part.size > most || (!digit_first && part.data[0] >= '0' && part.data[0] <= '9')) {
        return false;
    }
    if (!(part.data[0] >= 'a' && part.data[0] <= 'z') && !(part.data[0] >= '0' && part.data[0] <= '9')) {
        return false;
    }
    for (size_t i = 0; i < part.size; i++) {
        if (!is_key_byte(part.data[i])) {
            return false;
        }
    }
    return true;
}

/* Section 3.3.1.3.1: a simple key, or a tenant and a system with `@` between. */
static bool is_key(struct view key)
{
    enum { SIMPLE_MAX = 256, TENANT_MAX = 241, SYSTEM_MAX = 14 };
    const uint8_t *at = key.size ? memchr(key.data, '@', key.size) : NULL;
    if (!at) {
        return is_key_part(key, SIMPLE_MAX, false);
    }
    size_t tenant = (size_t)(at - key.data);
    return is_key_part(view_of(key.data, tenant), TENANT_MAX, true) &&
           is_key_part(view_of(at + 1, key.size - tenant - 1), SYSTEM_MAX, false);
}

/* Section 3.3.1.3.2: printable ASCII without `,` and `=`, and no blank at its end. */
static bool is_value(struct view value)
{
    enum { VALUE_MAX = 256 };
    for (size_t i = 0; i < value.size; i++) {
        uint8_t byte = value.data[i];
        if (byte < 0x20 || byte > 0x7e || byte == ',' || byte == '=') {
            return false;
        }
    }
    return value.size > 0 && value.size <= VALUE_MAX && value.data[value.size - 1] != ' ';
}

static bool is_member(struct view member)
{
    const uint8_t *equals = memchr(member.data, '=', member.size);
    if (!equals) {
        return false;
    }
    size_t key = (size_t)(equals - member.data);
    return is_key(view_of(member.data, key)) && is_value(view_of(equals + 1, member.size - key - 1));
}

/* Takes the first member off LIST, empty ones too; false at its end. */
static bool next_member(struct view *list, struct view *ret_member)
{
    if (!list->data) {
        return false;
    }
    const uint8_t *comma = list->size ? memchr(list->data, ',', list->size) : NULL;
    size_t size = comma ? (size_t)(comma - list->data) : list->size;
    *ret_member = trim(view_of(list->data, size));
    *list = comma ? view_of(comma + 1, list->size - size - 1) : (struct view){NULL, 0};
    return true;
}

/* The whole of LIST is valid; RET_BYTES is its size without blanks and empty members. */
static bool check_state(struct view list, size_t *ret_bytes)
{
    struct view member;
    size_t count = 0;
    *ret_bytes = 0;
    while (next_member(&list, &member)) {
        if (member.size == 0) {
            continue;
        }
        *ret_bytes += member.size + (count > 0);
        if (++count > TRACESTATE_MEMBERS || !is_member(member)) {
            return false;
        }
    }
    return true;
}

bool tracestate_read(struct view value, struct buffer *ret_state)
{
    struct view list = value, member;
    size_t bytes, begin = ret_state->size;
    if (!check_state(value, &bytes)) {
        return false;
    }
    while (next_member(&list, &member)) {
        if (member.size == 0 || (bytes > TRACESTATE_MAX && member.size > TRACESTATE_LONG)) {
            continue;
        }
        if (ret_state->size - begin + member.size + 1 > TRACESTATE_MAX) {
            break;
        }
        buffer_append_text(ret_state, ret_state->size > begin ? "," : "");
        buffer_append_view(ret_state, member);
    }
    return true;
}

/* ---- ids and samplers ---- */

static void id_bytes(uint8_t *ret_id, size_t size)
{
    do {
        crypto_random(ret_id, size);
    } while (is_zero(ret_id, size));
}

void trace_id_new(uint8_t *ret_trace_id)
{
    id_bytes(ret_trace_id, TRACE_ID_BYTES);
}

void span_id_new(uint8_t *ret_span_id)
{
    id_bytes(ret_span_id, SPAN_ID_BYTES);
}

enum status sampler_read(const char *text, const char *ratio, struct sampler *ret_sampler)
{
    static const char prefix[] = "parentbased_";
    struct sampler sampler = {strncmp(text, prefix, sizeof prefix - 1) == 0, 0};
    char *end = NULL;
    double given = strtod(ratio, &end);
    text += sampler.by_parent ? sizeof prefix - 1 : 0;
    if (!*ratio || *end || !isfinite(given) || given < 0 || given > 1) {
        return STATUS_INVALID;
    }
    if (strcmp(text, "always_on") == 0) {
        sampler.ratio = 1;
    } else if (strcmp(text, "traceidratio") == 0) {
        sampler.ratio = given;
    } else if (strcmp(text, "always_off") != 0) {
        return STATUS_INVALID;
    }
    *ret_sampler = sampler;
    return STATUS_OK;
}

/* By the id itself, as OpenTelemetry's SDKs do, so that all who use the same ratio take the same ones. */
bool sampler_takes(const struct sampler *sampler, const uint8_t *trace_id,
                   const struct trace_context *parent)
{
    uint64_t low = 0;
    if (parent && sampler->by_parent) {
        return parent->sampled;
    }
    for (size_t i = TRACE_ID_BYTES / 2; i < TRACE_ID_BYTES; i++) {
        low = low << 8 | trace_id[i];
    }
    return sampler->ratio >= 1 || (double)(low >> 1) < sampler->ratio * 0x1p63;
}

const char *trace_method(const char *method)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (strcmp(method, methods[i]) == 0) {
            return methods[i];
        }
    }
    return "_OTHER";
}
