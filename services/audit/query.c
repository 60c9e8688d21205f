/* query.c - the newest records of one tenant that a question is for, read backwards through the
 * blocks that may have some.  Lines are compared as bytes, see line.c. */
#include "services/audit/reading.h"

#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json_text.h"

enum { FILTERS_MAX = 8, BLOCKS_PER_LOOK = 256 };

/* What a line must say, as it stands there. */
struct filter {
    enum member member;
    struct buffer text;
    uint64_t key;
};

struct search {
    struct filter filters[FILTERS_MAX]; /* the tenant is the first */
    size_t filter_count;
    char since[CLOCK_TEXT_SIZE], until[CLOCK_TEXT_SIZE]; /* empty for none; UNTIL is not in */
    uint64_t before;                                     /* 0: none */
    uint64_t deadline_ms;
    struct buffer *records;
    size_t begin; /* of the array in `records` */
    uint64_t limit, count;
    uint64_t next; /* all from here on was looked at */
    bool ended;    /* before the log's beginning */
};

static void search_free(struct search *search)
{
    for (size_t i = 0; i < search->filter_count; i++) {
        buffer_free(&search->filters[i].text);
    }
}

static enum status add_filter(struct search *search, enum member member, struct view value)
{
    if (value.size == 0) {
        return STATUS_OK;
    }
    struct filter *filter = &search->filters[search->filter_count++];
    struct view tenant = buffer_view(&search->filters[0].text);
    filter->member = member;
    filter->text = BUFFER_EMPTY;
    json_escape(value, &filter->text);
    filter->key = member == MEMBER_TENANT
                      ? index_key(member, buffer_view(&filter->text), view_of(NULL, 0))
                      : index_key(member, tenant, buffer_view(&filter->text));
    return filter->text.failed ? STATUS_INTERNAL : STATUS_OK;
}

/* "404", or "4xx" for all that begin so. */
static enum status add_status(struct search *search, struct view value)
{
    if (value.size == 0) {
        return STATUS_OK;
    }
    bool number = value.size == 3 && value.data[0] >= '1' && value.data[0] <= '9';
    if (number && memcmp(value.data + 1, "xx", 2) == 0) {
        return add_filter(search, MEMBER_STATUS_CLASS, view_of(value.data, 1));
    }
    for (size_t i = 1; number && i < 3; i++) {
        number = value.data[i] >= '0' && value.data[i] <= '9';
    }
    return number ? add_filter(search, MEMBER_STATUS, value) : STATUS_INVALID;
}

static enum status read_query(const struct audit_query *query, struct search *search)
{
    const struct {
        enum member member;
        struct view value;
    } rows[] = {
        {MEMBER_TENANT, query->tenant}, {MEMBER_AGENT, query->agent},
        {MEMBER_TOKEN, query->token},   {MEMBER_PROVIDER, query->provider},
        {MEMBER_ACTION, query->action}, {MEMBER_KIND, query->kind},
        {MEMBER_REQUEST, query->request},
    };
    enum status status = STATUS_OK;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && status == STATUS_OK; i++) {
        status = add_filter(search, rows[i].member, rows[i].value);
    }
    if (query->since_ms > 0) {
        clock_text(query->since_ms, search->since);
    }
    if (query->until_ms > 0) {
        clock_text(query->until_ms, search->until);
    }
    return status == STATUS_OK ? add_status(search, query->status) : status;
}

static bool is_wanted(const struct search *search, const struct line *line)
{
    struct view member[MEMBER_COUNT];
    const char *time = (const char *)line->time.data;
    if ((search->before > 0 && line->seq >= search->before) ||
        (search->since[0] && memcmp(time, search->since, INDEX_TIME_CHARS) < 0) ||
        (search->until[0] && memcmp(time, search->until, INDEX_TIME_CHARS) >= 0) ||
        !line_members(line->fields, member)) {
        return false;
    }
    for (size_t i = 0; i < search->filter_count; i++) {
        const struct filter *filter = &search->filters[i];
        bool class = filter->member == MEMBER_STATUS_CLASS;
        struct view is = member[class ? MEMBER_STATUS : filter->member];
        is.size = class && is.size == 3 ? 1 : is.size;
        if (!view_equal(is, buffer_view(&filter->text))) {
            return false;
        }
    }
    return true;
}

/* Looks at one line; false when the page is full. */
static bool offer(struct search *search, struct view text)
{
    struct line line;
    if (!line_split(text, &line)) {
        return true; /* edited by somebody: verification says so, a page cannot */
    }
    if (is_wanted(search, &line)) {
        if (search->count == search->limit ||
            search->records->size - search->begin + text.size + 2 > PAGE_BYTES_MAX) {
            search->ended = true;
            return false;
        }
        if (search->count++ > 0) {
            buffer_append_byte(search->records, ',');
        }
        buffer_append_view(search->records, text);
    }
    search->next = line.seq;
    return true;
}

