/* proxies.c - the gateway's channels to the proxies, one each, and the calls that run on them.
 *
 * An endpoint with a name in it stands for all its addresses (discover.c): proxies come and go as
 * the name says.  A proxy that is leaving, or whose address is gone, gets no new call; those that
 * run end in peace. */
#include "services/gateway/gateway.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/options.h"
#include "services/gateway/discover.h"
#include "services/gateway/slots.h"

enum {
    SWEEP_MS = 100,
    ENDPOINT_SIZE = 256,
    RETIRE_MS = 10000, /* an address that was missing in one answer of the DNS may be back in the next */
};

struct proxy {
    struct proxy *next;
    struct channel *channel;
    char endpoint[ENDPOINT_SIZE];
    size_t source;       /* the index of the name that it came from */
    bool leaving;        /* it said so itself */
    uint64_t gone_ms;    /* since when its address is no longer the name's; 0: it is */
    bool seen;
    size_t calls;        /* that run, and that were promised one */
};

struct proxy_user {
    struct exchange *exchange;
    struct proxy *proxy;
    uint64_t id;
    struct proxy_user *next, **at; /* `at`: what points here */
};

struct waiter {
    struct waiter *next;
    void (*fn)(void *arg);
    void *arg;
    uint64_t deadline_ms;
};

static struct {
    struct loop *loop;
    struct proxy *first;
    struct proxy_user *users;
    struct waiter *waiters;
    int sweep_timer;
    struct discover *discover;
    const char *names[OPTION_LIST_MAX];
    char hosts[OPTION_LIST_MAX][ENDPOINT_SIZE];
    const char *ports[OPTION_LIST_MAX];
    size_t name_count;
    struct log_limit limit;
} proxies = {.sweep_timer = -1};
static struct slots proxy_calls; /* large and zero: outside what the program's file holds */

static void complain(const char *what)
{
    uint64_t count;
    if (log_due(&proxies.limit, &count)) {
        log_warn("peer", "%s (%llu times)", what, (unsigned long long)count);
    }
}

static struct proxy *proxy_of(const struct channel_peer *peer)
{
    struct proxy *proxy = proxies.first;
    while (proxy && channel_server(proxy->channel) != peer) {
        proxy = proxy->next;
    }
    return proxy;
}

static bool is_usable(const struct proxy *proxy)
{
    return !proxy->leaving && proxy->gone_ms == 0 && channel_peer_up(channel_server(proxy->channel));
}

static struct proxy *find_best(void)
{
    struct proxy *best = NULL;
    for (struct proxy *proxy = proxies.first; proxy; proxy = proxy->next) {
        if (is_usable(proxy) && (!best || proxy->calls < best->calls)) {
            best = proxy;
        }
    }
    return best;
}

bool proxy_any(void)
{
    return find_best() != NULL;
}

struct channel_peer *proxy_pick(void)
{
    struct proxy *best = find_best();
    if (!best) {
        return NULL;
    }
    best->calls++;
    return channel_server(best->channel);
}

void proxy_unpick(const struct channel_peer *peer)
{
    struct proxy *proxy = proxy_of(peer);
    if (proxy) {
        proxy->calls--;
    }
}

/* ---- waiting for one ---- */

enum status proxy_wait(void (*fn)(void *arg), void *arg)
{
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter) {
        return STATUS_INTERNAL;
    }
    *waiter = (struct waiter){proxies.waiters, fn, arg, clock_mono_ms() + PROXY_WAIT_MS};
    proxies.waiters = waiter;
    return STATUS_OK;
}

void proxy_wait_forget(const void *arg)
{
    for (struct waiter **at = &proxies.waiters; *at;) {
        struct waiter *waiter = *at;
        if (waiter->arg == arg) {
            *at = waiter->next;
            free(waiter);
            continue;
        }
        at = &waiter->next;
    }
}

/* Calls all whose time has come; FN may wait again or forget others. */
static void wake_waiters(void)
{
    uint64_t now = clock_mono_ms();
    bool all = proxy_any();
    for (struct waiter **at = &proxies.waiters; *at;) {
        struct waiter *waiter = *at;
        if (!all && now < waiter->deadline_ms) {
            at = &waiter->next;
            continue;
        }
        struct waiter due = *waiter;
        *at = waiter->next;
        free(waiter);
        due.fn(due.arg);
        at = &proxies.waiters;
        all = all && proxy_any();
    }
}

/* ---- calls ---- */

