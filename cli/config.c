/* config.c - which broker is meant, and what config.json has of it. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

json_t *config_server(json_t *config, const char *url)
{
    return json_object_get(json_object_get(config, "servers"), url);
}

static const char *choose(const struct args *args, const json_t *config)
{
    const char *environment = getenv("SEKS_SERVER");
    if (args->option[OPT_SERVER]) {
        return args->option[OPT_SERVER];
    }
    if (environment && *environment) {
        return environment;
    }
    const char *last = text_at(config, "server");
    return last ? last : "http://127.0.0.1:8787";
}

int config_url(const struct args *args, const json_t *config, char **ret)
{
    const char *url = choose(args, config);
    size_t size = strlen(url);
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
        return fail(SEKS_USAGE, "it looks like http://127.0.0.1:8787", "%s is no broker's URL", url);
    }
    while (size > 0 && url[size - 1] == '/') {
        size--;
    }
    *ret = strndup(url, size);
    return *ret ? SEKS_OK : fail(SEKS_FAILED, NULL, "no memory");
}
