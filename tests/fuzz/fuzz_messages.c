/* Any bytes as any message: what decodes must encode to the same bytes again. */
#include <stdlib.h>
#include <string.h>

#include "proto/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

union any {
    max_align_t align;
    uint8_t bytes[4096];
};

static void walk_lists(const struct schema *schema, const union any *message)
{
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct field *field = &schema->fields[i];
        if (field->kind != FIELD_LIST) {
            continue;
        }
        struct list rows;
        union any row;
        uint64_t count = 0;
        memcpy(&rows, message->bytes + field->offset, sizeof rows);
        uint64_t expected = rows.count;
        while (proto_list_next(field->row, &rows, &row)) {
            count++;
        }
        if (count != expected) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (const struct schema *const *at = proto_schemas; *at; at++) {
        union any message;
        struct buffer again = BUFFER_EMPTY;
        if ((*at)->size > sizeof message) {
            abort();
        }
        if (proto_decode(*at, view_of(data, size), &message) != STATUS_OK) {
            continue;
        }
        if (proto_encode(*at, &message, &again) != STATUS_OK || again.size != size ||
            memcmp(again.data, data, size) != 0) {
            abort();
        }
        walk_lists(*at, &message);
        buffer_free(&again);
    }
    return 0;
}
