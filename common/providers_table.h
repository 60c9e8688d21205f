/* providers_table.h - the table's inside, shared by the files that make it. */
#ifndef COMMON_PROVIDERS_TABLE_H
#define COMMON_PROVIDERS_TABLE_H

#include <jansson.h>

#include "common/providers.h"

/* All text in the rows belongs to ROOT, the lists to the rows. */
struct providers {
    json_t *root; /* the merged array of rows */
    struct provider *rows;
    size_t count;
};

/* Checks one row's fields: known, of the right type, well formed; missing fields are fine.
 * INDEX is named when the row has no name.  On failure RET_WHY is the module's buffer. */
MUST_USE enum status providers_check_row(const json_t *row, size_t index, const char **ret_why);

/* Checks what holds between the fields of a merged row. */
MUST_USE enum status providers_check_merged(const json_t *row, const char **ret_why);

/* Writes the sentence into the module's buffer; returns STATUS_INVALID. */
enum status providers_refuse(const char **ret_why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
