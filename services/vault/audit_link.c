/* audit_link.c - records on their way to the audit daemons.
 *
 * There may be several, each for some of the tenants (shards.c); each has its own connection, its own share of
 * what may wait and its own gaps, so that one that is away holds up nothing of the others'.
 * Each waits under its number until it is acknowledged or its deadline has passed; what waits is
 * sent again whenever the daemon comes up, because it may be a new process that never saw it.  An
 * acknowledgement for a number that no longer waits changes nothing.
 */
#include "timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 1024,
    WAITS_MAX = 16384,      /* of one daemon; with their records at most 9 KiB each */
    TELL_MAX = 2048,        /* of those, records that nobody waits for */
    TELL_LIFE_MS = 60000,
    SWEEP_MS = 50,
};

struct wait {
    struct wait *next, *prev;     /* all, oldest first */
    struct wait *bucket_next;
    struct shard *shard;
    uint64_t call;
    uint64_t deadline_ms;
    struct view record;           /* encoded; owned */
    audit_done *done;             /* NULL: nobody waits */
    void *arg;
};

/* One audit daemon. */
struct shard {
    struct audit_link *link;
    const char *endpoint;    /* borrowed; NULL in tests */
    struct channel *channel;
    unsigned number;
    size_t waiting, telling;
    uint64_t gap_began_ms;   /* 0: the log can be written */
    uint64_t gap_refused;    /* requests, since then */
    uint64_t acked;          /* the highest number that was acknowledged */
    struct audit_mark *mark; /* borrowed; NULL for none */
    struct log_limit wrong;  /* it says that it is another one */
};

struct audit_link {
    struct loop *loop;
    struct shard shards[AUDIT_SHARDS_MAX];
    unsigned count;
    int timer;
    struct wait head; /* of the ring of all */
    struct wait *buckets[BUCKETS];
    struct buffer encoded; /* scratch */
    size_t waiting;
    uint64_t next_call;
    uint64_t lost;
    struct log_limit shorter; /* this list than another vault's */
    bool time_next;          /* the next record is to be timed */
    struct trace_timed timed; /* what audit told last; of the record that is acknowledged now, or none */
};

static struct wait **place_of(struct audit_link *link, uint64_t call)
{
    struct wait **place = &link->buckets[call % BUCKETS];
    while (*place && (*place)->call != call) {
        place = &(*place)->bucket_next;
    }
    return place;
}

/* Takes WAIT out of the link; the caller frees it. */
static void take_out(struct audit_link *link, struct wait *wait)
{
    *place_of(link, wait->call) = wait->bucket_next;
    wait->prev->next = wait->next;
    wait->next->prev = wait->prev;
    link->waiting--;
    wait->shard->waiting--;
    if (!wait->done) {
        wait->shard->telling--;
    }
}

/* The log could not be written for a while: that is a record too, once it can. */
static void end_gap(struct shard *shard)
{
    char text[96], id[ID_SIZE_MAX + 1];
    struct audit_record record = audit_blank(AUDIT_SYSTEM, "audit.gap", VIEW(""));
    record.shard = shard->number;
    id_new("gap", id); /* so that one sent again is known */
    record.request = view_text(id);
    (void)snprintf(text, sizeof text, "the log could not be written: %llu requests refused",
                   (unsigned long long)shard->gap_refused);
    record.reason = view_text(text);
    record.duration_ms = clock_mono_ms() - shard->gap_began_ms;
    shard->gap_began_ms = shard->gap_refused = 0;
    log_warn("audit", "audit-%u: %s in %llu ms", shard->number, text, (unsigned long long)record.duration_ms);
    audit_tell(shard->link, &record);
}

static void watch_gap(struct shard *shard, enum status status)
{
    if (status == STATUS_STORAGE_FULL || status == STATUS_UNAVAILABLE || status == STATUS_MISDIRECTED) {
        if (shard->gap_began_ms == 0) {
            shard->gap_began_ms = clock_mono_ms();
        }
        shard->gap_refused++;
    }
}

