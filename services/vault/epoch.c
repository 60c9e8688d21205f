/* epoch.c - notices when an older database was put back.
 *
 * Every change counts the database's epoch up, and the audit log, which lies elsewhere, is told of it
 * after the commit.  At a start the log is asked: a database that is behind it would bring revoked
 * tokens back to life, so nothing is served until the operator says that it is meant.
 *
 * Several audit daemons are all told and all asked, and the highest that one of them knows counts: so one that is
 * away keeps no vault from starting.  It is asked all the same, and when it then knows of a later epoch, the door
 * is closed again.
 */
#include "vault.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    AGAIN_MS = 200,      /* until a log that did not answer is asked or told again */
    REMIND_CALLS = 10000, /* the log is told again after so many, so that it is found soon */
    REMIND_MS = 60000,
    REMIND_LIFE_MS = 12 * 60 * 60 * 1000, /* or after so long: old files of the log are removed */
    NEWEST = 16,          /* records of the log that are looked at */
    RESTORED_LIFE_MS = 24 * 60 * 60 * 1000, /* in which a restored database has to be used */
};

static const char action[] = "vault.epoch";

/* One audit daemon. */
struct witness {
    struct epoch *epoch;
    unsigned shard;
    uint64_t told;      /* the last that it acknowledged, or will */
    bool telling;
    bool asking, stale; /* stale: asked before it had to be asked again */
    bool knows;         /* it answered: LOGGED is the highest in its log */
    uint64_t logged;
    uint64_t before;    /* where the search in the log goes on */
    int tell_timer, ask_timer;
};

struct epoch {
    struct vault *vault;
    uint64_t value;     /* the database's */
    uint64_t granted;   /* calls when the log was last told */
    uint64_t told_ms;   /* and when that was */
    uint64_t asked_ms;  /* since when the log is asked */
    int remind_timer;
    unsigned count;
    struct witness witnesses[AUDIT_SHARDS_MAX];
};

static void ask_log(void *arg);
static void tell_log(void *arg);

static int again(const struct epoch *epoch, loop_fn *fn, struct witness *witness)
{
    return loop_once(epoch->vault->loop, AGAIN_MS, fn, witness);
}

/* ---- telling ---- */

static void told(void *arg, const struct audit_result *result)
{
    struct witness *witness = arg;
    witness->telling = false;
    if (result->status != STATUS_OK) {
        witness->tell_timer = again(witness->epoch, tell_log, witness);
    } else if (witness->told < witness->epoch->value) {
        tell_log(witness); /* it went on meanwhile */
    }
}

static void tell_log(void *arg)
{
    struct witness *witness = arg;
    struct epoch *epoch = witness->epoch;
    struct vault *vault = epoch->vault;
    char text[24];
    if (witness->telling) {
        return;
    }
    loop_unevery(vault->loop, witness->tell_timer);
    witness->tell_timer = -1;
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)epoch->value);
    struct audit_record record = audit_blank(AUDIT_SYSTEM, action, VIEW(""));
    record.tenant = view_text(keys_install_id(vault->keys));
    record.reason = view_text(text);
    record.shard = witness->shard;
    witness->telling = audit_submit(vault->audit, &record, told, witness) == STATUS_OK;
    if (!witness->telling) {
        witness->tell_timer = again(epoch, tell_log, witness);
        return;
    }
    witness->told = epoch->value;
}

static void tell_all(struct epoch *epoch)
{
    for (unsigned i = 0; i < epoch->count; i++) {
        tell_log(&epoch->witnesses[i]);
    }
    epoch->granted = epoch->vault->counters.granted;
    epoch->told_ms = clock_mono_ms();
}

static void remind(void *arg)
{
    struct epoch *epoch = arg;
    bool due = epoch->vault->counters.granted - epoch->granted >= REMIND_CALLS ||
               clock_mono_ms() - epoch->told_ms >= REMIND_LIFE_MS;
    if (epoch->vault->door == DOOR_OPEN && due) {
        tell_all(epoch);
    }
}

enum status epoch_bump(struct vault *vault)
{
    struct epoch_row row;
    enum status status = epoch_read(vault->store, &row);
    if (status == STATUS_OK) {
        row.epoch++;
        status = epoch_write(vault->store, &row);
    }
    return status;
}

void epoch_changed(struct vault *vault)
{
    struct epoch_row row;
    if (epoch_read(vault->store, &row) == STATUS_OK) {
        vault->epoch->value = row.epoch;
        tell_all(vault->epoch);
    }
}

/* ---- asking, at a start ---- */

