/* rows_account.c - accounts, their sessions and their keys: rows in and out, each under its MAC. */
#include "rows.h"

#define ACCOUNT_SELECT "SELECT id, email, password, created_ms, mac FROM accounts "
#define KEY_SELECT "SELECT id, account, name, hash, last4, created_ms, used_ms, mac FROM account_keys "

/* ---- accounts ---- */

static const struct column account_columns[] = {
    COLUMN(TEXT, true, account, id),
    COLUMN(TEXT, true, account, email),
    COLUMN(TEXT, true, account, password),
    COLUMN(NUMBER, true, account, created_ms),
};
static const struct row_kind accounts = ROW_KIND("accounts", account_columns);

enum status account_insert(struct store *store, const struct account *account)
{
    static const char sql[] = "INSERT INTO accounts (id, email, password, created_ms, mac)"
                              " VALUES (?, ?, ?, ?, ?)";
    return row_insert(store, &accounts, sql, account);
}

enum status account_by_id(struct store *store, const char *id, struct account *ret)
{
    static const char sql[] = ACCOUNT_SELECT "WHERE id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, id);
    return row_read(&query, &accounts, ret);
}

enum status account_by_email(struct store *store, const char *email, struct account *ret)
{
    static const char sql[] = ACCOUNT_SELECT "WHERE email = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, email);
    return row_read(&query, &accounts, ret);
}

enum status account_set_password(struct store *store, struct account *account)
{
    static const char sql[] = "UPDATE accounts SET password = ?, mac = ? WHERE id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, account->password);
    row_bind_mac(&query, &accounts, account);
    query_text(&query, account->id);
    return query_run_one(&query);
}

enum status account_delete(struct store *store, const char *id)
{
    static const char sql[] = "DELETE FROM accounts WHERE id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, id);
    return query_run_one(&query);
}

enum status account_any(struct store *store, bool *ret_any)
{
    static const char sql[] = "SELECT 1 FROM accounts LIMIT 1";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    *ret_any = query_row(&query);
    return query.status;
}

/* ---- sessions ---- */

static const struct column session_columns[] = {
    COLUMN(HASH, true, session, hash),
    COLUMN(TEXT, true, session, account),
    COLUMN(NUMBER, true, session, created_ms),
    COLUMN(NUMBER, false, session, last_ms),
};
static const struct row_kind sessions = ROW_KIND("sessions", session_columns);

enum status session_insert(struct store *store, const struct session *session)
{
    static const char sql[] = "INSERT INTO sessions (hash, account, created_ms, last_ms, mac)"
                              " VALUES (?, ?, ?, ?, ?)";
    return row_insert(store, &sessions, sql, session);
}

enum status session_by_hash(struct store *store, struct view hash, struct session *ret)
{
    static const char sql[] = "SELECT hash, account, created_ms, last_ms, mac FROM sessions"
                              " WHERE hash = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_bytes(&query, hash);
    return row_read(&query, &sessions, ret);
}

enum status session_delete(struct store *store, struct view hash)
{
    static const char sql[] = "DELETE FROM sessions WHERE hash = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_bytes(&query, hash);
    return query_run(&query);
}

enum status session_delete_all(struct store *store, const char *account)
{
    static const char sql[] = "DELETE FROM sessions WHERE account = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, account);
    return query_run(&query);
}

enum status session_prune(struct store *store, uint64_t before_ms)
{
    static const char sql[] = "DELETE FROM sessions WHERE created_ms < ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_number(&query, before_ms);
    return query_run(&query);
}

/* ---- account keys ---- */

static const struct column key_columns[] = {
    COLUMN(TEXT, true, account_key, id),
    COLUMN(TEXT, true, account_key, account),
    COLUMN(TEXT, false, account_key, name),
    COLUMN(HASH, true, account_key, hash),
    COLUMN(TEXT, false, account_key, last4),
    COLUMN(NUMBER, true, account_key, created_ms),
    COLUMN(NUMBER, false, account_key, used_ms),
};
static const struct row_kind account_keys = ROW_KIND("account_keys", key_columns);

enum status key_insert(struct store *store, const struct account_key *key)
{
    static const char sql[] =
        "INSERT INTO account_keys (id, account, name, hash, last4, created_ms, used_ms, mac)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    return row_insert(store, &account_keys, sql, key);
}

enum status key_by_hash(struct store *store, struct view hash, struct account_key *ret)
{
    static const char sql[] = KEY_SELECT "WHERE hash = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_bytes(&query, hash);
    return row_read(&query, &account_keys, ret);
}

enum status key_delete(struct store *store, const char *account, const char *id)
{
    static const char sql[] = "DELETE FROM account_keys WHERE account = ? AND id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, account);
    query_text(&query, id);
    return query_run_one(&query);
}

struct query key_list(struct store *store, const char *account)
{
    static const char sql[] = KEY_SELECT "WHERE account = ? ORDER BY created_ms, id";
    struct query query = query_new(store, sql);
    query_text(&query, account);
    return query;
}

/* A row that was changed from outside is shown all the same: so it can be deleted. */
bool key_next(struct query *query, struct account_key *ret)
{
    if (!query_row(query)) {
        return false;
    }
    (void)row_columns(query, &account_keys, ret);
    return true;
}