/* The lines of one block, the last first. */
static void walk_lines(struct search *search, struct view bytes)
{
    size_t left = bytes.size;
    while (left > 0) {
        const uint8_t *newline = left > 1 ? memrchr(bytes.data, '\n', left - 1) : NULL;
        size_t begin = newline ? (size_t)(newline - bytes.data) + 1 : 0;
        size_t size = left - begin - (bytes.data[left - 1] == '\n');
        if (!offer(search, view_of(bytes.data + begin, size))) {
            return;
        }
        left = begin;
    }
}

static bool may_have(const struct search *search, const struct block *block)
{
    if (block->first_seq == 0 || (search->before > 0 && block->first_seq >= search->before) ||
        (search->since[0] && memcmp(block->last_time, search->since, INDEX_TIME_CHARS) < 0) ||
        (search->until[0] && memcmp(block->first_time, search->until, INDEX_TIME_CHARS) >= 0)) {
        return false;
    }
    for (size_t i = 0; i < search->filter_count; i++) {
        if (!block_may_have(block, search->filters[i].key)) {
            return false;
        }
    }
    return true;
}

static bool is_late(struct search *search)
{
    search->ended = search->ended || clock_mono_ms() >= search->deadline_ms;
    return search->ended;
}

static enum status walk_blocks(struct search *search, const struct index *index, int fd)
{
    CLEANUP(buffer_free) struct buffer bytes = BUFFER_EMPTY;
    const struct block *last = &index->blocks[index->count - 1];
    if (search->next == UINT64_MAX && last->last_seq > 0) {
        search->next = last->last_seq + 1;
    }
    for (size_t i = index->count; i-- > 0;) {
        const struct block *block = &index->blocks[i];
        uint64_t end = i + 1 < index->count ? index->blocks[i + 1].offset : index->size;
        bool read = may_have(search, block);
        if ((read || i % BLOCKS_PER_LOOK == 0) && is_late(search)) {
            return STATUS_OK;
        }
        if (read) {
            buffer_clear(&bytes);
            if (end <= block->offset || end > index->size ||
                file_read(fd, block->offset, (size_t)(end - block->offset), &bytes) != STATUS_OK) {
                return STATUS_INTERNAL;
            }
            walk_lines(search, buffer_view(&bytes));
        }
        if (search->ended) {
            return STATUS_OK;
        }
        search->next = block->first_seq > 0 && block->first_seq < search->next ? block->first_seq
                                                                               : search->next;
    }
    return STATUS_OK;
}

static enum status walk_file(struct search *search, struct indexes *indexes,
                             const struct files *files, size_t number)
{
    const struct index *index;
    bool open = number == files->done->count;
    enum status status = indexes_get(indexes, files, number, &index);
    if (status != STATUS_OK || index->count == 0) {
        return status;
    }
    int fd = open ? files->fd : segment_open(files->dir_fd, files->done->list[number].first, "log");
    if (fd < 0) {
        return STATUS_NOT_FOUND;
    }
    status = walk_blocks(search, index, fd);
    if (!open) {
        (void)close(fd); /* only read from */
    }
    return status;
}

/* Newest file first, until the page is full or time is up. */
static enum status walk_files(struct search *search, struct indexes *indexes,
                              const struct files *files)
{
    for (size_t i = files->done->count + 1; i-- > 0;) {
        uint64_t first = i == files->done->count ? files->first : files->done->list[i].first;
        if (first == 0 || (search->before > 0 && search->before <= first)) {
            continue; /* empty, or all of it is later */
        }
        if (is_late(search)) {
            return STATUS_OK;
        }
        enum status status = walk_file(search, indexes, files, i);
        if (status == STATUS_NOT_FOUND) {
            return STATUS_OK; /* it and all before it were removed meanwhile */
        }
        if (status != STATUS_OK || search->ended) {
            return status;
        }
    }
    return STATUS_OK;
}

enum status query_run(struct indexes *indexes, const struct files *files,
                      const struct audit_query *query, struct buffer *ret_records,
                      uint64_t *ret_next)
{
    CLEANUP(search_free) struct search search = {
        .before = query->before, .next = query->before ? query->before : UINT64_MAX,
        .deadline_ms = clock_mono_ms() + QUERY_MS, .records = ret_records,
        .begin = ret_records->size, .limit = query->limit ? query->limit : PAGE_RECORDS};
    if (query->tenant.size == 0) {
        return STATUS_DENIED; /* never another tenant's, nor nobody's */
    }
    enum status status = read_query(query, &search);
    if (status != STATUS_OK) {
        return status;
    }
    buffer_append_byte(ret_records, '[');
    status = walk_files(&search, indexes, files);
    buffer_append_byte(ret_records, ']');
    if (status != STATUS_OK || ret_records->failed) {
        return status != STATUS_OK ? status : STATUS_INTERNAL;
    }
    if (search.ended && search.next == UINT64_MAX) {
        return STATUS_BUSY; /* time was up before anything was looked at */
    }
    *ret_next = search.ended ? search.next : 0;
    return STATUS_OK;
}
