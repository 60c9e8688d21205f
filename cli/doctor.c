/* doctor.c - `seks doctor` walks the way from here to the providers and stops where it is broken.
 *
 * A step is a line: what was looked at, what was found, and for a broken one the next thing to do. */
#include "cli/cli.h"

#include <string.h>

enum { URL_BYTES = 2048 };

struct doctor {
    const struct args *args;
    struct broker *broker;
    json_t *providers, *secrets, *agent, *tokens;
    json_t *steps; /* for --json */
    int status;    /* of the worst step yet */
};

enum verdict { STEP_GOOD, STEP_WARN, STEP_BAD };

static void print_step(enum verdict verdict, const char *step, const char *text, const char *next)
{
    static const struct {
        const char *word;
        enum style style;
    } words[] = {{"ok  ", STYLE_GOOD}, {"note", STYLE_DIM}, {"BAD ", STYLE_BAD}};
    printf("%s%s%s  %-10s ", style(stdout, words[verdict].style), words[verdict].word,
           style(stdout, STYLE_NONE), step);
    out_text(stdout, text);
    if (next) {
        printf("; ");
        out_text(stdout, next);
    }
    putchar('\n');
    fflush(stdout);
}

/* STATUS is what the command exits with if this is the first bad step. */
static void tell(struct doctor *doctor, int status, enum verdict verdict, const char *step,
                 const char *text, const char *next)
{
    progress_end();
    if (doctor->status == SEKS_OK && verdict == STEP_BAD) {
        doctor->status = status;
    }
    if (!out_is_json()) {
        print_step(verdict, step, text, next);
        return;
    }
    (void)json_array_append_new(doctor->steps, json_pack("{s:s,s:b,s:s,s:s*}", "step", step, "ok",
                                                         verdict != STEP_BAD, "text", text, "next", next));
}

/* ---- the broker ---- */

static bool see_server(struct doctor *doctor)
{
    int http = broker_ask(doctor->broker, "GET", "/healthz", NULL, NULL);
    if (http / 100 == 2) {
        tell(doctor, SEKS_OK, STEP_GOOD, "broker", broker_url(doctor->broker), NULL);
        return true;
    }
    tell(doctor, SEKS_AWAY, STEP_BAD, "broker", broker_error(doctor->broker),
         "start it with ./run, or name another with --server");
    return false;
}

static bool see_parts(struct doctor *doctor)
{
    int http = broker_ask(doctor->broker, "GET", "/readyz", NULL, NULL);
    if (http / 100 == 2) {
        tell(doctor, SEKS_OK, STEP_GOOD, "parts", "the vault and a proxy answer the gateway", NULL);
        return true;
    }
    tell(doctor, SEKS_AWAY, STEP_BAD, "parts", broker_error(doctor->broker),
         "see the logs of its daemons: one is away");
    return false;
}

static bool see_version(struct doctor *doctor)
{
    json_t *answer = NULL;
    char text[200];
    int http = broker_ask(doctor->broker, "GET", "/v1/providers", NULL, &answer);
    if (http / 100 != 2) {
        tell(doctor, SEKS_AWAY, STEP_BAD, "version", broker_error(doctor->broker), NULL);
        return false;
    }
    const char *version = text_at(answer, "version");
    bool same = version && strcmp(version, SEKS_VERSION) == 0;
    doctor->providers = json_incref(json_object_get(answer, "providers"));
    snprintf(text, sizeof text, "the broker is %s, this command %s", version ? version : "older",
             SEKS_VERSION);
    tell(doctor, SEKS_OK, same ? STEP_GOOD : STEP_WARN, "version", text,
         same ? NULL : "should something not work, make them the same");
    json_decref(answer);
    return true;
}

/* ---- the account ---- */