static void end_wait(struct audit_link *link, struct wait *wait, const struct audit_result *result)
{
    take_out(link, wait);
    if (wait->done) {
        watch_gap(wait->shard, result->status);
        wait->done(wait->arg, result);
    } else if (result->status != STATUS_OK) {
        link->lost++;
    }
    free(wait);
}

static void send_wait(const struct wait *wait)
{
    if (wait->shard->channel) {
        /* When the peer is not up it is sent once it comes up, or its deadline passes. */
        (void)!channel_send(channel_server(wait->shard->channel), wait->record);
    }
}

void audit_time_next(struct audit_link *link, bool timed)
{
    link->time_next = timed;
}

const struct trace_timed *audit_timed(const struct audit_link *link)
{
    return &link->timed;
}

/* Right before the record CALL. */
static void send_time(struct audit_link *link, uint64_t number, uint64_t call)
{
    struct trace_time time = {call};
    link->time_next = false;
    if (number < link->count && link->shards[number].channel) {
        vault_send(channel_server(link->shards[number].channel), &trace_time_schema, &time);
    }
}

static void peer_up(void *arg, struct channel_peer *peer)
{
    struct shard *shard = arg;
    struct audit_link *link = shard->link;
    (void)peer;
    log_info("audit", "audit-%u is up; %zu records wait", shard->number, shard->waiting);
    for (struct wait *wait = link->head.next; wait != &link->head; wait = wait->next) {
        if (wait->shard == shard) {
            send_wait(wait);
        }
    }
}

static void peer_down(void *arg, struct channel_peer *peer)
{
    struct shard *shard = arg;
    (void)peer;
    log_warn("audit", "audit-%u does not answer: calls of its tenants are refused until it does", shard->number);
}

void audit_link_mark(struct audit_link *link, unsigned number, struct audit_mark *mark)
{
    link->shards[number].mark = mark;
}

static void take_head(struct shard *shard, struct view checkpoint)
{
    char text[AUDIT_MARK_TEXT];
    if (!shard->mark || audit_mark_take(shard->mark, checkpoint, shard->acked, text)) {
        return;
    }
    shard->acked = 0; /* said once */
    log_error("audit", "audit-%u: %s: it was cut, or an old copy put back", shard->number, text);
    struct audit_record record = audit_blank(AUDIT_SYSTEM, "audit.rewound", VIEW(""));
    record.shard = shard->number;
    record.reason = view_text(text);
    audit_tell(shard->link, &record);
}

/* Its own number is not its place in our list. */
static void watch_place(struct shard *shard, enum status status)
{
    uint64_t count;
    if (status == STATUS_MISDIRECTED && log_due(&shard->wrong, &count)) {
        log_error("audit", "what answers at %s says that it is not audit-%u: the order of --audit, or that "
                           "daemon's --shard, is wrong (%llu times)",
                  shard->endpoint ? shard->endpoint : "-", shard->number, (unsigned long long)count);
    }
}

static void take_record(struct shard *shard, struct view record)
{
    struct audit_link *link = shard->link;
    struct audit_head head;
    struct audit_ack ack;
    struct audit_page page;
    struct audit_result result = {STATUS_OK, {NULL, 0}, 0};
    uint64_t call;
    if (proto_decode(&audit_ack_schema, record, &ack) == STATUS_OK) {
        call = ack.call;
        result.status = status_from_wire((unsigned)ack.status);
        shard->acked = ack.seq > shard->acked ? ack.seq : shard->acked;
        link->timed = link->timed.call == call ? link->timed : (struct trace_timed){0};
    } else if (proto_decode(&audit_page_schema, record, &page) == STATUS_OK) {
        call = page.call;
        result = (struct audit_result){status_from_wire((unsigned)page.status), page.records,
                                       page.next};
    } else if (proto_decode(&audit_head_schema, record, &head) == STATUS_OK) {
        take_head(shard, head.checkpoint);
        return;
    } else if (proto_decode(&trace_timed_schema, record, &link->timed) == STATUS_OK) {
        return;
    } else {
        log_warn("audit", "audit-%u sent a malformed message", shard->number);
        return;
    }
    struct wait *wait = *place_of(link, call);
    watch_place(shard, result.status);
    if (wait && wait->shard == shard) {
        end_wait(link, wait, &result);
    }
    if (shard->gap_began_ms > 0 && result.status == STATUS_OK) {
        end_gap(shard);
    }
}

