/* rows_access.c - agents and their tokens: rows in and out, each under its MAC. */
#include "store.h"

#include "common/clock.h"

#define AGENT_SELECT \
    "SELECT id, account, name, direct, names, hash, created_ms, seen_ms, mac FROM agents "
#define TOKEN_SELECT                                                                         \
    "SELECT id, account, agent, provider, secret, hash, last4, created_ms, expires_ms, "     \
    "lifetime_s, used_ms, mac FROM tokens "

/* ---- agents ---- */

void agent_free(struct agent *agent)
{
    buffer_free(&agent->names);
}

static enum status agent_mac(struct store *store, const struct agent *agent, uint8_t *ret)
{
    struct row_mac mac = row_mac_new("agents");
    row_mac_text(&mac, agent->id);
    row_mac_text(&mac, agent->account);
    row_mac_number(&mac, agent->direct);
    row_mac_bytes(&mac, buffer_view(&agent->names));
    row_mac_bytes(&mac, hash_view(agent->hash));
    row_mac_number(&mac, agent->created_ms);
    return row_mac_make(store, &mac, ret);
}

static enum status agent_columns(struct query *query, struct agent *ret)
{
    uint8_t mac[CRYPTO_HASH_BYTES];
    query_get_text(query, ret->id, sizeof ret->id);
    query_get_text(query, ret->account, sizeof ret->account);
    query_get_text(query, ret->name, sizeof ret->name);
    ret->direct = (enum direct_access)query_get_number(query);
    buffer_clear(&ret->names);
    buffer_append_view(&ret->names, query_get_view(query));
    query_get_bytes(query, ret->hash, sizeof ret->hash);
    ret->created_ms = query_get_number(query);
    ret->seen_ms = query_get_number(query);
    return query_mac_matches(query, agent_mac(query->store, ret, mac), mac);
}

enum status agent_insert(struct store *store, const struct agent *agent)
{
    static const char sql[] = "INSERT INTO agents (id, account, name, direct, names, hash,"
                              " created_ms, seen_ms, mac) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    uint8_t mac[CRYPTO_HASH_BYTES];
    enum status status = agent_mac(store, agent, mac);
    if (status != STATUS_OK) {
        return status;
    }
    query_text(&query, agent->id);
    query_text(&query, agent->account);
    query_text(&query, agent->name);
    query_number(&query, agent->direct);
    query_bytes(&query, buffer_view(&agent->names));
    query_bytes(&query, hash_view(agent->hash));
    query_number(&query, agent->created_ms);
    query_number(&query, agent->seen_ms);
    query_bytes(&query, hash_view(mac));
    return query_run(&query);
}

enum status agent_update(struct store *store, const struct agent *agent)
{
    static const char sql[] = "UPDATE agents SET name = ?, direct = ?, names = ?, hash = ?,"
                              " mac = ? WHERE account = ? AND id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    uint8_t mac[CRYPTO_HASH_BYTES];
    enum status status = agent_mac(store, agent, mac);
    if (status != STATUS_OK) {
        return status;
    }
    query_text(&query, agent->name);
    query_number(&query, agent->direct);
    query_bytes(&query, buffer_view(&agent->names));
    query_bytes(&query, hash_view(agent->hash));
    query_bytes(&query, hash_view(mac));
    query_text(&query, agent->account);
    query_text(&query, agent->id);
    return query_run_one(&query);
}

enum status agent_by_id(struct store *store, const char *account, const char *id,
                        struct agent *ret)
{
    static const char sql[] = AGENT_SELECT "WHERE account = ? AND id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, account);
    query_text(&query, id);
    enum status status = query_only_row(&query);
    return status == STATUS_OK ? agent_columns(&query, ret) : status;
}

enum status agent_by_hash(struct store *store, struct view hash, struct agent *ret)
{
    static const char sql[] = AGENT_SELECT "WHERE hash = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_bytes(&query, hash);
    enum status status = query_only_row(&query);
    return status == STATUS_OK ? agent_columns(&query, ret) : status;
}

