/* catalog.c - `seks providers`: what the broker can reach, and under which names. */
#include "cli/cli.h"

#include <string.h>

enum { CELL_BYTES = 256 };

static void join(const json_t *list, char *ret, size_t size)
{
    json_t *entry;
    size_t i, used = 0;
    ret[0] = '\0';
    json_array_foreach(list, i, entry)
    {
        int put = snprintf(ret + used, size - used, "%s%s", i ? ", " : "", json_string_value(entry));
        used += put > 0 && (size_t)put < size - used ? (size_t)put : 0;
    }
}

static void print_all(json_t *providers)
{
    static const char *const heads[] = {"NAME", "ALIASES", "SECRETS", "BASE URL"};
    CLEANUP(table_free) struct table *table = table_new(heads, 4);
    json_t *provider;
    size_t i;
    json_array_foreach(providers, i, provider)
    {
        char aliases[CELL_BYTES], secrets[CELL_BYTES];
        join(json_object_get(provider, "aliases"), aliases, sizeof aliases);
        join(json_object_get(provider, "secrets"), secrets, sizeof secrets);
        const char *cells[] = {text_at(provider, "name"), aliases, secrets,
                               text_at(provider, "base_url")};
        table_row(table, cells);
    }
    table_print(table, "the broker knows no provider");
}

static void print_line(const char *name, const char *value)
{
    printf("%s%-18s%s ", style(stdout, STYLE_HEAD), name, style(stdout, STYLE_NONE));
    out_text(stdout, value && *value ? value : "-");
    putchar('\n');
}

static void print_one(const json_t *provider)
{
    static const char *const lists[] = {"aliases", "secrets", "optional_secrets"};
    const char *name;
    json_t *value;
    print_line("name", text_at(provider, "name"));
    print_line("base_url", text_at(provider, "base_url"));
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        char text[CELL_BYTES];
        join(json_object_get(provider, lists[i]), text, sizeof text);
        print_line(lists[i], text);
    }
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
