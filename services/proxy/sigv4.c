/* sigv4.c - the canonical request and its signature. */
#include "services/proxy/sigv4.h"

#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"

enum { PARAMETERS_MAX = 1024 };

/* ---- bytes ---- */

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static bool unreserved(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
           byte == '-' || byte == '.' || byte == '_' || byte == '~';
}

static void escape(uint8_t byte, bool keep_slash, struct buffer *out)
{
    static const char digits[] = "0123456789ABCDEF";
    if (unreserved(byte) || (keep_slash && byte == '/')) {
        buffer_append_byte(out, byte);
        return;
    }
    buffer_append_byte(out, '%');
    buffer_append_byte(out, (uint8_t)digits[byte >> 4]);
    buffer_append_byte(out, (uint8_t)digits[byte & 15]);
}

/* The byte at *AT, decoded; moves *AT behind it. */
static uint8_t decode(struct view text, size_t *at)
{
    uint8_t byte = text.data[(*at)++];
    if (byte == '%' && text.size - *at >= 2) {
        int high = hex_digit(text.data[*at]), low = hex_digit(text.data[*at + 1]);
        if (high >= 0 && low >= 0) {
            *at += 2;
            return (uint8_t)(high * 16 + low);
        }
    }
    return byte;
}

void sigv4_path(struct view path, struct buffer *ret_path)
{
    for (size_t at = 0; at < path.size;) {
        escape(decode(path, &at), true, ret_path);
    }
}

/* ---- the query ---- */

struct parameter {
    size_t name, name_size, value, value_size; /* offsets into the escaped text */
    const struct buffer *text;
};

static void escape_part(struct view part, struct buffer *out)
{
    for (size_t at = 0; at < part.size;) {
        bool plus = part.data[at] == '+';
        uint8_t byte = decode(part, &at);
        escape(plus ? ' ' : byte, false, out);
    }
}

