/* audit_link.c - records on their way to the audit daemon.
 *
 * Each waits under its number until it is acknowledged or its deadline has passed; what waits is
 * sent again whenever the daemon comes up, because it may be a new process that never saw it.  An
 * acknowledgement for a number that no longer waits changes nothing.
 */
#include "vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 1024,
    WAITS_MAX = 16384,      /* with their records at most 9 KiB each */
    TELL_MAX = 2048,        /* of those, records that nobody waits for */
    TELL_LIFE_MS = 60000,
    SWEEP_MS = 50,
};

struct wait {
    struct wait *next, *prev;     /* all, oldest first */
    struct wait *bucket_next;
    uint64_t call;
    uint64_t deadline_ms;
    struct view record;           /* encoded; owned */
    audit_done *done;             /* NULL: nobody waits */
    void *arg;
};

struct audit_link {
    struct loop *loop;
    struct channel *channel;
    int timer;
    struct wait head; /* of the ring of all */
    struct wait *buckets[BUCKETS];
    struct buffer encoded; /* scratch */
    size_t waiting, telling;
    uint64_t next_call;
    uint64_t lost;
    uint64_t gap_began_ms;   /* 0: the log can be written */
    uint64_t gap_refused;    /* requests, since then */
    uint64_t acked;          /* the highest number that was acknowledged */
    struct audit_mark *mark; /* borrowed; NULL for none */
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
    if (!wait->done) {
        link->telling--;
    }
}

/* The log could not be written for a while: that is a record too, once it can. */
static void end_gap(struct audit_link *link)
{
    char text[96], id[ID_SIZE_MAX + 1];
    struct audit_record record = audit_blank(AUDIT_SYSTEM, "audit.gap", VIEW(""));
    id_new("gap", id); /* so that one sent again is known */
    record.request = view_text(id);
    (void)snprintf(text, sizeof text, "the log could not be written: %llu requests refused",
                   (unsigned long long)link->gap_refused);
    record.reason = view_text(text);
    record.duration_ms = clock_mono_ms() - link->gap_began_ms;
    link->gap_began_ms = link->gap_refused = 0;
    log_warn("audit", "%s in %llu ms", text, (unsigned long long)record.duration_ms);
    audit_tell(link, &record);
}

static void watch_gap(struct audit_link *link, enum status status)
{
    if (status == STATUS_STORAGE_FULL || status == STATUS_UNAVAILABLE) {
        if (link->gap_began_ms == 0) {
            link->gap_began_ms = clock_mono_ms();
        }
        link->gap_refused++;
    }
}

static void end_wait(struct audit_link *link, struct wait *wait, const struct audit_result *result)
{
    take_out(link, wait);
    if (wait->done) {
        watch_gap(link, result->status);
        wait->done(wait->arg, result);
    } else if (result->status != STATUS_OK) {
        link->lost++;
    }
    free(wait);
}

static void send_wait(struct audit_link *link, const struct wait *wait)
{
    if (link->channel) {
        /* When the peer is not up it is sent once it comes up, or its deadline passes. */
        (void)!channel_send(channel_server(link->channel), wait->record);
    }
}

static void peer_up(void *arg, struct channel_peer *peer)
{
    struct audit_link *link = arg;
    (void)peer;
    log_info("audit", "the audit daemon is up; %zu records wait", link->waiting);
    for (struct wait *wait = link->head.next; wait != &link->head; wait = wait->next) {
        send_wait(link, wait);
    }
}

static void peer_down(void *arg, struct channel_peer *peer)
{
    (void)arg;
    (void)peer;
    log_warn("audit", "the audit daemon does not answer: calls are refused until it does");
}

void audit_link_mark(struct audit_link *link, struct audit_mark *mark)
{
    link->mark = mark;
}

static void take_head(struct audit_link *link, struct view checkpoint)
{
    char text[AUDIT_MARK_TEXT];
    if (!link->mark || audit_mark_take(link->mark, checkpoint, link->acked, text)) {
        return;
    }
    link->acked = 0; /* said once */
    log_error("audit", "%s: it was cut, or an old copy put back", text);
    struct audit_record record = audit_blank(AUDIT_SYSTEM, "audit.rewound", VIEW(""));
    record.reason = view_text(text);
    audit_tell(link, &record);
}

