/* proxies.c - the calls that run on the proxies (peers.c), and those that wait for one.
 *
 * A proxy that is leaving gets no new call; those that run end in peace. */
#include "services/gateway/gateway.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "services/gateway/peers.h"
#include "services/gateway/slots.h"

enum { SWEEP_MS = 100 };

struct proxy_user {
    struct exchange *exchange;
    struct peer *proxy;
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
    struct peers *peers;
    struct proxy_user *users;
    struct waiter *waiters;
    int sweep_timer;
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

bool proxy_any(void)
{
    return peers_best(proxies.peers) != NULL;
}

struct channel_peer *proxy_pick(void)
{
    struct peer *best = peers_best(proxies.peers);
    if (!best) {
        return NULL;
    }
    peer_take(best);
    return peer_channel(best);
}

void proxy_unpick(struct channel_peer *peer)
{
    peer_leave(peer_of(peer));
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
    uint64_t id = user ? slots_add(&proxy_calls, user) : 0;
    if (id == 0) {
        free(user);
        return 0;
    }
    *user = (struct proxy_user){exchange, peer_of(peer), id, proxies.users, &proxies.users};
    if (user->next) {
        user->next->at = &user->next;
    }
    proxies.users = user;
    peer_take(user->proxy);
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
    peer_leave(user->proxy);
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

enum status proxy_tell(const struct schema *schema, const void *message)
{
    struct peer *best = peers_best(proxies.peers);
    return best ? proxy_send(peer_channel(best), schema, message) : STATUS_UNAVAILABLE;
}

static struct exchange *exchange_of(const struct peer *proxy, uint64_t call)
{
    struct proxy_user *user = slots_find(&proxy_calls, call);
    return user && user->proxy == proxy ? user->exchange : NULL;
}

/* The union of what proxies send; each begins with its call. */
union from_proxy {
    struct proxy_head head;
    struct proxy_data data;
    struct proxy_end end;
    struct proxy_want want;
};

/* It takes no more calls: those of this gateway go elsewhere from now on. */
static void on_leaving(struct peer *proxy, struct view record)
{
    struct proxy_leaving message;
    if (proto_decode(&proxy_leaving_schema, record, &message) != STATUS_OK) {
        complain("a proxy sent a malformed message");
        return;
    }
    proxy->leaving = true;
}

static void on_proxy_record(struct peer *proxy, struct view record)
{
    static const struct schema *const schemas[] = {&proxy_head_schema, &proxy_data_schema,
                                                   &proxy_end_schema, &proxy_want_schema};
    union from_proxy message;
    const struct schema *schema = NULL;
    unsigned id = proto_id(record);
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++) {
        schema = schemas[i]->id == id ? schemas[i] : schema;
    }
    if (id == PROXY_LEAVING) {
        on_leaving(proxy, record);
        return;
    }
    if (!schema || proto_decode(schema, record, &message) != STATUS_OK) {
        complain("a proxy sent a malformed message");
        return;
    }
    struct exchange *exchange = exchange_of(proxy, message.head.call);
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
static void on_proxy_lost(struct peer *proxy)
{
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

static void on_proxy_up(struct peer *proxy)
{
    (void)proxy;
    wake_waiters();
}

/* ---- opening and closing ---- */

static void sweep(void *arg)
{
    (void)arg;
    if (proxies.waiters) {
        wake_waiters();
    }
}

size_t proxies_calls(void)
{
    return peers_busy(proxies.peers);
}

size_t proxies_waited_for(void)
{
    size_t count = 0;
    for (const struct waiter *waiter = proxies.waiters; waiter; waiter = waiter->next) {
        count++;
    }
    return count;
}

size_t proxies_up(void)
{
    return peers_usable(proxies.peers);
}

void proxies_metrics(struct buffer *text)
{
    peers_metrics(proxies.peers, text);
}

enum status proxies_open(struct loop *loop)
{
    static const struct peers_kind kind = {"proxy", false, on_proxy_record, on_proxy_up,
                                           on_proxy_lost};
    proxies.loop = loop;
    proxies.sweep_timer = loop_every(loop, SWEEP_MS, sweep, NULL);
    enum status status = peers_open(loop, &kind, config.proxies, &proxies.peers);
    return proxies.sweep_timer < 0 ? STATUS_INTERNAL : status;
}

void proxies_close(void)
{
    while (proxies.users) {
        proxy_call_end(proxies.users->id);
    }
    while (proxies.waiters) {
        proxy_wait_forget(proxies.waiters->arg);
    }
    if (proxies.loop) {
        loop_unevery(proxies.loop, proxies.sweep_timer);
    }
    peers_close(&proxies.peers);
}
