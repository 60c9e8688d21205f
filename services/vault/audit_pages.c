/* audit_pages.c - a page of one tenant's records, wherever they lie: its log is one, in however many daemons.
 *
 * Every daemon that can have some (shards.c) is asked for its newest; the pages are merged by time, and within
 * one daemon's log the order is its own.  The cursor has a position in each log: "1234.88.1", 1 being its end.
 * A daemon that does not answer fails the page: one with a gap in it would look whole.
 */
#include "vault.h"

#include <stdlib.h>
#include <string.h>

enum {
    PAGE_BYTES_MAX = 900 << 10, /* below ANSWER_MAX, with room for the rest of the answer */
    TIME_CHARS = CLOCK_TEXT_SIZE - 1,
    ENDED = 1, /* nothing is before record 1 */
};

/* What one daemon answered. */
struct part {
    struct audit_pages *pages;
    unsigned number;
    uint64_t before; /* 0: from the newest */
    struct buffer bytes;
    struct view rest; /* of BYTES, what is not merged yet */
    uint64_t next;    /* after the last of BYTES; 0 for the end */
};

struct audit_pages {
    struct audit_link *link;
    unsigned count;
    struct part parts[AUDIT_SHARDS_MAX];
    unsigned waiting;
    uint64_t limit;
    enum status status;
    struct buffer records, next;
    audit_pages_done *done;
    void *arg;
};

/* ---- the cursor ---- */

/* Takes "12.34.1" apart; a log that came later than the first page has nothing that belongs behind it. */
static bool read_cursor(struct audit_pages *pages, struct view text)
{
    unsigned at = 0;
    for (unsigned i = 0; i < pages->count; i++) {
        pages->parts[i] = (struct part){.pages = pages, .number = i, .before = text.size > 0 ? ENDED : 0};
    }
    for (size_t i = 0; i < text.size; at++) {
        uint64_t number = 0;
        size_t begin = i;
        for (; i < text.size && text.data[i] >= '0' && text.data[i] <= '9' && i - begin < 18; i++) {
            number = number * 10 + (uint64_t)(text.data[i] - '0');
        }
        bool more = i < text.size && text.data[i] == '.';
        if (i == begin || (i < text.size && !more) || at == pages->count) {
            return false;
        }
        pages->parts[at].before = number;
        i += more;
        if (more && i == text.size) {
            return false;
        }
    }
    return true;
}

/* ---- one record ---- */

struct record {
    struct view text;
    uint64_t seq;
    const uint8_t *time; /* TIME_CHARS */
};

/* The first record of PART that is not merged yet; false at its end.  Braces inside of strings are none. */
static bool peek(const struct part *part, struct record *ret)
{
    static const char begin[] = "{\"seq\":", time[] = ",\"time\":\"";
    struct view rest = part->rest;
    bool quoted = false;
    size_t size = 0, at = sizeof begin - 1;
    for (; size < rest.size && (quoted || rest.data[size] != '}'); size++) {
        quoted = quoted != (rest.data[size] == '"');
        size += quoted && rest.data[size] == '\\';
    }
    if (size >= rest.size || !view_starts(rest, begin)) {
        return false;
    }
    ret->text = view_of(rest.data, size + 1);
    ret->seq = 0;
    for (; at < size && rest.data[at] >= '0' && rest.data[at] <= '9'; at++) {
        ret->seq = ret->seq * 10 + (uint64_t)(rest.data[at] - '0');
    }
    struct view tail = view_of(rest.data + at, size - at);
    ret->time = tail.data + sizeof time - 1;
    return view_starts(tail, time) && tail.size > sizeof time + TIME_CHARS;
}

static void take(struct part *part, const struct record *record)
{
    size_t size = record->text.size;
    size += size < part->rest.size && part->rest.data[size] == ',';
    part->rest = view_of(part->rest.data + size, part->rest.size - size);
}

/* ---- merging ---- */

/* The newest of all; NULL at the end, or where a log has older ones that are not here. */
static struct part *newest(struct audit_pages *pages, struct record *ret)
{
    struct part *best = NULL;
    for (unsigned i = 0; i < pages->count; i++) {
        struct part *part = &pages->parts[i];
        struct record record;
        if (peek(part, &record)) {
            if (!best || memcmp(record.time, ret->time, TIME_CHARS) > 0) {
                best = part;
                *ret = record;
            }
        } else if (part->next > 0) {
            return NULL;
        }
    }
    return best;
}

