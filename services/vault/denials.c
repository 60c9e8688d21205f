/* denials.c - refusals on their way to the audit log: each by itself, until somebody makes a flood of
 * them; then they are counted, and a record a minute says how many.
 *
 * The first few of a kind in a minute are written whole: same client, account, action and reason.
 * Strangers share a budget too, so that many addresses do not fill the disk instead of one; it is
 * theirs alone, so that they hide nothing of an account's. */
#include "vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KINDS_MAX = 256,        /* at once, each for strangers and for accounts; beyond they share one */
    WRITTEN_PER_KIND = 10,  /* a minute */
    WRITTEN_MAX = 300,      /* a minute, of all kinds: with the sums about 360 MB a day at worst */
    MINUTE_MS = 60000,
    TICK_MS = 1000,
    REASON_MAX = 128,
    ACTION_MAX = 64,
};

/* One kind of refusal, in the minute that began at BEGAN_MS. */
struct kind {
    uint64_t key, began_ms, written, counted;
    char action[ACTION_MAX + 1], reason[REASON_MAX + 1], client[CLIENT_MAX + 1];
    char tenant[ID_SIZE_MAX + 1];
};

struct group {
    struct kind kinds[KINDS_MAX + 1]; /* the last one is for all that find no place */
    size_t count;
    uint64_t began_ms, written;
};

struct denials {
    struct loop *loop;
    struct audit_link *audit;
    struct group groups[2]; /* of strangers, and of accounts */
    uint64_t counted;
    int timer;
};

static uint64_t add_to_key(uint64_t hash, struct view text)
{
    for (size_t i = 0; i < text.size; i++) {
        hash = (hash ^ text.data[i]) * 0x100000001B3u; /* FNV-1a */
    }
    return (hash ^ 0xFF) * 0x100000001B3u;
}

static uint64_t key_of(const struct audit_record *record)
{
    uint64_t hash = add_to_key(0xCBF29CE484222325u, record->client);
    hash = add_to_key(hash, record->tenant);
    hash = add_to_key(hash, record->action);
    return add_to_key(hash, record->reason);
}

static void describe(struct kind *kind, const struct audit_record *record, bool others)
{
    *kind = (struct kind){.began_ms = clock_mono_ms()};
    (void)!view_copy(record->action, kind->action, sizeof kind->action);
    if (others) {
        (void)snprintf(kind->reason, sizeof kind->reason, "many clients");
        return;
    }
    kind->key = key_of(record);
    (void)!view_copy(record->reason, kind->reason, sizeof kind->reason);
    (void)!view_copy(record->client, kind->client, sizeof kind->client);
    (void)!view_copy(record->tenant, kind->tenant, sizeof kind->tenant);
}

static struct kind *kind_of(struct group *group, const struct audit_record *record)
{
    uint64_t key = key_of(record);
    for (size_t i = 0; i < group->count; i++) {
        if (group->kinds[i].key == key) {
            return &group->kinds[i];
        }
    }
    struct kind *others = &group->kinds[KINDS_MAX];
    if (group->count < KINDS_MAX) {
        describe(&group->kinds[group->count], record, false);
        return &group->kinds[group->count++];
    }
    if (others->began_ms == 0) {
        describe(others, record, true);
    }
    return others;
}

/* Whether one more may be written whole. */
static bool may_write(struct group *group, struct kind *kind, uint64_t now_ms)
{
    if (now_ms - group->began_ms >= MINUTE_MS) {
        group->began_ms = now_ms;
        group->written = 0;
    }
    if (kind == &group->kinds[KINDS_MAX] || kind->written >= WRITTEN_PER_KIND ||
        group->written >= WRITTEN_MAX) {
        return false;
    }
    kind->written++;
    group->written++;
    return true;
}

void denials_tell(struct denials *denials, struct audit_record *record, uint64_t times)
{
    struct group *group = &denials->groups[record->tenant.size > 0];
    struct kind *kind = kind_of(group, record);
    record->kind = AUDIT_DENIED;
    record->decision = VIEW("deny");
    record->shard = audit_shard(denials->audit, record->tenant, 0);
    if (times > 0 && may_write(group, kind, clock_mono_ms())) {
        audit_tell(denials->audit, record);
        times--;
    }
    kind->counted += times;
    denials->counted += times;
}

void take_refused(struct vault *vault, struct channel_peer *peer, struct view record)
{
    struct vault_refused in;
    (void)peer;
    if (proto_decode(&vault_refused_schema, record, &in) != STATUS_OK) {
        vault_refuse_record(vault, "that is malformed");
        return;
    }
    struct audit_record denied = audit_blank(AUDIT_DENIED, "call", in.request);
    denied.client = in.client;
    denied.reason = in.reason;
    denials_tell(vault->denials, &denied, in.count);
}

static void tell_sum(struct denials *denials, const struct kind *kind)
{
    char reason[REASON_MAX + 1], id[ID_SIZE_MAX + 1];
    uint64_t ms = clock_mono_ms() - kind->began_ms;
    struct audit_record record = audit_blank(AUDIT_DENIED, kind->action, VIEW(""));
    id_new("sum", id); /* so that one sent again is known */
    record.request = view_text(id);
    int size = snprintf(reason, sizeof reason, "%.80s: %llu more", kind->reason,
                        (unsigned long long)kind->counted);
    record.reason = view_of(reason, (size_t)size);
    record.decision = VIEW("deny");
    record.client = view_text(kind->client);
    record.tenant = view_text(kind->tenant);
    record.shard = audit_shard(denials->audit, record.tenant, 0);
    record.duration_ms = ms;
    audit_tell(denials->audit, &record);
}

/* Ends the minutes that are over; all of them when ALL. */
static void end_minutes(struct denials *denials, struct group *group, bool all)
{
    uint64_t now_ms = clock_mono_ms();
    struct kind *others = &group->kinds[KINDS_MAX];
    for (size_t i = group->count; i-- > 0;) {
        struct kind *kind = &group->kinds[i];
        if (all || now_ms - kind->began_ms >= MINUTE_MS) {
            if (kind->counted > 0) {
                tell_sum(denials, kind);
            }
            *kind = group->kinds[--group->count];
        }
    }
    if (others->counted > 0 && (all || now_ms - others->began_ms >= MINUTE_MS)) {
        tell_sum(denials, others);
        *others = (struct kind){.key = 0};
    }
}

static void tick(void *arg)
{
    struct denials *denials = arg;
    end_minutes(denials, &denials->groups[0], false);
    end_minutes(denials, &denials->groups[1], false);
}

enum status denials_new(struct loop *loop, struct audit_link *audit, struct denials **ret_denials)
{
    struct denials *denials = calloc(1, sizeof *denials);
    if (!denials) {
        return STATUS_INTERNAL;
    }
    denials->loop = loop;
    denials->audit = audit;
    denials->timer = loop_every(loop, TICK_MS, tick, denials);
    if (denials->timer < 0) {
        free(denials);
        return STATUS_INTERNAL;
    }
    *ret_denials = denials;
    return STATUS_OK;
}

void denials_free(struct denials **denials_at)
{
    struct denials *denials = *denials_at;
    if (!denials) {
        return;
    }
    end_minutes(denials, &denials->groups[0], true);
    end_minutes(denials, &denials->groups[1], true);
    loop_unevery(denials->loop, denials->timer);
    free(denials);
    *denials_at = NULL;
}

uint64_t denials_counted(const struct denials *denials)
{
    return denials->counted;
}
