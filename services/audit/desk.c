/* desk.c - takes records in, and acknowledges each after its commit.
 *
 * Each role has its own socket, so what it may send is decided by the door and not by the message.
 * The turn-end function is added before the channels', so acknowledgements leave the same turn. */
#include "services/audit/reading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/channel.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "proto/send.h"

#define KIND(kind) (1u << (kind))

/* What each role may send. */
struct door {
    const char *role;
    unsigned kinds;
    bool may_query;
};
static const struct door doors[] = {
    {"vault", KIND(AUDIT_INTENT) | KIND(AUDIT_DENIED) | KIND(AUDIT_ACCOUNT) | KIND(AUDIT_SYSTEM),
     true},
    {"proxy", KIND(AUDIT_OUTCOME), false},
};
enum { DOOR_COUNT = sizeof doors / sizeof doors[0] };

/* An acknowledgement that waits for the commit. */
struct pending {
    struct channel_peer *peer; /* NULL once it is gone */
    uint64_t call;
    uint64_t seq;
    bool on_disk;        /* already, when it came again */
    uint64_t taken_back; /* ledger_taken_back() when it was staged */
    uint64_t timed_us;   /* when it came (wall clock), if the vault wants to know how long it takes */
};

/* A question that waits for its page. */
struct question {
    struct question *next, **at;
    struct desk *desk;
    struct channel_peer *peer; /* NULL once it is gone */
    uint64_t call;
};

struct open_door {
    struct desk *desk;
    const struct door *door;
    struct channel *channel;
};

struct desk {
    struct loop *loop;
    struct ledger *ledger;
    struct open_door open[DOOR_COUNT];
    struct pending *pending;
    size_t pending_count, pending_capacity;
    bool somebody_waits; /* for what is staged: more than outcomes are, or those for long enough */
    int hold_timer;      /* until then; -1 when nothing is held */
    struct reader *reader;
    struct question *questions;
    uint64_t followed; /* the record up to which the reader was told */
    uint64_t records[AUDIT_SYSTEM + 1];
    uint64_t commits, failures, refused, pages;
    struct histogram commit_took;
    struct tally refusals; /* by what, and from whom */
    struct log_limit limit;
    struct {
        struct channel_peer *peer; /* whose next record is timed; compared and no more */
        uint64_t call, at_us;
    } timing;
};

static void reply(struct channel_peer *peer, const struct schema *schema, const void *message)
{
    enum status status = proto_send(peer, schema, message);
    if (status != STATUS_OK) {
        log_debug("reply", "not sent: %s", status_name(status)); /* it will ask again */
    }
}

static void acknowledge(struct channel_peer *peer, uint64_t call, enum status status,
                        uint64_t seq)
{
    struct audit_ack ack = {call, status_to_wire(status), status == STATUS_OK ? seq : 0};
    reply(peer, &audit_ack_schema, &ack);
}

static void tell_time(const struct pending *pending)
{
    uint64_t now_us = clock_wall_us();
    struct trace_timed timed = {.call = pending->call, .began_us = pending->timed_us};
    timed.took_us = now_us > pending->timed_us ? now_us - pending->timed_us : 0;
    reply(pending->peer, &trace_timed_schema, &timed);
}

/* Commits what is staged and acknowledges all that waits for it.  The daemon's own records may have
 * had it committed earlier in this turn, or taken back, and the numbers given out again. */
static void settle_now(struct desk *desk)
{
    loop_unevery(desk->loop, desk->hold_timer);
    desk->hold_timer = -1;
    desk->somebody_waits = false;
    if (ledger_staged(desk->ledger) > 0) {
        uint64_t began_us = clock_mono_us();
        enum status status = ledger_commit(desk->ledger);
        histogram_add(&desk->commit_took, clock_mono_us() - began_us);
        desk->commits++;
        desk->failures += status != STATUS_OK;
    }
    uint64_t taken_back = ledger_taken_back(desk->ledger);
    for (size_t i = 0; i < desk->pending_count; i++) {
        const struct pending *pending = &desk->pending[i];
        if (pending->peer) {
            if (pending->timed_us) {
                tell_time(pending);
            }
            bool good = pending->on_disk || pending->taken_back == taken_back;
            acknowledge(pending->peer, pending->call,
                        good ? STATUS_OK : STATUS_STORAGE_FULL, pending->seq);
        }
    }
    desk->pending_count = 0;
}