static void open_door(struct epoch *epoch)
{
    log_info("epoch", "the database is at epoch %llu", (unsigned long long)epoch->value);
    tell_all(epoch);
    door_set(epoch->vault, DOOR_OPEN, NULL);
    reseal_kick(epoch->vault); /* what a killed process left, or a restored one needs */
}

struct catching_up {
    struct epoch *epoch;
    uint64_t logged;
};

static enum status renew_and_write(void *arg)
{
    const struct catching_up *up = arg;
    struct vault *vault = up->epoch->vault;
    const struct epoch_row row = {up->logged + 1, 0};
    uint64_t count = 0;
    keys_forget(vault->keys);
    enum status status = keys_renew_all(vault->keys, &count);
    return status == STATUS_OK ? epoch_write(vault->store, &row) : status;
}

/* Later than everything in the log, and with new data keys: how often the old ones sealed after the
 * copy was made is not known. */
static enum status catch_up(struct epoch *epoch, uint64_t logged)
{
    struct catching_up up = {epoch, logged};
    enum status status = store_transact(epoch->vault->store, renew_and_write, &up);
    if (status == STATUS_OK) {
        epoch->value = logged + 1;
    }
    return status;
}

static void accept(struct epoch *epoch, uint64_t logged, const char *why)
{
    char text[128];
    (void)snprintf(text, sizeof text, "epoch %llu is behind %llu: %s",
                   (unsigned long long)epoch->value, (unsigned long long)logged, why);
    if (catch_up(epoch, logged) != STATUS_OK) {
        door_set(epoch->vault, DOOR_REFUSED, "the database cannot be written");
        return;
    }
    struct audit_record record = audit_blank(AUDIT_SYSTEM, "vault.rollback", VIEW(""));
    record.tenant = view_text(keys_install_id(epoch->vault->keys));
    record.reason = view_text(text);
    audit_tell(epoch->vault->audit, &record);
    log_warn("epoch", "an older database is taken: %s", text);
    open_door(epoch);
}

static void refuse(struct epoch *epoch, uint64_t logged)
{
    log_error("epoch", "the database is at epoch %llu and the audit log knows of %llu: an older copy "
                       "was put back, or its write-ahead log is lost. Nothing is served. If that is "
                       "meant, start the vault once with --accept-rollback %llu",
              (unsigned long long)epoch->value, (unsigned long long)logged,
              (unsigned long long)logged);
    door_set(epoch->vault, DOOR_REFUSED,
             "the vault's database is older than the audit log; its operator has to decide");
}

static void compare(struct epoch *epoch, uint64_t logged)
{
    struct epoch_row row;
    enum status status = epoch_read(epoch->vault->store, &row);
    if (status == STATUS_UNAVAILABLE) {
        return; /* the database went away again: epoch_again() */
    }
    if (status != STATUS_OK) {
        door_set(epoch->vault, DOOR_REFUSED, "the vault's database was changed from outside");
        log_error("epoch", "the epoch in the database was changed from outside the vault");
        return;
    }
    uint64_t now_ms = clock_wall_ms();
    bool restored = row.restored_ms > 0 && now_ms < row.restored_ms + RESTORED_LIFE_MS;
    epoch->value = row.epoch;
    if (restored) {
        accept(epoch, logged > row.epoch ? logged : row.epoch, "restored from a backup");
    } else if (logged <= row.epoch) {
        open_door(epoch);
    } else if (logged == epoch->vault->options.accept_rollback) {
        accept(epoch, logged, "accepted by --accept-rollback");
    } else {
        refuse(epoch, logged);
    }
}

/* The greatest epoch in a page, if there is one: of several vaults one that was slow may tell of an
 * earlier one after the others. */
static bool read_page(struct view records, uint64_t *ret_epoch)
{
    json_t *page = json_loadb((const char *)records.data, records.size, 0, NULL);
    bool any = false;
    *ret_epoch = 0;
    for (size_t i = 0; i < json_array_size(page); i++) {
        const char *text =
            json_string_value(json_object_get(json_array_get(page, i), "reason"));
        char *end = NULL;
        uint64_t epoch = text ? strtoull(text, &end, 10) : 0;
        if (text && end != text && *end == 0) {
            any = true;
            *ret_epoch = epoch > *ret_epoch ? epoch : *ret_epoch;
        }
    }
    json_decref(page);
    return any;
}

/* One that was away when the door was opened may know of a later epoch than the others. */
static void compare_late(struct epoch *epoch, const struct witness *witness)
{
    struct epoch_row row;
    if (epoch_read(epoch->vault->store, &row) == STATUS_OK && witness->logged > row.epoch) {
        epoch->value = row.epoch;
        refuse(epoch, witness->logged);
    }
}

