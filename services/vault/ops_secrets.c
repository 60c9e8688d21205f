/* ops_secrets.c - secrets: stored and listed for the account, listed and read by its agents.
 *
 * A value arrives in a sealed box and leaves, if at all, in one; it is never in a body here.
 */
#include "ask.h"

#include <string.h>

static enum status take_name(struct ask *ask)
{
    if (!secret_name_valid(ask->in.name)) {
        return ask_refuse(ask, STATUS_INVALID,
                          "name must be 1 to 128 of letters, digits, '_', '.', '-' and '/'");
    }
    (void)view_copy(ask->in.name, ask->note, sizeof ask->note); /* its size was checked */
    return STATUS_OK;
}

static enum status take_value(struct ask *ask)
{
    if (intake_open(ask->vault, ask->in.box, &ask->value) != STATUS_OK) {
        return ask_refuse(ask, STATUS_INVALID, "value is missing");
    }
    struct view value = secret_view(ask->value);
    if (value.size == 0) {
        return ask_refuse(ask, STATUS_INVALID, "value is empty");
    }
    if (value.size > SECRET_VALUE_MAX) {
        return ask_refuse(ask, STATUS_TOO_LARGE, "value has more than %d bytes",
                          (int)SECRET_VALUE_MAX);
    }
    if (memchr(value.data, '\r', value.size) || memchr(value.data, '\n', value.size) ||
        memchr(value.data, 0, value.size)) {
        return ask_refuse(ask, STATUS_INVALID, "value holds a line break or a NUL");
    }
    return STATUS_OK;
}

/* The label: given, or by the provider whose secret it is by name. */
static void label_of(struct ask *ask, char *ret_provider)
{
    const struct providers *providers = ask->vault->providers;
    const struct provider *given = providers_find(providers, ask->in.provider);
    ret_provider[0] = 0;
    if (ask->in.provider.size) {
        struct view label = given ? view_text(given->name) : ask->in.provider;
        (void)view_copy(label, ret_provider, PROVIDER_MAX + 1); /* the message's limit */
        return;
    }
    for (size_t i = 0; i < providers_count(providers); i++) {
        const struct provider *provider = providers_at(providers, i);
        const char **lists[] = {provider->secrets, provider->optional_secrets};
        for (size_t l = 0; l < 2; l++) {
            for (const char **name = lists[l]; name && *name; name++) {
                if (view_is(ask->in.name, *name)) {
                    (void)view_copy(view_text(provider->name), ret_provider, PROVIDER_MAX + 1);
                    return;
                }
            }
        }
    }
}

static enum status room(struct ask *ask)
{
    struct secret_row row;
    uint64_t count = 0;
    enum status status =
        secret_row_by_name(ask->vault->store, ask->tenant, ask->in.name, &row, NULL);
    if (status != STATUS_NOT_FOUND) {
        return status; /* replacing takes no room */
    }
    status = rows_count(ask->vault->store, COUNT_SECRETS, ask->tenant, &count);
    if (status == STATUS_OK && count >= ROWS_MAX) {
        return ask_refuse(ask, STATUS_CONFLICT, "an account can have %d secrets", (int)ROWS_MAX);
    }
    return status;
}

enum status check_secret_put(struct ask *ask)
{
    enum status status = take_name(ask);
    if (status == STATUS_OK) {
        status = take_value(ask);
    }
    if (status == STATUS_OK && ask->in.provider.size && !label_valid(ask->in.provider)) {
        status = ask_refuse(ask, STATUS_INVALID, "provider is malformed");
    }
    if (status == STATUS_OK) {
        status = room(ask);
    }
    label_of(ask, ask->note_provider);
    return status;
}

static void provider_json(struct buffer *json, const struct secret_row *row)
{
    if (row->provider[0]) {
        json_text(json, "provider", view_text(row->provider));
    } else {
        json_raw(json, "provider", VIEW("null"));
    }
}

static void secret_json(struct buffer *json, const char *key, const struct secret_row *row)
{
    json_begin(json, key, '{');
    json_text(json, "name", view_text(row->name));
    provider_json(json, row);
    json_number(json, "version", row->version);
    json_time(json, "created_at", row->created_ms);
    json_time(json, "updated_at", row->updated_ms);
    json_time(json, "last_used_at", row->used_ms);
    json_end(json, '}');
}

