/* lookup.c - one record by its number: numbers only grow, so its place is found by halving. */
#include "services/audit/reading.h"

#include <string.h>
#include <unistd.h>

enum { PROBE_BYTES = 2 * LINE_SIZE_MAX };

/* Where the first line at or after AT begins, and its number; false past the last line. */
static bool line_after(int fd, uint64_t size, uint64_t at, struct buffer *room,
                       uint64_t *ret_begin, uint64_t *ret_seq)
{
    uint64_t from = at > 0 ? at - 1 : 0; /* its newline may be the byte before */
    size_t part = size - from < PROBE_BYTES ? (size_t)(size - from) : PROBE_BYTES;
    buffer_clear(room);
    if (file_read(fd, from, part, room) != STATUS_OK) {
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
    uint64_t at = offset_of(fd, size, seq, &room);
    if (at == size || !line_after(fd, size, at, &room, &begin, &found) || found != seq) {
        return STATUS_NOT_FOUND;
    }
    size_t part = size - begin < LINE_SIZE_MAX + 1 ? (size_t)(size - begin) : LINE_SIZE_MAX + 1;
    buffer_clear(&room);
    if (file_read(fd, begin, part, &room) != STATUS_OK) {
        return STATUS_INTERNAL;
    }
    const uint8_t *newline = memchr(room.data, '\n', part);
    if (!newline) {
        return STATUS_NOT_FOUND;
    }
    buffer_append(ret_line, room.data, (size_t)(newline - room.data));
    return ret_line->failed ? STATUS_INTERNAL : STATUS_OK;
}

bool query_place(const struct files *files, uint64_t seq, size_t *ret_index, uint64_t *ret_offset)
{
    CLEANUP(buffer_free) struct buffer room = BUFFER_EMPTY;
    if (!file_of(files, seq, ret_index)) {
        return false;
    }
    bool open = *ret_index == files->done->count;
    int fd = open ? files->fd : segment_open(files->dir_fd, files->done->list[*ret_index].first, "log");
    if (fd < 0) {
        return false;
    }
    *ret_offset = offset_of(fd, open ? files->size : files->done->list[*ret_index].bytes, seq, &room);
    if (!open) {
        (void)close(fd); /* only read from */
    }
    return true;
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
