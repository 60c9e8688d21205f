/* rows.c - walks the columns of a row: to read it, to make its MAC, to write it. */
#include "rows.h"

static void take_column(struct query *query, const struct column *column, void *row)
{
    uint8_t *at = (uint8_t *)row + column->offset;
    switch (column->kind) {
    case COLUMN_TEXT:
        query_get_text(query, (char *)at, column->size);
        break;
    case COLUMN_HASH:
        query_get_bytes(query, at, column->size);
        break;
    case COLUMN_NUMBER:
        *(uint64_t *)(void *)at = query_get_number(query);
        break;
    case COLUMN_ENUM:
        *(unsigned *)(void *)at = (unsigned)query_get_number(query);
        break;
    case COLUMN_BUFFER:
        buffer_clear((struct buffer *)(void *)at);
        buffer_append_view((struct buffer *)(void *)at, query_get_view(query));
        break;
    }
}

static void sign_column(struct row_mac *mac, const struct column *column, const void *row)
{
    const uint8_t *at = (const uint8_t *)row + column->offset;
    switch (column->kind) {
    case COLUMN_TEXT:
        row_mac_text(mac, (const char *)at);
        break;
    case COLUMN_HASH:
        row_mac_bytes(mac, view_of(at, column->size));
        break;
    case COLUMN_NUMBER:
        row_mac_number(mac, *(const uint64_t *)(const void *)at);
        break;
    case COLUMN_ENUM:
        row_mac_number(mac, *(const unsigned *)(const void *)at);
        break;
    case COLUMN_BUFFER:
        row_mac_bytes(mac, buffer_view((const struct buffer *)(const void *)at));
        break;
    }
}

static void bind_column(struct query *query, const struct column *column, const void *row)
{
    const uint8_t *at = (const uint8_t *)row + column->offset;
    switch (column->kind) {
    case COLUMN_TEXT:
        query_text(query, (const char *)at);
        break;
    case COLUMN_HASH:
        query_bytes(query, view_of(at, column->size));
        break;
    case COLUMN_NUMBER:
        query_number(query, *(const uint64_t *)(const void *)at);
        break;
    case COLUMN_ENUM:
        query_number(query, *(const unsigned *)(const void *)at);
        break;
    case COLUMN_BUFFER:
        query_bytes(query, buffer_view((const struct buffer *)(const void *)at));
        break;
    }
}

static enum status make_mac(struct store *store, const struct row_kind *kind, const void *row,
                            uint8_t *ret_mac)
{
    struct row_mac mac = row_mac_new(kind->table);
    for (size_t i = 0; i < kind->count; i++) {
        if (kind->columns[i].secure) {
            sign_column(&mac, &kind->columns[i], row);
        }
    }
    return row_mac_make(store, &mac, ret_mac);
}

enum status row_columns(struct query *query, const struct row_kind *kind, void *row)
{
    uint8_t mac[CRYPTO_HASH_BYTES];
    for (size_t i = 0; i < kind->count; i++) {
        take_column(query, &kind->columns[i], row);
    }
    return query_mac_matches(query, make_mac(query->store, kind, row, mac), mac);
}

enum status row_read(struct query *query, const struct row_kind *kind, void *row)
{
    enum status status = query_only_row(query);
    return status == STATUS_OK ? row_columns(query, kind, row) : status;
}

void row_bind_mac(struct query *query, const struct row_kind *kind, const void *row)
{
    uint8_t mac[CRYPTO_HASH_BYTES];
    enum status status = make_mac(query->store, kind, row, mac);
    if (status == STATUS_OK) {
        query_bytes(query, hash_view(mac));
    } else if (query->status == STATUS_OK) {
        query->status = status;
    }
}

enum status row_insert(struct store *store, const struct row_kind *kind, const char *sql,
                       const void *row)
{
    CLEANUP(query_end) struct query query = query_new(store, sql);
    for (size_t i = 0; i < kind->count; i++) {
        bind_column(&query, &kind->columns[i], row);
    }
    row_bind_mac(&query, kind, row);
    return query_run(&query);
}
