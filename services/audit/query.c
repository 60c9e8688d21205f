/* query.c - the newest records of one tenant, read backwards through the files.
 *
 * The place of `before` is found by halving, for numbers only grow; the work for one page is
 * bounded by SCAN_BYTES_MAX.  Lines are searched as bytes, see line.c. */
#include "services/audit/audit.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_BYTES = 256 << 10, PROBE_BYTES = 2 * LINE_SIZE_MAX };

/* What a line must hold, as bytes: `,"tenant":"..."` and so on; empty for no filter. */
struct filters {
    struct buffer text[4];
    size_t count;
};

static void filters_free(struct filters *filters)
{
    for (size_t i = 0; i < sizeof filters->text / sizeof filters->text[0]; i++) {
        buffer_free(&filters->text[i]);
    }
}

static void add_filter(struct filters *filters, const char *name, struct view value)
{
    if (value.size == 0) {
        return;
    }
    struct buffer *text = &filters->text[filters->count++];
    buffer_append_text(text, name);
    json_escape(value, text);
    buffer_append_byte(text, '"');
}

static bool wanted(const struct filters *filters, struct view fields)
{
    for (size_t i = 0; i < filters->count; i++) {
        const struct buffer *text = &filters->text[i];
        if (text->failed || !memmem(fields.data, fields.size, text->data, text->size)) {
            return false;
        }
    }
    return true;
}

/* Reads exactly SIZE bytes at OFFSET. */
static bool read_block(int fd, uint64_t offset, size_t size, uint8_t *ret_bytes)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(fd, ret_bytes + done, size - done, (off_t)(offset + done));
        if (got <= 0 && !(got < 0 && errno == EINTR)) {
            return false;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}

/* Where the first line at or after AT begins, and its number; false past the last line. */
static bool line_after(int fd, uint64_t size, uint64_t at, struct buffer *room,
                       uint64_t *ret_begin, uint64_t *ret_seq)
{
    uint64_t from = at > 0 ? at - 1 : 0; /* its newline may be the byte before */
    size_t part = size - from < PROBE_BYTES ? (size_t)(size - from) : PROBE_BYTES;
    if (!read_block(fd, from, part, room->data)) {
        return false;
    }
    size_t begin = 0;
    if (at > 0) {
        const uint8_t *newline = memchr(room->data, '\n', part);
        if (!newline) {
            return false;
        }
        begin = (size_t)(newline - room->data) + 1;
    }
    const uint8_t *end = begin < part ? memchr(room->data + begin, '\n', part - begin) : NULL;
    struct line line;
    if (!end || !line_split(view_of(room->data + begin,
                                    (size_t)(end - room->data) - begin), &line)) {
        return false;
    }
    *ret_begin = from + begin;
    *ret_seq = line.seq;
    return true;
}

/* The offset of the first line whose number is at least BEFORE, or SIZE. */
static uint64_t offset_of(int fd, uint64_t size, uint64_t before, struct buffer *room)
{
    uint64_t low = 0, high = size, begin, seq;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (line_after(fd, size, middle, room, &begin, &seq) && seq < before) {
            low = begin + 1;
        } else {
            high = middle;
        }
    }
    return line_after(fd, size, low, room, &begin, &seq) ? begin : size;
}

struct page {
    struct buffer *records;
    size_t begin; /* of the array in `records` */
    uint64_t limit, count;
    uint64_t last_seq; /* the last number that was looked at */
    uint64_t scan_left; /* bytes that may still be looked at */
    bool full;         /* one more matched */
};

/* Looks at one line; false when the page is full. */
static bool offer(struct page *page, const struct filters *filters, struct view text)
{
    struct line line;
    if (!line_split(text, &line)) {
        return true; /* edited by somebody: verification says so, a page cannot */
    }
    if (wanted(filters, line.fields)) {
        if (page->count == page->limit ||
            page->records->size - page->begin + text.size + 2 > PAGE_BYTES_MAX) {
            page->full = true;
            return false;
        }
        if (page->count++ > 0) {
            buffer_append_byte(page->records, ',');
        }
        buffer_append_view(page->records, text);
    }
    page->last_seq = line.seq;
    return true;
}

/* Walks the lines before END backwards; RET_REST is how much of the file is left unseen. */
static enum status walk(int fd, uint64_t end, const struct filters *filters, struct page *page,
                        uint64_t *ret_rest)
{
    CLEANUP(buffer_free) struct buffer block = BUFFER_EMPTY;
    uint64_t floor = end > page->scan_left ? end - page->scan_left : 0, begin_at = end;
    uint8_t *bytes = buffer_room(&block, BLOCK_BYTES);
    if (!bytes) {
        return STATUS_INTERNAL;
    }
    while (end > floor) {
        size_t part = end < BLOCK_BYTES ? (size_t)end : BLOCK_BYTES;
        uint64_t from = end - part;
        if (!read_block(fd, from, part, bytes)) {
            return STATUS_INTERNAL;
        }
        size_t left = part; /* always behind a newline */
        while (left > 0) {
            const uint8_t *newline = left > 1 ? memrchr(bytes, '\n', left - 1) : NULL;
            if (!newline && from > 0) {
                break; /* its beginning is in the block before */
            }
            size_t begin = newline ? (size_t)(newline - bytes) + 1 : 0;
            if (!offer(page, filters, view_of(bytes + begin, left - begin - 1))) {
                *ret_rest = from + left;
                return STATUS_OK;
            }
            left = begin;
        }
        if (left == part) {
            return STATUS_INTERNAL; /* a line longer than a block is none of ours */
        }
        end = from + left;
    }
    page->scan_left -= begin_at - end < page->scan_left ? begin_at - end : page->scan_left;
    *ret_rest = end;
    return STATUS_OK;
}

