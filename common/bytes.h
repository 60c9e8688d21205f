/* bytes.h - views of memory that somebody else owns, and a growing buffer that owns its own. */
#ifndef COMMON_BYTES_H
#define COMMON_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/status.h"

/* A run of bytes owned by somebody else; valid as long as its owner says. */
struct view {
    const uint8_t *data;
    size_t size;
};

#define VIEW(literal) ((struct view){(const uint8_t *)(literal), sizeof(literal) - 1})

/* What is short is here, not in bytes.c: every message and every log line is made of these. */
static inline struct view view_of(const void *data, size_t size)
{
    return (struct view){(const uint8_t *)data, size};
}

static inline struct view view_text(const char *text) /* NULL gives an empty view */
{
    return view_of(text, text ? strlen(text) : 0);
}

/* Not in constant time: never for secrets. */
static inline bool view_equal(struct view a, struct view b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool view_is(struct view view, const char *text)
{
    return view_equal(view, view_text(text));
}

bool view_is_nocase(struct view view, const char *text); /* ASCII only */

/* Takes TEXT into HASH, in the manner of FNV-1a but eight bytes at a time.  Begin with a secret seed
 * where strangers choose the text. */
static inline uint64_t view_mix(uint64_t hash, struct view text)
{
    uint64_t word;
    size_t at = 0;
    for (; text.size - at >= sizeof word; at += sizeof word) {
        memcpy(&word, text.data + at, sizeof word);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 32;
    }
    for (; at < text.size; at++) {
        hash = (hash ^ text.data[at]) * 0x100000001B3u;
    }
    return hash ^ (hash >> 29);
}

static inline bool view_starts(struct view view, const char *prefix)
{
    size_t size = strlen(prefix);
    return view.size >= size && (size == 0 || memcmp(view.data, prefix, size) == 0);
}

/* A new NUL-terminated copy on the heap, or NULL for want of memory; free() it. */
char *view_dup(struct view view);

/* Copies into BUFFER with a NUL; false (and nothing written) when it does not fit or holds a NUL. */
bool view_copy(struct view view, char *buffer, size_t buffer_size);

/* A growing buffer.  Start from BUFFER_EMPTY.  `max` is the size it may not pass, 0 for none; it is
 * set before anything is appended. */
struct buffer {
    uint8_t *data;
    size_t size;
    size_t capacity; /* never past `max` */
    size_t max;
    bool failed; /* an append did not fit; stays set until buffer_clear() */
};

#define BUFFER_EMPTY ((struct buffer){NULL, 0, 0, 0, false})

/* Makes room where there is none, or fails: what buffer_room() does not do itself. */
uint8_t *buffer_grow(struct buffer *buffer, size_t size);

/* Room for SIZE more bytes at the end, or NULL with `failed` set; commit by adding to `size`. */
static inline uint8_t *buffer_room(struct buffer *buffer, size_t size)
{
    return size <= buffer->capacity - buffer->size && buffer->data && !buffer->failed
               ? buffer->data + buffer->size : buffer_grow(buffer, size);
}

/* Appends; on want of memory or past `max` sets `failed` and appends nothing, so a run of appends
 * is checked once at its end. */
static inline void buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    uint8_t *room = size ? buffer_room(buffer, size) : NULL;
    if (room) {
        memcpy(room, data, size);
        buffer->size += size;
    }
}

static inline void buffer_append_view(struct buffer *buffer, struct view view)
{
    buffer_append(buffer, view.data, view.size);
}

static inline void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

static inline void buffer_append_byte(struct buffer *buffer, uint8_t byte)
{
    buffer_append(buffer, &byte, 1);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Drops the first SIZE bytes. */
void buffer_consume(struct buffer *buffer, size_t size);

static inline void buffer_clear(struct buffer *buffer) /* empties, keeps the memory */
{
    buffer->size = 0;
    buffer->failed = false;
}

void buffer_free(struct buffer *buffer);  /* takes a cleared or freed one too */
void buffer_wipe(struct buffer *buffer);  /* zeroes all the memory, then frees it */

static inline struct view buffer_view(const struct buffer *buffer)
{
    return view_of(buffer->data, buffer->size);
}

#endif
