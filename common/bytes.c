/* bytes.c - views and buffers.  Never reads past a size it was given. */
#include "common/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool view_is_nocase(struct view view, const char *text)
{
    size_t size = strlen(text);
    return view.size == size &&
           (size == 0 || strncasecmp((const char *)view.data, text, size) == 0);
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
    if (buffer->max > 0 && capacity > buffer->max) {
        capacity = buffer->max;
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

uint8_t *buffer_grow(struct buffer *buffer, size_t size)
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