void audit_take_record(struct audit_link *link, struct view record)
{
    take_record(&link->shards[0], record);
}

static void record_came(void *arg, struct channel_peer *peer, struct view record)
{
    (void)peer;
    take_record(arg, record);
}

/* Deadlines differ between the two kinds, so all are looked at; a few thousand at worst. */
static void sweep(void *arg)
{
    struct audit_link *link = arg;
    uint64_t now_ms = clock_mono_ms();
    struct audit_result late = {STATUS_UNAVAILABLE, {NULL, 0}, 0};
    struct wait *next;
    for (struct wait *wait = link->head.next; wait != &link->head; wait = next) {
        next = wait->next;
        if (wait->deadline_ms <= now_ms) {
            link->timed = (struct trace_timed){0};
            end_wait(link, wait, &late);
        }
    }
}

static enum status open_shard(struct audit_link *link, const char *endpoint)
{
    static const struct channel_events events = {record_came, peer_up, peer_down};
    struct shard *shard = &link->shards[link->count];
    for (unsigned i = 0; i < link->count; i++) {
        if (strcmp(link->shards[i].endpoint, endpoint) == 0) {
            log_error("audit", "--audit names %s twice", endpoint);
            return STATUS_INVALID;
        }
    }
    *shard = (struct shard){.link = link, .endpoint = endpoint, .number = link->count++};
    return channel_connect(link->loop, endpoint, "audit", &events, shard, &shard->channel);
}

enum status audit_link_new(struct loop *loop, const struct option_list *endpoints,
                           struct audit_link **ret_link)
{
    CLEANUP(audit_link_free) struct audit_link *link = calloc(1, sizeof *link);
    if (!link) {
        return STATUS_INTERNAL;
    }
    link->loop = loop;
    link->head.next = link->head.prev = &link->head;
    link->next_call = 1;
    link->timer = loop_every(loop, SWEEP_MS, sweep, link);
    if (link->timer < 0) {
        return STATUS_INTERNAL;
    }
    for (size_t i = 0; i < endpoints->count; i++) {
        enum status status = open_shard(link, endpoints->values[i]);
        if (status != STATUS_OK) {
            return status;
        }
    }
    *ret_link = TAKE(link);
    return STATUS_OK;
}

/* Waiting callers are not called: they are going away too. */
void audit_link_free(struct audit_link **link)
{
    if (!*link) {
        return;
    }
    if ((*link)->timer >= 0) {
        loop_unevery((*link)->loop, (*link)->timer);
    }
    for (unsigned i = 0; i < (*link)->count; i++) {
        channel_close(&(*link)->shards[i].channel);
    }
    while ((*link)->head.next && (*link)->head.next != &(*link)->head) {
        struct wait *wait = (*link)->head.next;
        take_out(*link, wait);
        free(wait);
    }
    buffer_free(&(*link)->encoded);
    free(*link);
    *link = NULL;
}

/* One daemon that does not answer may not take all that may be in progress at once. */
static size_t waits_max(const struct audit_link *link)
{
    return link->count > 1 ? PENDING_MAX / link->count : WAITS_MAX;
}

