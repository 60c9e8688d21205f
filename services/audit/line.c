/* line.c - one record as one line of JSON, and back.
 *
 * Every quote inside a text is escaped, so `,"name":` stands nowhere but before a member: lines can
 * be searched as bytes. */
#include "services/audit/audit.h"

#include <string.h>

#include "common/clock.h"
#include "common/crypto.h"
#include "common/json_text.h"
#include "common/keyfile.h"

static const char *const kinds[] = {
    [AUDIT_INTENT] = "intent",   [AUDIT_OUTCOME] = "outcome", [AUDIT_DENIED] = "denied",
    [AUDIT_ACCOUNT] = "account", [AUDIT_SYSTEM] = "system",
};

/* The members of `fields`, in their order. */
static const char *const member_names[MEMBER_COUNT] = {
    [MEMBER_KIND] = "\"kind\":",           [MEMBER_ACTION] = ",\"action\":",
    [MEMBER_REQUEST] = ",\"request\":",    [MEMBER_TENANT] = ",\"tenant\":",
    [MEMBER_AGENT] = ",\"agent\":",        [MEMBER_TOKEN] = ",\"token\":",
    [MEMBER_PROVIDER] = ",\"provider\":",  [MEMBER_METHOD] = ",\"method\":",
    [MEMBER_PATH] = ",\"path\":",          [MEMBER_DECISION] = ",\"decision\":",
    [MEMBER_REASON] = ",\"reason\":",      [MEMBER_STATUS] = ",\"status\":",
    [MEMBER_BYTES_IN] = ",\"bytes_in\":",  [MEMBER_BYTES_OUT] = ",\"bytes_out\":",
    [MEMBER_DURATION] = ",\"duration_ms\":", [MEMBER_CLIENT] = ",\"client\":",
};

static const char hash_name[] = ",\"hash\":\"";
static const char prev_name[] = ",\"prev\":\"";
enum {
    HASH_NAME_SIZE = sizeof hash_name - 1,
    PREV_NAME_SIZE = sizeof prev_name - 1,
    HASH_PART = HASH_NAME_SIZE + HASH_CHARS + 1, /* and its quote */
    PREV_PART = PREV_NAME_SIZE + HASH_CHARS + 1,
};

const struct head head_of_nothing = {
    0, "0000000000000000000000000000000000000000000000000000000000000000"};

static void add_text(struct buffer *out, const char *name, struct view text)
{
    buffer_append_text(out, name);
    if (text.size == 0) {
        buffer_append_text(out, "null");
        return;
    }
    buffer_append_byte(out, '"');
    json_escape(text, out);
    buffer_append_byte(out, '"');
}

static void add_number(struct buffer *out, const char *name, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    buffer_append_text(out, name);
    if (number == AUDIT_NONE) {
        buffer_append_text(out, "null");
        return;
    }
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buffer_append(out, digits + at, sizeof digits - at);
}

/* A query may hold a credential; the senders cut it off, and so does the log. */
static struct view without_query(struct view path)
{
    const uint8_t *query = path.size > 0 ? memchr(path.data, '?', path.size) : NULL;
    return query ? view_of(path.data, (size_t)(query - path.data)) : path;
}

enum status line_fields(const struct audit_record *record, struct buffer *ret_fields)
{
    if (record->kind > AUDIT_SYSTEM) {
        return STATUS_INVALID;
    }
    const struct view texts[] = {
        [MEMBER_KIND] = view_text(kinds[record->kind]), [MEMBER_ACTION] = record->action,
        [MEMBER_REQUEST] = record->request,             [MEMBER_TENANT] = record->tenant,
        [MEMBER_AGENT] = record->agent,                 [MEMBER_TOKEN] = record->token,
        [MEMBER_PROVIDER] = record->provider,           [MEMBER_METHOD] = record->method,
        [MEMBER_PATH] = without_query(record->path),    [MEMBER_DECISION] = record->decision,
        [MEMBER_REASON] = record->reason,
    };
    for (size_t i = 0; i <= MEMBER_REASON; i++) {
        add_text(ret_fields, member_names[i], texts[i]);
    }
    add_number(ret_fields, member_names[MEMBER_STATUS], record->status);
    add_number(ret_fields, member_names[MEMBER_BYTES_IN], record->bytes_in);
    add_number(ret_fields, member_names[MEMBER_BYTES_OUT], record->bytes_out);
    add_number(ret_fields, member_names[MEMBER_DURATION], record->duration_ms);
    add_text(ret_fields, member_names[MEMBER_CLIENT], record->client);
    return ret_fields->failed ? STATUS_INTERNAL : STATUS_OK;
}

enum status line_append(struct view fields, uint64_t wall_ms, struct head *head,
                        struct buffer *ret_lines)
{
    size_t begin = ret_lines->size;
    char time[CLOCK_TEXT_SIZE];
    uint8_t hash[CRYPTO_HASH_BYTES];
    struct head next = {.seq = head->seq + 1};
    clock_text(wall_ms, time);
    add_number(ret_lines, "{\"seq\":", next.seq);
    buffer_append_text(ret_lines, ",\"time\":\"");
    buffer_append(ret_lines, time, CLOCK_TEXT_SIZE - 1);
    buffer_append_text(ret_lines, "\",");
    buffer_append_view(ret_lines, fields);
    buffer_append(ret_lines, prev_name, PREV_NAME_SIZE);
    buffer_append(ret_lines, head->hash, HASH_CHARS);
    buffer_append_text(ret_lines, "\"}");
    if (ret_lines->failed ||
        crypto_sha256(view_of(ret_lines->data + begin, ret_lines->size - begin), hash) !=
            STATUS_OK) {
        ret_lines->size = begin;
        return STATUS_INTERNAL;
    }
    hex_encode(view_of(hash, sizeof hash), next.hash);
    ret_lines->size--;
    buffer_append_text(ret_lines, hash_name);
    buffer_append(ret_lines, next.hash, HASH_CHARS);
    buffer_append_text(ret_lines, "\"}\n");
    if (ret_lines->failed) {
        ret_lines->size = begin;
        return STATUS_INTERNAL;
    }
    *head = next;
    return STATUS_OK;
}