enum status agent_by_name(struct store *store, const char *account, const char *name,
                          struct agent *ret)
{
    static const char sql[] = AGENT_SELECT "WHERE account = ? AND name = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, account);
    query_text(&query, name);
    enum status status = query_only_row(&query);
    return status == STATUS_OK ? agent_columns(&query, ret) : status;
}

static enum status bury_tokens(struct store *store, const char *agent)
{
    static const char sql[] = "INSERT OR IGNORE INTO dead_tokens (hash, token, account, agent,"
                              " provider, died_ms) SELECT hash, id, account, agent, provider, ?"
                              " FROM tokens WHERE agent = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_number(&query, clock_wall_ms());
    query_text(&query, agent);
    return query_run(&query);
}

enum status agent_delete(struct store *store, const struct agent *agent)
{
    static const char sql[] = "DELETE FROM agents WHERE account = ? AND id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    enum status status = bury_tokens(store, agent->id);
    if (status == STATUS_OK) {
        status = dead_insert(store, hash_view(agent->hash), agent->account, agent->id, NULL);
    }
    if (status != STATUS_OK) {
        return status;
    }
    query_text(&query, agent->account);
    query_text(&query, agent->id);
    return query_run_one(&query);
}

struct query agent_list(struct store *store, const char *account)
{
    static const char sql[] = AGENT_SELECT "WHERE account = ? ORDER BY created_ms, id";
    struct query query = query_new(store, sql);
    query_text(&query, account);
    return query;
}

bool agent_next(struct query *query, struct agent *ret)
{
    if (!query_row(query)) {
        return false;
    }
    (void)agent_columns(query, ret); /* shown all the same: so it can be deleted */
    return true;
}

/* ---- tokens ---- */

static enum status token_mac(struct store *store, const struct token *token, uint8_t *ret)
{
    struct row_mac mac = row_mac_new("tokens");
    row_mac_text(&mac, token->id);
    row_mac_text(&mac, token->account);
    row_mac_text(&mac, token->agent);
    row_mac_text(&mac, token->provider);
    row_mac_text(&mac, token->secret);
    row_mac_bytes(&mac, hash_view(token->hash));
    row_mac_number(&mac, token->created_ms);
    row_mac_number(&mac, token->expires_ms);
    row_mac_number(&mac, token->lifetime_s);
    return row_mac_make(store, &mac, ret);
}

static enum status token_columns(struct query *query, struct token *ret)
{
    uint8_t mac[CRYPTO_HASH_BYTES];
    query_get_text(query, ret->id, sizeof ret->id);
    query_get_text(query, ret->account, sizeof ret->account);
    query_get_text(query, ret->agent, sizeof ret->agent);
    query_get_text(query, ret->provider, sizeof ret->provider);
    query_get_text(query, ret->secret, sizeof ret->secret);
    query_get_bytes(query, ret->hash, sizeof ret->hash);
    query_get_text(query, ret->last4, sizeof ret->last4);
    ret->created_ms = query_get_number(query);
    ret->expires_ms = query_get_number(query);
    ret->lifetime_s = query_get_number(query);
    ret->used_ms = query_get_number(query);
    return query_mac_matches(query, token_mac(query->store, ret, mac), mac);
}

enum status token_insert(struct store *store, const struct token *token)
{
    static const char sql[] =
        "INSERT INTO tokens (id, account, agent, provider, secret, hash, last4, created_ms,"
        " expires_ms, lifetime_s, used_ms, mac) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    uint8_t mac[CRYPTO_HASH_BYTES];
    enum status status = token_mac(store, token, mac);
    if (status != STATUS_OK) {
        return status;
    }
    query_text(&query, token->id);
    query_text(&query, token->account);
    query_text(&query, token->agent);
    query_text(&query, token->provider);
    query_text(&query, token->secret);
    query_bytes(&query, hash_view(token->hash));
    query_text(&query, token->last4);
    query_number(&query, token->created_ms);
    query_number(&query, token->expires_ms);
    query_number(&query, token->lifetime_s);
    query_number(&query, token->used_ms);
    query_bytes(&query, hash_view(mac));
    return query_run(&query);
}