static void held_long_enough(void *arg)
{
    struct desk *desk = arg;
    desk->hold_timer = -1;
    desk->somebody_waits = true; /* the turn's end settles */
}

/* At the end of each turn.  An intent's call waits for it; an outcome's is over, and its proxy keeps it
 * until it is acknowledged: so outcomes alone wait for the next intent, and share its sync. */
static void settle(void *arg)
{
    struct desk *desk = arg;
    if (desk->pending_count == 0) {
        return;
    }
    if (!desk->somebody_waits && ledger_staged(desk->ledger) > 0) {
        if (desk->hold_timer < 0) {
            desk->hold_timer = loop_once(desk->loop, OUTCOME_HOLD_MS, held_long_enough, desk);
        }
        if (desk->hold_timer >= 0) {
            return;
        }
    }
    settle_now(desk);
}

static bool wait_for_commit(struct desk *desk, struct channel_peer *peer, uint64_t call,
                            uint64_t seq)
{
    if (desk->pending_count == desk->pending_capacity) {
        size_t capacity = desk->pending_capacity ? 2 * desk->pending_capacity : 256;
        struct pending *grown = reallocarray(desk->pending, capacity, sizeof *grown);
        if (!grown) {
            return false;
        }
        desk->pending = grown;
        desk->pending_capacity = capacity;
    }
    desk->pending[desk->pending_count++] = (struct pending){
        peer, call, seq, seq <= ledger_head(desk->ledger)->seq, ledger_taken_back(desk->ledger),
        desk->timing.peer == peer && desk->timing.call == call ? desk->timing.at_us : 0};
    desk->timing.peer = NULL;
    return true;
}

static void refuse(struct desk *desk, const struct door *door, const char *what)
{
    uint64_t count;
    desk->refused++;
    tally_add(&desk->refusals, what, door->role);
    if (log_due(&desk->limit, &count)) {
        log_warn("refused", "%s from %s (%llu times)", what, door->role,
                 (unsigned long long)count);
    }
}

/* Another one is meant: the sender's list of audit daemons is not the same as the others'. */
static bool is_for_another(struct desk *desk, const struct door *door, uint64_t shard)
{
    char what[96];
    unsigned own = ledger_shard(desk->ledger);
    if (shard == own) {
        return false;
    }
    (void)snprintf(what, sizeof what, "a message for audit daemon %u, and this is number %u: the lists differ,",
                   (unsigned)shard, own);
    refuse(desk, door, what);
    return true;
}

/* Its instance id is random and new at each start, so a part of it will do. */
static uint64_t process_of(const struct channel_peer *peer)
{
    struct view instance = channel_peer_instance(peer);
    uint64_t process = 0;
    memcpy(&process, instance.data, instance.size < sizeof process ? instance.size : sizeof process);
    return process | 1;
}

static void take_record(struct open_door *open, struct channel_peer *peer, struct view bytes)
{
    struct desk *desk = open->desk;
    struct audit_record record;
    uint64_t seq = 0;
    if (proto_decode(&audit_record_schema, bytes, &record) != STATUS_OK) {
        refuse(desk, open->door, "a malformed record");
        return;
    }
    LOG_ABOUT(record.request, record.tenant);
    if (!(open->door->kinds & KIND(record.kind))) {
        refuse(desk, open->door, "a kind of record that is not its own");
        acknowledge(peer, record.call, STATUS_DENIED, 0);
        return;
    }
    enum status status = is_for_another(desk, open->door, record.shard)
                             ? STATUS_MISDIRECTED
                             : ledger_take(desk->ledger, &record, process_of(peer), &seq);
    if (status != STATUS_OK) {
        acknowledge(peer, record.call, status, 0);
        return;
    }
    desk->records[record.kind]++;
    desk->somebody_waits = desk->somebody_waits || record.kind != AUDIT_OUTCOME;
    if (!wait_for_commit(desk, peer, record.call, seq)) {
        log_error("memory", "no memory for an acknowledgement"); /* it will be sent again */
    }
    if (ledger_staged(desk->ledger) > BATCH_BYTES_MAX) {
        settle_now(desk);
    }
}

static void question_free(struct question *question)
{
    *question->at = question->next;
    if (question->next) {
        question->next->at = question->at;
    }
    free(question);
}

