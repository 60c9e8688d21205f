/* query.c - one run of a prepared statement, whichever engine runs it.
 *
 * Statements are prepared once and kept by the address of their text.  Also the MACs of rows,
 * because they are made of the same columns in the same order.
 */
#include "store_engine.h"

#include <string.h>

#include "common/log.h"

static void *prepared(struct store *store, const char *sql)
{
    for (size_t i = 0; i < store->prepared_count; i++) {
        if (store->prepared[i].sql == sql) {
            return store->prepared[i].statement;
        }
    }
    void *statement = NULL;
    if (store->prepared_count < STATEMENTS_MAX) {
        statement = store->engine->prepare(store, sql);
    } else {
        log_error("store", "there are more than %d statements", (int)STATEMENTS_MAX);
    }
    if (statement) {
        store->prepared[store->prepared_count].sql = sql;
        store->prepared[store->prepared_count++].statement = statement;
    }
    return statement;
}

struct query query_new(struct store *store, const char *sql)
{
    struct query query = {store, prepared(store, sql), 0, 0, STATUS_OK};
    if (!query.statement) {
        query.status = STATUS_INTERNAL;
    }
    return query;
}

void query_end(struct query *query)
{
    if (query->statement) {
        query->store->engine->reset(query->statement);
        query->statement = NULL;
    }
}

void query_view(struct query *query, struct view text)
{
    if (query->status == STATUS_OK) {
        query->status = query->store->engine->bind_text(query, text);
    }
}

void query_text(struct query *query, const char *text)
{
    query_view(query, view_text(text));
}

void query_bytes(struct query *query, struct view bytes)
{
    if (query->status == STATUS_OK) {
        query->status = query->store->engine->bind_bytes(query, bytes);
    }
}

void query_number(struct query *query, uint64_t number)
{
    if (query->status == STATUS_OK) {
        query->status = query->store->engine->bind_number(query, number);
    }
}

bool query_row(struct query *query)
{
    query->column = 0;
    return query->status == STATUS_OK && query->store->engine->row(query);
}

enum status query_run(struct query *query)
{
    while (query_row(query)) {
    }
    return query->status;
}

enum status query_run_one(struct query *query)
{
    enum status status = query_run(query);
    if (status == STATUS_OK && query->store->engine->changed(query) == 0) {
        return STATUS_NOT_FOUND;
    }
    return status;
}

struct view query_get_view(struct query *query)
{
    return query->store->engine->get_view(query, query->column++);
}

/* What does not fit reads as empty; for a row with a MAC that ends as a mismatch. */
void query_get_text(struct query *query, char *text, size_t size)
{
    if (!view_copy(query_get_view(query), text, size)) {
        text[0] = 0;
    }
}

void query_get_bytes(struct query *query, uint8_t *bytes, size_t size)
{
    struct view view = query_get_view(query);
    memset(bytes, 0, size);
    if (view.size == size) {
        memcpy(bytes, view.data, size);
    }
}

uint64_t query_get_number(struct query *query)
{
    return query->store->engine->get_number(query, query->column++);
}

struct row_mac row_mac_new(const char *table)
{
    struct row_mac mac = {BUFFER_EMPTY};
    crypto_aad_field(&mac.fields, VIEW("seks row 1"));
    row_mac_text(&mac, table);
    return mac;
}

void row_mac_text(struct row_mac *mac, const char *text)
{
    crypto_aad_field(&mac->fields, view_text(text));
}

void row_mac_bytes(struct row_mac *mac, struct view bytes)
{
    crypto_aad_field(&mac->fields, bytes);
}

void row_mac_number(struct row_mac *mac, uint64_t number)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    }
    crypto_aad_field(&mac->fields, view_of(bytes, sizeof bytes));
}

enum status row_mac_make(struct store *store, struct row_mac *mac, uint8_t *ret_mac)
{
    enum status status = STATUS_INTERNAL;
    if (!mac->fields.failed && store->mac_key) {
        status = crypto_hmac(secret_view(store->mac_key), buffer_view(&mac->fields), ret_mac);
    }
    buffer_free(&mac->fields);
    return status;
}

enum status query_only_row(struct query *query)
{
    if (query_row(query)) {
        return STATUS_OK;
    }
    return query->status == STATUS_OK ? STATUS_NOT_FOUND : query->status;
}

struct view hash_view(const uint8_t *hash)
{
    return view_of(hash, CRYPTO_HASH_BYTES);
}

enum status query_mac_matches(struct query *query, enum status made, const uint8_t *mac)
{
    struct view stored = query_get_view(query);
    if (made != STATUS_OK) {
        return made;
    }
    return secret_equal(stored, hash_view(mac)) ? STATUS_OK : STATUS_DENIED;
}