/* Compares once all have answered, or some have and the time is over in which the others could. */
static void settle(struct epoch *epoch)
{
    unsigned known = 0;
    uint64_t logged = 0;
    for (unsigned i = 0; i < epoch->count; i++) {
        const struct witness *witness = &epoch->witnesses[i];
        known += witness->knows;
        logged = witness->knows && witness->logged > logged ? witness->logged : logged;
    }
    bool late = clock_mono_ms() - epoch->asked_ms >= AUDIT_DEADLINE_MS;
    if (epoch->vault->door != DOOR_CHECKING || known == 0 || (known < epoch->count && !late)) {
        return;
    }
    if (known < epoch->count) {
        log_warn("epoch", "%u of %u audit daemons did not say how new the database has to be: they are asked on",
                 epoch->count - known, epoch->count);
    }
    compare(epoch, logged);
}

static void take_answer(struct witness *witness, uint64_t logged)
{
    witness->knows = true;
    witness->logged = logged;
    if (witness->epoch->vault->door == DOOR_OPEN) {
        compare_late(witness->epoch, witness);
    } else {
        settle(witness->epoch);
    }
}

static void answered(void *arg, const struct audit_result *result)
{
    struct witness *witness = arg;
    struct vault *vault = witness->epoch->vault;
    uint64_t logged = 0;
    bool stale = witness->stale;
    witness->asking = witness->stale = false;
    if (stale) {
        ask_log(witness);
    } else if (result->status != STATUS_OK) {
        witness->ask_timer = again(witness->epoch, ask_log, witness);
        settle(witness->epoch);
        if (vault->door == DOOR_CHECKING) {
            door_set(vault, DOOR_CHECKING, vault->closed_because); /* who waits is told */
        }
    } else if (read_page(result->records, &logged)) {
        take_answer(witness, logged);
    } else if (result->next > 0 && result->next != witness->before) {
        witness->before = result->next;
        ask_log(witness);
    } else {
        take_answer(witness, 0); /* the log knows of none */
    }
}

static void ask_log(void *arg)
{
    struct witness *witness = arg;
    struct epoch *epoch = witness->epoch;
    struct audit_query query = {
        .tenant = view_text(keys_install_id(epoch->vault->keys)),
        .action = view_text(action),
        .before = witness->before,
        .limit = NEWEST,
        .shard = witness->shard,
    };
    witness->ask_timer = -1;
    witness->asking = audit_ask(epoch->vault->audit, &query, answered, witness) == STATUS_OK;
    if (!witness->asking) {
        witness->ask_timer = again(epoch, ask_log, witness);
    }
}

/* What was asked before counts no longer. */
static void ask_all(struct epoch *epoch)
{
    epoch->asked_ms = clock_mono_ms();
    for (unsigned i = 0; i < epoch->count; i++) {
        struct witness *witness = &epoch->witnesses[i];
        loop_unevery(epoch->vault->loop, witness->ask_timer);
        witness->ask_timer = -1;
        witness->knows = false;
        witness->before = 0;
        witness->stale = witness->asking;
        if (!witness->asking) {
            ask_log(witness);
        }
    }
}

void epoch_again(struct vault *vault)
{
    struct epoch *epoch = vault->epoch;
    if (!epoch || vault->door == DOOR_REFUSED) {
        return;
    }
    ask_all(epoch);
}

enum status epoch_open(struct vault *vault)
{
    struct epoch *epoch = calloc(1, sizeof *epoch);
    if (!epoch) {
        return STATUS_INTERNAL;
    }
    *epoch = (struct epoch){.vault = vault, .count = audit_shards(vault->audit)};
    for (unsigned i = 0; i < epoch->count; i++) {
        epoch->witnesses[i] = (struct witness){.epoch = epoch, .shard = i, .tell_timer = -1, .ask_timer = -1};
    }
    epoch->remind_timer = loop_every(vault->loop, REMIND_MS, remind, epoch);
    vault->epoch = epoch;
    door_set(vault, DOOR_CHECKING, "the vault compares its database with the audit log");
    ask_all(epoch);
    return epoch->remind_timer < 0 ? STATUS_INTERNAL : STATUS_OK;
}

void epoch_close(struct vault *vault)
{
    for (unsigned i = 0; vault->epoch && i < vault->epoch->count; i++) {
        loop_unevery(vault->loop, vault->epoch->witnesses[i].tell_timer);
        loop_unevery(vault->loop, vault->epoch->witnesses[i].ask_timer);
    }
    if (vault->epoch) {
        loop_unevery(vault->loop, vault->epoch->remind_timer);
    }
    free(vault->epoch);
    vault->epoch = NULL;
}