static void send_page(struct desk *desk, struct channel_peer *peer, uint64_t call,
                      const struct reader_page *found)
{
    struct audit_page page = {
        .call = call, .status = status_to_wire(found->status), .next = found->next,
        .records = found->status == STATUS_OK ? found->records : view_text("[]")};
    desk->pages++;
    reply(peer, &audit_page_schema, &page);
}

static void page_found(void *arg, const struct reader_page *found)
{
    struct question *question = arg;
    if (question->peer) {
        send_page(question->desk, question->peer, question->call, found);
    }
    question_free(question);
}

static struct question *question_new(struct desk *desk, struct channel_peer *peer, uint64_t call)
{
    struct question *question = calloc(1, sizeof *question);
    if (question) {
        *question = (struct question){desk->questions, &desk->questions, desk, peer, call};
        if (question->next) {
            question->next->at = &question->next;
        }
        desk->questions = question;
    }
    return question;
}

static void take_query(struct open_door *open, struct channel_peer *peer, struct view bytes)
{
    struct desk *desk = open->desk;
    struct audit_query query;
    if (!open->door->may_query ||
        proto_decode(&audit_query_schema, bytes, &query) != STATUS_OK) {
        refuse(desk, open->door, "a query that is malformed or not permitted");
        return;
    }
    if (is_for_another(desk, open->door, query.shard)) {
        send_page(desk, peer, query.call, &(struct reader_page){.status = STATUS_MISDIRECTED});
        return;
    }
    settle_now(desk); /* so that the page has what came before the question */
    struct files files = ledger_files_of(desk->ledger);
    struct question *question = question_new(desk, peer, query.call);
    enum status status = question ? reader_ask(desk->reader, &files, bytes, page_found, question)
                                  : STATUS_INTERNAL;
    if (status != STATUS_OK) {
        send_page(desk, peer, query.call, &(struct reader_page){.status = status});
        if (question) {
            question_free(question);
        }
    }
}

void desk_follow(struct desk *desk)
{
    uint64_t seq = ledger_head(desk->ledger)->seq;
    if (seq != desk->followed) {
        struct files files = ledger_files_of(desk->ledger);
        reader_follow(desk->reader, &files);
        desk->followed = seq;
    }
}

static void take_running(struct open_door *open, struct view bytes)
{
    struct audit_running running;
    struct name_row row;
    if (!(open->door->kinds & KIND(AUDIT_OUTCOME)) ||
        proto_decode(&audit_running_schema, bytes, &running) != STATUS_OK) {
        refuse(open->desk, open->door, "a list of calls that is malformed or not permitted");
        return;
    }
    if (is_for_another(open->desk, open->door, running.shard)) {
        return;
    }
    while (proto_list_next(&name_row_schema, &running.requests, &row)) {
        ledger_claim(open->desk->ledger, row.name);
    }
}

static void take_time(struct open_door *open, struct channel_peer *peer, struct view bytes)
{
    struct trace_time time;
    if (!open->door->may_query || proto_decode(&trace_time_schema, bytes, &time) != STATUS_OK) {
        refuse(open->desk, open->door, "a wish for times that is malformed or not permitted");
        return;
    }
    open->desk->timing.peer = peer;
    open->desk->timing.call = time.call;
    open->desk->timing.at_us = clock_wall_us();
}

static void on_record(void *arg, struct channel_peer *peer, struct view bytes)
{
    struct open_door *open = arg;
    switch (proto_id(bytes)) {
    case AUDIT_RECORD:
        take_record(open, peer, bytes);
        return;
    case AUDIT_QUERY:
        take_query(open, peer, bytes);
        return;
    case AUDIT_RUNNING:
        take_running(open, bytes);
        return;
    case TRACE_TIME:
        take_time(open, peer, bytes);
        return;
    default:
        refuse(open->desk, open->door, "an unknown message");
    }
}

static void tell_head(struct desk *desk, struct channel_peer *peer)
{
    struct audit_head head = {ledger_checkpoint(desk->ledger)};
    if (head.checkpoint.size > 0) {
        reply(peer, &audit_head_schema, &head);
    }
}

static void on_up(void *arg, struct channel_peer *peer)
{
    struct open_door *open = arg;
    log_info("peer", "a %s is up", open->door->role);
    if (open->door->may_query) { /* the vault: it knows how far the log went */
        (void)ledger_sign(open->desk->ledger); /* nothing it was told of may be missing */
        tell_head(open->desk, peer);
    }
}

