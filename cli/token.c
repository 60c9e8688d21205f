/* token.c - the fake tokens: one agent's right to call one provider. */
#include "cli/cli.h"

#include <string.h>

enum { PATH_BYTES = 512 };

#define NO_TOKEN "there is no token; seks run and seks env make what they need, or: seks token add"
#define COLUMNS                                                                                    \
    {"PROVIDER", "provider"}, {"ENDS IN", "last4"}, {"SECRET", "secret"}, {"MADE", "created_at"},  \
        {"EXPIRES", "expires_at"}, {"LAST USED", "last_used_at"}, {"ID", "id"}, {NULL, NULL}

void print_tokens(const json_t *tokens)
{
    static const struct column columns[] = {COLUMNS};
    print_list(tokens, columns, NO_TOKEN);
}

static void print_all(const json_t *tokens)
{
    static const struct column columns[] = {{"AGENT", "agent_name"}, COLUMNS};
    print_list(tokens, columns, NO_TOKEN);
}

static int open_agent(const struct args *args, struct broker **ret_broker, json_t **ret_agent)
{
    int status = broker_open(args, NEED_KEY, ret_broker);
    return status == SEKS_OK ? find_agent(*ret_broker, args->word[0], ret_agent) : status;
}

/* A value that was just made. */
static int show_value(const json_t *answer)
{
    if (out_is_json()) {
        return out_json(answer);
    }
    note("shown this once; its base URL is %s", text_at(answer, "base_url"));
    printf("%s\n", text_at(answer, "value"));
    return SEKS_OK;
}

int command_token_add(const struct args *args)
{
    struct broker *broker = NULL;
    json_t *agent = NULL, *answer = NULL;
    char path[PATH_BYTES];
    uint64_t seconds = 0;
    const char *expires = args->option[OPT_EXPIRES];
    if (expires && !args_duration(expires, &seconds)) {
        return fail(SEKS_USAGE, "it looks like 90s, 15m, 12h or 30d", "--expires cannot be \"%s\"",
                    expires);
    }
    int status = open_agent(args, &broker, &agent);
    if (status == SEKS_OK) {
        json_t *body = json_pack("{s:s,s:s*}", "provider", args->word[1], "secret",
                                 args->option[OPT_SECRET]);
        if (expires) {
            (void)json_object_set_new(body, "expires_in", json_integer((json_int_t)seconds));
        }
        snprintf(path, sizeof path, "/v1/account/agents/%s/tokens", text_at(agent, "id"));
        status = broker_call(broker, "POST", path, body, &answer);
    }
    if (status == SEKS_OK) {
        status = show_value(answer);
    }
    json_decref(agent);
    json_decref(answer);
    broker_close(&broker);
    return status;
}

/* ---- list ---- */

/* Adds AGENT's tokens to ALL, each with the agent's name. */
static int collect(struct broker *broker, const json_t *agent, json_t *all)
{
    char path[PATH_BYTES];
    json_t *answer = NULL, *token;
    size_t i;
    snprintf(path, sizeof path, "/v1/account/agents/%s/tokens", text_at(agent, "id"));
    int status = broker_call(broker, "GET", path, NULL, &answer);
    json_array_foreach(json_object_get(answer, "tokens"), i, token)
    {
        (void)json_object_set(token, "agent_name", json_object_get(agent, "name"));
        (void)json_array_append(all, token);
    }
    json_decref(answer);
    return status;
}

static int collect_all(struct broker *broker, json_t *all)
{
    json_t *answer = NULL, *agent;
    size_t i;
    int status = broker_call(broker, "GET", "/v1/account/agents", NULL, &answer);
    size_t count = json_array_size(json_object_get(answer, "agents"));
    json_array_foreach(json_object_get(answer, "agents"), i, agent)
    {
        progress("asking for the tokens of agent %zu of %zu ...", i + 1, count);
        status = status == SEKS_OK ? collect(broker, agent, all) : status;
    }
    progress_end();
    json_decref(answer);
    return status;
}

int command_token_list(const struct args *args)
{
    struct broker *broker = NULL;
    json_t *agent = NULL, *all = json_array();
    int status = args->words > 0 ? open_agent(args, &broker, &agent)
                                 : broker_open(args, NEED_KEY, &broker);
    if (status == SEKS_OK) {
        status = agent ? collect(broker, agent, all) : collect_all(broker, all);
    }
    if (status == SEKS_OK && out_is_json()) {
        json_t *answer = json_pack("{s:b,s:O}", "ok", 1, "tokens", all);
        status = out_json(answer);
        json_decref(answer);
    } else if (status == SEKS_OK) {
        print_all(all);
    }
    json_decref(agent);
    json_decref(all);
    broker_close(&broker);
    return status;
}

/* ---- renew, rm ---- */

/* The token that WORD names: by id, or by provider when the agent has just one for it. */
static int find_token(const json_t *tokens, const char *word, const char **ret_id)
{
    size_t i, found = 0;
    json_t *token;
    json_array_foreach(tokens, i, token)
    {
        const char *id = text_at(token, "id"), *provider = text_at(token, "provider");
        if (id && strcmp(id, word) == 0) {
            *ret_id = id;
            return SEKS_OK;
        }
        if (id && provider && strcmp(provider, word) == 0) {
            *ret_id = id;
            found++;
        }
    }
    if (found > 1) {
        return fail(SEKS_USAGE, "give its id: seks token list", "there are %zu tokens for %s", found,
                    word);
    }
    return found == 1 ? SEKS_OK
                      : fail(SEKS_MISSING, "see: seks token list", "there is no token \"%s\"", word);
}

/* METHOD on the token of the two words, with MORE behind its path. */
static int on_token(const struct args *args, const char *method, const char *more, json_t **ret)
{
    struct broker *broker = NULL;
    json_t *agent = NULL, *listed = NULL;
    const char *id = NULL;
    char path[PATH_BYTES];
    int status = open_agent(args, &broker, &agent);
    if (status == SEKS_OK) {
        snprintf(path, sizeof path, "/v1/account/agents/%s/tokens", text_at(agent, "id"));
        status = broker_call(broker, "GET", path, NULL, &listed);
    }
    if (status == SEKS_OK) {
        status = find_token(json_object_get(listed, "tokens"), args->word[1], &id);
    }
    if (status == SEKS_OK) {
        snprintf(path, sizeof path, "/v1/account/agents/%s/tokens/%s%s", text_at(agent, "id"), id,
                 more);
        status = broker_call(broker, method, path, NULL, ret);
    }
    json_decref(agent);
    json_decref(listed);
    broker_close(&broker);
    return status;
}

int command_token_renew(const struct args *args)
{
    json_t *answer = NULL;
    int status = on_token(args, "POST", "/renew", &answer);
    if (status == SEKS_OK) {
        status = show_value(answer);
    }
    json_decref(answer);
    return status;
}

int command_token_rm(const struct args *args)
{
    json_t *answer = NULL;
    if (!ask_sure(args, "Revoke the token %s of %s?", args->word[1], args->word[0])) {
        return SEKS_FAILED;
    }
    int status = on_token(args, "DELETE", "", &answer);
    status = finish(status, answer, "revoked %s of %s", args->word[1], args->word[0]);
    json_decref(answer);
    return status;
}
