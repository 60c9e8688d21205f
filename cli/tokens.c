/* tokens.c - the proxy tokens that this machine has for an agent.
 *
 * A token's value is shown once, so the first `env` or `run` of an agent makes one for each provider
 * and keeps it in tokens.json; later ones take it from there.  Whether it still lives is seen in the
 * broker's list: the same id with the same last four characters, not expired.  With --ttl the tokens
 * are made for that run alone; their ids are kept, so that the next one can clear the expired away. */
#include "cli/cli.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"

enum { PATH_BYTES = 512 };

/* Everything that one run of the algorithm needs. */
struct work {
    struct broker *broker;
    const char *agent;  /* its id */
    uint64_t ttl_s;     /* 0 for tokens that are kept */
    json_t *listed;     /* the broker's list of the agent's tokens */
    json_t *kept;       /* {"tokens":{provider:{id,value,base_url}},"passing":[id...]} */
    bool changed;
};

static const char *last4(const char *value)
{
    size_t size = value ? strlen(value) : 0;
    return size > 4 ? value + size - 4 : "";
}

static bool is_expired(const json_t *token)
{
    char now[CLOCK_TEXT_SIZE];
    const char *expires = text_at(token, "expires_at");
    clock_text(clock_wall_ms(), now);
    return expires && strcmp(expires, now) <= 0; /* both RFC 3339 in UTC of one length */
}

static json_t *listed_token(const struct work *work, const char *id)
{
    json_t *token;
    size_t i;
    json_array_foreach(work->listed, i, token)
    {
        const char *other = text_at(token, "id");
        if (id && other && strcmp(id, other) == 0) {
            return token;
        }
    }
    return NULL;
}

/* The kept one for PROVIDER, if the broker still takes it. */
static json_t *living(const struct work *work, const char *provider)
{
    json_t *kept = json_object_get(json_object_get(work->kept, "tokens"), provider);
    const json_t *listed = listed_token(work, text_at(kept, "id"));
    const char *end = text_at(listed, "last4");
    bool same = end && strcmp(end, last4(text_at(kept, "value"))) == 0;
    return same && text_at(kept, "base_url") && !is_expired(listed) ? kept : NULL;
}

/* Keeps what is needed later of the new token in ANSWER. */
static void keep(struct work *work, const char *provider, const json_t *answer)
{
    json_t *id = json_object_get(json_object_get(answer, "token"), "id");
    work->changed = true;
    if (work->ttl_s) {
        (void)json_array_append(json_object_get(work->kept, "passing"), id);
        return;
    }
    json_t *entry = json_pack("{s:O,s:O,s:O}", "id", id, "value", json_object_get(answer, "value"),
                              "base_url", json_object_get(answer, "base_url"));
    (void)json_object_set_new(json_object_get(work->kept, "tokens"), provider, entry);
}

static int make(struct work *work, const char *provider, json_t **ret)
{
    char path[PATH_BYTES];
    json_t *body = json_pack("{s:s}", "provider", provider);
    if (work->ttl_s) {
        (void)json_object_set_new(body, "expires_in", json_integer((json_int_t)work->ttl_s));
    }
    progress("making a token for %s ...", provider);
    snprintf(path, sizeof path, "/v1/account/agents/%s/tokens", work->agent);
    int status = broker_call(work->broker, "POST", path, body, ret);
    if (status == SEKS_OK) {
        keep(work, provider, *ret);
    }
    return status;
}

static int add_provider(struct work *work, const char *provider, json_t *found)
{
    json_t *made = NULL, *token = work->ttl_s ? NULL : living(work, provider);
    int status = token ? SEKS_OK : make(work, provider, &made);
    token = token ? token : made;
    if (status == SEKS_OK && text_at(token, "value") && text_at(token, "base_url")) {
        (void)json_object_set(found, provider, token); /* for want of memory it is missing */
    }
    json_decref(made);
    return status;
}

/* Deletes the tokens of earlier --ttl runs that have expired: an account can have 1000. */
static void clear_away(struct work *work)
{
    json_t *passing = json_object_get(work->kept, "passing");
    for (size_t i = json_array_size(passing); i-- > 0;) {
        char path[PATH_BYTES];
        const char *id = json_string_value(json_array_get(passing, i));
        const json_t *listed = listed_token(work, id);
        if (listed && !is_expired(listed)) {
            continue;
        }
        if (listed) {
            snprintf(path, sizeof path, "/v1/account/agents/%s/tokens/%s", work->agent, id);
            (void)broker_ask(work->broker, "DELETE", path, NULL, NULL); /* next time, then */
        }
        (void)json_array_remove(passing, i);
        work->changed = true;
    }
}

