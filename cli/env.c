/* env.c - `seks env` prints an agent's environment; `seks run` becomes a command that has it. */
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

enum { NAME_BYTES = 256 };

/* The name of a variable of our own environment, into RET; false when it is too long to matter. */
static bool name_of(const char *variable, char *ret)
{
    size_t size = strcspn(variable, "=");
    return view_copy(view_of(variable, size), ret, NAME_BYTES);
}

/* The names in our environment under which a real key would be and that VARIABLES does not set. */
static json_t *hidden_names(const json_t *providers, const json_t *variables, const char *keep)
{
    json_t *hidden = json_array();
    for (char **at = environ; *at; at++) {
        char name[NAME_BYTES];
        if (name_of(*at, name) && environment_is_credential(providers, name) &&
            !json_object_get(variables, name) && !(keep && args_lists(keep, name))) {
            (void)json_array_append_new(hidden, json_string(name));
        }
    }
    return hidden;
}

/* A proxy in the environment would be asked for the broker too: NO_PROXY names the broker's host. */
static void add_no_proxy(json_t *variables, const char *url)
{
    static const char *const proxies[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY",
                                          "https_proxy", "HTTPS_PROXY"};
    static const char *const names[] = {"no_proxy", "NO_PROXY"};
    const char *host = strstr(url, "://");
    bool any = false;
    for (size_t i = 0; i < sizeof proxies / sizeof proxies[0]; i++) {
        any = any || getenv(proxies[i]);
    }
    for (size_t i = 0; any && host && i < 2; i++) {
        struct buffer value = BUFFER_EMPTY;
        const char *there = getenv(names[i]);
        buffer_printf(&value, "%s%s%.*s", there ? there : "", there && *there ? "," : "",
                      (int)strcspn(host + 3, ":/"), host + 3);
        (void)json_object_set_new(variables, names[i],
                                  json_stringn((const char *)value.data, value.size));
        buffer_free(&value);
    }
}

static json_t *all_variables(json_t *providers, const json_t *tokens)
{
    json_t *variables = json_object(), *provider;
    size_t i;
    json_array_foreach(providers, i, provider)
    {
        const json_t *token = json_object_get(tokens, text_at(provider, "name"));
        if (token) {
            environment_add(variables, provider, text_at(token, "value"), text_at(token, "base_url"));
        }
    }
    return variables;
}

/* What the agent's environment sets, and what it must not have. */
static int find_environment(const struct args *args, json_t **ret_variables, json_t **ret_hidden)
{
    struct broker *broker = NULL;
    json_t *agent = NULL, *providers = NULL, *tokens = NULL;
    int status = broker_open(args, NEED_KEY, &broker);
    status = status == SEKS_OK ? get_providers(broker, &providers) : status;
    status = status == SEKS_OK ? find_agent(broker, args->word[0], &agent) : status;
    if (status == SEKS_OK) {
        status = tokens_find(broker, args, agent, providers, &tokens);
    }
    if (status == SEKS_OK) {
        *ret_variables = all_variables(providers, tokens);
        *ret_hidden = hidden_names(providers, *ret_variables, args->option[OPT_KEEP]);
        add_no_proxy(*ret_variables, broker_url(broker));
    }
    json_decref(agent);
    json_decref(tokens);
    json_decref(providers);
    broker_close(&broker);
    return status;
}

/* To --output, or to standard output. */
static int put_out(const char *path, const struct buffer *out)
{
    bool done = !out->failed;
    if (done && path) {
        done = files_replace(path, buffer_view(out));
    } else if (done) {
        done = fwrite(out->data, 1, out->size, stdout) == out->size && fflush(stdout) == 0;
    }
    return done ? SEKS_OK
                : fail(SEKS_FAILED, NULL, "cannot write %s: %s", path ? path : "the environment",
                       strerror(errno));
}

int command_env(const struct args *args)
{
    struct buffer out = BUFFER_EMPTY;
    json_t *variables = NULL, *hidden = NULL;
    const char *format = args->option[OPT_FORMAT] ? args->option[OPT_FORMAT]
                         : out_is_json()          ? "json"
                                                  : "shell";
    if (!strstr(option_rows[OPT_FORMAT].choices, format)) {
        return fail(SEKS_USAGE, "take shell, dotenv, docker or json", "there is no format \"%s\"",
                    format);
    }
    int status = find_environment(args, &variables, &hidden);
    if (status == SEKS_OK) {
        (void)environment_write(&out, format, variables, hidden); /* the format is known */
        status = put_out(args->option[OPT_OUTPUT], &out);
    }
    buffer_wipe(&out);
    json_decref(variables);
    json_decref(hidden);
    return status;
}

/* ---- run ---- */

static void enter_environment(const json_t *variables, const json_t *hidden, const char *keep)
{
    const char *name;
    json_t *value;
    size_t i;
    json_array_foreach(hidden, i, value)
    {
        (void)unsetenv(json_string_value(value)); /* the name was taken from there */
    }
    json_object_foreach((json_t *)variables, name, value)
    {
        if (!(keep && args_lists(keep, name))) {
            (void)setenv(name, json_string_value(value), 1); /* for want of memory exec fails too */
        }
    }
}

/* Nothing of ours is left behind for the command but its environment: exec keeps no memory. */
static int become(char **command)
{
    execvp(command[0], command);
    int reason = errno;
    return fail(reason == ENOENT ? SEKS_RUN_NONE : SEKS_RUN_NOT, NULL, "cannot run %s: %s", command[0],
                strerror(reason));
}

int command_run(const struct args *args)
{
    json_t *variables = NULL, *hidden = NULL;
    if (!args->rest || !args->rest[0]) {
        return fail(SEKS_USAGE, "it goes behind --: seks run AGENT -- COMMAND", "the command is missing");
    }
    int status = find_environment(args, &variables, &hidden);
    if (status == SEKS_OK) {
        enter_environment(variables, hidden, args->option[OPT_KEEP]);
    }
    json_decref(variables);
    json_decref(hidden);
    return status == SEKS_OK ? become(args->rest) : SEKS_RUN;
}