static bool is_hash(struct view text)
{
    uint8_t bytes[CRYPTO_HASH_BYTES];
    return hex_decode(text, bytes, sizeof bytes);
}

/* Takes LITERAL off the front of TEXT. */
static bool take(struct view *text, const char *literal)
{
    if (!view_starts(*text, literal)) {
        return false;
    }
    size_t size = strlen(literal);
    *text = view_of(text->data + size, text->size - size);
    return true;
}

static bool take_number(struct view *text, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t at = 0;
    for (; at < text->size && at < 19 && text->data[at] >= '0' && text->data[at] <= '9'; at++) {
        number = number * 10 + (uint64_t)(text->data[at] - '0');
    }
    *text = view_of(text->data + at, text->size - at);
    *ret_number = number;
    return at > 0;
}

bool line_split(struct view text, struct line *ret_line)
{
    struct line line;
    struct view rest = text;
    if (text.size < HASH_PART + PREV_PART + 64 || text.data[text.size - 1] != '}') {
        return false;
    }
    rest.size -= 1 + HASH_PART;
    struct view tail = view_of(rest.data + rest.size, HASH_PART);
    rest.size -= PREV_PART;
    struct view prev = view_of(rest.data + rest.size, PREV_PART);
    if (!take(&tail, hash_name) || !take(&prev, prev_name)) {
        return false;
    }
    line.hash = view_of(tail.data, HASH_CHARS);
    line.prev = view_of(prev.data, HASH_CHARS);
    if (!take(&rest, "{\"seq\":") || !take_number(&rest, &line.seq) ||
        !take(&rest, ",\"time\":\"") || rest.size < CLOCK_TEXT_SIZE) {
        return false;
    }
    line.time = view_of(rest.data, CLOCK_TEXT_SIZE - 1);
    rest = view_of(rest.data + CLOCK_TEXT_SIZE - 1, rest.size - (CLOCK_TEXT_SIZE - 1));
    if (!take(&rest, "\",") || !view_starts(rest, "\"kind\":")) {
        return false;
    }
    line.fields = rest;
    *ret_line = line;
    return true;
}

bool line_parse(struct view text, struct line *ret_line)
{
    CLEANUP(buffer_free) struct buffer canonical = BUFFER_EMPTY;
    struct line line;
    uint8_t hash[CRYPTO_HASH_BYTES], wanted[CRYPTO_HASH_BYTES];
    if (text.size > LINE_SIZE_MAX || !line_split(text, &line) || !is_hash(line.prev) ||
        !hex_decode(line.hash, wanted, sizeof wanted)) {
        return false;
    }
    buffer_append(&canonical, text.data, text.size - 1 - HASH_PART);
    buffer_append_byte(&canonical, '}');
    if (canonical.failed || crypto_sha256(buffer_view(&canonical), hash) != STATUS_OK ||
        memcmp(hash, wanted, sizeof hash) != 0) {
        return false;
    }
    *ret_line = line;
    return true;
}

/* Where the text that begins at AT ends: its closing quote, or END. */
static const uint8_t *text_end(const uint8_t *at, const uint8_t *end)
{
    while (at < end && *at != '"') {
        at += *at == '\\' && end - at > 1 ? 2 : 1;
    }
    return at;
}

bool line_members(struct view fields, struct view *ret_members)
{
    struct view rest = fields;
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (!take(&rest, member_names[i])) {
            return false;
        }
        const uint8_t *begin = rest.data, *end = rest.data + rest.size, *to = begin;
        bool text = begin < end && *begin == '"';
        if (text) {
            to = text_end(++begin, end);
        } else {
            while (to < end && *to != ',') {
                to++;
            }
        }
        bool none = !text && to - begin == 4 && memcmp(begin, "null", 4) == 0;
        ret_members[i] = view_of(begin, none ? 0 : (size_t)(to - begin));
        to += text && to < end;
        rest = view_of(to, (size_t)(end - to));
    }
    return rest.size == 0;
}

struct view line_text(struct view fields, const char *name)
{
    char wanted[32];
    size_t size = strlen(name);
    if (size + 5 > sizeof wanted) {
        return view_of(NULL, 0);
    }
    /* The first member has no comma before it; `"kind":"` cannot stand inside a text either. */
    memcpy(wanted, "\"", 1);
    memcpy(wanted + 1, name, size);
    memcpy(wanted + 1 + size, "\":\"", 3);
    const uint8_t *at = memmem(fields.data, fields.size, wanted, size + 4);
    if (!at) {
        return view_of(NULL, 0);
    }
    const uint8_t *begin = at + size + 4;
    return view_of(begin, (size_t)(text_end(begin, fields.data + fields.size) - begin));
}
