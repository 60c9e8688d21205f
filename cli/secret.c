/* secret.c - the account's secrets.  A value comes from a prompt, a file or standard input, never from
 * the command line, and never comes back. */
#include "cli/cli.h"

#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 512, IMPORT_MAX = 1 << 20 };

/* VALUE under NAME; ANSWER may be NULL. */
static int put(struct broker *broker, const char *name, const char *provider, struct view value,
               json_t **ret_answer)
{
    char path[PATH_BYTES];
    int status = broker_path(broker, path, sizeof path, "/v1/account/secrets", name, "");
    json_t *text = json_stringn((const char *)value.data, value.size);
    if (status != SEKS_OK || !text) {
        json_decref(text);
        return status != SEKS_OK ? status : fail(SEKS_FAILED, NULL, "%s is not text in UTF-8", name);
    }
    json_t *body = json_pack("{s:o,s:s*}", "value", text, "provider", provider);
    return broker_call(broker, "PUT", path, body, ret_answer);
}

static int take_value(const struct args *args, struct secret **ret)
{
    char prompt[200];
    if (args->option[OPT_FILE]) {
        return read_value(args->option[OPT_FILE], ret);
    }
    if (isatty(STDIN_FILENO) != 1) {
        return read_value("-", ret);
    }
    snprintf(prompt, sizeof prompt, "Value of %s (not shown)", args->word[0]);
    int status = ask_hidden(prompt, "use --file", ret);
    if (status == SEKS_OK && secret_size(*ret) == 0) {
        return fail(SEKS_FAILED, NULL, "nothing was typed");
    }
    return status;
}

int command_secret_set(const struct args *args)
{
    CLEANUP(secret_free) struct secret *value = NULL;
    struct broker *broker = NULL;
    json_t *answer = NULL;
    int status = broker_open(args, NEED_KEY, &broker);
    status = status == SEKS_OK ? take_value(args, &value) : status;
    if (status == SEKS_OK) {
        status = put(broker, args->word[0], args->option[OPT_PROVIDER], secret_view(value), &answer);
    }
    const json_t *stored = json_object_get(answer, "secret");
    const char *provider = text_at(stored, "provider");
    bool again = json_integer_value(json_object_get(stored, "version")) > 1;
    status = finish(status, answer, "%s %s%s%s", again ? "replaced" : "stored", args->word[0],
                    provider ? " for " : "", provider ? provider : "");
    json_decref(answer);
    broker_close(&broker);
    return status;
}

static void print_secrets(const json_t *secrets)
{
    static const struct column columns[] = {{"NAME", "name"},        {"PROVIDER", "provider"},
                                            {"VERSION", "version"},  {"CHANGED", "updated_at"},
                                            {"LAST USED", "last_used_at"}, {NULL, NULL}};
    print_list(secrets, columns,
               "no secret is stored; next: seks secret set NAME, or seks secret import .env");
}

int command_secret_list(const struct args *args)
{
    return list_command(args, "/v1/account/secrets", "secrets", print_secrets);
}

int command_secret_rm(const struct args *args)
{
    if (!ask_sure(args, "Delete %s? Tokens that use it stop working.", args->word[0])) {
        return SEKS_FAILED;
    }
    return delete_command(args, "/v1/account/secrets", args->word[0], "deleted");
}

/* ---- import ---- */

struct import {
    struct broker *broker;
    json_t *providers;
    bool all;
    json_t *stored, *skipped; /* names */
    int status;
};

/* Why a variable is left alone; NULL when it is stored. */
static const char *skip_reason(const struct import *import, const char *secret, struct view value)
{
    if (value.size == 0) {
        return "it is empty";
    }
    if (view_starts(value, "seks_")) {
        return "it is a token of a broker, not a key";
    }
    return secret || import->all ? NULL : "no provider knows it; --all stores it too";
}

static bool import_one(void *context, struct view name, struct view value)
{
    struct import *import = context;
    const char *provider = NULL;
    char variable[129];
    if (!view_copy(name, variable, sizeof variable)) {
        return true; /* longer than a secret's name can be */
    }
    const char *secret = environment_secret(import->providers, variable, &provider);
    const char *reason = skip_reason(import, secret, value);
    if (reason) {
        (void)json_object_set_new(import->skipped, variable, json_string(reason));
        return true;
    }
    progress("storing %s ...", variable);
    import->status = put(import->broker, secret ? secret : variable, provider, value, NULL);
    if (import->status == SEKS_OK) {
        (void)json_array_append_new(import->stored, json_string(secret ? secret : variable));
    }
    return import->status == SEKS_OK;
}

static int tell_import(const struct import *import, const char *file)
{
    const char *name;
    json_t *entry;
    size_t i, count = json_array_size(import->stored);
    progress_end();
    if (out_is_json()) {
        json_t *answer = json_pack("{s:b,s:O,s:O}", "ok", 1, "stored", import->stored, "skipped",
                                   import->skipped);
        int status = out_json(answer);
        json_decref(answer);
        return status;
    }
    json_array_foreach(import->stored, i, entry)
    {
        note("stored %s", json_string_value(entry));
    }
    json_object_foreach(import->skipped, name, entry)
    {
        note("left %s: %s", name, json_string_value(entry));
    }
    if (count == 0) {
        return fail(SEKS_MISSING, "seks providers shows the names", "%s has no key that a provider needs",
                    file);
    }
    note("%zu stored; next: remove the keys from %s, and start with: seks run AGENT -- COMMAND", count,
         strcmp(file, "-") == 0 ? "their file" : file);
    return SEKS_OK;
}

static bool only_read(void *context, struct view name, struct view value)
{
    (void)context, (void)name, (void)value;
    return true;
}

/* A file with a line that cannot be read is refused before anything of it is stored. */
static int import_file(struct import *import, const char *file)
{
    CLEANUP(secret_free) struct secret *content = NULL;
    int status = read_file(file, IMPORT_MAX, &content);
    if (status != SEKS_OK) {
        return status;
    }
    size_t bad = dotenv_read(secret_view(content), only_read, NULL);
    if (bad > 0) {
        return fail(SEKS_FAILED, "it should read NAME=value", "line %zu of %s is no assignment", bad, file);
    }
    (void)dotenv_read(secret_view(content), import_one, import); /* read well just now */
    return import->status == SEKS_OK ? tell_import(import, file) : import->status;
}

int command_secret_import(const struct args *args)
{
    struct import import = {.all = args->option[OPT_ALL], .stored = json_array(),
                            .skipped = json_object()};
    int status = broker_open(args, NEED_KEY, &import.broker);
    if (status == SEKS_OK) {
        status = get_providers(import.broker, &import.providers);
    }
    if (status == SEKS_OK) {
        status = import_file(&import, args->word[0]);
    }
    json_decref(import.providers);
    json_decref(import.stored);
    json_decref(import.skipped);
    broker_close(&import.broker);
    return status;
}
