/* table.c - rows under headings, in columns as wide as their widest cell. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

struct table {
    size_t columns, rows, failed;
    char **cells; /* row by row, the headings first */
};

struct table *table_new(const char *const *heads, size_t columns)
{
    struct table *table = calloc(1, sizeof *table);
    if (table) {
        table->columns = columns;
        table_row(table, heads);
    }
    return table;
}

void table_free(struct table **table_at)
{
    struct table *table = *table_at;
    *table_at = NULL;
    if (!table) {
        return;
    }
    for (size_t i = 0; i < table->rows * table->columns; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    free(table);
}

void table_row(struct table *table, const char *const *cells)
{
    if (!table) {
        return;
    }
    size_t used = table->rows * table->columns;
    char **grown = realloc(table->cells, (used + table->columns) * sizeof *grown);
    if (!grown) {
        table->failed = 1;
        return;
    }
    table->cells = grown;
    for (size_t i = 0; i < table->columns; i++) {
        grown[used + i] = strdup(cells[i] && cells[i][0] ? cells[i] : "-");
        table->failed |= !grown[used + i];
    }
    table->rows++;
}

/* How many places TEXT takes: bytes that continue a UTF-8 character take none. */
static int width(const char *text)
{
    int count = 0;
    for (; text && *text; text++) {
        count += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return count;
}

static void print_row(const struct table *table, size_t row, const int *widths)
{
    for (size_t i = 0; i < table->columns; i++) {
        const char *cell = table->cells[row * table->columns + i];
        out_text(stdout, cell ? cell : "");
        if (i + 1 < table->columns) {
            printf("%*s", widths[i] - width(cell) + 2, "");
        }
    }
}

void table_print(struct table *table, const char *empty)
{
    int widths[TABLE_COLUMNS_MAX] = {0};
    if (!table || table->failed) {
        (void)fail(SEKS_FAILED, NULL, "no memory");
        return;
    }
    if (table->rows < 2) {
        note("%s", empty);
        return;
    }
    for (size_t i = 0; i < table->rows * table->columns; i++) {
        int *widest = &widths[i % table->columns];
        *widest = width(table->cells[i]) > *widest ? width(table->cells[i]) : *widest;
    }
    for (size_t row = 0; row < table->rows; row++) {
        fputs(row == 0 ? style(stdout, STYLE_HEAD) : "", stdout);
        print_row(table, row, widths);
        printf("%s\n", row == 0 ? style(stdout, STYLE_NONE) : "");
    }
}
