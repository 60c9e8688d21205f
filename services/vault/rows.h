/* rows.h - a kind of row as a table of its columns, for rows_account.c and rows_access.c.
 *
 * One list says how a row is read, what its MAC covers and how it is written, so that the three cannot
 * differ.  The last column is always the MAC; columns stand in the order of the statements. */
#ifndef VAULT_ROWS_H
#define VAULT_ROWS_H

#include <stddef.h>

#include "store.h"

enum column_kind { COLUMN_TEXT, COLUMN_HASH, COLUMN_NUMBER, COLUMN_ENUM, COLUMN_BUFFER };

struct column {
    enum column_kind kind;
    bool secure; /* under the MAC, in this order */
    size_t offset, size;
};

struct row_kind {
    const char *table; /* the MAC's first field */
    const struct column *columns;
    size_t count;
};

#define COLUMN(kind, secure, type, member) \
    {COLUMN_##kind, secure, offsetof(struct type, member), sizeof((struct type *)NULL)->member}
#define ROW_KIND(table, columns) {table, columns, sizeof columns / sizeof columns[0]}

/* Fills ROW from the row that QUERY is at; STATUS_DENIED when its MAC is another, and a list may show
 * it all the same, so that it can be deleted. */
enum status row_columns(struct query *query, const struct row_kind *kind, void *row);
/* The same for the only row; STATUS_NOT_FOUND. */
MUST_USE enum status row_read(struct query *query, const struct row_kind *kind, void *row);
/* Runs SQL with all columns and the MAC as parameters. */
MUST_USE enum status row_insert(struct store *store, const struct row_kind *kind, const char *sql,
                                const void *row);
/* Binds ROW's MAC as the next parameter; a failure shows in `status`. */
void row_bind_mac(struct query *query, const struct row_kind *kind, const void *row);

#endif
