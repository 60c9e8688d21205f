/* exchange_judged.c - the headers that the vault needs to decide about a call; for most rows none. */
#include "services/gateway/collect.h"
#include "services/gateway/exchange_private.h"

struct picking {
    const struct provider *provider;
    struct judged *judged;
};

static void pick(const struct picking *picking, struct view name, struct view value)
{
    struct judged *judged = picking->judged;
    struct header_row row = {name, value};
    if (provider_judges_header(picking->provider, name)) {
        judged->failed = judged->failed || judged->list.count >= JUDGED_HEADERS_MAX ||
                         proto_list_add(&header_row_schema, &row, &judged->rows, &judged->list) !=
                             STATUS_OK;
    }
}

static enum MHD_Result on_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    (void)kind;
    if (!credential_header(name)) { /* those are not passed on, and the grant is bound to what is */
        pick(arg, view_text(name), view_text(value ? value : ""));
    }
    return MHD_YES;
}

void exchange_judged(const struct exchange *exchange, struct judged *ret_judged)
{
    const struct provider *provider =
        providers_find(config.providers, view_text(exchange->provider));
    struct picking picking = {provider, ret_judged};
    if (!provider || !provider->judges_headers) {
        return;
    }
    if (!exchange->collect) {
        MHD_get_connection_values(exchange->visit->connection, MHD_HEADER_KIND, on_header, &picking);
        return;
    }
    struct header_row row;
    struct list headers = exchange->collect->headers;
    while (proto_list_next(&header_row_schema, &headers, &row)) {
        pick(&picking, row.name, row.value);
    }
}