static void merge(struct audit_pages *pages)
{
    struct buffer *out = &pages->records;
    struct record record;
    struct part *part;
    buffer_append_byte(out, '[');
    for (uint64_t i = 0; i < pages->limit && (part = newest(pages, &record)) != NULL; i++) {
        if (out->size + record.text.size > PAGE_BYTES_MAX) {
            break;
        }
        buffer_printf(out, "%s{\"log\":\"audit-%u\",", i > 0 ? "," : "", part->number);
        buffer_append(out, record.text.data + 1, record.text.size - 1);
        take(part, &record);
    }
    buffer_append_byte(out, ']');
}

static void write_cursor(struct audit_pages *pages)
{
    bool more = false;
    buffer_append_byte(&pages->next, '"');
    for (unsigned i = 0; i < pages->count; i++) {
        const struct part *part = &pages->parts[i];
        struct record record;
        uint64_t before = peek(part, &record) ? record.seq + 1 : part->next > 0 ? part->next : ENDED;
        more = more || before != ENDED;
        buffer_printf(&pages->next, "%s%llu", i > 0 ? "." : "", (unsigned long long)before);
    }
    buffer_append_byte(&pages->next, '"');
    if (!more) {
        buffer_clear(&pages->next);
        buffer_append_text(&pages->next, "null");
    }
}

/* A single daemon's page is the page. */
static void pass_on(struct audit_pages *pages)
{
    struct part *part = &pages->parts[0];
    pages->records = part->bytes;
    part->bytes = BUFFER_EMPTY;
    if (part->next > 0) {
        buffer_printf(&pages->next, "%llu", (unsigned long long)part->next);
    } else {
        buffer_append_text(&pages->next, "null");
    }
}

static void finish(struct audit_pages *pages)
{
    if (pages->status == STATUS_OK && pages->count > 1) {
        merge(pages);
        write_cursor(pages);
    } else if (pages->status == STATUS_OK) {
        pass_on(pages);
    }
    if (pages->records.failed || pages->next.failed) {
        pages->status = STATUS_INTERNAL;
    }
    pages->done(pages->arg, pages->status, buffer_view(&pages->records), buffer_view(&pages->next));
}

/* ---- asking ---- */

static void answered(void *arg, const struct audit_result *result)
{
    struct part *part = arg;
    struct audit_pages *pages = part->pages;
    part->next = result->next;
    buffer_append_view(&part->bytes, result->records);
    if (pages->status == STATUS_OK) {
        pages->status = part->bytes.failed ? STATUS_INTERNAL : result->status;
    }
    struct view bytes = buffer_view(&part->bytes);
    if (bytes.size > 2) { /* without its brackets */
        part->rest = view_of(bytes.data + 1, bytes.size - 2);
    }
    if (--pages->waiting == 0) {
        finish(pages);
    }
}

static void ask_one(struct audit_pages *pages, unsigned number, const struct audit_query *query)
{
    struct part *part = &pages->parts[number];
    struct audit_query own = *query;
    own.before = part->before;
    own.shard = number;
    if (pages->status == STATUS_OK) {
        pages->status = audit_ask(pages->link, &own, answered, part);
        pages->waiting += pages->status == STATUS_OK;
    }
}

enum status audit_pages_ask(struct audit_link *link, const struct audit_query *query, struct view cursor,
                            audit_pages_done *done, void *arg, struct audit_pages **ret_pages)
{
    CLEANUP(audit_pages_free) struct audit_pages *pages = calloc(1, sizeof *pages);
    if (!pages) {
        return STATUS_INTERNAL;
    }
    pages->link = link;
    pages->count = audit_shards(link);
    pages->limit = query->limit;
    pages->done = done;
    pages->arg = arg;
    if (!read_cursor(pages, cursor)) {
        return STATUS_INVALID;
    }
    for (unsigned i = 0; i < pages->count; i++) {
        if ((shards_with(query->tenant, pages->count) >> i & 1) && pages->parts[i].before != ENDED) {
            ask_one(pages, i, query);
        }
    }
    if (pages->waiting == 0 && pages->status == STATUS_OK) {
        ask_one(pages, 0, query); /* all are at their end: that is an answer too, and comes later */
    }
    if (pages->waiting == 0) {
        return pages->status;
    }
    *ret_pages = TAKE(pages);
    return STATUS_OK;
}

void audit_pages_free(struct audit_pages **pages)
{
    for (unsigned i = 0; *pages && i < (*pages)->count; i++) {
        buffer_free(&(*pages)->parts[i].bytes);
    }
    if (*pages) {
        buffer_free(&(*pages)->records);
        buffer_free(&(*pages)->next);
    }
    free(*pages);
    *pages = NULL;
}