enum status apply_secret_put(struct ask *ask)
{
    CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
    struct store *store = ask->vault->store;
    struct secret_row row = {.created_ms = clock_wall_ms()};
    enum status status = room(ask);
    if (status != STATUS_OK) {
        return status;
    }
    status = secret_row_by_name(store, ask->tenant, ask->in.name, &row, NULL);
    bool replaced = status == STATUS_OK;
    if (status == STATUS_NOT_FOUND) {
        id_new("sec", row.id);
        (void)view_copy(view_text(ask->tenant), row.account, sizeof row.account);
        (void)view_copy(ask->in.name, row.name, sizeof row.name); /* checked */
    } else if (status != STATUS_OK) {
        return status;
    }
    row.version++;
    row.updated_ms = clock_wall_ms();
    if (!replaced || ask->in.provider.size) {
        (void)view_copy(view_text(ask->note_provider), row.provider, sizeof row.provider);
    }
    status = seal_secret(ask->vault->keys, &row, secret_view(ask->value), &blob);
    if (status == STATUS_OK) {
        status = replaced ? secret_row_update(store, &row, buffer_view(&blob))
                          : secret_row_insert(store, &row, buffer_view(&blob));
    }
    secret_json(ask_body(ask, replaced ? 200 : 201), "secret", &row);
    return status;
}

enum status apply_secret_list(struct ask *ask)
{
    CLEANUP(query_end) struct query query = secret_row_list(ask->vault->store, ask->tenant);
    struct secret_row row;
    struct buffer *json = ask_body(ask, 200);
    json_begin(json, "secrets", '[');
    while (secret_row_next(&query, &row)) {
        secret_json(json, NULL, &row);
    }
    json_end(json, ']');
    return query.status;
}

enum status check_secret_delete(struct ask *ask)
{
    struct secret_row row;
    enum status status = take_name(ask);
    if (status == STATUS_OK) {
        status = secret_row_by_name(ask->vault->store, ask->tenant, ask->in.name, &row, NULL);
    }
    if (status == STATUS_OK) {
        memcpy(ask->note_provider, row.provider, sizeof ask->note_provider);
    }
    return status;
}

enum status apply_secret_delete(struct ask *ask)
{
    (void)ask_body(ask, 200);
    return secret_row_delete(ask->vault->store, ask->tenant, ask->in.name);
}

/* ---- for agents ---- */

enum status apply_agent_secrets(struct ask *ask)
{
    CLEANUP(query_end) struct query query = secret_row_list(ask->vault->store, ask->tenant);
    struct secret_row row;
    struct buffer *json = ask_body(ask, 200);
    json_begin(json, "secrets", '[');
    while (secret_row_next(&query, &row)) {
        json_begin(json, NULL, '{');
        json_text(json, "name", view_text(row.name));
        provider_json(json, &row);
        json_end(json, '}');
    }
    json_end(json, ']');
    return query.status;
}

enum status check_agent_secret_get(struct ask *ask)
{
    struct secret_row row;
    if (ask->in.box.size != CRYPTO_KEY_BYTES) {
        return STATUS_INVALID;
    }
    enum status status = take_name(ask);
    if (status != STATUS_OK) {
        return status;
    }
    status = secret_row_by_name(ask->vault->store, ask->tenant, ask->in.name, &row, NULL);
    if (status == STATUS_NOT_FOUND) {
        return ask_refuse(ask, ask_deny(ask, status, "no such secret"), "there is no secret %s",
                          ask->note);
    }
    if (!agent_may_read(&ask->agent, ask->in.name)) {
        return ask_refuse(ask, ask_deny(ask, STATUS_DENIED, "no direct access"),
                          "this agent has no direct access to %s", ask->note);
    }
    memcpy(ask->note_provider, row.provider, sizeof ask->note_provider);
    /* Here and not in apply: writing the times begins a transaction of its own. */
    touch(ask->vault->touches, TOUCH_SECRET, view_text(row.id), clock_wall_ms());
    return status;
}

enum status apply_agent_secret_get(struct ask *ask)
{
    CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
    CLEANUP(agent_free) struct agent agent = {0};
    struct secret_row row;
    struct store *store = ask->vault->store;
    enum status status = agent_by_id(store, ask->tenant, ask->agent.id, &agent);
    if (status != STATUS_OK || !agent_may_read(&agent, ask->in.name)) {
        return STATUS_DENIED; /* taken away since */
    }
    status = secret_row_by_name(store, ask->tenant, ask->in.name, &row, &blob);
    secret_free(&ask->value);
    if (status == STATUS_OK) {
        status = open_secret(ask->vault->keys, &row, buffer_view(&blob), &ask->value);
    }
    if (status == STATUS_OK) {
        status = crypto_sealed_make(ask->in.box.data, secret_view(ask->value), &ask->box);
    }
    (void)ask_body(ask, 200);
    return status;
}
