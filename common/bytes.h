/* bytes.h - views of memory that somebody else owns, and a growing buffer that owns its own. */
#ifndef COMMON_BYTES_H
#define COMMON_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

/* A run of bytes owned by somebody else; valid as long as its owner says. */
struct view {
    const uint8_t *data;
    size_t size;
};

#define VIEW(literal) ((struct view){(const uint8_t *)(literal), sizeof(literal) - 1})

struct view view_of(const void *data, size_t size);
struct view view_text(const char *text); /* NULL gives an empty view */
bool view_equal(struct view a, struct view b); /* not in constant time: never for secrets */
bool view_is(struct view view, const char *text);
bool view_is_nocase(struct view view, const char *text); /* ASCII only */
bool view_starts(struct view view, const char *prefix);

/* A new NUL-terminated copy on the heap, or NULL for want of memory; free() it. */
char *view_dup(struct view view);

/* Copies into BUFFER with a NUL; false (and nothing written) when it does not fit or holds a NUL. */
bool view_copy(struct view view, char *buffer, size_t buffer_size);

/* A growing buffer.  Start from BUFFER_EMPTY.  `max` is the size it may not pass, 0 for none. */
struct buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t max;
    bool failed; /* an append did not fit; stays set until buffer_clear() */
};

#define BUFFER_EMPTY ((struct buffer){NULL, 0, 0, 0, false})

/* Appends; on want of memory or past `max` sets `failed` and appends nothing, so a run of appends
 * is checked once at its end. */
void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_append_view(struct buffer *buffer, struct view view);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_byte(struct buffer *buffer, uint8_t byte);
void buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Room for SIZE more bytes at the end, or NULL with `failed` set; commit by adding to `size`. */
uint8_t *buffer_room(struct buffer *buffer, size_t size);

/* Drops the first SIZE bytes. */
void buffer_consume(struct buffer *buffer, size_t size);

void buffer_clear(struct buffer *buffer); /* empties, keeps the memory */
void buffer_free(struct buffer *buffer);  /* takes a cleared or freed one too */
void buffer_wipe(struct buffer *buffer);  /* zeroes all the memory, then frees it */

struct view buffer_view(const struct buffer *buffer);

#endif