void audit_take_record(struct audit_link *link, struct view record)
{
    struct audit_head head;
    struct audit_ack ack;
    struct audit_page page;
    struct audit_result result = {STATUS_OK, {NULL, 0}, 0};
    uint64_t call;
    if (proto_decode(&audit_ack_schema, record, &ack) == STATUS_OK) {
        call = ack.call;
        result.status = status_from_wire((unsigned)ack.status);
        link->acked = ack.seq > link->acked ? ack.seq : link->acked;
    } else if (proto_decode(&audit_page_schema, record, &page) == STATUS_OK) {
        call = page.call;
        result = (struct audit_result){status_from_wire((unsigned)page.status), page.records,
                                       page.next};
    } else if (proto_decode(&audit_head_schema, record, &head) == STATUS_OK) {
        take_head(link, head.checkpoint);
        return;
    } else {
        log_warn("audit", "the audit daemon sent a malformed message");
        return;
    }
    struct wait *wait = *place_of(link, call);
    if (wait) {
        end_wait(link, wait, &result);
    }
    if (link->gap_began_ms > 0 && result.status == STATUS_OK) {
        end_gap(link);
    }
}

static void record_came(void *arg, struct channel_peer *peer, struct view record)
{
    (void)peer;
    audit_take_record(arg, record);
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
            end_wait(link, wait, &late);
        }
    }
}

enum status audit_link_new(struct loop *loop, const char *endpoint, struct audit_link **ret_link)
{
    static const struct channel_events events = {record_came, peer_up, peer_down};
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
    if (endpoint) {
        enum status status = channel_connect(loop, endpoint, "audit", &events, link,
                                             &link->channel);
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
    channel_close(&(*link)->channel);
    while ((*link)->head.next && (*link)->head.next != &(*link)->head) {
        struct wait *wait = (*link)->head.next;
        take_out(*link, wait);
        free(wait);
    }
    buffer_free(&(*link)->encoded);
    free(*link);
    *link = NULL;
}

/* Queues an encoded message under number CALL and sends it. */
static enum status add_wait(struct audit_link *link, const struct schema *schema,
                            const void *message, uint64_t call, uint64_t life_ms,
                            audit_done *done, void *arg)
{
    buffer_clear(&link->encoded);
    enum status status = proto_encode(schema, message, &link->encoded);
    if (status != STATUS_OK) {
        return status;
    }
    size_t size = link->encoded.size;
    struct wait *wait = link->waiting < WAITS_MAX ? malloc(sizeof *wait + size) : NULL;
    if (!wait) {
        return STATUS_UNAVAILABLE;
    }
    memcpy(wait + 1, link->encoded.data, size);
    *wait = (struct wait){&link->head, link->head.prev, NULL, call, clock_mono_ms() + life_ms,
                          view_of(wait + 1, size), done, arg};
    wait->prev->next = wait;
    link->head.prev = wait;
    *place_of(link, call) = wait;
    link->waiting++;
    if (!done) {
        link->telling++;
    }
    send_wait(link, wait);
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
    enum status status = add_wait(link, &audit_record_schema, record, record->call,
                                  AUDIT_DEADLINE_MS, done, arg);
    watch_gap(link, status); /* refused at once, when too many wait */
    return status;
}

void audit_tell(struct audit_link *link, struct audit_record *record)
{
    record->call = link->next_call++;
    if (link->telling >= TELL_MAX ||
        add_wait(link, &audit_record_schema, record, record->call, TELL_LIFE_MS, NULL, NULL) !=
            STATUS_OK) {
        link->lost++;
    }
}

enum status audit_ask(struct audit_link *link, struct audit_query *query, audit_done *done,
                      void *arg)
{
    query->call = link->next_call++;
    return add_wait(link, &audit_query_schema, query, query->call, AUDIT_DEADLINE_MS, done, arg);
}

bool audit_up(const struct audit_link *link)
{
    return link && link->channel && channel_peer_up(channel_server(link->channel));
}

size_t audit_waiting(const struct audit_link *link)
{
    return link->waiting;
}

uint64_t audit_lost(const struct audit_link *link)
{
    return link->lost;
}
