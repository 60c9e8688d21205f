/* links.c - the gateway's channels: one to the vault, one to each proxy.
 *
 * A question stays here with its encoded bytes until it is answered, given up or forgotten, so that
 * a vault that restarts costs its askers a wait and no error. */
#include "services/gateway/gateway.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/options.h"
#include "services/gateway/slots.h"

enum { SWEEP_MS = 100, PROXIES_MAX = OPTION_LIST_MAX };

struct question {
    uint64_t id;
    struct question *next;
    struct buffer record;
    grant_fn *on_grant; /* an authorize, or */
    answer_fn *on_answer;
    void *arg;
    uint64_t deadline_ms;
    bool sent;
    uint8_t sent_to[CHANNEL_INSTANCE_BYTES];
};

struct proxy {
    struct channel *channel;
    size_t calls;
};

struct proxy_user {
    struct exchange *exchange;
    struct proxy *proxy;
    uint64_t id;
    struct proxy_user *next;
};

static struct {
    struct loop *loop;
    struct channel *vault;
    struct question *first;
    struct slots questions;
    struct proxy proxies[PROXIES_MAX];
    size_t proxy_count;
    struct slots calls;
    struct proxy_user *users;
    int sweep_timer;
    struct log_limit limit;
} links = {.sweep_timer = -1};

static void complain(const char *what)
{
    uint64_t count;
    if (log_due(&links.limit, &count)) {
        log_warn("peer", "%s (%llu times)", what, (unsigned long long)count);
    }
}

/* ---- the vault ---- */

static void question_free(struct question *question)
{
    for (struct question **at = &links.first; *at; at = &(*at)->next) {
        if (*at == question) {
            *at = question->next;
            break;
        }
    }
    slots_remove(&links.questions, question->id);
    buffer_wipe(&question->record);
    free(question);
}

static void give_up(struct question *question)
{
    struct question copy = *question;
    question->record = BUFFER_EMPTY;
    buffer_wipe(&copy.record);
    question_free(question);
    if (copy.on_grant) {
        copy.on_grant(copy.arg, STATUS_UNAVAILABLE, NULL);
    } else {
        copy.on_answer(copy.arg, STATUS_UNAVAILABLE, NULL);
    }
}

static void question_send(struct question *question)
{
    struct channel_peer *peer = channel_server(links.vault);
    if (channel_send(peer, buffer_view(&question->record)) == STATUS_OK) {
        question->sent = true;
        memcpy(question->sent_to, channel_peer_instance(peer).data, CHANNEL_INSTANCE_BYTES);
    }
}

static struct question *question_new(void *arg)
{
    struct question *question = calloc(1, sizeof *question);
    uint64_t id = question ? slots_add(&links.questions, question) : 0;
    if (id == 0) {
        free(question);
        return NULL;
    }
    *question = (struct question){.id = id,
                                  .next = links.first,
                                  .arg = arg,
                                  .deadline_ms = clock_mono_ms() + VAULT_WAIT_MS};
    links.first = question;
    return question;
}

static uint64_t question_ask(struct question *question, const struct schema *schema,
                             const void *message)
{
    if (proto_encode(schema, message, &question->record) != STATUS_OK) {
        question_free(question);
        return 0;
    }
    question_send(question);
    return question->id;
}

uint64_t vault_authorize_send(struct vault_authorize *message, grant_fn *fn, void *arg)
{
    struct question *question = question_new(arg);
    if (!question) {
        return 0;
    }
    question->on_grant = fn;
    message->call = question->id;
    return question_ask(question, &vault_authorize_schema, message);
}

uint64_t vault_ask_send(struct vault_ask *message, answer_fn *fn, void *arg)
{
    struct question *question = question_new(arg);
    if (!question) {
        return 0;
    }
    question->on_answer = fn;
    message->call = question->id;
    return question_ask(question, &vault_ask_schema, message);
}

void vault_forget(uint64_t id)
{
    struct question *question = slots_find(&links.questions, id);
    if (question) {
        question_free(question);
    }
}

static void on_vault_up(void *arg, struct channel_peer *peer)
{
    (void)arg;
    for (struct question *question = links.first, *next; question; question = next) {
        next = question->next;
        bool restarted = question->sent && memcmp(question->sent_to,
                                                  channel_peer_instance(peer).data,
                                                  CHANNEL_INSTANCE_BYTES) != 0;
        if (restarted && question->on_answer) {
            give_up(question); /* whether the dead vault did it is not known */
            continue;
        }
        if (restarted || !question->sent) {
            question_send(question);
        }
    }
}

static void on_grant(struct view record)
{
    struct vault_grant grant;
    if (proto_decode(&vault_grant_schema, record, &grant) != STATUS_OK) {
        complain("the vault sent a malformed grant");
        return;
    }
    struct question *question = slots_find(&links.questions, grant.call);
    if (question && question->on_grant) {
        grant_fn *fn = question->on_grant;
        void *to = question->arg;
        question_free(question);
        fn(to, status_from_wire((unsigned)grant.status), &grant);
    }
}