/* The object at KEY of PARENT, made when it is not there. */
static json_t *child(json_t *parent, const char *key)
{
    json_t *object = json_object_get(parent, key);
    if (!json_is_object(object)) {
        (void)json_object_set_new(parent, key, json_object());
        object = json_object_get(parent, key);
    }
    return object;
}

static json_t *kept_of(json_t *all, const struct broker *broker, const char *agent)
{
    json_t *kept = child(child(all, broker_url(broker)), agent);
    (void)child(kept, "tokens");
    if (!json_is_array(json_object_get(kept, "passing"))) {
        (void)json_object_set_new(kept, "passing", json_array());
    }
    return kept;
}

static int ask_lists(struct work *work, json_t **ret_secrets)
{
    char path[PATH_BYTES];
    json_t *tokens = NULL, *secrets = NULL;
    snprintf(path, sizeof path, "/v1/account/agents/%s/tokens", work->agent);
    int status = broker_call(work->broker, "GET", path, NULL, &tokens);
    if (status == SEKS_OK) {
        status = broker_call(work->broker, "GET", "/v1/account/secrets", NULL, &secrets);
    }
    work->listed = json_incref(json_object_get(tokens, "tokens"));
    *ret_secrets = json_incref(json_object_get(secrets, "secrets"));
    json_decref(tokens);
    json_decref(secrets);
    return status;
}

static int add_all(struct work *work, const struct args *args, json_t *providers, json_t *secrets,
                   json_t *found)
{
    const char *only = args->option[OPT_ONLY], *lacks = NULL;
    json_t *provider;
    size_t i, count = 0;
    json_array_foreach(providers, i, provider)
    {
        const char *name = text_at(provider, "name");
        if (!name || !args_lists(only, name)) {
            continue;
        }
        if (!has_secrets(provider, secrets, &lacks)) {
            if (only) {
                return fail(SEKS_MISSING, "seks secret set it", "%s needs the secret %s", name, lacks);
            }
            continue;
        }
        int status = add_provider(work, name, found);
        if (status != SEKS_OK) {
            return status;
        }
        count++;
    }
    progress_end();
    return count > 0 ? SEKS_OK
                     : fail(SEKS_MISSING, "store one: seks secret set NAME, or seks secret import .env",
                            "no provider's secret is stored");
}

static int check_only(const char *only, json_t *providers)
{
    char name[64];
    for (const char *at = only; at && *at;) {
        size_t size = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", (int)(size < 63 ? size : 63), at);
        const json_t *provider = find_provider(providers, name);
        if (!provider || strcmp(text_at(provider, "name"), name) != 0) {
            return fail(SEKS_USAGE, "see: seks providers", "there is no provider \"%s\"", name);
        }
        at += size + (at[size] == ',');
    }
    return SEKS_OK;
}

int tokens_find(struct broker *broker, const struct args *args, const json_t *agent,
                json_t *providers, json_t **ret)
{
    struct work work = {.broker = broker, .agent = text_at(agent, "id")};
    json_t *all = NULL, *secrets = NULL;
    const char *ttl = args->option[OPT_TTL];
    if (ttl && !args_duration(ttl, &work.ttl_s)) {
        return fail(SEKS_USAGE, "it looks like 90s, 15m, 12h or 30d", "--ttl cannot be \"%s\"", ttl);
    }
    *ret = json_object();
    int status = check_only(args->option[OPT_ONLY], providers);
    if (status != SEKS_OK) {
        return status;
    }
    int lock = files_lock(); /* or two runs would each make tokens */
    if (lock < 0 && !ttl) {
        return fail(SEKS_FAILED, "use --ttl", "tokens cannot be kept here: %s", strerror(errno));
    }
    status = files_load("tokens.json", &all);
    if (status == SEKS_OK) {
        work.kept = kept_of(all, broker, work.agent);
        status = ask_lists(&work, &secrets);
    }
    if (status == SEKS_OK) {
        clear_away(&work);
        status = add_all(&work, args, providers, secrets, *ret);
        int saved = work.changed && lock >= 0 ? files_save("tokens.json", all) : SEKS_OK;
        status = status == SEKS_OK ? saved : status;
    }
    json_decref(work.listed);
    json_decref(secrets);
    json_decref(all);
    if (lock >= 0) {
        (void)close(lock);
    }
    return status;
}
