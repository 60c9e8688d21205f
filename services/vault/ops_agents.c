/* ops_agents.c - agents: who they are, their own tokens, which secrets they may read raw. */
#include "ask.h"

#include <string.h>

static enum status find_agent(struct ask *ask, struct agent *ret)
{
    row_id id;
    if (!view_copy(ask->in.id, id, sizeof id)) {
        return STATUS_NOT_FOUND;
    }
    enum status status = agent_by_id(ask->vault->store, ask->tenant, id, ret);
    if (status == STATUS_NOT_FOUND) {
        return ask_refuse(ask, status, "there is no such agent");
    }
    if (status == STATUS_DENIED) {
        log_error("agents", "agent %s was changed from outside the vault", id);
        return ask_refuse(ask, STATUS_INTERNAL, "the agent's row is damaged; delete it");
    }
    return status;
}

/* For the record: which agent it is about. */
static enum status note_agent(struct ask *ask, struct agent *agent)
{
    enum status status = find_agent(ask, agent);
    if (status == STATUS_OK) {
        (void)view_copy(view_text(agent->id), ask->note_agent, sizeof ask->note_agent);
        (void)view_copy(view_text(agent->name), ask->note, sizeof ask->note);
    }
    return status;
}

static void agent_json(struct buffer *json, const char *key, const struct agent *agent)
{
    json_begin(json, key, '{');
    json_text(json, "id", view_text(agent->id));
    json_text(json, "name", view_text(agent->name));
    if (agent->direct == DIRECT_LIST) {
        struct view names = buffer_view(&agent->names);
        json_begin(json, "direct_access", '[');
        for (size_t start = 0, i = 0; i < names.size; i++) {
            if (names.data[i] == '\n') {
                json_text(json, NULL, view_of(names.data + start, i - start));
                start = i + 1;
            }
        }
        json_end(json, ']');
    } else {
        json_bool(json, "direct_access", agent->direct == DIRECT_TRUE);
    }
    json_time(json, "created_at", agent->created_ms);
    json_time(json, "last_seen_at", agent->seen_ms);
    json_end(json, '}');
}

static enum status check_names(struct ask *ask)
{
    struct list names = ask->in.names;
    struct name_row row;
    while (proto_list_next(&name_row_schema, &names, &row)) {
        if (!secret_name_valid(row.name)) {
            return ask_refuse(ask, STATUS_INVALID,
                              "direct_access must be true, false or a list of secret names");
        }
    }
    return STATUS_OK;
}

static enum status set_direct(struct ask *ask, struct agent *agent)
{
    struct list names = ask->in.names;
    struct name_row row;
    agent->direct = ask->in.direct == DIRECT_UNSET ? DIRECT_FALSE
                                                   : (enum direct_access)ask->in.direct;
    buffer_clear(&agent->names);
    while (agent->direct == DIRECT_LIST && proto_list_next(&name_row_schema, &names, &row)) {
        buffer_append_view(&agent->names, row.name);
        buffer_append_byte(&agent->names, '\n');
    }
    return agent->names.failed ? STATUS_INTERNAL : STATUS_OK;
}

/* A new value for the agent's own token. */
static enum status new_value(struct ask *ask, struct agent *agent, char *ret_text)
{
    enum status status = token_new(VIEW("agent"), ret_text);
    return status == STATUS_OK
               ? credential_hash(ask->vault, view_text(ret_text), agent->hash)
               : status;
}

