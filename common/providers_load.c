/* providers_load.c - makes the table: the built-in rows, with the operator's laid over them.
 *
 * Rows are merged as JSON, field by field, and built once; providers_check.c has said before that
 * each is well formed. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/providers_table.h"

enum {
    FILE_MAX_BYTES = 1 << 20,
    CONNECT_MS = 10000,
    FIRST_BYTE_MS = 600000, /* what the SDKs wait */
    IDLE_MS = 600000,
};

#define VARIABLE "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

/* config/providers.json, embedded by cmake/embed.cmake. */
extern const unsigned char providers_builtin[];
extern const size_t providers_builtin_size;

static void json_free(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

static enum status read_file(const char *file, struct buffer *ret_text, const char **ret_why)
{
    FILE *in = fopen(file, "re");
    if (!in) {
        (void)providers_refuse(ret_why, "%s: %s", file, strerror(errno));
        return STATUS_NOT_FOUND;
    }
    uint8_t *room = buffer_room(ret_text, FILE_MAX_BYTES + 1);
    if (room) {
        ret_text->size = fread(room, 1, FILE_MAX_BYTES + 1, in);
    }
    bool bad = !room || ferror(in);
    (void)fclose(in); /* only read */
    if (bad || ret_text->size > FILE_MAX_BYTES) {
        return providers_refuse(ret_why, "%s: %s", file, bad ? "cannot be read" : "is too large");
    }
    return STATUS_OK;
}

/* The array of rows in TEXT; SOURCE is for the sentence. */
static enum status parse(struct view text, const char *source, json_t **ret_rows,
                         const char **ret_why)
{
    json_error_t error;
    CLEANUP(json_free) json_t *root =
        json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        return providers_refuse(ret_why, "%s: line %d: %s", source, error.line, error.text);
    }
    json_t *rows = json_object_get(root, "providers");
    if (!json_is_array(rows) || json_object_size(root) != 1) {
        return providers_refuse(ret_why, "%s: must be an object {\"providers\": [...]}", source);
    }
    *ret_rows = json_incref(rows);
    return STATUS_OK;
}

static json_t *row_named(json_t *rows, const char *name)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0) {
            return row;
        }
    }
    return NULL;
}

/* What is called after the provider: "my-llm" and "_API_KEY" make MY_LLM_API_KEY.  RET has room for
 * 64; a name has at most 32 bytes. */
static void named_after(const char *name, const char *end, char *ret)
{
    (void)snprintf(ret, 64, "%s%s", name, end);
    for (char *c = ret; *c; c++) {
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    }
}

static enum status add_field(json_t *row, const char *field, json_t *value)
{
    return json_object_set_new(row, field, value) == 0 ? STATUS_OK : STATUS_INTERNAL;
}

/* A row without `auth` sends a bearer credential, one without `secrets` needs NAME_API_KEY, and
 * without `env` its agents find the token under that name and the address as NAME_BASE_URL. */
static enum status add_defaults(json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    char key[64], url[64];
    enum status status = STATUS_OK;
    named_after(name, "_API_KEY", key);
    named_after(name, "_BASE_URL", url);
    if (!json_object_get(row, "auth")) {
        status = add_field(row, "auth", json_pack("[{ss}]", "type", "bearer"));
    }
    if (status == STATUS_OK && !json_object_get(row, "secrets")) {
        status = add_field(row, "secrets", json_pack("[s]", key));
    }
    const char *secret = json_string_value(json_array_get(json_object_get(row, "secrets"), 0));
    if (status == STATUS_OK && !json_object_get(row, "env") && !isdigit((unsigned char)*name)) {
        secret = secret && strspn(secret, VARIABLE) == strlen(secret) ? secret : key;
        status = add_field(row, "env", json_pack("{ssss}", secret, "{token}", url, "{base_url}"));
    }
    return status;
}

