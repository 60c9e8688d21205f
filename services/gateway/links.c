/* links.c - the gateway's questions to the vaults (peers.c).
 *
 * A question stays here with its encoded bytes until it is answered, given up or forgotten, and is asked
 * again of another vault, or of a restarted one, when the one that had it does not answer: that costs
 * its asker a wait and no error.  Asking twice does nothing twice: the audit log takes the record of a
 * request once, and nothing is done before that record is on disk. */
#include "services/gateway/gateway.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "services/gateway/peers.h"
#include "services/gateway/slots.h"

enum { SWEEP_MS = 100 };

struct question {
    uint64_t id;
    struct question *next, **at; /* `at`: what points here */
    struct buffer record;
    grant_fn *on_grant; /* an authorize, or */
    answer_fn *on_answer;
    void *arg;
    uint64_t asked_ms;
    struct peer *vault; /* that has it, NULL for none */
    bool sent;
    bool timed; /* the vault is asked how long it takes, too */
    uint8_t sent_to[CHANNEL_INSTANCE_BYTES]; /* the last process that was asked */
};

static struct {
    struct loop *loop;
    struct peers *vaults;
    struct question *first;
    int sweep_timer;
    uint64_t shards; /* the last that shards_known() knew */
    struct log_limit limit, differ;
    bool time_next;
    struct trace_timed timed; /* what a vault told last */
} links = {.sweep_timer = -1};
static struct slots questions; /* large and zero: outside what the program's file holds */

static void complain(const char *what)
{
    uint64_t count;
    if (log_due(&links.limit, &count)) {
        log_warn("peer", "%s (%llu times)", what, (unsigned long long)count);
    }
}

/* ---- questions ---- */

static void take_back(struct question *question)
{
    if (question->vault) {
        peer_leave(question->vault);
        question->vault = NULL;
    }
}

static void question_free(struct question *question)
{
    take_back(question);
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
        return;
    }
    const struct vault_answer answer = {
        .detail = copy.sent ? VIEW("no vault answered in time: whether it was done is not known")
                            : VIEW("no vault is there: nothing was done, try again"),
    };
    copy.on_answer(copy.arg, STATUS_UNAVAILABLE, &answer);
}

/* Gives it to the best vault; it waits when there is none. */
static void question_send(struct question *question)
{
    struct peer *vault = peers_best(links.vaults);
    if (!vault) {
        return;
    }
    struct channel_peer *peer = peer_channel(vault);
    struct view instance = channel_peer_instance(peer);
    bool has_it = question->sent &&
                  view_equal(instance, view_of(question->sent_to, sizeof question->sent_to));
    struct trace_time time = {question->id};
    if (!has_it && question->timed) {
        (void)!proxy_send(peer, &trace_time_schema, &time); /* without it there is a span less */
    }
    if (!has_it && channel_send(peer, buffer_view(&question->record)) != STATUS_OK) {
        return;
    }
    question->sent = true;
    memcpy(question->sent_to, instance.data, sizeof question->sent_to);
    question->vault = vault;
    peer_take(vault);
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
                                  .asked_ms = clock_mono_ms(),
                                  .timed = links.time_next};
    links.time_next = false;
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

/* Over how many audit daemons tenants are spread: as many as all vaults that are there know.  What is asked
 * again goes with the same number, and so to the same audit daemon, while their lists grow. */
static uint64_t shards_known(void)
{
    uint64_t least = 0, count;
    bool differ = false;
    for (struct peer *vault = peers_next(links.vaults, NULL); vault; vault = peers_next(links.vaults, vault)) {
        if (vault->shards > 0 && channel_peer_up(peer_channel(vault))) {
            differ = differ || (least > 0 && vault->shards != least);
            least = least == 0 || vault->shards < least ? vault->shards : least;
        }
    }
    if (differ && log_due(&links.differ, &count)) {
        log_warn("peer", "the vaults have lists of audit daemons that differ; the shortest holds, with %u",
                 (unsigned)least);
    }
    links.shards = least > 0 ? least : links.shards;
    return links.shards;
}

uint64_t vault_authorize_send(struct vault_authorize *message, grant_fn *fn, void *arg)
{
    struct question *question = question_new(arg);
    if (!question) {
        return 0;
    }
    question->on_grant = fn;
    message->call = question->id;
    message->shards = shards_known();
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
    message->shards = shards_known();
    return question_ask(question, &vault_ask_schema, message);
}

enum status vault_tell(const struct schema *schema, const void *message)
{
    CLEANUP(buffer_free) struct buffer record = BUFFER_EMPTY;
    enum status status = proto_encode(schema, message, &record);
    const struct peer *vault = peers_best(links.vaults);
    if (status == STATUS_OK) {
        status = vault ? channel_send(peer_channel(vault), buffer_view(&record))
                       : STATUS_UNAVAILABLE;
    }
    return status;
}

void vault_time_next(void)
{
    links.time_next = true;
}

