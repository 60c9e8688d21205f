/* bytes.c - views and buffers.  Never reads past a size it was given. */
#include "common/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct view view_of(const void *data, size_t size)
{
    return (struct view){data, size};
}

struct view view_text(const char *text)
{
    return view_of(text, text ? strlen(text) : 0);
}

bool view_equal(struct view a, struct view b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool view_is(struct view view, const char *text)
{
    return view_equal(view, view_text(text));
}

bool view_is_nocase(struct view view, const char *text)
{
    size_t size = strlen(text);
    return view.size == size &&
           (size == 0 || strncasecmp((const char *)view.data, text, size) == 0);
}

bool view_starts(struct view view, const char *prefix)
{
    size_t size = strlen(prefix);
    return view.size >= size && (size == 0 || memcmp(view.data, prefix, size) == 0);
}

char *view_dup(struct view view)
{
    char *copy = malloc(view.size + 1);
    if (!copy) {
        return NULL;
    }
    if (view.size > 0) {
        memcpy(copy, view.data, view.size);
    }
    copy[view.size] = '\0';
    return copy;
}

bool view_copy(struct view view, char *buffer, size_t buffer_size)
{
    if (view.size >= buffer_size || (view.size > 0 && memchr(view.data, 0, view.size))) {
        return false;
    }
    if (view.size > 0) {
        memcpy(buffer, view.data, view.size);
    }
    buffer[view.size] = '\0';
    return true;
}

static bool grow(struct buffer *buffer, size_t wanted)
{
    size_t capacity = buffer->capacity ? buffer->capacity : 256;
    while (capacity < wanted) {
        capacity *= 2;
    }
    /* Not realloc: a secret may be inside, and realloc leaves the old copy behind. */
    uint8_t *data = malloc(capacity);
    if (!data) {
        return false;
    }
    if (buffer->size > 0) {
        memcpy(data, buffer->data, buffer->size);
        explicit_bzero(buffer->data, buffer->size);
    }
    free(buffer->data);
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

uint8_t *buffer_room(struct buffer *buffer, size_t size)
{
    if (buffer->failed || size > SIZE_MAX / 4 - buffer->size ||
        (buffer->max > 0 && buffer->size + size > buffer->max)) {
        buffer->failed = true;
        return NULL;
    }
    if (buffer->size + size > buffer->capacity && !grow(buffer, buffer->size + size)) {
        buffer->failed = true;
        return NULL;
    }
    return buffer->data + buffer->size;
}

void buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    if (size == 0) {
        return;
    }
    uint8_t *room = buffer_room(buffer, size);
    if (room) {
        memcpy(room, data, size);
        buffer->size += size;
    }
}

void buffer_append_view(struct buffer *buffer, struct view view)
{
    buffer_append(buffer, view.data, view.size);
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_byte(struct buffer *buffer, uint8_t byte)
{
    buffer_append(buffer, &byte, 1);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0) {
        buffer->failed = true;
        return;
    }
    uint8_t *room = buffer_room(buffer, (size_t)size + 1);
    if (!room) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf((char *)room, (size_t)size + 1, format, args); /* its size is known */
    va_end(args);
    buffer->size += (size_t)size;
}

void buffer_consume(struct buffer *buffer, size_t size)
{
    if (size >= buffer->size) {
        buffer->size = 0;
        return;
    }
    memmove(buffer->data, buffer->data + size, buffer->size - size);
    buffer->size -= size;
}

void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
    buffer->failed = false;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){.max = buffer->max};
}

void buffer_wipe(struct buffer *buffer)
{
    if (buffer->data) {
        explicit_bzero(buffer->data, buffer->capacity);
    }
    buffer_free(buffer);
}

struct view buffer_view(const struct buffer *buffer)
{
    return view_of(buffer->data, buffer->size);
}
