/* catalog.c - `seks providers`: what the broker can reach, and under which names. */
#include "cli/cli.h"

#include <string.h>

static void print_all(json_t *providers)
{
    static const struct column columns[] = {{"NAME", "name"}, {"ALIASES", "aliases"},
                                            {"SECRETS", "secrets"}, {"BASE URL", "base_url"},
                                            {NULL, NULL}};
    print_list(providers, columns, "the broker knows no provider");
}

static void print_one(const json_t *provider)
{
    static const struct column columns[] = {{"name", "name"}, {"base URL", "base_url"},
                                            {"aliases", "aliases"}, {"secrets", "secrets"},
                                            {"optional", "optional_secrets"},
                                            {"hidden by run", "hidden_env"}, {NULL, NULL}};
    const char *name;
    json_t *value;
    print_object(provider, columns);
    json_object_foreach(json_object_get(provider, "env"), name, value)
    {
        printf("  %s=", name);
        out_text(stdout, json_string_value(value));
        putchar('\n');
    }
}

int command_providers(const struct args *args)
{
    struct broker *broker = NULL;
    json_t *providers = NULL, *one = NULL;
    int status = broker_open(args, NEED_NOTHING, &broker);
    status = status == SEKS_OK ? get_providers(broker, &providers) : status;
    if (status == SEKS_OK && args->words > 0) {
        one = find_provider(providers, args->word[0]);
        status = one ? SEKS_OK
                     : fail(SEKS_MISSING, "see: seks providers", "there is no provider \"%s\"",
                            args->word[0]);
    }
    if (status == SEKS_OK && out_is_json()) {
        json_t *answer = one ? json_pack("{s:b,s:O}", "ok", 1, "provider", one)
                             : json_pack("{s:b,s:O}", "ok", 1, "providers", providers);
        status = out_json(answer);
        json_decref(answer);
    } else if (status == SEKS_OK && one) {
        print_one(one);
    } else if (status == SEKS_OK) {
        print_all(providers);
    }
    json_decref(providers);
    broker_close(&broker);
    return status;
}