/* One file's part of the page. */
static enum status query_file(const struct files *files, size_t index, uint64_t before,
                              const struct filters *filters, struct page *page, uint64_t *ret_rest)
{
    CLEANUP(buffer_free) struct buffer room = BUFFER_EMPTY;
    bool open = index == files->done->count;
    int fd = open ? files->fd
                  : segment_open(files->dir_fd, files->done->list[index].first, "log");
    uint64_t size = open ? files->size : files->done->list[index].bytes;
    enum status status = STATUS_INTERNAL;
    if (fd >= 0 && buffer_room(&room, PROBE_BYTES)) {
        uint64_t end = before > 0 ? offset_of(fd, size, before, &room) : size;
        status = walk(fd, end, filters, page, ret_rest);
    }
    if (!open && fd >= 0) {
        (void)close(fd); /* only read from */
    }
    return status;
}

/* Newest file first, until the page is full or enough was looked at. */
static enum status query_files(const struct files *files, uint64_t before,
                               const struct filters *filters, struct page *page, bool *ret_more)
{
    *ret_more = false;
    for (size_t i = files->done->count + 1; i-- > 0;) {
        uint64_t first = i == files->done->count ? files->first : files->done->list[i].first;
        uint64_t rest = 0;
        if (first == 0 || (before > 0 && before <= first)) {
            continue; /* empty, or all of it is later */
        }
        if (page->scan_left == 0) {
            *ret_more = true;
            return STATUS_OK;
        }
        enum status status = query_file(files, i, before, filters, page, &rest);
        if (status != STATUS_OK || page->full || rest > 0) {
            *ret_more = true;
            return status;
        }
    }
    return STATUS_OK;
}

enum status query_run(const struct files *files, const struct audit_query *query,
                      struct buffer *ret_records, uint64_t *ret_next)
{
    CLEANUP(filters_free) struct filters filters = {0};
    struct page page = {.records = ret_records, .begin = ret_records->size,
                        .limit = query->limit ? query->limit : PAGE_RECORDS,
                        .last_seq = query->before, .scan_left = SCAN_BYTES_MAX};
    bool more = false;
    if (query->tenant.size == 0) {
        return STATUS_DENIED; /* never another tenant's, nor nobody's */
    }
    add_filter(&filters, ",\"tenant\":\"", query->tenant);
    add_filter(&filters, ",\"agent\":\"", query->agent);
    add_filter(&filters, ",\"provider\":\"", query->provider);
    add_filter(&filters, ",\"action\":\"", query->action);
    buffer_append_byte(ret_records, '[');
    enum status status = query_files(files, query->before, &filters, &page, &more);
    buffer_append_byte(ret_records, ']');
    if (status != STATUS_OK || ret_records->failed) {
        return status != STATUS_OK ? status : STATUS_INTERNAL;
    }
    *ret_next = more ? page.last_seq : 0;
    return STATUS_OK;
}

/* The file that SEQ would be in: the newest that does not begin behind it. */
static bool file_of(const struct files *files, uint64_t seq, size_t *ret_index)
{
    for (size_t i = files->done->count + 1; i-- > 0;) {
        uint64_t first = i == files->done->count ? files->first : files->done->list[i].first;
        if (first > 0 && first <= seq) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

static enum status read_line(int fd, uint64_t size, uint64_t seq, struct buffer *ret_line)
{
    CLEANUP(buffer_free) struct buffer room = BUFFER_EMPTY;
    uint64_t begin, found;
    if (!buffer_room(&room, PROBE_BYTES)) {
        return STATUS_INTERNAL;
    }
    uint64_t at = offset_of(fd, size, seq, &room);
    if (at == size || !line_after(fd, size, at, &room, &begin, &found) || found != seq) {
        return STATUS_NOT_FOUND;
    }
    size_t part = size - begin < LINE_SIZE_MAX + 1 ? (size_t)(size - begin) : LINE_SIZE_MAX + 1;
    if (!read_block(fd, begin, part, room.data)) {
        return STATUS_INTERNAL;
    }
    const uint8_t *newline = memchr(room.data, '\n', part);
    if (!newline) {
        return STATUS_NOT_FOUND;
    }
    buffer_append(ret_line, room.data, (size_t)(newline - room.data));
    return ret_line->failed ? STATUS_INTERNAL : STATUS_OK;
}

enum status query_line(const struct files *files, uint64_t seq, struct buffer *ret_line)
{
    size_t index;
    if (!file_of(files, seq, &index)) {
        return STATUS_NOT_FOUND;
    }
    if (index == files->done->count) {
        return read_line(files->fd, files->size, seq, ret_line);
    }
    int fd = segment_open(files->dir_fd, files->done->list[index].first, "log");
    if (fd < 0) {
        return STATUS_INTERNAL;
    }
    enum status status = read_line(fd, files->done->list[index].bytes, seq, ret_line);
    (void)close(fd); /* only read from */
    return status;
}