/* Lays the rows of OVER on TABLE: a known name overrides, a new one is added. */
static enum status lay_over(json_t *table, json_t *over, const char **ret_why)
{
    for (size_t i = 0; i < json_array_size(over); i++) {
        json_t *row = json_array_get(over, i);
        enum status status = providers_check_row(row, i, ret_why);
        if (status != STATUS_OK) {
            return status;
        }
        const char *name = json_string_value(json_object_get(row, "name"));
        if (row_named(over, name) != row) {
            return providers_refuse(ret_why, "row '%s': field 'name' is there twice", name);
        }
        json_t *known = row_named(table, name);
        if (known ? json_object_update(known, row) != 0 : json_array_append(table, row) != 0) {
            return providers_refuse(ret_why, "row '%s': out of memory", name);
        }
    }
    return STATUS_OK;
}

static enum status new_list(const json_t *array, const char ***ret_list)
{
    size_t count = json_array_size(array); /* 0 for NULL and null */
    const char **list = calloc(count + 1, sizeof *list);
    if (!list) {
        return STATUS_INTERNAL;
    }
    for (size_t i = 0; i < count; i++) {
        list[i] = json_string_value(json_array_get(array, i));
    }
    *ret_list = list;
    return STATUS_OK;
}

static const char *text_in(const json_t *row, const char *field)
{
    return json_string_value(json_object_get(row, field)); /* NULL when missing or null */
}

static enum status build_services(const json_t *services, struct auth_rule *ret_rule)
{
    size_t count = json_array_size(services); /* 0 for NULL */
    struct auth_service *rows = calloc(count + 1, sizeof *rows);
    if (!rows) {
        return STATUS_INTERNAL;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *from = json_array_get(services, i);
        const char *sign_as = text_in(from, "sign_as");
        rows[i].name = json_is_string(from) ? json_string_value(from) : text_in(from, "name");
        rows[i].sign_as = sign_as ? sign_as : rows[i].name;
    }
    ret_rule->services = rows;
    ret_rule->service_count = count;
    return STATUS_OK;
}

static enum status build_auth(const json_t *auth, struct provider *ret_row)
{
    static const char *const types[] = {
        [AUTH_BEARER] = "bearer", [AUTH_HEADER] = "header", [AUTH_BASIC] = "basic",
        [AUTH_QUERY] = "query", [AUTH_SIGV4] = "sigv4"};
    size_t count = json_array_size(auth);
    struct auth_rule *rules = calloc(count + 1, sizeof *rules);
    if (!rules) {
        return STATUS_INTERNAL;
    }
    ret_row->auth = rules;
    ret_row->auth_count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *from = json_array_get(auth, i);
        const char *type = text_in(from, "type");
        for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
            if (strcmp(type, types[t]) == 0) {
                rules[i].type = (enum auth_type)t;
            }
        }
        rules[i].path = text_in(from, "path");
        rules[i].name = text_in(from, rules[i].type == AUTH_BASIC ? "user" : "name");
        if (build_services(json_object_get(from, "services"), &rules[i]) != STATUS_OK ||
            new_list(json_object_get(from, "regions"), &rules[i].regions) != STATUS_OK) {
            return STATUS_INTERNAL;
        }
    }
    return STATUS_OK;
}

/* A text is a list of one. */
static enum status new_texts_of(const json_t *value, const char ***ret_list)
{
    if (!json_is_string(value)) {
        return json_is_array(value) ? new_list(value, ret_list) : STATUS_OK;
    }
    const char **list = calloc(2, sizeof *list);
    if (list) {
        list[0] = json_string_value(value);
    }
    *ret_list = list;
    return list ? STATUS_OK : STATUS_INTERNAL;
}

static enum status build_deny(const json_t *deny, struct provider *ret_row)
{
    size_t count = json_array_size(deny);
    struct deny_rule *rules = calloc(count + 1, sizeof *rules);
    if (!rules) {
        return STATUS_INTERNAL;
    }
    ret_row->deny = rules;
    ret_row->deny_count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *from = json_array_get(deny, i);
        rules[i].method = text_in(from, "method");
        rules[i].path = text_in(from, "path");
        rules[i].header = text_in(from, "header");
        rules[i].value = text_in(from, "value");
        ret_row->judges_headers = ret_row->judges_headers || rules[i].header;
        if (new_texts_of(json_object_get(from, "query"), &rules[i].queries) != STATUS_OK ||
            new_texts_of(json_object_get(from, "unless"), &rules[i].unless) != STATUS_OK) {
            return STATUS_INTERNAL;
        }
    }
    return STATUS_OK;
}