static bool see_login(struct doctor *doctor)
{
    json_t *answer = NULL;
    if (!broker_has_key(doctor->broker)) {
        tell(doctor, SEKS_LOGIN, STEP_BAD, "login", "there is no account key for this broker",
             "run: seks login (or seks signup)");
        return false;
    }
    int http = broker_ask(doctor->broker, "GET", "/v1/account", NULL, &answer);
    const char *email = text_at(json_object_get(answer, "account"), "email");
    if (http / 100 != 2) {
        bool invalid = http == 401;
        tell(doctor, invalid ? SEKS_LOGIN : SEKS_AWAY, STEP_BAD, "login",
             broker_error(doctor->broker),
             invalid ? "run: seks login" : "see the logs of the broker's daemons");
    } else {
        tell(doctor, SEKS_OK, STEP_GOOD, "login", email ? email : "?", NULL);
    }
    json_decref(answer);
    return http / 100 == 2;
}

/* Whether PROVIDER is looked at: one that --only names, or whose secrets are stored. */
static bool is_wanted(const struct doctor *doctor, const json_t *provider)
{
    const char *lacks, *only = doctor->args->option[OPT_ONLY];
    return only ? args_lists(only, text_at(provider, "name"))
                : has_secrets(provider, doctor->secrets, &lacks);
}

static bool see_secrets(struct doctor *doctor)
{
    json_t *answer = NULL, *provider;
    size_t i, stored = 0;
    bool whole = true;
    int http = broker_ask(doctor->broker, "GET", "/v1/account/secrets", NULL, &answer);
    doctor->secrets = json_incref(json_object_get(answer, "secrets"));
    json_decref(answer);
    if (http / 100 != 2) {
        tell(doctor, SEKS_AWAY, STEP_BAD, "secrets", broker_error(doctor->broker), NULL);
        return false;
    }
    json_array_foreach(doctor->providers, i, provider)
    {
        const char *lacks = NULL;
        if (!is_wanted(doctor, provider)) {
            continue;
        }
        bool has = has_secrets(provider, doctor->secrets, &lacks);
        stored += has;
        if (!has) {
            char next[200];
            snprintf(next, sizeof next, "run: seks secret set %s", lacks);
            tell(doctor, SEKS_MISSING, STEP_BAD, "secrets", "a provider's secret is missing", next);
        }
        whole = whole && has;
    }
    char text[64];
    snprintf(text, sizeof text, "stored for %zu provider%s", stored, stored == 1 ? "" : "s");
    tell(doctor, SEKS_MISSING, stored > 0 ? STEP_GOOD : STEP_BAD, "secrets", text,
         stored > 0 ? NULL : "run: seks secret set NAME, or seks secret import .env");
    return stored > 0 && whole;
}

static bool see_agent(struct doctor *doctor)
{
    const char *name = doctor->args->words > 0 ? doctor->args->word[0] : NULL;
    json_t *answer = NULL, *agent;
    size_t i;
    (void)broker_ask(doctor->broker, "GET", "/v1/account/agents", NULL, &answer); /* shows as none */
    const json_t *agents = json_object_get(answer, "agents");
    json_array_foreach(agents, i, agent)
    {
        const char *called = text_at(agent, "name"), *id = text_at(agent, "id");
        bool meant = name ? (called && strcmp(called, name) == 0) || (id && strcmp(id, name) == 0)
                          : json_array_size(agents) == 1;
        if (meant && !doctor->agent) {
            doctor->agent = json_incref(agent);
        }
    }
    if (doctor->agent) {
        tell(doctor, SEKS_OK, STEP_GOOD, "agent", text_at(doctor->agent, "name"), NULL);
    } else if (name) {
        tell(doctor, SEKS_MISSING, STEP_BAD, "agent", "there is no such agent", "see: seks agent list");
    } else if (json_array_size(agents) == 0) {
        tell(doctor, SEKS_MISSING, STEP_BAD, "agent", "there is none", "run: seks agent add NAME");
    } else {
        tell(doctor, SEKS_OK, STEP_WARN, "agent", "there are several",
             "for tokens and providers too, run: seks doctor AGENT");
    }
    json_decref(answer);
    return doctor->agent != NULL;
}

