/* rows_secret.c - secrets as rows: sealed blobs and what is shown of them.  Never sees a value; a
 * row needs no MAC, because what matters in it is associated data of its blob. */
#include "store.h"

#define SECRET_SELECT \
    "SELECT id, account, name, provider, version, data_key, created_ms, updated_ms, used_ms, blob" \
    " FROM secrets "

static void secret_columns(struct query *query, struct secret_row *ret)
{
    query_get_text(query, ret->id, sizeof ret->id);
    query_get_text(query, ret->account, sizeof ret->account);
    query_get_text(query, ret->name, sizeof ret->name);
    query_get_text(query, ret->provider, sizeof ret->provider);
    ret->version = query_get_number(query);
    query_get_text(query, ret->data_key, sizeof ret->data_key);
    ret->created_ms = query_get_number(query);
    ret->updated_ms = query_get_number(query);
    ret->used_ms = query_get_number(query);
}

enum status secret_row_insert(struct store *store, const struct secret_row *row,
                              struct view blob)
{
    static const char sql[] =
        "INSERT INTO secrets (id, account, name, provider, version, data_key, created_ms,"
        " updated_ms, blob) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, row->id);
    query_text(&query, row->account);
    query_text(&query, row->name);
    query_text(&query, row->provider);
    query_number(&query, row->version);
    query_text(&query, row->data_key);
    query_number(&query, row->created_ms);
    query_number(&query, row->updated_ms);
    query_bytes(&query, blob);
    return query_run(&query);
}

enum status secret_row_update(struct store *store, const struct secret_row *row,
                              struct view blob)
{
    static const char sql[] = "UPDATE secrets SET provider = ?, version = ?, data_key = ?,"
                              " updated_ms = ?, blob = ? WHERE account = ? AND id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, row->provider);
    query_number(&query, row->version);
    query_text(&query, row->data_key);
    query_number(&query, row->updated_ms);
    query_bytes(&query, blob);
    query_text(&query, row->account);
    query_text(&query, row->id);
    return query_run_one(&query);
}

enum status secret_row_by_name(struct store *store, const char *account, struct view name,
                               struct secret_row *ret, struct buffer *ret_blob)
{
    static const char sql[] = SECRET_SELECT "WHERE account = ? AND name = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, account);
    query_view(&query, name);
    if (!query_row(&query)) {
        return query.status == STATUS_OK ? STATUS_NOT_FOUND : query.status;
    }
    secret_columns(&query, ret);
    if (ret_blob) {
        buffer_append_view(ret_blob, query_get_view(&query));
    }
    return STATUS_OK;
}

enum status secret_row_after(struct store *store, const char *account, const char *name,
                             const char *newest, struct secret_row *ret, struct buffer *ret_blob)
{
    static const char sql[] =
        SECRET_SELECT "WHERE account = ? AND name > ? AND data_key <> ? ORDER BY name LIMIT 1";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, account);
    query_text(&query, name);
    query_text(&query, newest);
    enum status status = query_only_row(&query);
    if (status == STATUS_OK) {
        secret_columns(&query, ret);
        buffer_append_view(ret_blob, query_get_view(&query));
    }
    return status;
}

enum status secret_row_delete(struct store *store, const char *account, struct view name)
{
    static const char sql[] = "DELETE FROM secrets WHERE account = ? AND name = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, account);
    query_view(&query, name);
    return query_run_one(&query);
}

struct query secret_row_list(struct store *store, const char *account)
{
    static const char sql[] = SECRET_SELECT "WHERE account = ? ORDER BY name";
    struct query query = query_new(store, sql);
    query_text(&query, account);
    return query;
}

bool secret_row_next(struct query *query, struct secret_row *ret)
{
    if (!query_row(query)) {
        return false;
    }
    secret_columns(query, ret);
    return true;
}

enum status rows_count(struct store *store, enum counted table, const char *account,
                       uint64_t *ret_count)
{
    static const char *const counts[] = {
        [COUNT_KEYS] = "SELECT count(*) FROM account_keys WHERE account = ?",
        [COUNT_AGENTS] = "SELECT count(*) FROM agents WHERE account = ?",
        [COUNT_TOKENS] = "SELECT count(*) FROM tokens WHERE agent = ?",
        [COUNT_SECRETS] = "SELECT count(*) FROM secrets WHERE account = ?",
    };
    CLEANUP(query_end) struct query query = query_new(store, counts[table]);
    query_text(&query, account);
    if (!query_row(&query)) {
        return query.status == STATUS_OK ? STATUS_INTERNAL : query.status;
    }
    *ret_count = query_get_number(&query);
    return STATUS_OK;
}