/* An object's members in their order, as rows of name and text. */
static enum status build_pairs(json_t *object, const struct provider_header **ret_rows,
                               size_t *ret_count)
{
    struct provider_header *rows = calloc(json_object_size(object) + 1, sizeof *rows);
    const char *name;
    json_t *value;
    size_t count = 0;
    if (!rows) {
        return STATUS_INTERNAL;
    }
    json_object_foreach(object, name, value)
    {
        rows[count++] = (struct provider_header){name, json_string_value(value)};
    }
    *ret_rows = rows;
    *ret_count = count;
    return STATUS_OK;
}

/* The members of OBJECT in their order; one that is null or missing has none. */
static enum status new_texts(json_t *object, const struct provider_text **ret_texts,
                             size_t *ret_count)
{
    struct provider_text *texts = calloc(json_object_size(object) + 1, sizeof *texts);
    const char *name;
    json_t *text;
    size_t count = 0;
    if (!texts) {
        return STATUS_INTERNAL;
    }
    json_object_foreach(object, name, text)
    {
        texts[count++] = (struct provider_text){name, json_string_value(text)};
    }
    *ret_texts = texts;
    *ret_count = count;
    return STATUS_OK;
}

static uint32_t timeout_in(const json_t *row, const char *name, uint32_t standard)
{
    const json_t *value = json_object_get(json_object_get(row, "timeouts_ms"), name);
    return json_is_integer(value) ? (uint32_t)json_integer_value(value) : standard;
}

static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

static enum status build_row(json_t *row, struct provider *ret_row)
{
    ret_row->name = text_in(row, "name");
    ret_row->title = text_in(row, "title") ? text_in(row, "title") : ret_row->name;
    ret_row->origin = text_in(row, "origin");
    ret_row->path_prefix = text_in(row, "path_prefix");
    ret_row->ca_file = text_in(row, "ca_file");
    ret_row->allow_insecure = json_is_true(json_object_get(row, "allow_insecure"));
    ret_row->base_url_suffix = text_or_empty(text_in(row, "base_url_suffix"));
    ret_row->example = text_or_empty(text_in(row, "example"));
    ret_row->test_path = text_or_empty(text_in(row, "test_path"));
    ret_row->connect_ms = timeout_in(row, "connect", CONNECT_MS);
    ret_row->first_byte_ms = timeout_in(row, "first_byte", FIRST_BYTE_MS);
    ret_row->idle_ms = timeout_in(row, "idle", IDLE_MS);
    if (new_list(json_object_get(row, "aliases"), &ret_row->aliases) != STATUS_OK ||
        new_list(json_object_get(row, "secrets"), &ret_row->secrets) != STATUS_OK ||
        new_list(json_object_get(row, "optional_secrets"), &ret_row->optional_secrets) !=
            STATUS_OK ||
        new_list(json_object_get(row, "old_secrets"), &ret_row->old_secrets) != STATUS_OK ||
        new_list(json_object_get(row, "rewrite_headers"), &ret_row->rewrite_headers) !=
            STATUS_OK ||
        new_list(json_object_get(row, "target_headers"), &ret_row->target_headers) != STATUS_OK ||
        new_list(json_object_get(row, "hidden_env"), &ret_row->hidden_env) != STATUS_OK ||
        new_texts(json_object_get(row, "env"), &ret_row->env, &ret_row->env_count) != STATUS_OK ||
        new_texts(json_object_get(row, "snippets"), &ret_row->snippets,
                  &ret_row->snippet_count) != STATUS_OK ||
        build_pairs(json_object_get(row, "default_headers"), &ret_row->default_headers,
                    &ret_row->default_header_count) != STATUS_OK ||
        build_pairs(json_object_get(row, "region_origins"), &ret_row->region_origins,
                    &ret_row->region_origin_count) != STATUS_OK ||
        build_deny(json_object_get(row, "deny"), ret_row) != STATUS_OK) {
        return STATUS_INTERNAL;
    }
    ret_row->judges_headers = ret_row->judges_headers || ret_row->target_headers[0];
    return build_auth(json_object_get(row, "auth"), ret_row);
}

