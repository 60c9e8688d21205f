/* ops_tokens.c - the fake tokens: one agent's right to call one provider. */
#include "ask.h"

#include <string.h>

static enum status known_agent(struct ask *ask, struct agent *ret)
{
    row_id id;
    enum status status = view_copy(ask->in.id, id, sizeof id)
                             ? agent_by_id(ask->vault->store, ask->tenant, id, ret)
                             : STATUS_NOT_FOUND;
    if (status == STATUS_NOT_FOUND) {
        return ask_refuse(ask, status, "there is no such agent");
    }
    return status == STATUS_DENIED ? STATUS_INTERNAL : status;
}

static enum status known_token(struct ask *ask, struct token *ret)
{
    row_id agent, id;
    enum status status = STATUS_NOT_FOUND;
    if (view_copy(ask->in.id, agent, sizeof agent) &&
        view_copy(ask->in.token_id, id, sizeof id)) {
        status = token_by_id(ask->vault->store, ask->tenant, agent, id, ret);
    }
    if (status == STATUS_NOT_FOUND) {
        return ask_refuse(ask, status, "there is no such token");
    }
    return status == STATUS_DENIED ? STATUS_INTERNAL : status;
}

static void note_token(struct ask *ask, const struct token *token)
{
    memcpy(ask->note_token, token->id, sizeof ask->note_token);
    memcpy(ask->note_agent, token->agent, sizeof ask->note_agent);
    memcpy(ask->note_provider, token->provider, sizeof ask->note_provider);
}

static void token_json(struct buffer *json, const char *key, const struct token *token)
{
    json_begin(json, key, '{');
    json_text(json, "id", view_text(token->id));
    json_text(json, "provider", view_text(token->provider));
    json_text(json, "agent", view_text(token->agent));
    if (token->secret[0]) {
        json_text(json, "secret", view_text(token->secret));
    } else {
        json_raw(json, "secret", VIEW("null"));
    }
    json_text(json, "last4", view_text(token->last4));
    json_time(json, "created_at", token->created_ms);
    json_time(json, "expires_at", token->expires_ms);
    json_time(json, "last_used_at", token->used_ms);
    json_end(json, '}');
}

/* The body that shows a new value, the only time that it is shown. */
static void shown_once(struct ask *ask, unsigned http, const struct token *token, char *text)
{
    const struct provider *provider =
        providers_find(ask->vault->providers, view_text(token->provider));
    CLEANUP(buffer_free) struct buffer url = BUFFER_EMPTY;
    struct buffer *json = ask_body(ask, http);
    token_json(json, "token", token);
    json_text(json, "value", view_text(text));
    buffer_append_view(&url, ask->in.public_url);
    buffer_append_text(&url, "/api/");
    buffer_append_text(&url, token->provider);
    if (provider && provider->base_url_suffix) {
        buffer_append_text(&url, provider->base_url_suffix);
    }
    json_text(json, "base_url", buffer_view(&url));
    explicit_bzero(text, TOKEN_SIZE_MAX + 1);
}

static enum status new_value(struct ask *ask, struct token *token, char *ret_text)
{
    enum status status = token_new(view_text(token->provider), ret_text);
    if (status == STATUS_OK) {
        status = credential_hash(ask->vault, view_text(ret_text), token->hash);
    }
    if (status == STATUS_OK) {
        last_chars(ret_text, token->last4);
        token->expires_ms =
            token->lifetime_s ? clock_wall_ms() + token->lifetime_s * 1000 : 0;
    }
    return status;
}

/* ---- create ---- */

static enum status room(struct ask *ask)
{
    uint64_t count = 0;
    enum status status = rows_count(ask->vault->store, COUNT_TOKENS, ask->note_agent, &count);
    if (status == STATUS_OK && count >= ROWS_MAX) {
        return ask_refuse(ask, STATUS_CONFLICT, "an agent can have %d tokens", (int)ROWS_MAX);
    }
    return status;
}

