/* recent.c - which requests have a record already, for the last RECENT_MAX records.
 *
 * An intent, an outcome, or what an account did, is known by its request id alone, any other record by
 * all its fields too.  And a record is only the same one when its sender sent just that again, under the
 * same number; a gateway that asks twice with one request id is refused the second time, whichever
 * vault it asks: so it can ask again when one does not answer, and nothing is done twice.
 * A ring of entries with chains from a table of heads; a colliding hash cannot make two requests
 * one, for the id itself is compared. */
#include "services/audit/audit.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crypto.h"

enum {
    NONE = 0, /* chains hold index + 1 */
    HEADS = 4 * RECENT_MAX, /* so that most chains have one entry: each more is a miss of the caches */
    UNKNOWN_SENDER_MS = 10000, /* a gateway gives up after 5 s, a vault before */
};

struct entry {
    struct known known; /* its kind is 0 for an unused entry */
    uint64_t seq;
    struct sender sender;
    uint32_t next;
};

struct recent {
    uint64_t seed; /* so that nobody can choose ids that share a chain */
    uint64_t began_ms;
    size_t newest; /* where the next one goes */
    uint32_t heads[HEADS];
    struct entry entries[RECENT_MAX];
};

struct recent *recent_new(void)
{
    struct recent *recent = calloc(1, sizeof *recent);
    if (recent) {
        crypto_random(&recent->seed, sizeof recent->seed);
        recent->began_ms = clock_mono_ms();
    }
    return recent;
}

void recent_free(struct recent **recent)
{
    free(*recent);
    *recent = NULL;
}

static bool known_by_id(const struct known *known)
{
    return known->kind == 'i' || known->kind == 'o' || known->kind == 'a';
}

static uint64_t key_of(const struct recent *recent, struct view kind, struct view request)
{
    return view_mix(view_mix(recent->seed, kind), request);
}

void recent_expect(const struct recent *recent, const struct audit_record *record)
{
    bool intent = record->kind == AUDIT_INTENT;
    if (intent || record->kind == AUDIT_OUTCOME) {
        uint64_t key = key_of(recent, intent ? VIEW("intent") : VIEW("outcome"), record->request);
        __builtin_prefetch(&recent->heads[key % HEADS], 1);
    }
    /* The oldest makes room. */
    uint64_t oldest = recent->entries[recent->newest].known.key;
    __builtin_prefetch(&recent->heads[oldest % HEADS], 1);
    __builtin_prefetch(&recent->entries[(recent->newest + 1) % RECENT_MAX], 1);
}

void recent_describe(const struct recent *recent, struct view fields, struct known *ret_known)
{
    struct view kind = line_text(fields, "kind");
    struct view request = line_text(fields, "request");
    ret_known->kind = 0;
    if (kind.size == 0 || request.size == 0 || request.size > ID_SIZE_MAX) {
        return;
    }
    ret_known->kind = kind.data[0];
    ret_known->request_size = (uint8_t)request.size;
    memcpy(ret_known->request, request.data, request.size);
    ret_known->digest = view_mix(recent->seed, fields);
    ret_known->key = key_of(recent, kind, request);
    if (ret_known->kind == 'a' && view_is(line_text(fields, "decision"), "fail")) {
        ret_known->kind = 'f'; /* comes after what it is about */
    }
    if (!known_by_id(ret_known)) {
        ret_known->key ^= ret_known->digest;
    }
}

static bool same_record(const struct known *a, const struct known *b)
{
    return a->key == b->key && a->kind == b->kind && a->request_size == b->request_size &&
           memcmp(a->request, b->request, a->request_size) == 0;
}

static uint32_t *head_for(struct recent *recent, uint64_t key)
{
    return &recent->heads[key % HEADS];
}

/* Whether FOUND, which says the same, is what SENDER sent before.  Of what was read at the start it is not
 * known who sent it: that is believed for as long as somebody may have waited for it. */
static bool sent_again(const struct recent *recent, const struct entry *found, struct sender sender)
{
    if (found->sender.process == 0) {
        return sender.process == 0 || clock_mono_ms() - recent->began_ms < UNKNOWN_SENDER_MS;
    }
    if (found->known.kind == 'i' && found->sender.process != sender.process) {
        /* The gateway asks another vault, or one that was restarted: for the same proxy, which
         * takes only one of two grants for a request. */
        return found->sender.bound == sender.bound;
    }
    return sender.process == 0 || found->known.kind == 'o' ||
           (found->sender.process == sender.process && found->sender.call == sender.call);
}

enum status recent_find(struct recent *recent, const struct known *wanted, struct sender sender,
                        uint64_t *ret_seq)
{
    if (wanted->kind == 0) {
        return STATUS_NOT_FOUND;
    }
    for (uint32_t at = recent->heads[wanted->key % HEADS]; at != NONE;
         at = recent->entries[at - 1].next) {
        struct entry *entry = &recent->entries[at - 1];
        if (!same_record(&entry->known, wanted)) {
            continue;
        }
        bool again = entry->known.digest == wanted->digest && sent_again(recent, entry, sender);
        if (!again && known_by_id(wanted)) {
            return STATUS_CONFLICT;
        }
        if (again) {
            entry->sender = sender.process ? sender : entry->sender;
            *ret_seq = entry->seq;
            return STATUS_OK;
        }
    }
    return STATUS_NOT_FOUND;
}

static void drop(struct recent *recent, size_t index)
{
    struct entry *entry = &recent->entries[index];
    if (entry->known.kind == 0) {
        return;
    }
    for (uint32_t *at = head_for(recent, entry->known.key); *at != NONE;
         at = &recent->entries[*at - 1].next) {
        if (*at == index + 1) {
            *at = entry->next;
            break;
        }
    }
    entry->known.kind = 0;
}

/* A record without a request takes a place too, so that recent_forget() counts records. */
void recent_add(struct recent *recent, const struct known *known, struct sender sender,
                uint64_t seq)
{
    size_t index = recent->newest;
    struct entry *entry = &recent->entries[index];
    drop(recent, index);
    recent->newest = (index + 1) % RECENT_MAX;
    if (known->kind == 0) {
        return;
    }
    uint32_t *head = head_for(recent, known->key);
    entry->known = *known;
    entry->seq = seq;
    entry->sender = sender;
    entry->next = *head;
    *head = (uint32_t)index + 1;
}

void recent_forget(struct recent *recent, size_t count)
{
    for (; count > 0; count--) {
        recent->newest = (recent->newest + RECENT_MAX - 1) % RECENT_MAX;
        drop(recent, recent->newest);
    }
}