static int compare_bytes(struct view a, struct view b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size ? memcmp(a.data, b.data, size) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static struct view name_of(const struct parameter *parameter)
{
    return view_of(parameter->text->data + parameter->name, parameter->name_size);
}

static struct view value_of(const struct parameter *parameter)
{
    return view_of(parameter->text->data + parameter->value, parameter->value_size);
}

static int compare_parameters(const void *left, const void *right)
{
    int order = compare_bytes(name_of(left), name_of(right));
    return order ? order : compare_bytes(value_of(left), value_of(right));
}

static struct parameter read_parameter(struct view part, struct buffer *text)
{
    const uint8_t *equals = part.size ? memchr(part.data, '=', part.size) : NULL;
    size_t name_size = equals ? (size_t)(equals - part.data) : part.size;
    struct parameter parameter = {.name = text->size, .text = text};
    escape_part(view_of(part.data, name_size), text);
    parameter.name_size = text->size - parameter.name;
    parameter.value = text->size;
    if (equals) {
        escape_part(view_of(equals + 1, part.size - name_size - 1), text);
    }
    parameter.value_size = text->size - parameter.value;
    return parameter;
}

enum status sigv4_query(struct view query, struct buffer *ret_query)
{
    CLEANUP(buffer_free) struct buffer text = BUFFER_EMPTY;
    struct parameter *parameters = calloc(PARAMETERS_MAX, sizeof *parameters);
    size_t count = 0;
    if (!parameters) {
        return STATUS_INTERNAL;
    }
    for (size_t start = 0, at = 0; at <= query.size && count < PARAMETERS_MAX; at++) {
        if (at < query.size && query.data[at] != '&') {
            continue;
        }
        if (at > start) {
            parameters[count++] = read_parameter(view_of(query.data + start, at - start), &text);
        }
        start = at + 1;
    }
    qsort(parameters, count, sizeof *parameters, compare_parameters);
    for (size_t i = 0; i < count && !text.failed; i++) {
        if (i) {
            buffer_append_byte(ret_query, '&');
        }
        buffer_append_view(ret_query, name_of(&parameters[i]));
        buffer_append_byte(ret_query, '=');
        buffer_append_view(ret_query, value_of(&parameters[i]));
    }
    free(parameters);
    if (count == PARAMETERS_MAX) {
        return STATUS_INVALID;
    }
    return text.failed || ret_query->failed ? STATUS_INTERNAL : STATUS_OK;
}

/* ---- the canonical request ---- */

/* RFC 3986 section 5.2.4, and `//` becomes `/`. */
static void normalise(struct view path, struct buffer *out)
{
    size_t at = 0;
    bool slash = false;
    while (at < path.size) {
        size_t begin = at;
        while (at < path.size && path.data[at] != '/') {
            at++;
        }
        struct view segment = view_of(path.data + begin, at - begin);
        slash = at < path.size || view_is(segment, ".") || view_is(segment, "..");
        at++;
        if (view_is(segment, "..")) {
            while (out->size && out->data[--out->size] != '/') {
            }
        } else if (segment.size && !view_is(segment, ".")) {
            buffer_append_byte(out, '/');
            buffer_append_view(out, segment);
        }
    }
    if (out->size == 0 || slash) {
        buffer_append_byte(out, '/');
    }
}

static enum status append_path(const struct sigv4_request *request, struct buffer *out)
{
    CLEANUP(buffer_free) struct buffer folded = BUFFER_EMPTY;
    struct view path = request->path;
    if (request->normalise) {
        normalise(path, &folded);
        path = buffer_view(&folded);
    }
    for (size_t i = 0; i < path.size; i++) {
        if (request->encode_again) {
            escape(path.data[i], true, out);
        } else {
            buffer_append_byte(out, path.data[i]);
        }
    }
    return folded.failed ? STATUS_INTERNAL : STATUS_OK;
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

static int compare_names(struct view a, struct view b)
{
    for (size_t i = 0; i < a.size && i < b.size; i++) {
        int order = lower(a.data[i]) - lower(b.data[i]);
        if (order) {
            return order;
        }
    }
    return (a.size > b.size) - (a.size < b.size);
}

/* Addresses break the tie: headers of one name keep their order. */
static int compare_headers(const void *left, const void *right)
{
    const struct sigv4_header *a = *(const struct sigv4_header *const *)left;
    const struct sigv4_header *b = *(const struct sigv4_header *const *)right;
    int order = compare_names(a->name, b->name);
    return order ? order : (a > b) - (a < b);
}

/* Without space at its ends, and each run of it inside as one space. */
static void append_value(struct view value, struct buffer *out)
{
    bool space = false, any = false;
    for (size_t i = 0; i < value.size; i++) {
        if (memchr(" \t\r\n", value.data[i], 4)) {
            space = any;
            continue;
        }
        if (space) {
            buffer_append_byte(out, ' ');
        }
        buffer_append_byte(out, value.data[i]);
        space = false;
        any = true;
    }
}

static void append_name(struct view name, struct buffer *out)
{
    for (size_t i = 0; i < name.size; i++) {
        buffer_append_byte(out, lower(name.data[i]));
    }
}

static void append_headers(const struct sigv4_header **sorted, size_t count, struct buffer *out,
                           struct buffer *names)
{
    for (size_t i = 0; i < count; i++) {
        if (i && compare_names(sorted[i - 1]->name, sorted[i]->name) == 0) {
            buffer_append_byte(out, ',');
        } else {
            if (i) {
                buffer_append_byte(out, '\n');
                buffer_append_byte(names, ';');
            }
            append_name(sorted[i]->name, out);
            buffer_append_byte(out, ':');
            append_name(sorted[i]->name, names);
        }
        append_value(sorted[i]->value, out);
    }
}

enum status sigv4_canonical(const struct sigv4_request *request, struct buffer *ret_canonical,
                            struct buffer *ret_names)
{
    const struct sigv4_header *sorted[SIGV4_HEADERS_MAX];
    if (request->header_count > SIGV4_HEADERS_MAX) {
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < request->header_count; i++) {
        sorted[i] = &request->headers[i];
    }
    qsort(sorted, request->header_count, sizeof sorted[0], compare_headers);
    buffer_append_view(ret_canonical, request->method);
    buffer_append_byte(ret_canonical, '\n');
    enum status status = append_path(request, ret_canonical);
    buffer_append_byte(ret_canonical, '\n');
    buffer_append_view(ret_canonical, request->query);
    buffer_append_byte(ret_canonical, '\n');
    append_headers(sorted, request->header_count, ret_canonical, ret_names);
    buffer_append_text(ret_canonical, "\n\n");
    buffer_append_view(ret_canonical, buffer_view(ret_names));
    buffer_append_byte(ret_canonical, '\n');
    buffer_append_view(ret_canonical, request->payload);
    return ret_canonical->failed || ret_names->failed ? STATUS_INTERNAL : status;
}

/* ---- the signature ---- */

static void to_hex(const uint8_t *bytes, char *ret_hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < CRYPTO_HASH_BYTES; i++) {
        ret_hex[2 * i] = digits[bytes[i] >> 4];
        ret_hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_hex[2 * CRYPTO_HASH_BYTES] = 0;
}

enum status sigv4_hash(struct view data, char ret_hex[SIGV4_HEX_SIZE])
{
    uint8_t hash[CRYPTO_HASH_BYTES] = {0};
    enum status status = crypto_sha256(data, hash);
    to_hex(hash, ret_hex);
    return status;
}

void sigv4_scope_text(const struct sigv4_scope *scope, struct buffer *ret_text)
{
    buffer_append(ret_text, scope->time, 8);
    buffer_append_byte(ret_text, '/');
    buffer_append_view(ret_text, scope->region);
    buffer_append_byte(ret_text, '/');
    buffer_append_view(ret_text, scope->service);
    buffer_append_text(ret_text, "/aws4_request");
}

enum status sigv4_string(const struct sigv4_scope *scope, struct view canonical,
                         struct buffer *ret_string)
{
    char hash[SIGV4_HEX_SIZE];
    enum status status = sigv4_hash(canonical, hash);
    buffer_append_text(ret_string, "AWS4-HMAC-SHA256\n");
    buffer_append_text(ret_string, scope->time);
    buffer_append_byte(ret_string, '\n');
    sigv4_scope_text(scope, ret_string);
    buffer_append_byte(ret_string, '\n');
    buffer_append_text(ret_string, hash);
    return ret_string->failed ? STATUS_INTERNAL : status;
}

enum status sigv4_sign(const struct sigv4_scope *scope, struct view string,
                       char ret_hex[SIGV4_HEX_SIZE])
{
    uint8_t mac[CRYPTO_HASH_BYTES] = {0};
    enum status status = crypto_hmac(scope->key, string, mac);
    to_hex(mac, ret_hex);
    return status;
}