/* ---- the providers ---- */

/* What an answer to the harmless call means. */
static void tell_upstream(struct doctor *doctor, const json_t *provider, int http, bool own)
{
    const char *name = text_at(provider, "name"), *error = broker_error(doctor->broker);
    const char *secret = json_string_value(json_array_get(json_object_get(provider, "secrets"), 0));
    char text[600], next[200];
    snprintf(text, sizeof text, "answers %d", http);
    snprintf(next, sizeof next, "replace it: seks secret set %s", secret ? secret : "NAME");
    if (http == 0) {
        snprintf(text, sizeof text, "the broker's public URL does not answer from here: %s", error);
        tell(doctor, SEKS_AWAY, STEP_BAD, name, text, "check the broker's --public-url");
    } else if (own && http / 100 != 2) {
        snprintf(text, sizeof text, "the broker: %s (%d)", error, http);
        tell(doctor, http >= 500 ? SEKS_AWAY : SEKS_FAILED, STEP_BAD, name, text,
             http == 401 ? "make a new token: seks token rm, then seks run" : NULL);
    } else if (http == 401 || http == 403) {
        snprintf(text, sizeof text, "the provider refuses the stored key (%d)", http);
        tell(doctor, SEKS_FAILED, STEP_BAD, name, text, next);
    } else if (http >= 500) {
        tell(doctor, SEKS_AWAY, STEP_BAD, name, text, "the provider has trouble: try again later");
    } else {
        tell(doctor, SEKS_OK, STEP_GOOD, name, text, NULL);
    }
}

static void see_upstream(struct doctor *doctor, const json_t *provider)
{
    const char *name = text_at(provider, "name"), *path = text_at(provider, "test_path");
    const json_t *token = json_object_get(doctor->tokens, name);
    const char *base = text_at(token, "base_url");
    char url[URL_BYTES];
    bool own = false;
    if (!base || !path || !*path) {
        tell(doctor, SEKS_OK, STEP_WARN, name, "its row has no harmless call to try", NULL);
        return;
    }
    progress("asking %s ...", name);
    snprintf(url, sizeof url, "%s%s", base, path);
    int http = broker_probe(doctor->broker, url, text_at(token, "value"), &own);
    tell_upstream(doctor, provider, http, own);
}

static void see_providers(struct doctor *doctor)
{
    char text[64];
    json_t *provider;
    size_t i;
    int status = tokens_find(doctor->broker, doctor->args, doctor->agent, doctor->providers,
                             &doctor->tokens);
    if (status != SEKS_OK) {
        doctor->status = status; /* said */
        return;
    }
    size_t count = json_object_size(doctor->tokens);
    snprintf(text, sizeof text, "%zu, one for each provider", count);
    tell(doctor, SEKS_OK, STEP_GOOD, "tokens", text, NULL);
    json_array_foreach(doctor->providers, i, provider)
    {
        if (json_object_get(doctor->tokens, text_at(provider, "name"))) {
            see_upstream(doctor, provider);
        }
    }
}

int command_doctor(const struct args *args)
{
    struct doctor doctor = {.args = args, .steps = json_array()};
    int status = broker_open(args, NEED_ANY, &doctor.broker);
    if (status == SEKS_OK && see_server(&doctor) && see_parts(&doctor) && see_version(&doctor) &&
        see_login(&doctor) && see_secrets(&doctor) && see_agent(&doctor)) {
        see_providers(&doctor);
    }
    status = status == SEKS_OK ? doctor.status : status;
    if (out_is_json() && doctor.broker) {
        json_t *answer = json_pack("{s:b,s:O}", "ok", status == SEKS_OK, "steps", doctor.steps);
        (void)out_json(answer); /* the status tells more */
        json_decref(answer);
    }
    json_decref(doctor.providers);
    json_decref(doctor.secrets);
    json_decref(doctor.agent);
    json_decref(doctor.tokens);
    json_decref(doctor.steps);
    broker_close(&doctor.broker);
    return status;
}
