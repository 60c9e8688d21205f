/* ops_keys.c - account keys: credentials for the command line and automation. */
#include "ask.h"

#include <string.h>

static enum status room(struct ask *ask)
{
    uint64_t count = 0;
    enum status status = rows_count(ask->vault->store, COUNT_KEYS, ask->tenant, &count);
    if (status == STATUS_OK && count >= ROWS_MAX) {
        return ask_refuse(ask, STATUS_CONFLICT, "an account can have %d keys", (int)ROWS_MAX);
    }
    return status;
}

enum status check_key_create(struct ask *ask)
{
    enum status status = ask_name(ask, ask->note);
    return status == STATUS_OK ? room(ask) : status;
}

enum status apply_key_create(struct ask *ask)
{
    struct account_key key = {.created_ms = clock_wall_ms()};
    char text[TOKEN_SIZE_MAX + 1];
    enum status status = room(ask);
    if (status == STATUS_OK) {
        status = token_new(VIEW("account"), text);
    }
    if (status == STATUS_OK) {
        status = credential_hash(ask->vault, view_text(text), key.hash);
    }
    if (status != STATUS_OK) {
        return status;
    }
    id_new("key", key.id);
    (void)view_copy(view_text(ask->tenant), key.account, sizeof key.account);
    (void)view_copy(ask->in.name, key.name, sizeof key.name); /* checked */
    last_chars(text, key.last4);
    status = key_insert(ask->vault->store, &key);
    struct buffer *json = ask_body(ask, 201);
    json_text(json, "id", view_text(key.id));
    json_text(json, "name", view_text(key.name));
    json_text(json, "key", view_text(text));
    explicit_bzero(text, sizeof text);
    return status;
}

enum status apply_key_list(struct ask *ask)
{
    CLEANUP(query_end) struct query query = key_list(ask->vault->store, ask->tenant);
    struct account_key key;
    struct buffer *json = ask_body(ask, 200);
    json_begin(json, "keys", '[');
    while (key_next(&query, &key)) {
        json_begin(json, NULL, '{');
        json_text(json, "id", view_text(key.id));
        json_text(json, "name", view_text(key.name));
        json_text(json, "last4", view_text(key.last4));
        json_time(json, "created_at", key.created_ms);
        json_time(json, "last_used_at", key.used_ms);
        json_end(json, '}');
    }
    json_end(json, ']');
    return query.status;
}

enum status check_key_delete(struct ask *ask)
{
    (void)view_copy(ask->in.id, ask->note, sizeof ask->note); /* an id fits a name */
    return STATUS_OK;
}

enum status apply_key_delete(struct ask *ask)
{
    char id[ID_SIZE_MAX + 1];
    if (!view_copy(ask->in.id, id, sizeof id)) {
        return STATUS_NOT_FOUND;
    }
    (void)ask_body(ask, 200);
    return key_delete(ask->vault->store, ask->tenant, id);
}
