/* rows_access.c - agents and their tokens: rows in and out, each under its MAC. */
#include "rows.h"

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

static const struct column agent_columns[] = {
    COLUMN(TEXT, true, agent, id),
    COLUMN(TEXT, true, agent, account),
    COLUMN(TEXT, false, agent, name),
    COLUMN(ENUM, true, agent, direct),
    COLUMN(BUFFER, true, agent, names),
    COLUMN(HASH, true, agent, hash),
    COLUMN(NUMBER, true, agent, created_ms),
    COLUMN(NUMBER, false, agent, seen_ms),
};
static const struct row_kind agents = ROW_KIND("agents", agent_columns);
_Static_assert(sizeof(enum direct_access) == sizeof(unsigned), "COLUMN_ENUM is an unsigned");

enum status agent_insert(struct store *store, const struct agent *agent)
{
    static const char sql[] = "INSERT INTO agents (id, account, name, direct, names, hash,"
                              " created_ms, seen_ms, mac) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    return row_insert(store, &agents, sql, agent);
}

enum status agent_update(struct store *store, const struct agent *agent)
{
    static const char sql[] = "UPDATE agents SET name = ?, direct = ?, names = ?, hash = ?,"
                              " mac = ? WHERE account = ? AND id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, agent->name);
    query_number(&query, agent->direct);
    query_bytes(&query, buffer_view(&agent->names));
    query_bytes(&query, hash_view(agent->hash));
    row_bind_mac(&query, &agents, agent);
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
    return row_read(&query, &agents, ret);
}

enum status agent_by_hash(struct store *store, struct view hash, struct agent *ret)
{
    static const char sql[] = AGENT_SELECT "WHERE hash = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_bytes(&query, hash);
    return row_read(&query, &agents, ret);
}

enum status agent_by_name(struct store *store, const char *account, const char *name,
                          struct agent *ret)
{
    static const char sql[] = AGENT_SELECT "WHERE account = ? AND name = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_text(&query, account);
    query_text(&query, name);
    return row_read(&query, &agents, ret);
}

static enum status bury_tokens(struct store *store, const char *agent)
{
    static const char sql[] = "INSERT INTO dead_tokens (hash, token, account, agent, provider,"
                              " died_ms) SELECT hash, id, account, agent, provider, ?"
                              " FROM tokens WHERE agent = ? ON CONFLICT DO NOTHING";
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
    (void)row_columns(query, &agents, ret); /* shown all the same: so it can be deleted */
    return true;
}

/* ---- tokens ---- */

static const struct column token_columns[] = {
    COLUMN(TEXT, true, token, id),
    COLUMN(TEXT, true, token, account),
    COLUMN(TEXT, true, token, agent),
    COLUMN(TEXT, true, token, provider),
    COLUMN(TEXT, true, token, secret),
    COLUMN(HASH, true, token, hash),
    COLUMN(TEXT, false, token, last4),
    COLUMN(NUMBER, true, token, created_ms),
    COLUMN(NUMBER, true, token, expires_ms),
    COLUMN(NUMBER, true, token, lifetime_s),
    COLUMN(NUMBER, false, token, used_ms),
};
static const struct row_kind tokens = ROW_KIND("tokens", token_columns);

enum status token_insert(struct store *store, const struct token *token)
{
    static const char sql[] =
        "INSERT INTO tokens (id, account, agent, provider, secret, hash, last4, created_ms,"
        " expires_ms, lifetime_s, used_ms, mac) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    return row_insert(store, &tokens, sql, token);
}

/* What renewing changes: the value and when it ends. */
enum status token_update(struct store *store, const struct token *token)
{
    static const char sql[] = "UPDATE tokens SET hash = ?, last4 = ?, expires_ms = ?, mac = ?"
                              " WHERE account = ? AND id = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_bytes(&query, hash_view(token->hash));
    query_text(&query, token->last4);
    query_number(&query, token->expires_ms);
    row_bind_mac(&query, &tokens, token);
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
    return row_read(&query, &tokens, ret);
}

enum status token_by_hash(struct store *store, struct view hash, struct token *ret)
{
    static const char sql[] = TOKEN_SELECT "WHERE hash = ?";
    CLEANUP(query_end) struct query query = query_new(store, sql);
    query_bytes(&query, hash);
    return row_read(&query, &tokens, ret);
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
    (void)row_columns(query, &tokens, ret); /* shown all the same: so it can be deleted */
    return true;
}

/* ---- dead tokens: they grant nothing, so they carry no MAC ---- */

enum status dead_insert(struct store *store, struct view hash, const char *account,
                        const char *agent, const struct token *token)
{
    static const char sql[] = "INSERT INTO dead_tokens (hash, token, account, agent, provider,"
                              " died_ms) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
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
