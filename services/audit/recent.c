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
    UNKNOWN_SENDER_MS = 10000, /* a gateway gives up after 5 s, a vault before */
};

struct entry {
    uint64_t key;    /* of kind and request, and for some kinds of all fields */
    uint64_t digest; /* of all fields */
    uint64_t seq;
    struct sender sender;
    uint32_t next;
    uint8_t kind; /* its first letter; 0 for an unused entry */
    uint8_t request_size;
    char request[ID_SIZE_MAX];
};

struct recent {
    uint64_t seed; /* so that nobody can choose ids that share a chain */
    uint64_t began_ms;
    size_t newest; /* where the next one goes */
    uint32_t heads[RECENT_MAX];
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

/* In the manner of FNV-1a, but eight bytes at a time: every record is hashed whole, twice. */
static uint64_t mix(uint64_t hash, struct view text)
{
    uint64_t word;
    for (; text.size >= sizeof word; text = view_of(text.data + sizeof word, text.size - sizeof word)) {
        memcpy(&word, text.data, sizeof word);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 32;
    }
    for (size_t i = 0; i < text.size; i++) {
        hash = (hash ^ text.data[i]) * 0x100000001B3u;
    }
    return hash ^ (hash >> 29);
}

static bool known_by_id(const struct entry *entry)
{
    return entry->kind == 'i' || entry->kind == 'o' || entry->kind == 'a';
}

/* False for a record without a request, which cannot be known again. */
static bool describe(const struct recent *recent, struct view fields, struct entry *ret_entry)
{
    struct view kind = line_text(fields, "kind");
    struct view request = line_text(fields, "request");
    if (kind.size == 0 || request.size == 0 || request.size > ID_SIZE_MAX) {
        return false;
    }
    struct entry entry = {.kind = kind.data[0], .request_size = (uint8_t)request.size};
    memcpy(entry.request, request.data, request.size);
    entry.digest = mix(recent->seed, fields);
    entry.key = mix(mix(recent->seed, kind), request);
    if (entry.kind == 'a' && view_is(line_text(fields, "decision"), "fail")) {
        entry.kind = 'f'; /* comes after what it is about */
    }
    if (!known_by_id(&entry)) {
        entry.key ^= entry.digest;
    }
    *ret_entry = entry;
    return true;
}

static bool same_record(const struct entry *a, const struct entry *b)
{
    return a->key == b->key && a->kind == b->kind && a->request_size == b->request_size &&
           memcmp(a->request, b->request, a->request_size) == 0;
}

static uint32_t *head_for(struct recent *recent, uint64_t key)
{
    return &recent->heads[key % RECENT_MAX];
}

/* Whether FOUND, which says the same, is what SENDER sent before.  Of what was read at the start it is not
 * known who sent it: that is believed for as long as somebody may have waited for it. */
static bool sent_again(const struct recent *recent, const struct entry *found, struct sender sender)
{
    if (found->sender.process == 0) {
        return sender.process == 0 || clock_mono_ms() - recent->began_ms < UNKNOWN_SENDER_MS;
    }
    if (found->kind == 'i' && found->sender.process != sender.process) {
        /* The gateway asks another vault, or one that was restarted: for the same proxy, which
         * takes only one of two grants for a request. */
        return found->sender.bound == sender.bound;
    }
    return sender.process == 0 || found->kind == 'o' ||
           (found->sender.process == sender.process && found->sender.call == sender.call);
}

enum status recent_find(struct recent *recent, struct view fields, struct sender sender,
                        uint64_t *ret_seq)
{
    struct entry wanted;
    if (!describe(recent, fields, &wanted)) {
        return STATUS_NOT_FOUND;
    }
    for (uint32_t at = recent->heads[wanted.key % RECENT_MAX]; at != NONE;
         at = recent->entries[at - 1].next) {
        struct entry *entry = &recent->entries[at - 1];
        if (!same_record(entry, &wanted)) {
            continue;
        }
        bool again = entry->digest == wanted.digest && sent_again(recent, entry, sender);
        if (!again && known_by_id(entry)) {
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
    if (entry->kind == 0) {
        return;
    }
    for (uint32_t *at = head_for(recent, entry->key); *at != NONE;
         at = &recent->entries[*at - 1].next) {
        if (*at == index + 1) {
            *at = entry->next;
            break;
        }
    }
    entry->kind = 0;
}

/* A record without a request takes a place too, so that recent_forget() counts records. */
void recent_add(struct recent *recent, struct view fields, struct sender sender, uint64_t seq)
{
    size_t index = recent->newest;
    struct entry *entry = &recent->entries[index];
    drop(recent, index);
    recent->newest = (index + 1) % RECENT_MAX;
    if (!describe(recent, fields, entry)) {
        entry->kind = 0;
        return;
    }
    uint32_t *head = head_for(recent, entry->key);
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