enum status check_token_create(struct ask *ask)
{
    CLEANUP(agent_free) struct agent agent = {0};
    const struct provider *provider = providers_find(ask->vault->providers, ask->in.provider);
    enum status status = known_agent(ask, &agent);
    if (status != STATUS_OK) {
        return status;
    }
    if (!provider) {
        return ask_refuse(ask, STATUS_INVALID, "provider is none that this broker knows");
    }
    if (ask->in.secret.size && !secret_name_valid(ask->in.secret)) {
        return ask_refuse(ask, STATUS_INVALID, "secret is not the name of a secret");
    }
    memcpy(ask->note_agent, agent.id, sizeof ask->note_agent);
    if (!view_copy(view_text(provider->name), ask->note_provider, sizeof ask->note_provider)) {
        return STATUS_INTERNAL;
    }
    id_new("tok", ask->note_token);
    return room(ask);
}

enum status apply_token_create(struct ask *ask)
{
    CLEANUP(agent_free) struct agent agent = {0};
    struct token token = {.created_ms = clock_wall_ms(), .lifetime_s = ask->in.expires_in};
    char text[TOKEN_SIZE_MAX + 1];
    enum status status = known_agent(ask, &agent);
    if (status == STATUS_OK) {
        status = room(ask);
    }
    if (status != STATUS_OK) {
        return status;
    }
    memcpy(token.id, ask->note_token, sizeof token.id);
    memcpy(token.account, ask->tenant, sizeof token.account);
    memcpy(token.agent, agent.id, sizeof token.agent);
    memcpy(token.provider, ask->note_provider, sizeof token.provider);
    (void)view_copy(ask->in.secret, token.secret, sizeof token.secret); /* checked */
    status = new_value(ask, &token, text);
    if (status == STATUS_OK) {
        status = token_insert(ask->vault->store, &token);
    }
    if (status == STATUS_OK) {
        shown_once(ask, 201, &token, text);
    }
    return status;
}

/* ---- list, renew, delete ---- */

enum status apply_token_list(struct ask *ask)
{
    CLEANUP(agent_free) struct agent agent = {0};
    struct token token;
    enum status status = known_agent(ask, &agent);
    if (status != STATUS_OK) {
        return status;
    }
    CLEANUP(query_end) struct query query = token_list(ask->vault->store, ask->tenant, agent.id);
    struct buffer *json = ask_body(ask, 200);
    json_begin(json, "tokens", '[');
    while (token_next(&query, &token)) {
        token_json(json, NULL, &token);
    }
    json_end(json, ']');
    return query.status;
}

enum status check_token_renew(struct ask *ask)
{
    struct token token;
    enum status status = known_token(ask, &token);
    if (status == STATUS_OK) {
        note_token(ask, &token);
    }
    return status;
}

enum status apply_token_renew(struct ask *ask)
{
    struct token token;
    char text[TOKEN_SIZE_MAX + 1];
    struct store *store = ask->vault->store;
    enum status status = known_token(ask, &token);
    if (status == STATUS_OK) {
        status = dead_insert(store, view_of(token.hash, sizeof token.hash), token.account,
                             token.agent, &token);
    }
    if (status == STATUS_OK) {
        status = new_value(ask, &token, text);
    }
    if (status == STATUS_OK) {
        status = token_update(store, &token);
    }
    if (status == STATUS_OK) {
        shown_once(ask, 200, &token, text);
    }
    return status;
}

enum status check_token_delete(struct ask *ask)
{
    struct token token;
    enum status status = known_token(ask, &token);
    if (status == STATUS_OK) {
        note_token(ask, &token);
    }
    return status == STATUS_INTERNAL ? STATUS_OK : status; /* a damaged row may be deleted */
}

enum status apply_token_delete(struct ask *ask)
{
    struct token token;
    enum status status = known_token(ask, &token);
    if (status == STATUS_OK || status == STATUS_INTERNAL) {
        status = token_delete(ask->vault->store, &token);
    }
    (void)ask_body(ask, 200);
    return status;
}
