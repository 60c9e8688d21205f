/* links.c - the gateway's channel to the vault; proxies.c has those to the proxies.
 *
 * A question stays here with its encoded bytes until it is answered, given up or forgotten, so that
 * a vault that restarts costs its askers a wait and no error. */
#include "services/gateway/gateway.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "services/gateway/slots.h"

enum { SWEEP_MS = 100 };

struct question {
    uint64_t id;
    struct question *next, **at; /* `at`: what points here */
    struct buffer record;
    grant_fn *on_grant; /* an authorize, or */
    answer_fn *on_answer;
    void *arg;
    uint64_t deadline_ms;
    bool sent;
    uint8_t sent_to[CHANNEL_INSTANCE_BYTES];
};

static struct {
    struct loop *loop;
    struct channel *vault;
    struct question *first;
    int sweep_timer;
    struct log_limit limit;
} links = {.sweep_timer = -1};
static struct slots questions; /* large and zero: outside what the program's file holds */

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
    *question->at = question->next;
    if (question->next) {
        question->next->at = question->at;
    }
    slots_remove(&questions, question->id);
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
    uint64_t id = question ? slots_add(&questions, question) : 0;
    if (id == 0) {
        free(question);
        return NULL;
    }
    *question = (struct question){.id = id,
                                  .next = links.first,
                                  .at = &links.first,
                                  .arg = arg,
                                  .deadline_ms = clock_mono_ms() + VAULT_WAIT_MS};
    if (question->next) {
        question->next->at = &question->next;
    }
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

enum status vault_tell(const struct schema *schema, const void *message)
{
    CLEANUP(buffer_free) struct buffer record = BUFFER_EMPTY;
    enum status status = proto_encode(schema, message, &record);
    return status == STATUS_OK
               ? channel_send(channel_server(links.vault), buffer_view(&record))
               : status;
}

void vault_forget(uint64_t id)
{
    struct question *question = slots_find(&questions, id);
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

/* Why the vault does not serve, empty when it does: for /readyz. */
static char vault_state[STATE_MAX + 1];

static void on_state(struct view record)
{
    struct vault_state state;
    if (proto_decode(&vault_state_schema, record, &state) != STATUS_OK ||
        !view_copy(state.text, vault_state, sizeof vault_state)) {
        complain("the vault sent a malformed state");
    }
}

static void on_grant(struct view record)
{
    struct vault_grant grant;
    if (proto_decode(&vault_grant_schema, record, &grant) != STATUS_OK) {
        complain("the vault sent a malformed grant");
        return;
    }
    struct question *question = slots_find(&questions, grant.call);
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
    struct question *question = slots_find(&questions, answer.call);
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
    case VAULT_STATE:
        on_state(record);
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

/* ---- opening and closing ---- */

static const struct channel_events vault_events = {on_vault_record, on_vault_up, NULL};

enum status links_open(struct loop *loop)
{
    links.loop = loop;
    enum status status =
        channel_connect(loop, config.vault, "vault", &vault_events, NULL, &links.vault);
    if (status == STATUS_OK) {
        status = proxies_open(loop);
    }
    links.sweep_timer = loop_every(loop, SWEEP_MS, sweep, NULL);
    return links.sweep_timer < 0 ? STATUS_INTERNAL : status;
}

void links_close(void)
{
    while (links.first) {
        question_free(links.first);
    }
    if (links.loop) {
        loop_unevery(links.loop, links.sweep_timer);
    }
    proxies_close();
    channel_close(&links.vault);
}

size_t links_questions(void)
{
    return questions.count;
}

const char *links_unready(void)
{
    if (!links.vault || !channel_peer_up(channel_server(links.vault))) {
        return "the vault does not answer";
    }
    if (vault_state[0]) {
        return vault_state;
    }
    return proxy_any() ? NULL : "no proxy answers";
}

bool links_ready(void)
{
    return links_unready() == NULL;
}
