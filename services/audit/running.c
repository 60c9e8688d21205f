/* running.c - the intents that have no outcome yet.
 *
 * Every intent gets exactly one: what its proxy tells, or `unknown` when nobody has claimed the call
 * for long enough that it cannot be running any more.  What a batch did is kept apart until it is on
 * disk.  Entries are in the order of their last claim, the oldest first. */
#include "services/audit/audit.h"

#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"

enum { BUCKETS = 16384 };

struct entry {
    struct entry *next, *prev; /* in the ring of those that run, or of those that a batch closes */
    struct entry *bucket_next;
    uint64_t seq;
    uint64_t claimed_ms;
    uint64_t key;
    uint8_t size;
    bool closing;
    char request[ID_SIZE_MAX];
};

struct running {
    uint64_t seed;
    struct entry open, closing; /* heads of the rings */
    struct entry *buckets[BUCKETS];
    size_t count;
};

struct running *running_new(void)
{
    struct running *running = calloc(1, sizeof *running);
    if (running) {
        crypto_random(&running->seed, sizeof running->seed);
        running->open.next = running->open.prev = &running->open;
        running->closing.next = running->closing.prev = &running->closing;
    }
    return running;
}

static void unlink_entry(struct entry *entry)
{
    entry->prev->next = entry->next;
    entry->next->prev = entry->prev;
}

static void link_last(struct entry *head, struct entry *entry)
{
    entry->next = head;
    entry->prev = head->prev;
    head->prev->next = entry;
    head->prev = entry;
}

static void drop(struct running *running, struct entry *entry)
{
    struct entry **at = &running->buckets[entry->key % BUCKETS];
    while (*at != entry) {
        at = &(*at)->bucket_next;
    }
    *at = entry->bucket_next;
    unlink_entry(entry);
    free(entry);
    running->count--;
}

void running_free(struct running **running)
{
    if (*running) {
        while ((*running)->open.next != &(*running)->open) {
            drop(*running, (*running)->open.next);
        }
        running_commit(*running);
    }
    free(*running);
    *running = NULL;
}

static uint64_t key_of(const struct running *running, struct view request)
{
    return view_mix(running->seed, request);
}

static struct entry *find_key(const struct running *running, uint64_t key, struct view request)
{
    struct entry *entry = running->buckets[key % BUCKETS];
    while (entry && (entry->key != key || entry->size != request.size ||
                     memcmp(entry->request, request.data, request.size) != 0)) {
        entry = entry->bucket_next;
    }
    return entry;
}

static struct entry *find(const struct running *running, struct view request)
{
    return find_key(running, key_of(running, request), request);
}

enum status running_add(struct running *running, struct view request, uint64_t seq,
                        uint64_t now_ms)
{
    if (request.size == 0 || request.size > ID_SIZE_MAX) {
        return STATUS_INVALID; /* nobody could name it again */
    }
    if (running->count >= RUNNING_MAX) {
        return STATUS_BUSY;
    }
    uint64_t key = key_of(running, request);
    struct entry *entry = find_key(running, key, request) ? NULL : malloc(sizeof *entry);
    if (!entry) {
        return STATUS_INTERNAL;
    }
    *entry = (struct entry){.seq = seq, .claimed_ms = now_ms, .key = key,
                            .size = (uint8_t)request.size};
    memcpy(entry->request, request.data, request.size);
    entry->bucket_next = running->buckets[entry->key % BUCKETS];
    running->buckets[entry->key % BUCKETS] = entry;
    link_last(&running->open, entry);
    running->count++;
    return STATUS_OK;
}

bool running_has(const struct running *running, struct view request)
{
    const struct entry *entry = find(running, request);
    return entry && !entry->closing;
}

void running_close(struct running *running, struct view request)
{
    struct entry *entry = find(running, request);
    if (entry && !entry->closing) {
        entry->closing = true;
        unlink_entry(entry);
        link_last(&running->closing, entry);
    }
}

void running_commit(struct running *running)
{
    while (running->closing.next != &running->closing) {
        drop(running, running->closing.next);
    }
}

void running_take_back(struct running *running, uint64_t committed_seq)
{
    while (running->closing.next != &running->closing) {
        struct entry *entry = running->closing.next;
        entry->closing = false;
        unlink_entry(entry);
        link_last(&running->open, entry);
    }
    /* New ones are behind all that were claimed before them; a batch is short. */
    for (struct entry *entry = running->open.prev, *prev; entry != &running->open; entry = prev) {
        prev = entry->prev;
        if (entry->seq > committed_seq) {
            drop(running, entry);
        }
    }
}

void running_claim(struct running *running, struct view request, uint64_t now_ms)
{
    struct entry *entry = find(running, request);
    if (entry && !entry->closing) {
        entry->claimed_ms = now_ms;
        unlink_entry(entry);
        link_last(&running->open, entry);
    }
}

void running_claim_oldest(struct running *running, uint64_t now_ms)
{
    struct entry *entry = running->open.next;
    if (entry != &running->open) {
        entry->claimed_ms = now_ms;
        unlink_entry(entry);
        link_last(&running->open, entry);
    }
}

void running_claim_all(struct running *running, uint64_t now_ms)
{
    for (struct entry *entry = running->open.next; entry != &running->open; entry = entry->next) {
        entry->claimed_ms = now_ms;
    }
}

bool running_oldest(const struct running *running, uint64_t *ret_seq, uint64_t *ret_claimed_ms)
{
    const struct entry *entry = running->open.next;
    if (entry == &running->open) {
        return false;
    }
    *ret_seq = entry->seq;
    *ret_claimed_ms = entry->claimed_ms;
    return true;
}

size_t running_count(const struct running *running)
{
    return running->count;
}

bool running_lowest(const struct running *running, uint64_t *ret_seq)
{
    uint64_t lowest = UINT64_MAX;
    const struct entry *const rings[] = {&running->open, &running->closing};
    for (size_t i = 0; i < sizeof rings / sizeof rings[0]; i++) {
        for (const struct entry *entry = rings[i]->next; entry != rings[i]; entry = entry->next) {
            lowest = entry->seq < lowest ? entry->seq : lowest;
        }
    }
    *ret_seq = lowest;
    return lowest != UINT64_MAX;
}

void running_below(const struct running *running, uint64_t below, struct buffer *ret_seqs)
{
    for (const struct entry *entry = running->open.next; entry != &running->open;
         entry = entry->next) {
        if (entry->seq < below) {
            buffer_append(ret_seqs, &entry->seq, sizeof entry->seq);
        }
    }
}