static void on_answer(struct view record)
{
    struct vault_answer answer;
    if (proto_decode(&vault_answer_schema, record, &answer) != STATUS_OK) {
        complain("the vault sent a malformed answer");
        return;
    }
    struct question *question = slots_find(&links.questions, answer.call);
    if (question && question->on_answer) {
        answer_fn *fn = question->on_answer;
        void *to = question->arg;
        question_free(question);
        fn(to, status_from_wire((unsigned)answer.status), &answer);
    }
}

static void on_vault_record(void *arg, struct channel_peer *peer, struct view record)
{
    (void)arg;
    (void)peer;
    switch (proto_id(record)) {
    case VAULT_GRANT:
        on_grant(record);
        return;
    case VAULT_ANSWER:
        on_answer(record);
        return;
    default:
        complain("the vault sent what it may not send");
    }
}

static void sweep(void *arg)
{
    uint64_t now = clock_mono_ms();
    (void)arg;
    for (struct question *question = links.first, *next; question; question = next) {
        next = question->next;
        if (now >= question->deadline_ms) {
            give_up(question);
        } else if (!question->sent && channel_peer_up(channel_server(links.vault))) {
            question_send(question);
        }
    }
}

/* ---- the proxies ---- */

static struct proxy *proxy_of(const struct channel_peer *peer)
{
    for (size_t i = 0; i < links.proxy_count; i++) {
        if (channel_server(links.proxies[i].channel) == peer) {
            return &links.proxies[i];
        }
    }
    return NULL;
}

struct channel_peer *proxy_pick(void)
{
    struct proxy *best = NULL;
    for (size_t i = 0; i < links.proxy_count; i++) {
        struct proxy *proxy = &links.proxies[i];
        if (channel_peer_up(channel_server(proxy->channel)) &&
            (!best || proxy->calls < best->calls)) {
            best = proxy;
        }
    }
    return best ? channel_server(best->channel) : NULL;
}

uint64_t proxy_call_begin(struct channel_peer *peer, struct exchange *exchange)
{
    struct proxy_user *user = calloc(1, sizeof *user);
    struct proxy *proxy = proxy_of(peer);
    uint64_t id = user && proxy ? slots_add(&links.calls, user) : 0;
    if (id == 0) {
        free(user);
        return 0;
    }
    *user = (struct proxy_user){exchange, proxy, id, links.users};
    links.users = user;
    proxy->calls++;
    return id;
}

void proxy_call_end(uint64_t id)
{
    struct proxy_user *user = slots_find(&links.calls, id);
    if (!user) {
        return;
    }
    for (struct proxy_user **at = &links.users; *at; at = &(*at)->next) {
        if (*at == user) {
            *at = user->next;
            break;
        }
    }
    user->proxy->calls--;
    slots_remove(&links.calls, id);
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
    struct proxy_user *user = slots_find(&links.calls, call);
    return user && channel_server(user->proxy->channel) == peer ? user->exchange : NULL;
}

/* The union of what proxies send; each begins with its call. */
union from_proxy {
    struct proxy_head head;
    struct proxy_data data;
    struct proxy_end end;
    struct proxy_want want;
};

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
        struct proxy_user *user = links.users;
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

/* ---- opening and closing ---- */

static const struct channel_events vault_events = {on_vault_record, on_vault_up, NULL};
static const struct channel_events proxy_events = {on_proxy_record, on_proxy_lost, on_proxy_lost};

enum status links_open(struct loop *loop)
{
    links.loop = loop;
    enum status status =
        channel_connect(loop, config.vault, "vault", &vault_events, NULL, &links.vault);
    for (size_t i = 0; i < config.proxies->count && status == STATUS_OK; i++) {
        status = channel_connect(loop, config.proxies->values[i], "proxy", &proxy_events, NULL,
                                 &links.proxies[i].channel);
        links.proxy_count += status == STATUS_OK;
    }
    links.sweep_timer = loop_every(loop, SWEEP_MS, sweep, NULL);
    return links.sweep_timer < 0 ? STATUS_INTERNAL : status;
}

void links_close(void)
{
    while (links.first) {
        question_free(links.first);
    }
    while (links.users) {
        proxy_call_end(links.users->id);
    }
    if (links.loop) {
        loop_unevery(links.loop, links.sweep_timer);
    }
    for (size_t i = 0; i < links.proxy_count; i++) {
        channel_close(&links.proxies[i].channel);
    }
    channel_close(&links.vault);
}

bool links_ready(void)
{
    return links.vault && channel_peer_up(channel_server(links.vault)) && proxy_pick() != NULL;
}