uint64_t proxy_call_begin(struct channel_peer *peer, struct exchange *exchange)
{
    struct proxy_user *user = calloc(1, sizeof *user);
    struct proxy *proxy = proxy_of(peer);
    uint64_t id = user && proxy ? slots_add(&proxy_calls, user) : 0;
    if (id == 0) {
        free(user);
        return 0;
    }
    *user = (struct proxy_user){exchange, proxy, id, proxies.users, &proxies.users};
    if (user->next) {
        user->next->at = &user->next;
    }
    proxies.users = user;
    proxy->calls++;
    return id;
}

void proxy_call_end(uint64_t id)
{
    struct proxy_user *user = slots_find(&proxy_calls, id);
    if (!user) {
        return;
    }
    *user->at = user->next;
    if (user->next) {
        user->next->at = user->at;
    }
    user->proxy->calls--;
    slots_remove(&proxy_calls, id);
    free(user);
}

enum status proxy_send(struct channel_peer *proxy, const struct schema *schema,
                       const void *message)
{
    struct buffer *out = channel_record_begin(proxy);
    if (!out) {
        return STATUS_UNAVAILABLE;
    }
    enum status status = proto_encode(schema, message, out);
    enum status sent = channel_record_end(proxy);
    return status == STATUS_OK ? sent : status;
}

static struct exchange *exchange_of(const struct channel_peer *peer, uint64_t call)
{
    struct proxy_user *user = slots_find(&proxy_calls, call);
    return user && channel_server(user->proxy->channel) == peer ? user->exchange : NULL;
}

/* The union of what proxies send; each begins with its call. */
union from_proxy {
    struct proxy_head head;
    struct proxy_data data;
    struct proxy_end end;
    struct proxy_want want;
};

/* It takes no more calls: those of this gateway go elsewhere from now on. */
static void on_leaving(struct channel_peer *peer, struct view record)
{
    struct proxy_leaving message;
    struct proxy *proxy = proxy_of(peer);
    if (proto_decode(&proxy_leaving_schema, record, &message) != STATUS_OK) {
        complain("a proxy sent a malformed message");
    } else if (proxy) {
        proxy->leaving = true;
    }
}

static void on_proxy_record(void *arg, struct channel_peer *peer, struct view record)
{
    static const struct schema *const schemas[] = {&proxy_head_schema, &proxy_data_schema,
                                                   &proxy_end_schema, &proxy_want_schema};
    union from_proxy message;
    const struct schema *schema = NULL;
    unsigned id = proto_id(record);
    (void)arg;
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++) {
        schema = schemas[i]->id == id ? schemas[i] : schema;
    }
    if (id == PROXY_LEAVING) {
        on_leaving(peer, record);
        return;
    }
    if (!schema || proto_decode(schema, record, &message) != STATUS_OK) {
        complain("a proxy sent a malformed message");
        return;
    }
    struct exchange *exchange = exchange_of(peer, message.head.call);
    if (!exchange) {
        return; /* late, for a call that is over */
    }
    switch (id) {
    case PROXY_HEAD:
        exchange_on_head(exchange, &message.head);
        break;
    case PROXY_DATA:
        exchange_on_data(exchange, &message.data);
        break;
    case PROXY_END:
        exchange_on_end(exchange, status_from_wire((unsigned)message.end.status),
                        message.end.detail);
        break;
    default:
        exchange_on_want(exchange, message.want.bytes);
    }
}

/* All that ran in the process that is gone has failed. */
static void on_proxy_lost(void *arg, struct channel_peer *peer)
{
    struct proxy *proxy = proxy_of(peer);
    (void)arg;
    for (;;) {
        struct proxy_user *user = proxies.users;
        while (user && user->proxy != proxy) {
            user = user->next;
        }
        if (!user) {
            return;
        }
        struct exchange *exchange = user->exchange;
        proxy_call_end(user->id);
        exchange_on_end(exchange, STATUS_UNAVAILABLE, VIEW("the proxy was lost; try again"));
    }
}

static void on_proxy_up(void *arg, struct channel_peer *peer)
{
    struct proxy *proxy = proxy_of(peer);
    on_proxy_lost(arg, peer); /* whatever ran there ran in another process */
    if (proxy) {
        proxy->leaving = false;
    }
    wake_waiters();
}

/* ---- coming and going ---- */

static const struct channel_events proxy_events = {on_proxy_record, on_proxy_up, on_proxy_lost};

static enum status connect_to(const char *endpoint, size_t source)
{
    struct proxy *proxy = calloc(1, sizeof *proxy);
    if (!proxy) {
        return STATUS_INTERNAL;
    }
    snprintf(proxy->endpoint, sizeof proxy->endpoint, "%s", endpoint);
    proxy->source = source;
    proxy->seen = true;
    enum status status =
        channel_connect(proxies.loop, endpoint, "proxy", &proxy_events, NULL, &proxy->channel);
    if (status != STATUS_OK) {
        free(proxy);
        return status;
    }
    proxy->next = proxies.first;
    proxies.first = proxy;
    return STATUS_OK;
}