/* Queues an encoded message for daemon NUMBER under number CALL and sends it. */
static enum status add_wait(struct audit_link *link, uint64_t number, const struct schema *schema,
                            const void *message, uint64_t call, uint64_t life_ms,
                            audit_done *done, void *arg)
{
    if (number >= link->count) {
        return STATUS_UNAVAILABLE;
    }
    struct shard *shard = &link->shards[number];
    buffer_clear(&link->encoded);
    enum status status = proto_encode(schema, message, &link->encoded);
    if (status != STATUS_OK) {
        return status;
    }
    size_t size = link->encoded.size;
    struct wait *wait = shard->waiting < waits_max(link) ? malloc(sizeof *wait + size) : NULL;
    if (!wait) {
        return STATUS_UNAVAILABLE;
    }
    memcpy(wait + 1, link->encoded.data, size);
    *wait = (struct wait){&link->head, link->head.prev, NULL, shard, call, clock_mono_ms() + life_ms,
                          view_of(wait + 1, size), done, arg};
    wait->prev->next = wait;
    link->head.prev = wait;
    *place_of(link, call) = wait;
    link->waiting++;
    shard->waiting++;
    if (!done) {
        shard->telling++;
    }
    send_wait(wait);
    return STATUS_OK;
}

struct audit_record audit_blank(enum audit_kind kind, const char *action, struct view request)
{
    struct audit_record record = {0};
    record.kind = kind;
    record.action = view_text(action);
    record.request = request;
    record.status = record.bytes_in = record.bytes_out = record.duration_ms = AUDIT_NONE;
    return record;
}

enum status audit_submit(struct audit_link *link, struct audit_record *record, audit_done *done,
                         void *arg)
{
    record->call = link->next_call++;
    if (link->time_next) {
        send_time(link, record->shard, record->call);
    }
    enum status status = add_wait(link, record->shard, &audit_record_schema, record, record->call,
                                  AUDIT_DEADLINE_MS, done, arg);
    if (record->shard < link->count) {
        watch_gap(&link->shards[record->shard], status); /* refused at once, when too many wait */
    }
    return status;
}

void audit_tell(struct audit_link *link, struct audit_record *record)
{
    record->call = link->next_call++;
    if (record->shard >= link->count || link->shards[record->shard].telling >= TELL_MAX ||
        add_wait(link, record->shard, &audit_record_schema, record, record->call, TELL_LIFE_MS, NULL, NULL) !=
            STATUS_OK) {
        link->lost++;
    }
}

enum status audit_ask(struct audit_link *link, struct audit_query *query, audit_done *done,
                      void *arg)
{
    query->call = link->next_call++;
    return add_wait(link, query->shard, &audit_query_schema, query, query->call, AUDIT_DEADLINE_MS, done, arg);
}

unsigned audit_shards(const struct audit_link *link)
{
    return link ? link->count : 0;
}

unsigned audit_shards_up(const struct audit_link *link)
{
    unsigned up = 0;
    for (unsigned i = 0; link && i < link->count; i++) {
        const struct shard *shard = &link->shards[i];
        up += shard->channel && channel_peer_up(channel_server(shard->channel));
    }
    return up;
}

bool audit_knows(struct audit_link *link, uint64_t spread)
{
    uint64_t count;
    if (spread > link->count && log_due(&link->shorter, &count)) {
        log_error("audit", "a gateway spreads tenants over %u audit daemons, and this vault's --audit has %u: the "
                           "vaults' lists differ (%llu times)",
                  (unsigned)spread, link->count, (unsigned long long)count);
    }
    return spread <= link->count;
}

unsigned audit_shard(const struct audit_link *link, struct view tenant, uint64_t spread)
{
    return shard_of(tenant, spread > 0 && spread < link->count ? (unsigned)spread : link->count);
}

bool audit_up(const struct audit_link *link)
{
    return link && audit_shards_up(link) == link->count;
}

size_t audit_waiting(const struct audit_link *link)
{
    return link->waiting;
}

uint64_t audit_lost(const struct audit_link *link)
{
    return link->lost;
}
