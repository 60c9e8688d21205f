/* query.c - runs prepared statements and turns SQLite's outcomes into ours.
 *
 * Statements are prepared once and kept by the address of their text.  Also the MACs of rows,
 * because they are made of the same columns in the same order.
 */
#include "store.h"

#include <string.h>

#include "common/log.h"

/* A broken disk fails every write: once a second is enough. */
static void complain(struct store *store)
{
    static struct log_limit limit;
    uint64_t count;
    if (log_due(&limit, &count)) {
        log_error("store", "the disk: %s (error %d, %llu times)", sqlite3_errmsg(store->db),
                  sqlite3_extended_errcode(store->db), (unsigned long long)count);
    }
}

static enum status outcome(struct store *store, int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return STATUS_OK;
    case SQLITE_CONSTRAINT:
        return STATUS_CONFLICT;
    case SQLITE_FULL:
        return STATUS_STORAGE_FULL;
    case SQLITE_TOOBIG:
        return STATUS_TOO_LARGE;
    case SQLITE_READONLY: /* the disk: what only reads goes on */
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        complain(store);
        return STATUS_UNAVAILABLE;
    }
    log_error("store", "%s", sqlite3_errmsg(store->db));
    return STATUS_INTERNAL;
}

static sqlite3_stmt *prepared(struct store *store, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    for (size_t i = 0; i < store->prepared_count; i++) {
        if (store->prepared[i].sql == sql) {
            return store->prepared[i].statement;
        }
    }
    if (store->prepared_count == STATEMENTS_MAX ||
        sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) !=
            SQLITE_OK) {
        log_error("store", "cannot prepare a statement: %s", sqlite3_errmsg(store->db));
        return NULL;
    }
    store->prepared[store->prepared_count].sql = sql;
    store->prepared[store->prepared_count++].statement = statement;
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
        (void)sqlite3_reset(query->statement); /* repeats the failure that step reported */
        (void)sqlite3_clear_bindings(query->statement);
        query->statement = NULL;
    }
}

static void bound(struct query *query, int code)
{
    if (query->status == STATUS_OK && code != SQLITE_OK) {
        query->status = outcome(query->store, code);
    }
}

void query_view(struct query *query, struct view text)
{
    if (query->statement) {
        bound(query, sqlite3_bind_text(query->statement, ++query->parameter,
                                       text.data ? (const char *)text.data : "", (int)text.size,
                                       SQLITE_TRANSIENT));
    }
}

void query_text(struct query *query, const char *text)
{
    query_view(query, view_text(text));
}

void query_bytes(struct query *query, struct view bytes)
{
    if (query->statement) {
        bound(query, sqlite3_bind_blob(query->statement, ++query->parameter,
                                       bytes.data ? (const void *)bytes.data : "",
                                       (int)bytes.size, SQLITE_TRANSIENT));
    }
}

void query_number(struct query *query, uint64_t number)
{
    if (query->statement) {
        bound(query, sqlite3_bind_int64(query->statement, ++query->parameter, (int64_t)number));
    }
}

bool query_row(struct query *query)
{
    if (query->status != STATUS_OK) {
        return false;
    }
    int code = sqlite3_step(query->statement);
    query->column = 0;
    query->status = outcome(query->store, code);
    return code == SQLITE_ROW;
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
    if (status == STATUS_OK && sqlite3_changes64(query->store->db) == 0) {
        return STATUS_NOT_FOUND;
    }
    return status;
}

struct view query_get_view(struct query *query)
{
    int column = query->column++;
    const void *data = sqlite3_column_blob(query->statement, column);
    return view_of(data, (size_t)sqlite3_column_bytes(query->statement, column));
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
    return (uint64_t)sqlite3_column_int64(query->statement, query->column++);
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
