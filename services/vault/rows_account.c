/* rows_account.c - accounts, their sessions and their keys: rows in and out, each under its MAC. */
#include "store.h"

#include <string.h>

#define ACCOUNT_SELECT "SELECT id, email, password, created_ms, mac FROM accounts "
#define KEY_SELECT "SELECT id, account, name, hash, last4, created_ms, used_ms, mac FROM account_keys "

/* ---- accounts ---- */

static enum status account_mac(struct store *store, const struct account *account, uint8_t *ret)
{
    struct row_mac mac = row_mac_new("accounts");
    row_mac_text(&mac, account->id);
    row_mac_text(&mac, account->email);
    row_mac_text(&mac, account->password);
    row_mac_number(&mac, account->created_ms);
    return row_mac_make(store, &mac, ret);
}

static enum status account_read(struct query *query, struct account *ret)
{
    uint8_t mac[CRYPTO_HASH_BYTES];
    if (!query_row(query)) {
        return query->status == STATUS_OK ? STATUS_NOT_FOUND : query->status;
    }
    query_get_text(query, ret->id, sizeof ret->id);
    query_get_text(query, ret->email, sizeof ret->email);
    query_get_text(query, ret->password, sizeof ret->password);
    ret->created_ms = query_get_number(query);
    return query_mac_matches(query, account_mac(query->store, ret, mac), mac);
}

enum status account_insert(struct store *store, const struct account *account)
{
    static const char sql[] = "INSERT INTO accounts (id, email, password, created_ms, mac)"
                              " VALUES (?, ?, ?, ?, ?)";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    uint8_t mac[CRYPTO_HASH_BYTES];
    enum status status = account_mac(store, account, mac);
    if (status != STATUS_OK) {
        return status;
    }
    query_text(&query, account->id);
    query_text(&query, account->email);
    query_text(&query, account->password);
    query_number(&query, account->created_ms);
    query_bytes(&query, hash_view(mac));
    return query_run(&query);
}

enum status account_by_id(struct store *store, const char *id, struct account *ret)
{
    static const char sql[] = ACCOUNT_SELECT "WHERE id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, id);
    return account_read(&query, ret);
}

enum status account_by_email(struct store *store, const char *email, struct account *ret)
{
    static const char sql[] = ACCOUNT_SELECT "WHERE email = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, email);
    return account_read(&query, ret);
}

enum status account_set_password(struct store *store, struct account *account)
{
    static const char sql[] = "UPDATE accounts SET password = ?, mac = ? WHERE id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    uint8_t mac[CRYPTO_HASH_BYTES];
    enum status status = account_mac(store, account, mac);
    if (status != STATUS_OK) {
        return status;
    }
    query_text(&query, account->password);
    query_bytes(&query, hash_view(mac));
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

static enum status session_mac(struct store *store, const struct session *session, uint8_t *ret)
{
    struct row_mac mac = row_mac_new("sessions");
    row_mac_bytes(&mac, hash_view(session->hash));
    row_mac_text(&mac, session->account);
    row_mac_number(&mac, session->created_ms);
    return row_mac_make(store, &mac, ret);
}

enum status session_insert(struct store *store, const struct session *session)
{
    static const char sql[] = "INSERT INTO sessions (hash, account, created_ms, last_ms, mac)"
                              " VALUES (?, ?, ?, ?, ?)";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    uint8_t mac[CRYPTO_HASH_BYTES];
    enum status status = session_mac(store, session, mac);
    if (status != STATUS_OK) {
        return status;
    }
    query_bytes(&query, hash_view(session->hash));
    query_text(&query, session->account);
    query_number(&query, session->created_ms);
    query_number(&query, session->last_ms);
    query_bytes(&query, hash_view(mac));
    return query_run(&query);
}

enum status session_by_hash(struct store *store, struct view hash, struct session *ret)
{
    static const char sql[] = "SELECT hash, account, created_ms, last_ms, mac FROM sessions"
                              " WHERE hash = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    uint8_t mac[CRYPTO_HASH_BYTES];
    query_bytes(&query, hash);
    if (!query_row(&query)) {
        return query.status == STATUS_OK ? STATUS_NOT_FOUND : query.status;
    }
    query_get_bytes(&query, ret->hash, sizeof ret->hash);
    query_get_text(&query, ret->account, sizeof ret->account);
    ret->created_ms = query_get_number(&query);
    ret->last_ms = query_get_number(&query);
    return query_mac_matches(&query, session_mac(store, ret, mac), mac);
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

static enum status key_mac(struct store *store, const struct account_key *key, uint8_t *ret)
{
    struct row_mac mac = row_mac_new("account_keys");
    row_mac_text(&mac, key->id);
    row_mac_text(&mac, key->account);
    row_mac_bytes(&mac, hash_view(key->hash));
    row_mac_number(&mac, key->created_ms);
    return row_mac_make(store, &mac, ret);
}

static enum status key_columns(struct query *query, struct account_key *ret)
{
    uint8_t mac[CRYPTO_HASH_BYTES];
    query_get_text(query, ret->id, sizeof ret->id);
    query_get_text(query, ret->account, sizeof ret->account);
    query_get_text(query, ret->name, sizeof ret->name);
    query_get_bytes(query, ret->hash, sizeof ret->hash);
    query_get_text(query, ret->last4, sizeof ret->last4);
    ret->created_ms = query_get_number(query);
    ret->used_ms = query_get_number(query);
    return query_mac_matches(query, key_mac(query->store, ret, mac), mac);
}

enum status key_insert(struct store *store, const struct account_key *key)
{
    static const char sql[] =
        "INSERT INTO account_keys (id, account, name, hash, last4, created_ms, used_ms, mac)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    uint8_t mac[CRYPTO_HASH_BYTES];
    enum status status = key_mac(store, key, mac);
    if (status != STATUS_OK) {
        return status;
    }
    query_text(&query, key->id);
    query_text(&query, key->account);
    query_text(&query, key->name);
    query_bytes(&query, hash_view(key->hash));
    query_text(&query, key->last4);
    query_number(&query, key->created_ms);
    query_number(&query, key->used_ms);
    query_bytes(&query, hash_view(mac));
    return query_run(&query);
}

enum status key_by_hash(struct store *store, struct view hash, struct account_key *ret)
{
    static const char sql[] = KEY_SELECT "WHERE hash = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_bytes(&query, hash);
    if (!query_row(&query)) {
        return query.status == STATUS_OK ? STATUS_NOT_FOUND : query.status;
    }
    return key_columns(&query, ret);
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
    (void)key_columns(query, ret);
    return true;
}