/* What renewing changes: the value and when it ends. */
enum status token_update(struct store *store, const struct token *token)
{
    static const char sql[] = "UPDATE tokens SET hash = ?, last4 = ?, expires_ms = ?, mac = ?"
                              " WHERE account = ? AND id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    uint8_t mac[CRYPTO_HASH_BYTES];
    enum status status = token_mac(store, token, mac);
    if (status != STATUS_OK) {
        return status;
    }
    query_bytes(&query, hash_view(token->hash));
    query_text(&query, token->last4);
    query_number(&query, token->expires_ms);
    query_bytes(&query, hash_view(mac));
    query_text(&query, token->account);
    query_text(&query, token->id);
    return query_run_one(&query);
}

enum status token_by_id(struct store *store, const char *account, const char *agent,
                        const char *id, struct token *ret)
{
    static const char sql[] = TOKEN_SELECT "WHERE account = ? AND agent = ? AND id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, account);
    query_text(&query, agent);
    query_text(&query, id);
    enum status status = query_only_row(&query);
    return status == STATUS_OK ? token_columns(&query, ret) : status;
}

enum status token_by_hash(struct store *store, struct view hash, struct token *ret)
{
    static const char sql[] = TOKEN_SELECT "WHERE hash = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_bytes(&query, hash);
    enum status status = query_only_row(&query);
    return status == STATUS_OK ? token_columns(&query, ret) : status;
}

enum status token_delete(struct store *store, const struct token *token)
{
    static const char sql[] = "DELETE FROM tokens WHERE account = ? AND id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    enum status status =
        dead_insert(store, hash_view(token->hash), token->account, token->agent, token);
    if (status != STATUS_OK) {
        return status;
    }
    query_text(&query, token->account);
    query_text(&query, token->id);
    return query_run_one(&query);
}

struct query token_list(struct store *store, const char *account, const char *agent)
{
    static const char sql[] =
        TOKEN_SELECT "WHERE account = ? AND agent = ? ORDER BY created_ms, id";
    struct query query = query_new(store, sql);
    query_text(&query, account);
    query_text(&query, agent);
    return query;
}

bool token_next(struct query *query, struct token *ret)
{
    if (!query_row(query)) {
        return false;
    }
    (void)token_columns(query, ret); /* shown all the same: so it can be deleted */
    return true;
}

/* ---- dead tokens: they grant nothing, so they carry no MAC ---- */

enum status dead_insert(struct store *store, struct view hash, const char *account,
                        const char *agent, const struct token *token)
{
    static const char sql[] = "INSERT OR IGNORE INTO dead_tokens (hash, token, account, agent,"
                              " provider, died_ms) VALUES (?, ?, ?, ?, ?, ?)";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_bytes(&query, hash);
    query_text(&query, token ? token->id : "");
    query_text(&query, account);
    query_text(&query, agent);
    query_text(&query, token ? token->provider : "");
    query_number(&query, clock_wall_ms());
    return query_run(&query);
}

enum status dead_by_hash(struct store *store, struct view hash, struct dead_token *ret)
{
    static const char sql[] = "SELECT token, account, agent, provider FROM dead_tokens"
                              " WHERE hash = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_bytes(&query, hash);
    enum status status = query_only_row(&query);
    if (status == STATUS_OK) {
        query_get_text(&query, ret->token, sizeof ret->token);
        query_get_text(&query, ret->account, sizeof ret->account);
        query_get_text(&query, ret->agent, sizeof ret->agent);
        query_get_text(&query, ret->provider, sizeof ret->provider);
    }
    return status;
}

enum status dead_prune(struct store *store, uint64_t before_ms)
{
    static const char sql[] = "DELETE FROM dead_tokens WHERE died_ms < ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_number(&query, before_ms);
    return query_run(&query);
}
