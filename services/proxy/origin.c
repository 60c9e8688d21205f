/* origin.c - which carrier an origin's calls take.
 *
 * An https origin's first call goes by libcurl's multi handle, which negotiates HTTP/2 or 1.1; what
 * came out is remembered for a while.  HTTP/2 stays there and shares connections, HTTP/1.1 goes by
 * direct.c at a third of the cost. */
#include "services/proxy/origin.h"

#include <string.h>

#include "common/clock.h"
#include "services/proxy/transfer_private.h"

enum {
    KNOWN_MAX = 256,           /* origins; AWS has one for each service and region */
    KNOWN_MS = 10 * 60 * 1000, /* then it is asked again */
    ORIGIN_SIZE_MAX = 300,     /* a DNS name has 253 bytes */
};

static struct known {
    const struct provider *provider; /* a row may have its own certificates */
    char origin[ORIGIN_SIZE_MAX];
    uint64_t until_ms;
    bool http1;
} known[KNOWN_MAX];

static struct view without_usual_port(struct view authority, const char *port)
{
    size_t size = strlen(port);
    bool usual = authority.size > size &&
                 memcmp(authority.data + authority.size - size, port, size) == 0;
    return view_of(authority.data, authority.size - (usual ? size : 0));
}

bool origin_split(struct view url, struct origin *ret_origin)
{
    bool tls = view_starts(url, "https://");
    size_t from = tls ? 8 : 7, to;
    if (!tls && !view_starts(url, "http://")) {
        return false;
    }
    for (to = from; to < url.size && url.data[to] != '/'; to++) {
    }
    if (to == from || to == url.size) {
        return false;
    }
    struct view authority = view_of(url.data + from, to - from);
    *ret_origin = (struct origin){view_of(url.data, to),
                                  without_usual_port(authority, tls ? ":443" : ":80"),
                                  view_of(url.data + to, url.size - to), tls};
    return true;
}

/* The URL of a built request ends with a NUL. */
static bool origin_of(const struct transfer *transfer, struct origin *ret_origin)
{
    struct view url = buffer_view(&transfer->request.url);
    url.size -= url.size > 0;
    return origin_split(url, ret_origin);
}

static struct known *find(const struct transfer *transfer, const struct origin *origin)
{
    for (size_t i = 0; i < KNOWN_MAX; i++) {
        if (known[i].provider == transfer->call->provider &&
            view_is(origin->whole, known[i].origin)) {
            return &known[i];
        }
    }
    return NULL;
}

const struct carrier *origin_carrier(const struct transfer *transfer)
{
    struct origin origin;
    if (!origin_of(transfer, &origin)) {
        return &multi_carrier; /* which refuses it */
    }
    if (!origin.tls) {
        return &direct_carrier;
    }
    const struct known *row = find(transfer, &origin);
    bool direct = row && row->http1 && row->until_ms > clock_mono_ms();
    return direct ? &direct_carrier : &multi_carrier;
}

void origin_learn(const struct transfer *transfer, bool http1)
{
    struct origin origin;
    if (!origin_of(transfer, &origin) || origin.whole.size >= ORIGIN_SIZE_MAX) {
        return;
    }
    struct known *row = find(transfer, &origin);
    for (size_t i = 0; i < KNOWN_MAX && !row; i++) {
        row = known[i].until_ms <= clock_mono_ms() ? &known[i] : NULL;
    }
    if (row && view_copy(origin.whole, row->origin, sizeof row->origin)) {
        row->provider = transfer->call->provider;
        row->http1 = http1;
        row->until_ms = clock_mono_ms() + KNOWN_MS;
    }
}

void origins_forget(void)
{
    memset(known, 0, sizeof known);
}
