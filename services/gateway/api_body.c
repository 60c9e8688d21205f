/* api_body.c - reads the JSON bodies of /v1, strictly and by a table.
 *
 * A secret value or password is sealed to the vault the moment it is read; no copy of it stays
 * here: jansson's memory is wiped when freed. */
#include "services/gateway/api.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"

struct member {
    const char *name;
    unsigned bit;
    size_t offset; /* of the struct view in struct vault_ask; for a sealed one of its box */
    size_t max;
    bool sealed;
};

static const struct member texts[] = {
    {"email", IN_EMAIL, offsetof(struct vault_ask, email), EMAIL_MAX, false},
    {"password", IN_PASSWORD, offsetof(struct vault_ask, box), PASSWORD_MAX, true},
    {"old", IN_OLD, offsetof(struct vault_ask, box), PASSWORD_MAX, true},
    {"new", IN_NEW, offsetof(struct vault_ask, box2), PASSWORD_MAX, true},
    {"name", IN_NAME, offsetof(struct vault_ask, name), NAME_MAX_BYTES, false},
    {"value", IN_VALUE, offsetof(struct vault_ask, box), SECRET_VALUE_MAX, true},
    {"provider", IN_PROVIDER, offsetof(struct vault_ask, provider), PROVIDER_MAX, false},
    {"secret", IN_SECRET, offsetof(struct vault_ask, secret), NAME_MAX_BYTES, false},
};

/* ---- memory that is wiped ---- */

static void *wiping_alloc(size_t size)
{
    size_t *block = malloc(size + 2 * sizeof(size_t));
    if (!block) {
        return NULL;
    }
    block[0] = size;
    return block + 2;
}

static void wiping_free(void *memory)
{
    if (memory) {
        size_t *block = (size_t *)memory - 2;
        explicit_bzero(memory, block[0]);
        free(block);
    }
}

void api_body_init(void)
{
    json_set_alloc_funcs(wiping_alloc, wiping_free);
}

void api_body_free(struct api_body *body)
{
    for (size_t i = 0; i < body->text_count; i++) {
        buffer_wipe(&body->texts[i]);
    }
    buffer_free(&body->names);
    *body = (struct api_body){.text_count = 0};
}

/* ---- members ---- */

static enum status why(char *ret_why, const char *name, const char *what)
{
    snprintf(ret_why, WHY_MAX, "%.40s %s", name, what);
    return STATUS_INVALID;
}

static enum status read_text(const struct member *member, const json_t *value,
                             const uint8_t *intake_key, struct api_body *body,
                             struct vault_ask *ask, char *ret_why)
{
    if (!json_is_string(value)) {
        return why(ret_why, member->name, "must be a string");
    }
    struct view text = view_of(json_string_value(value), json_string_length(value));
    if (text.size > member->max) {
        return why(ret_why, member->name, "is too long");
    }
    if (text.size && memchr(text.data, 0, text.size)) {
        return why(ret_why, member->name, "must not hold a NUL");
    }
    struct buffer *copy = &body->texts[body->text_count++];
    enum status status = STATUS_OK;
    if (member->sealed) {
        status = crypto_sealed_make(intake_key, text, copy);
    } else {
        buffer_append_view(copy, text);
    }
    *(struct view *)(void *)((char *)ask + member->offset) = buffer_view(copy);
    return status == STATUS_OK && copy->failed ? STATUS_INTERNAL : status;
}

static enum status read_direct(const json_t *value, struct api_body *body, struct vault_ask *ask,
                               char *ret_why)
{
    size_t i;
    json_t *name;
    if (json_is_boolean(value)) {
        ask->direct = json_is_true(value) ? DIRECT_TRUE : DIRECT_FALSE;
        return STATUS_OK;
    }
    if (!json_is_array(value) || json_array_size(value) > NAMES_MAX) {
        return why(ret_why, "direct_access", "must be false, true or a list of secret names");
    }
    ask->direct = DIRECT_LIST;
    json_array_foreach((json_t *)(uintptr_t)value, i, name)
    {
        struct name_row row = {view_text(json_string_value(name))};
        if (!json_is_string(name) ||
            proto_list_add(&name_row_schema, &row, &body->names, &ask->names) != STATUS_OK) {
            return why(ret_why, "direct_access", "must be false, true or a list of secret names");
        }
    }
    return STATUS_OK;
}

static enum status read_seconds(const json_t *value, struct vault_ask *ask, char *ret_why)
{
    json_int_t seconds = json_integer_value(value);
    if (!json_is_integer(value) || seconds < 1 || seconds > UINT32_MAX) {
        return why(ret_why, "expires_in", "must be a whole number of seconds, 1 or more");
    }
    ask->expires_in = (uint64_t)seconds;
    return STATUS_OK;
}

struct reading {
    unsigned takes, seen;
    const uint8_t *intake_key;
    struct api_body *body;
    struct vault_ask *ask;
    char *why;
};

static enum status read_member(struct reading *reading, const char *name, const json_t *value)
{
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if ((texts[i].bit & reading->takes) && strcmp(texts[i].name, name) == 0) {
            reading->seen |= texts[i].bit;
            return read_text(&texts[i], value, reading->intake_key, reading->body, reading->ask,
                             reading->why);
        }
    }
    if ((reading->takes & IN_DIRECT_ACCESS) && strcmp(name, "direct_access") == 0) {
        reading->seen |= IN_DIRECT_ACCESS;
        return read_direct(value, reading->body, reading->ask, reading->why);
    }
    if ((reading->takes & IN_EXPIRES_IN) && strcmp(name, "expires_in") == 0) {
        reading->seen |= IN_EXPIRES_IN;
        return read_seconds(value, reading->ask, reading->why);
    }
    return why(reading->why, name, "is not a member of this body");
}

static enum status check_needs(unsigned needs, const struct reading *reading)
{
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if ((needs & texts[i].bit) && !(reading->seen & texts[i].bit)) {
            return why(reading->why, texts[i].name, "is missing");
        }
    }
    return STATUS_OK;
}

enum status api_body_read(struct view body, unsigned takes, unsigned needs,
                          const uint8_t *intake_key, struct api_body *ret_body,
                          struct vault_ask *ask, char *ret_why)
{
    struct reading reading = {takes, 0, intake_key, ret_body, ask, ret_why};
    json_error_t error;
    const char *name;
    json_t *value;
    if (body.size == 0) {
        return check_needs(needs, &reading);
    }
    json_t *root = json_loadb((const char *)body.data, body.size,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!json_is_object(root)) {
        json_decref(root);
        return why(ret_why, "the body", "must be a JSON object");
    }
    enum status status = STATUS_OK;
    json_object_foreach(root, name, value)
    {
        status = read_member(&reading, name, value);
        if (status != STATUS_OK) {
            break;
        }
    }
    json_decref(root);
    return status == STATUS_OK ? check_needs(needs, &reading) : status;
}