const struct trace_timed *vault_timed(uint64_t call)
{
    return links.timed.call == call ? &links.timed : NULL;
}

void vault_forget(uint64_t id)
{
    struct question *question = slots_find(&questions, id);
    if (question) {
        question_free(question);
    }
}

/* ---- what the vaults say ---- */

static void on_vault_up(struct peer *vault)
{
    (void)vault;
    for (struct question *question = links.first; question; question = question->next) {
        if (!question->vault) {
            question_send(question);
        }
    }
}

static void on_vault_lost(struct peer *vault)
{
    for (struct question *question = links.first; question; question = question->next) {
        if (question->vault == vault) {
            take_back(question);
            question_send(question);
        }
    }
}

static void on_state(struct peer *vault, struct view record)
{
    struct vault_state state;
    if (proto_decode(&vault_state_schema, record, &state) != STATUS_OK ||
        !view_copy(state.text, vault->closed, sizeof vault->closed)) {
        complain("a vault sent a malformed state");
        return;
    }
    vault->avoid = state.avoid;
    vault->leaving = state.leaving;
    vault->shards = state.shards;
}

/* Whether it is asked of another vault, since this one's door is closed. */
static bool ask_elsewhere(struct question *question, const struct peer *vault, enum status status)
{
    const struct peer *best = peers_best(links.vaults);
    if (status != STATUS_UNAVAILABLE) {
        return false;
    }
    if (question->vault != vault) {
        return true; /* it was asked of another one since */
    }
    if (!vault->closed[0] || !best || peer_fitness(best) != PEER_GOOD) {
        return false;
    }
    take_back(question);
    question_send(question);
    return true;
}

static void on_grant(struct peer *vault, struct view record)
{
    struct vault_grant grant;
    if (proto_decode(&vault_grant_schema, record, &grant) != STATUS_OK) {
        complain("a vault sent a malformed grant");
        return;
    }
    struct question *question = slots_find(&questions, grant.call);
    enum status status = status_from_wire((unsigned)grant.status);
    if (question && question->on_grant && !ask_elsewhere(question, vault, status)) {
        grant_fn *fn = question->on_grant;
        void *to = question->arg;
        question_free(question);
        fn(to, status, &grant);
    }
}

static void on_answer(struct peer *vault, struct view record)
{
    struct vault_answer answer;
    if (proto_decode(&vault_answer_schema, record, &answer) != STATUS_OK) {
        complain("a vault sent a malformed answer");
        return;
    }
    struct question *question = slots_find(&questions, answer.call);
    enum status status = status_from_wire((unsigned)answer.status);
    if (question && question->on_answer && !ask_elsewhere(question, vault, status)) {
        answer_fn *fn = question->on_answer;
        void *to = question->arg;
        question_free(question);
        fn(to, status, &answer);
    }
}

static void on_vault_record(struct peer *vault, struct view record)
{
    switch (proto_id(record)) {
    case VAULT_GRANT:
        on_grant(vault, record);
        return;
    case VAULT_ANSWER:
        on_answer(vault, record);
        return;
    case VAULT_STATE:
        on_state(vault, record);
        return;
    case TRACE_TIMED:
        if (proto_decode(&trace_timed_schema, record, &links.timed) != STATUS_OK) {
            complain("the vault sent a malformed time");
        }
        return;
    default:
        complain("a vault sent what it may not send");
    }
}

/* ---- the time that passes ---- */

/* A vault that is silent may have died: another one is asked, if there is a good one. */
static bool is_due_elsewhere(const struct question *question)
{
    if (!question->vault) {
        return true;
    }
    const struct peer *best = peer_quiet(question->vault) ? peers_best(links.vaults) : NULL;
    return best && peer_fitness(best) == PEER_GOOD;
}

static void sweep(void *arg)
{
    uint64_t now = clock_mono_ms();
    (void)arg;
    for (struct question *question = links.first, *next; question; question = next) {
        next = question->next;
        if (now >= question->asked_ms + VAULT_WAIT_MS) {
            give_up(question);
        } else if (is_due_elsewhere(question)) {
            take_back(question);
            question_send(question);
        }
    }
}

/* ---- opening and closing ---- */

enum status links_open(struct loop *loop)
{
    static const struct peers_kind kind = {"vault", true, on_vault_record, on_vault_up,
                                           on_vault_lost};
    links.loop = loop;
    enum status status = peers_open(loop, &kind, config.vaults, &links.vaults);
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
    peers_close(&links.vaults);
}

size_t links_questions(void)
{
    return questions.count;
}

const char *links_unready(void)
{
    const struct peer *vault = peers_best(links.vaults);
    if (!vault) {
        return "the vault does not answer";
    }
    if (vault->closed[0]) {
        return vault->closed;
    }
    return proxy_any() ? NULL : "no proxy answers";
}

bool links_ready(void)
{
    return links_unready() == NULL;
}

void links_metrics(struct buffer *text)
{
    peers_metrics(links.vaults, text);
}