/* Whether NAME is another agent's than ID's. */
static enum status name_free(struct ask *ask, const char *name, const char *id)
{
    CLEANUP(agent_free) struct agent other = {0};
    enum status status = agent_by_name(ask->vault->store, ask->tenant, name, &other);
    if (status == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if ((status == STATUS_OK || status == STATUS_DENIED) && strcmp(other.id, id) != 0) {
        return ask_refuse(ask, STATUS_CONFLICT, "an agent called so exists");
    }
    return status;
}

/* ---- create ---- */

static enum status room(struct ask *ask)
{
    uint64_t count = 0;
    enum status status = rows_count(ask->vault->store, COUNT_AGENTS, ask->tenant, &count);
    if (status == STATUS_OK && count >= ROWS_MAX) {
        return ask_refuse(ask, STATUS_CONFLICT, "an account can have %d agents", (int)ROWS_MAX);
    }
    return status;
}

enum status check_agent_create(struct ask *ask)
{
    enum status status = ask_name(ask, ask->note);
    if (status == STATUS_OK) {
        status = check_names(ask);
    }
    if (status == STATUS_OK) {
        status = room(ask);
    }
    if (status == STATUS_OK) {
        status = name_free(ask, ask->note, "");
    }
    id_new("agt", ask->note_agent);
    return status;
}

enum status apply_agent_create(struct ask *ask)
{
    CLEANUP(agent_free) struct agent agent = {.created_ms = clock_wall_ms()};
    char text[TOKEN_SIZE_MAX + 1];
    (void)view_copy(view_text(ask->note_agent), agent.id, sizeof agent.id);
    (void)view_copy(view_text(ask->tenant), agent.account, sizeof agent.account);
    (void)view_copy(ask->in.name, agent.name, sizeof agent.name); /* checked */
    enum status status = room(ask);
    if (status == STATUS_OK) {
        status = name_free(ask, agent.name, "");
    }
    if (status == STATUS_OK) {
        status = set_direct(ask, &agent);
    }
    if (status == STATUS_OK) {
        status = new_value(ask, &agent, text);
    }
    if (status == STATUS_OK) {
        status = agent_insert(ask->vault->store, &agent);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct buffer *json = ask_body(ask, 201);
    agent_json(json, "agent", &agent);
    json_text(json, "token", view_text(text));
    explicit_bzero(text, sizeof text);
    return STATUS_OK;
}

/* ---- read ---- */

enum status apply_agent_list(struct ask *ask)
{
    CLEANUP(query_end) struct query query = agent_list(ask->vault->store, ask->tenant);
    CLEANUP(agent_free) struct agent agent = {0};
    struct buffer *json = ask_body(ask, 200);
    json_begin(json, "agents", '[');
    while (agent_next(&query, &agent)) {
        agent_json(json, NULL, &agent);
    }
    json_end(json, ']');
    return query.status;
}

enum status apply_agent_get(struct ask *ask)
{
    CLEANUP(agent_free) struct agent agent = {0};
    enum status status = find_agent(ask, &agent);
    if (status == STATUS_OK) {
        agent_json(ask_body(ask, 200), "agent", &agent);
    }
    return status;
}

/* ---- change ---- */

enum status check_agent_patch(struct ask *ask)
{
    CLEANUP(agent_free) struct agent agent = {0};
    char name[NAME_MAX_BYTES + 1];
    enum status status = note_agent(ask, &agent);
    if (status == STATUS_OK && ask->in.name.size) {
        status = ask_name(ask, name);
        if (status == STATUS_OK) {
            status = name_free(ask, name, agent.id);
        }
    }
    return status == STATUS_OK ? check_names(ask) : status;
}

enum status apply_agent_patch(struct ask *ask)
{
    CLEANUP(agent_free) struct agent agent = {0};
    enum status status = find_agent(ask, &agent);
    if (status == STATUS_OK && ask->in.name.size) {
        (void)view_copy(ask->in.name, agent.name, sizeof agent.name); /* checked */
        status = name_free(ask, agent.name, agent.id);
    }
    if (status == STATUS_OK && ask->in.direct != DIRECT_UNSET) {
        status = set_direct(ask, &agent);
    }
    if (status == STATUS_OK) {
        status = agent_update(ask->vault->store, &agent);
    }
    if (status == STATUS_OK) {
        agent_json(ask_body(ask, 200), "agent", &agent);
    }
    return status;
}

enum status check_agent_delete(struct ask *ask)
{
    CLEANUP(agent_free) struct agent agent = {0};
    enum status status = note_agent(ask, &agent);
    return status == STATUS_INTERNAL ? STATUS_OK : status; /* a damaged row may be deleted */
}

enum status apply_agent_delete(struct ask *ask)
{
    CLEANUP(agent_free) struct agent agent = {0};
    enum status status = find_agent(ask, &agent);
    if (status == STATUS_OK || status == STATUS_INTERNAL) {
        status = agent_delete(ask->vault->store, &agent);
        ask->detail[0] = 0;
    }
    (void)ask_body(ask, 200);
    return status;
}

enum status check_agent_token(struct ask *ask)
{
    CLEANUP(agent_free) struct agent agent = {0};
    return note_agent(ask, &agent);
}

enum status apply_agent_token(struct ask *ask)
{
    CLEANUP(agent_free) struct agent agent = {0};
    char text[TOKEN_SIZE_MAX + 1];
    struct store *store = ask->vault->store;
    enum status status = find_agent(ask, &agent);
    if (status == STATUS_OK) {
        status = dead_insert(store, view_of(agent.hash, sizeof agent.hash), agent.account,
                             agent.id, NULL);
    }
    if (status == STATUS_OK) {
        status = new_value(ask, &agent, text);
    }
    if (status == STATUS_OK) {
        status = agent_update(store, &agent);
    }
    if (status != STATUS_OK) {
        return status;
    }
    json_text(ask_body(ask, 200), "token", view_text(text));
    explicit_bzero(text, sizeof text);
    return STATUS_OK;
}
