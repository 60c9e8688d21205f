/* environment.c - an agent's environment variables, from the rows of the provider table.
 *
 * No provider is named here: a row's `env` says which variables its SDKs read, as templates. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

static bool is_token_variable(const json_t *provider, const char *name)
{
    const char *template = text_at(json_object_get(provider, "env"), name);
    return template && strcmp(template, "{token}") == 0;
}

static const char *own_secret(const json_t *provider, const char *name)
{
    const char *needed = list_has(json_object_get(provider, "secrets"), name);
    return needed ? needed : list_has(json_object_get(provider, "optional_secrets"), name);
}

/* A provider with one secret: whatever variable its SDKs take the token from holds that. */
static const char *only_secret(const json_t *provider, const char *name)
{
    const json_t *secrets = json_object_get(provider, "secrets");
    bool one = json_array_size(secrets) == 1 && is_token_variable(provider, name);
    return one ? json_string_value(json_array_get(secrets, 0)) : NULL;
}

const char *environment_secret(const json_t *providers, const char *name,
                               const char **ret_provider)
{
    for (int pass = 0; pass < 2; pass++) {
        json_t *provider;
        size_t i;
        json_array_foreach(providers, i, provider)
        {
            const char *secret =
                pass == 0 ? own_secret(provider, name) : only_secret(provider, name);
            if (secret) {
                *ret_provider = text_at(provider, "name");
                return secret;
            }
        }
    }
    return NULL;
}

void environment_fill(struct buffer *out, const char *template, const char *token,
                      const char *base_url)
{
    while (*template) {
        if (strncmp(template, "{token}", 7) == 0) {
            buffer_append_text(out, token);
            template += 7;
        } else if (strncmp(template, "{base_url}", 10) == 0) {
            buffer_append_text(out, base_url);
            template += 10;
        } else {
            buffer_append_byte(out, (uint8_t)*template++);
        }
    }
}

void environment_add(json_t *variables, const json_t *provider, const char *token,
                     const char *base_url)
{
    const char *name;
    json_t *template;
    json_object_foreach(json_object_get(provider, "env"), name, template)
    {
        struct buffer value = BUFFER_EMPTY;
        if (!json_is_string(template) || json_object_get(variables, name)) {
            continue;
        }
        environment_fill(&value, json_string_value(template), token, base_url);
        (void)json_object_set_new(variables, name, /* a value of NULL fails, and adds nothing */
                                  json_stringn((const char *)value.data, value.size));
        buffer_wipe(&value);
    }
}

bool environment_is_credential(const json_t *providers, const char *name)
{
    json_t *provider;
    size_t i;
    if (strcmp(name, "SEKS_ACCOUNT_KEY") == 0) { /* whoever has it can read every setting */
        return true;
    }
    json_array_foreach(providers, i, provider)
    {
        if (own_secret(provider, name) || is_token_variable(provider, name) ||
            list_has(json_object_get(provider, "hidden_env"), name)) {
            return true;
        }
    }
    return false;
}

/* ---- printing ---- */

/* In single quotes, where a shell takes everything as it is; a quote itself is left and entered. */
static void quote_shell(struct buffer *out, const char *text)
{
    buffer_append_byte(out, '\'');
    for (; *text; text++) {
        buffer_append_text(out, *text == '\'' ? "'\\''" : (char[]){*text, 0});
    }
    buffer_append_byte(out, '\'');
}

/* In double quotes, when it holds more than what every dialect takes bare. */
static void quote_dotenv(struct buffer *out, const char *text)
{
    static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "_-.:/@%+,=";
    if (strspn(text, bare) == strlen(text)) {
        buffer_append_text(out, text);
        return;
    }
    buffer_append_byte(out, '"');
    for (; *text; text++) {
        if (strchr("\"\\$", *text)) {
            buffer_append_byte(out, '\\');
        }
        buffer_append_byte(out, (uint8_t)*text);
    }
    buffer_append_byte(out, '"');
}

/* docker's --env-file knows no quotes. */
static void quote_docker(struct buffer *out, const char *text)
{
    buffer_append_text(out, text);
}

static const struct format {
    const char *name, *before;
    void (*quote)(struct buffer *out, const char *text);
} formats[] = {
    {"shell", "export ", quote_shell},
    {"dotenv", "", quote_dotenv},
    {"docker", "", quote_docker},
};

static void write_lines(struct buffer *out, const struct format *format, const json_t *variables)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)variables, name, value)
    {
        buffer_printf(out, "%s%s=", format->before, name);
        format->quote(out, json_string_value(value));
        buffer_append_byte(out, '\n');
    }
}

static bool write_json(struct buffer *out, const json_t *variables)
{
    char *text = json_dumps(variables, JSON_INDENT(2));
    buffer_append_text(out, text ? text : "");
    buffer_append_byte(out, '\n');
    if (text) {
        explicit_bzero(text, strlen(text));
    }
    free(text);
    return true;
}

bool environment_write(struct buffer *out, const char *format, const json_t *variables,
                       const json_t *unset)
{
    json_t *name;
    size_t at;
    if (strcmp(format, "json") == 0) {
        return write_json(out, variables);
    }
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(format, formats[i].name) == 0) {
            write_lines(out, &formats[i], variables);
            json_array_foreach(unset, at, name)
            {
                if (formats[i].before[0]) {
                    buffer_printf(out, "unset %s\n", json_string_value(name));
                }
            }
            return true;
        }
    }
    return false;
}