void desk_tell_head(struct desk *desk)
{
    for (size_t i = 0; i < DOOR_COUNT; i++) {
        struct channel_peer *peer = NULL;
        while (desk->open[i].door->may_query &&
               (peer = channel_next_peer(desk->open[i].channel, peer)) != NULL) {
            tell_head(desk, peer);
        }
    }
}

static void on_down(void *arg, struct channel_peer *peer)
{
    struct open_door *open = arg;
    struct desk *desk = open->desk;
    for (size_t i = 0; i < desk->pending_count; i++) {
        if (desk->pending[i].peer == peer) {
            desk->pending[i].peer = NULL;
        }
    }
    for (struct question *question = desk->questions; question; question = question->next) {
        question->peer = question->peer == peer ? NULL : question->peer;
    }
    log_info("peer", "a %s is down", open->door->role);
}

enum status desk_open(struct loop *loop, struct ledger *ledger, const char *listen_vault,
                      const char *listen_proxy, struct desk **ret_desk)
{
    static const struct channel_events events = {on_record, on_up, on_down};
    const char *const endpoints[DOOR_COUNT] = {listen_vault, listen_proxy};
    CLEANUP(desk_close) struct desk *desk = calloc(1, sizeof *desk);
    if (!desk) {
        return STATUS_INTERNAL;
    }
    desk->loop = loop;
    desk->ledger = ledger;
    desk->hold_timer = -1;
    enum status status = reader_new(loop, &desk->reader);
    if (status == STATUS_OK) {
        status = loop_turn_end(loop, settle, desk);
    }
    for (size_t i = 0; i < DOOR_COUNT && status == STATUS_OK; i++) {
        desk->open[i] = (struct open_door){desk, &doors[i], NULL};
        status = channel_listen(loop, endpoints[i], doors[i].role, &events, &desk->open[i],
                                &desk->open[i].channel);
    }
    if (status != STATUS_OK) {
        return status;
    }
    *ret_desk = TAKE(desk);
    return STATUS_OK;
}

void desk_close(struct desk **desk)
{
    if (!*desk) {
        return;
    }
    settle_now(*desk);
    reader_free(&(*desk)->reader);
    while ((*desk)->questions) {
        question_free((*desk)->questions);
    }
    loop_unturn_end((*desk)->loop, settle, *desk);
    for (size_t i = 0; i < DOOR_COUNT; i++) {
        channel_close(&(*desk)->open[i].channel);
    }
    free((*desk)->pending);
    free(*desk);
    *desk = NULL;
}

void desk_metrics(const struct desk *desk, struct buffer *text)
{
    static const char *const kinds[] = {"intent", "outcome", "denied", "account", "system"};
    buffer_append_text(text, "# TYPE seks_audit_records_total counter\n");
    for (size_t i = 0; i <= AUDIT_SYSTEM; i++) {
        buffer_printf(text, "seks_audit_records_total{kind=\"%s\"} %llu\n", kinds[i],
                      (unsigned long long)desk->records[i]);
    }
    size_t questions = 0; /* that the reader has */
    for (const struct question *question = desk->questions; question; question = question->next) {
        questions++;
    }
    const struct metric rows[] = {
        {"seks_audit_commits_total", "counter", desk->commits},
        {"seks_audit_commit_failures_total", "counter", desk->failures},
        {"seks_audit_refused_total", "counter", desk->refused},
        {"seks_audit_pages_total", "counter", desk->pages},
        {"seks_audit_questions", "gauge", questions},
        {"seks_audit_running", "gauge", ledger_running(desk->ledger)},
        {"seks_audit_files", "gauge", ledger_files(desk->ledger)},
        {"seks_audit_log_bytes", "gauge", ledger_size(desk->ledger)},
        {"seks_audit_seq", "gauge", ledger_head(desk->ledger)->seq},
        {"seks_audit_shard", "gauge", ledger_shard(desk->ledger)},
    };
    metrics_rows(text, rows, sizeof rows / sizeof rows[0]);
    metrics_tally(text, "seks_audit_refusals_total", "reason", "from", &desk->refusals);
    metrics_histogram(text, "seks_audit_commit_seconds", &desk->commit_took);
}