/* No name or alias may mean two rows, nor the same row twice. */
static enum status check_clashes(const struct providers *table, const char **ret_why)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct provider *row = &table->rows[i];
        for (const char **alias = row->aliases; *alias; alias++) {
            const struct provider *found = providers_find(table, view_text(*alias));
            const char **again = alias + 1;
            while (*again && strcmp(*again, *alias) != 0) {
                again++;
            }
            bool own_name = strcmp(*alias, row->name) == 0;
            const struct provider *later = NULL;
            for (size_t j = i + 1; j < table->count && !later; j++) {
                later = strcmp(table->rows[j].name, *alias) == 0 ? &table->rows[j] : NULL;
            }
            if (found != row || *again || own_name || later) {
                return providers_refuse(ret_why, "row '%s': field 'aliases': '%s' is taken by row '%s'",
                                        row->name, *alias, later ? later->name : found->name);
            }
        }
    }
    return STATUS_OK;
}

static enum status build(json_t *rows, struct providers *table, const char **ret_why)
{
    size_t count = json_array_size(rows);
    table->root = json_incref(rows);
    table->rows = calloc(count + 1, sizeof *table->rows);
    if (!table->rows) {
        return STATUS_INTERNAL;
    }
    table->count = count; /* at once, so that providers_free() sees half-built rows too */
    for (size_t i = 0; i < count; i++) {
        json_t *row = json_array_get(rows, i);
        enum status status = providers_check_merged(row, ret_why);
        if (status != STATUS_OK) {
            return status;
        }
        if (add_defaults(row) != STATUS_OK || build_row(row, &table->rows[i]) != STATUS_OK) {
            return STATUS_INTERNAL;
        }
    }
    return check_clashes(table, ret_why);
}

enum status providers_load(const char *file, struct providers **ret_providers,
                           const char **ret_why)
{
    CLEANUP(json_free) json_t *table = json_array();
    CLEANUP(json_free) json_t *rows = NULL;
    CLEANUP(json_free) json_t *over = NULL;
    CLEANUP(buffer_free) struct buffer text = BUFFER_EMPTY;
    CLEANUP(providers_free) struct providers *providers = calloc(1, sizeof *providers);
    *ret_why = "out of memory";
    if (!table || !providers) {
        return STATUS_INTERNAL;
    }
    enum status status = parse(view_of(providers_builtin, providers_builtin_size),
                               "the built-in table", &rows, ret_why);
    if (status == STATUS_OK) {
        status = lay_over(table, rows, ret_why);
    }
    if (status == STATUS_OK && file) {
        status = read_file(file, &text, ret_why);
        if (status == STATUS_OK) {
            status = parse(buffer_view(&text), file, &over, ret_why);
        }
        if (status == STATUS_OK) {
            status = lay_over(table, over, ret_why);
        }
    }
    if (status == STATUS_OK) {
        status = build(table, providers, ret_why);
    }
    if (status != STATUS_OK) {
        return status;
    }
    *ret_why = "";
    *ret_providers = TAKE(providers);
    return STATUS_OK;
}

static void row_free(struct provider *row)
{
    for (size_t i = 0; i < row->auth_count; i++) {
        free((void *)row->auth[i].services);
        free(row->auth[i].regions);
    }
    free((void *)row->auth);
    for (size_t i = 0; i < row->deny_count; i++) {
        free(row->deny[i].queries);
        free(row->deny[i].unless);
    }
    free((void *)row->deny);
    free(row->target_headers);
    free((void *)row->default_headers);
    free((void *)row->env);
    free((void *)row->snippets);
    free((void *)row->region_origins);
    free(row->aliases);
    free(row->secrets);
    free(row->optional_secrets);
    free(row->old_secrets);
    free(row->rewrite_headers);
    free(row->hidden_env);
}

void providers_free(struct providers **providers)
{
    if (!*providers) {
        return;
    }
    for (size_t i = 0; i < (*providers)->count; i++) {
        row_free(&(*providers)->rows[i]);
    }
    free((*providers)->rows);
    json_decref((*providers)->root);
    free(*providers);
    *providers = NULL;
}