static void see(const char *endpoint, size_t source)
{
    for (struct proxy *proxy = proxies.first; proxy; proxy = proxy->next) {
        if (proxy->source == source && strcmp(proxy->endpoint, endpoint) == 0) {
            proxy->seen = true;
            proxy->gone_ms = 0;
            return;
        }
    }
    if (connect_to(endpoint, source) == STATUS_OK) {
        log_info("proxies", "%s came", endpoint);
    }
}

static void on_discovered(size_t name, const struct discovered *found)
{
    char endpoint[ENDPOINT_SIZE];
    for (struct proxy *proxy = proxies.first; proxy; proxy = proxy->next) {
        proxy->seen = proxy->source != name;
    }
    for (size_t i = 0; i < found->count; i++) {
        snprintf(endpoint, sizeof endpoint, "tcp://%s:%s", found->address[i], proxies.ports[name]);
        see(endpoint, name);
    }
    for (struct proxy *proxy = proxies.first; proxy; proxy = proxy->next) {
        if (!proxy->seen && proxy->gone_ms == 0) {
            log_info("proxies", "%s is no longer listed", proxy->endpoint);
            proxy->gone_ms = clock_mono_ms();
        }
    }
}

static void retire(void)
{
    uint64_t now = clock_mono_ms();
    for (struct proxy **at = &proxies.first; *at;) {
        struct proxy *proxy = *at;
        if (proxy->gone_ms == 0 || proxy->calls > 0 || now - proxy->gone_ms < RETIRE_MS) {
            at = &proxy->next;
            continue;
        }
        *at = proxy->next;
        channel_close(&proxy->channel);
        free(proxy);
    }
}

static void sweep(void *arg)
{
    (void)arg;
    retire();
    if (proxies.waiters) {
        wake_waiters();
    }
}

/* Whether ENDPOINT is tcp with a name, which it then keeps for discovery. */
static bool take_name(const char *endpoint)
{
    uint8_t address[sizeof(struct in6_addr)];
    const char *host = endpoint + strlen("tcp://");
    const char *colon = strrchr(endpoint, ':');
    if (strncmp(endpoint, "tcp://", strlen("tcp://")) != 0 || colon < host || *host == '[' ||
        colon - host >= ENDPOINT_SIZE) {
        return false;
    }
    char *name = proxies.hosts[proxies.name_count];
    snprintf(name, ENDPOINT_SIZE, "%.*s", (int)(colon - host), host);
    if (inet_pton(AF_INET, name, address) == 1) {
        return false;
    }
    proxies.ports[proxies.name_count] = colon + 1;
    proxies.names[proxies.name_count] = name;
    proxies.name_count++;
    return true;
}

size_t proxies_calls(void)
{
    size_t count = 0;
    for (const struct proxy *proxy = proxies.first; proxy; proxy = proxy->next) {
        count += proxy->calls;
    }
    return count;
}

size_t proxies_up(void)
{
    size_t count = 0;
    for (const struct proxy *proxy = proxies.first; proxy; proxy = proxy->next) {
        count += is_usable(proxy);
    }
    return count;
}

enum status proxies_open(struct loop *loop)
{
    enum status status = STATUS_OK;
    proxies.loop = loop;
    for (size_t i = 0; i < config.proxies->count && status == STATUS_OK; i++) {
        if (!take_name(config.proxies->values[i])) {
            status = connect_to(config.proxies->values[i], OPTION_LIST_MAX);
        }
    }
    proxies.sweep_timer = loop_every(loop, SWEEP_MS, sweep, NULL);
    if (status == STATUS_OK && proxies.name_count > 0) {
        status = discover_open(loop, proxies.names, proxies.name_count, on_discovered,
                               &proxies.discover);
    }
    return proxies.sweep_timer < 0 ? STATUS_INTERNAL : status;
}

void proxies_close(void)
{
    discover_close(&proxies.discover);
    while (proxies.users) {
        proxy_call_end(proxies.users->id);
    }
    while (proxies.waiters) {
        proxy_wait_forget(proxies.waiters->arg);
    }
    if (proxies.loop) {
        loop_unevery(proxies.loop, proxies.sweep_timer);
    }
    while (proxies.first) {
        struct proxy *proxy = proxies.first;
        proxies.first = proxy->next;
        channel_close(&proxy->channel);
        free(proxy);
    }
}
