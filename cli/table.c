/* table.c - lists of JSON objects in columns as wide as their widest cell. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

/* What a person reads for VALUE, appended to CELL: an empty or absent one is "-". */
static void append_cell(struct buffer *cell, const json_t *value)
{
    json_t *entry;
    size_t i;
    if (json_is_string(value) && json_string_length(value) > 0) {
        buffer_append_text(cell, json_string_value(value));
    } else if (json_is_integer(value)) {
        buffer_printf(cell, "%lld", (long long)json_integer_value(value));
    } else if (json_is_boolean(value)) {
        buffer_append_text(cell, json_is_true(value) ? "all" : "none");
    } else if (json_array_size(value) > 0) {
        json_array_foreach(value, i, entry)
        {
            buffer_append_text(cell, i ? "," : "");
            append_cell(cell, entry);
        }
    } else {
        buffer_append_byte(cell, '-');
    }
}

char *cell_text(const json_t *value)
{
    struct buffer cell = BUFFER_EMPTY;
    append_cell(&cell, value);
    char *text = view_dup(buffer_view(&cell));
    buffer_free(&cell);
    return text;
}

/* How many places TEXT takes: bytes that continue a UTF-8 character take none. */
static int width(const char *text)
{
    int count = 0;
    for (; *text; text++) {
        count += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return count;
}

static void print_padded(const char *text, int places)
{
    out_text(stdout, text);
    printf("%*s", places > width(text) ? places - width(text) : 0, "");
}

/* Gives a cell's text to be measured (WIDEST) or, when that is NULL, prints it. */
static void take_cell(const json_t *object, const struct column *column, int *widest, int places)
{
    char *text = cell_text(json_object_get(object, column->member));
    const char *shown = text ? text : "?";
    if (!widest) {
        print_padded(shown, places);
    } else if (width(shown) > *widest) {
        *widest = width(shown);
    }
    free(text);
}

void print_list(const json_t *list, const struct column *columns, const char *empty)
{
    int widths[COLUMNS_MAX];
    json_t *object;
    size_t i, count = 0;
    if (json_array_size(list) == 0) {
        note("%s", empty);
        return;
    }
    for (; columns[count].head && count < COLUMNS_MAX; count++) {
        widths[count] = width(columns[count].head);
        json_array_foreach(list, i, object)
        {
            take_cell(object, &columns[count], &widths[count], 0);
        }
    }
    fputs(style(stdout, STYLE_HEAD), stdout);
    for (size_t at = 0; at < count; at++) {
        print_padded(columns[at].head, at + 1 < count ? widths[at] + 2 : 0);
    }
    printf("%s\n", style(stdout, STYLE_NONE));
    json_array_foreach(list, i, object)
    {
        for (size_t at = 0; at < count; at++) {
            take_cell(object, &columns[at], NULL, at + 1 < count ? widths[at] + 2 : 0);
        }
        putchar('\n');
    }
}

void print_object(const json_t *object, const struct column *columns)
{
    for (const struct column *at = columns; at->head; at++) {
        char *text = cell_text(json_object_get(object, at->member));
        fputs(style(stdout, STYLE_HEAD), stdout);
        print_padded(at->head, 16);
        fputs(style(stdout, STYLE_NONE), stdout);
        out_text(stdout, text ? text : "?");
        putchar('\n');
        free(text);
    }
}
