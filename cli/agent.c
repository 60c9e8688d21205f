/* agent.c - agents: who may call through the broker, each with tokens of its own. */
#include "cli/cli.h"

#include <string.h>

enum { PATH_BYTES = 512 };

/* "none", "all" or "A,B" as the contract has it: false, true or a list. */
static json_t *direct_access(const char *text)
{
    if (strcmp(text, "none") == 0) {
        return json_false();
    }
    if (strcmp(text, "all") == 0) {
        return json_true();
    }
    json_t *list = json_array();
    for (const char *at = text; *at;) {
        size_t size = strcspn(at, ",");
        (void)json_array_append_new(list, json_stringn(at, size));
        at += size + (at[size] == ',');
    }
    return list;
}

/* ---- add ---- */

int command_agent_add(const struct args *args)
{
    struct broker *broker = NULL;
    json_t *answer = NULL, *body = json_pack("{s:s}", "name", args->word[0]);
    int status = broker_open(args, NEED_KEY, &broker);
    if (args->option[OPT_DIRECT]) {
        (void)json_object_set_new(body, "direct_access", direct_access(args->option[OPT_DIRECT]));
    }
    if (status != SEKS_OK) {
        json_decref(body);
        return status;
    }
    int http = broker_ask(broker, "POST", "/v1/account/agents", body, &answer);
    if (http == 409) {
        status = fail(SEKS_FAILED, "choose another name, or see: seks agent show", "%s",
                      broker_error(broker));
    } else if (http / 100 != 2) {
        status = broker_tell(broker, http);
    } else if (out_is_json()) {
        status = out_json(answer);
    } else {
        note("made the agent %s; its agent token, shown this once (for /v1/secrets/... calls):",
             args->word[0]);
        printf("%s\n", text_at(answer, "token"));
        note("next: seks run %s -- COMMAND", args->word[0]);
    }
    json_decref(answer);
    broker_close(&broker);
    return status;
}

/* ---- list, show ---- */

static void print_agents(const json_t *agents)
{
    static const struct column columns[] = {{"NAME", "name"}, {"DIRECT ACCESS", "direct_access"},
                                            {"MADE", "created_at"}, {"LAST SEEN", "last_seen_at"},
                                            {"ID", "id"}, {NULL, NULL}};
    print_list(agents, columns, "there is no agent; next: seks agent add NAME");
}

int command_agent_list(const struct args *args)
{
    return list_command(args, "/v1/account/agents", "agents", print_agents);
}

static void print_agent(const json_t *agent, const json_t *tokens)
{
    static const struct column columns[] = {{"name", "name"}, {"id", "id"},
                                            {"direct access", "direct_access"},
                                            {"made", "created_at"}, {"last seen", "last_seen_at"},
                                            {NULL, NULL}};
    print_object(agent, columns);
    putchar('\n');
    print_tokens(tokens);
}

int command_agent_show(const struct args *args)
{
    struct broker *broker = NULL;
    json_t *agent = NULL, *answer = NULL;
    char path[PATH_BYTES];
    int status = broker_open(args, NEED_KEY, &broker);
    status = status == SEKS_OK ? find_agent(broker, args->word[0], &agent) : status;
    if (status == SEKS_OK) {
        snprintf(path, sizeof path, "/v1/account/agents/%s/tokens", text_at(agent, "id"));
        status = broker_call(broker, "GET", path, NULL, &answer);
    }
    if (status == SEKS_OK && out_is_json()) {
        (void)json_object_set(answer, "agent", agent);
        status = out_json(answer);
    } else if (status == SEKS_OK) {
        print_agent(agent, json_object_get(answer, "tokens"));
    }
    json_decref(agent);
    json_decref(answer);
    broker_close(&broker);
    return status;
}

/* ---- set, renew, rm ---- */

/* METHOD on the agent that the first word names, with MORE behind its path. */
static int on_agent(const struct args *args, const char *method, const char *more, json_t *body,
                    json_t **ret)
{
    struct broker *broker = NULL;
    json_t *agent = NULL;
    char path[PATH_BYTES];
    int status = broker_open(args, NEED_KEY, &broker);
    status = status == SEKS_OK ? find_agent(broker, args->word[0], &agent) : status;
    if (status == SEKS_OK) {
        snprintf(path, sizeof path, "/v1/account/agents/%s%s", text_at(agent, "id"), more);
        status = broker_call(broker, method, path, json_incref(body), ret);
    }
    json_decref(body);
    json_decref(agent);
    broker_close(&broker);
    return status;
}

int command_agent_set(const struct args *args)
{
    const char *direct = args->option[OPT_DIRECT], *name = args->option[OPT_RENAME];
    json_t *answer = NULL, *body = json_object();
    if (!direct && !name) {
        json_decref(body);
        return fail(SEKS_USAGE, "give --name or --direct-access", "there is nothing to set");
    }
    if (direct) {
        (void)json_object_set_new(body, "direct_access", direct_access(direct));
    }
    if (name) {
        (void)json_object_set_new(body, "name", json_string(name));
    }
    int status = on_agent(args, "PATCH", "", body, &answer);
    status = finish(status, answer, "changed %s", args->word[0]);
    json_decref(answer);
    return status;
}

int command_agent_renew(const struct args *args)
{
    json_t *answer = NULL;
    int status = on_agent(args, "POST", "/token", NULL, &answer);
    if (status == SEKS_OK && out_is_json()) {
        status = out_json(answer);
    } else if (status == SEKS_OK) {
        note("the new agent token, shown this once; the old one is dead:");
        printf("%s\n", text_at(answer, "token"));
    }
    json_decref(answer);
    return status;
}

int command_agent_rm(const struct args *args)
{
    json_t *answer = NULL;
    if (!ask_sure(args, "Delete the agent %s and all its tokens?", args->word[0])) {
        return SEKS_FAILED;
    }
    int status = on_agent(args, "DELETE", "", NULL, &answer);
    status = finish(status, answer, "deleted %s", args->word[0]);
    json_decref(answer);
    return status;
}
