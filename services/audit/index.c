/* index.c - what is in each block of a file of the log, so that most blocks need not be read. */
#include "services/audit/reading.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 1 << 20, BLOOM_PROBES = 3, BLOOM_BITS = 8 * INDEX_BLOOM_BYTES };

void index_free(struct index *index)
{
    free(index->blocks);
    *index = (struct index){NULL, 0, 0, 0};
}

/* Another function needs another `magic` in indexes.c.  Without a secret: whoever could choose values that collide would make
 * himself wait, no more. */
uint64_t index_key(enum member member, struct view tenant, struct view value)
{
    uint64_t hash = view_mix(0xCBF29CE484222325u + (uint64_t)member, tenant);
    hash = view_mix((hash ^ 0xFF) * 0x100000001B3u, value);
    hash = (hash ^ (hash >> 32)) * 0x9E3779B97F4A7C15u;
    return hash ^ (hash >> 29);
}

static uint32_t bit_of(uint64_t key, uint32_t probe)
{
    return ((uint32_t)key + probe * ((uint32_t)(key >> 32) | 1)) % BLOOM_BITS;
}

bool block_may_have(const struct block *block, uint64_t key)
{
    for (uint32_t i = 0; i < BLOOM_PROBES; i++) {
        uint32_t bit = bit_of(key, i);
        if (!(block->bloom[bit / 8] & 1u << bit % 8)) {
            return false;
        }
    }
    return true;
}

static void add_key(struct block *block, enum member member, struct view tenant, struct view value)
{
    uint64_t key = index_key(member, tenant, value);
    for (uint32_t i = 0; i < BLOOM_PROBES; i++) {
        uint32_t bit = bit_of(key, i);
        block->bloom[bit / 8] |= (uint8_t)(1u << bit % 8);
    }
}

/* What can be asked for; the tenant by itself is the key of an empty action. */
static void add_record(struct block *block, const struct line *line)
{
    static const enum member asked[] = {MEMBER_KIND, MEMBER_ACTION, MEMBER_REQUEST, MEMBER_AGENT,
                                        MEMBER_TOKEN, MEMBER_PROVIDER, MEMBER_STATUS};
    struct view member[MEMBER_COUNT];
    block->first_seq = block->first_seq ? block->first_seq : line->seq;
    block->last_seq = line->seq;
    if (block->first_time[0] == 0 ||
        memcmp(line->time.data, block->first_time, INDEX_TIME_CHARS) < 0) {
        memcpy(block->first_time, line->time.data, INDEX_TIME_CHARS);
    }
    if (memcmp(line->time.data, block->last_time, INDEX_TIME_CHARS) > 0) {
        memcpy(block->last_time, line->time.data, INDEX_TIME_CHARS);
    }
    if (!line_members(line->fields, member) || member[MEMBER_TENANT].size == 0) {
        return;
    }
    struct view tenant = member[MEMBER_TENANT], status = member[MEMBER_STATUS];
    add_key(block, MEMBER_TENANT, tenant, view_of(NULL, 0));
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        if (member[asked[i]].size > 0) {
            add_key(block, asked[i], tenant, member[asked[i]]);
        }
    }
    if (status.size > 0) {
        add_key(block, MEMBER_STATUS_CLASS, tenant, view_of(status.data, 1));
    }
}

/* The block that takes a line at OFFSET: the last one, or a new one when that is full. */
static struct block *block_for(struct index *index, uint64_t offset)
{
    struct block *last = index->count ? &index->blocks[index->count - 1] : NULL;
    if (last && offset - last->offset < INDEX_BLOCK_BYTES) {
        return last;
    }
    if (index->count == index->capacity) {
        size_t capacity = index->capacity ? 2 * index->capacity : 16;
        struct block *grown = reallocarray(index->blocks, capacity, sizeof *grown);
        if (!grown) {
            return NULL;
        }
        index->blocks = grown;
        index->capacity = capacity;
    }
    last = &index->blocks[index->count++];
    memset(last, 0, sizeof *last);
    last->offset = offset;
    return last;
}

/* Takes the whole lines of BYTES, which begin where the index ends. */
static bool take_lines(struct index *index, struct view bytes)
{
    size_t begin = 0;
    const uint8_t *newline;
    while (begin < bytes.size &&
           (newline = memchr(bytes.data + begin, '\n', bytes.size - begin)) != NULL) {
        size_t end = (size_t)(newline - bytes.data);
        struct line line;
        struct block *block = block_for(index, index->size);
        if (!block) {
            return false;
        }
        if (line_split(view_of(bytes.data + begin, end - begin), &line)) {
            add_record(block, &line);
        }
        index->size += end + 1 - begin;
        begin = end + 1;
    }
    return true;
}

enum status index_extend(struct index *index, int fd, uint64_t size)
{
    CLEANUP(buffer_free) struct buffer bytes = BUFFER_EMPTY;
    while (index->size < size) {
        uint64_t left = size - index->size;
        buffer_clear(&bytes);
        size_t part = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        if (file_read(fd, index->size, part, &bytes) != STATUS_OK) {
            return STATUS_INTERNAL;
        }
        uint64_t before = index->size;
        if (!take_lines(index, buffer_view(&bytes))) {
            return STATUS_INTERNAL;
        }
        if (index->size == before) { /* no newline for so long: somebody's hand, or the end */
            if (!block_for(index, before)) {
                return STATUS_INTERNAL;
            }
            index->size += part;
        }
    }
    return STATUS_OK;
}
