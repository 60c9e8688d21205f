/* status.c - names, texts and HTTP codes of the outcomes; one row each. */
#include "common/status.h"

#include <stddef.h>

static const struct status_row {
    const char *name;
    int http;
    const char *text;
} rows[STATUS_COUNT] = {
#define X(name, http, text) {#name, http, text},
    STATUS_LIST(X)
#undef X
};

static const struct status_row *row_of(enum status status)
{
    int number = -(int)status;
    if (number < 0 || number >= (int)STATUS_COUNT) {
        return &rows[STATUS_NUMBER_INTERNAL];
    }
    return &rows[number];
}

const char *status_name(enum status status)
{
    return row_of(status)->name;
}

const char *status_text(enum status status)
{
    return row_of(status)->text;
}

int status_http(enum status status)
{
    return row_of(status)->http;
}

unsigned status_to_wire(enum status status)
{
    return (unsigned)(-(int)status);
}

enum status status_from_wire(unsigned number)
{
    return number < STATUS_COUNT ? (enum status)(-(int)number) : STATUS_PROTOCOL;
}
