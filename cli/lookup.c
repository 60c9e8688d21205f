/* lookup.c - finds an agent, a provider, a text in what the broker answered. */
#include "cli/cli.h"

#include <string.h>

const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static bool is_called(const json_t *object, const char *name)
{
    const char *id = text_at(object, "id"), *called = text_at(object, "name");
    return (id && strcmp(id, name) == 0) || (called && strcmp(called, name) == 0);
}

int find_agent(struct broker *broker, const char *name, json_t **ret)
{
    json_t *answer = NULL, *agent;
    size_t i;
    int status = broker_call(broker, "GET", "/v1/account/agents", NULL, &answer);
    if (status != SEKS_OK) {
        return status;
    }
    json_array_foreach(json_object_get(answer, "agents"), i, agent)
    {
        if (is_called(agent, name) && text_at(agent, "id")) {
            *ret = json_incref(agent);
            json_decref(answer);
            return SEKS_OK;
        }
    }
    json_decref(answer);
    return fail(SEKS_MISSING, "see: seks agent list, or make it: seks agent add",
                "there is no agent \"%s\"", name);
}

int get_providers(struct broker *broker, json_t **ret)
{
    json_t *answer = NULL;
    int status = broker_call(broker, "GET", "/v1/providers", NULL, &answer);
    if (status != SEKS_OK) {
        return status;
    }
    *ret = json_incref(json_object_get(answer, "providers"));
    json_decref(answer);
    if (!json_is_array(*ret)) {
        json_decref(*ret);
        return fail(SEKS_AWAY, NULL, "%s answers no list of providers", broker_url(broker));
    }
    return SEKS_OK;
}

const char *list_has(const json_t *list, const char *name)
{
    json_t *entry;
    size_t i;
    json_array_foreach(list, i, entry)
    {
        if (json_is_string(entry) && strcmp(json_string_value(entry), name) == 0) {
            return json_string_value(entry);
        }
    }
    return NULL;
}

json_t *find_provider(json_t *providers, const char *name)
{
    json_t *provider;
    size_t i;
    json_array_foreach(providers, i, provider)
    {
        const char *called = text_at(provider, "name");
        if ((called && strcmp(called, name) == 0) ||
            list_has(json_object_get(provider, "aliases"), name)) {
            return provider;
        }
    }
    return NULL;
}

static bool is_stored(const json_t *secrets, const char *name)
{
    json_t *secret;
    size_t i;
    json_array_foreach(secrets, i, secret)
    {
        if (is_called(secret, name)) {
            return true;
        }
    }
    return false;
}

bool has_secrets(const json_t *provider, const json_t *secrets, const char **ret_lacks)
{
    json_t *name;
    size_t i;
    json_array_foreach(json_object_get(provider, "secrets"), i, name)
    {
        if (json_is_string(name) && !is_stored(secrets, json_string_value(name))) {
            *ret_lacks = json_string_value(name);
            return false;
        }
    }
    return true;
}
