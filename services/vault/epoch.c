/* epoch.c - notices when an older database was put back.
 *
 * Every change counts the database's epoch up, and the audit log, which lies elsewhere, is told of it
 * after the commit.  At a start the log is asked: a database that is behind it would bring revoked
 * tokens back to life, so nothing is served until the operator says that it is meant.
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

struct epoch {
    struct vault *vault;
    uint64_t value;     /* the database's */
    uint64_t told;      /* the last that the log acknowledged */
    bool telling;
    uint64_t before;    /* where the search in the log goes on */
    uint64_t granted;   /* calls when the log was last told */
    uint64_t told_ms;   /* and when that was */
    int again_timer, remind_timer;
};

static void ask_log(void *arg);
static void tell_log(void *arg);

static void again(struct epoch *epoch, loop_fn *fn)
{
    epoch->again_timer = loop_once(epoch->vault->loop, AGAIN_MS, fn, epoch);
}

/* ---- telling ---- */

static void told(void *arg, const struct audit_result *result)
{
    struct epoch *epoch = arg;
    epoch->telling = false;
    if (result->status != STATUS_OK) {
        again(epoch, tell_log);
    } else if (epoch->told < epoch->value) {
        tell_log(epoch); /* it went on meanwhile */
    }
}

static void tell_log(void *arg)
{
    struct epoch *epoch = arg;
    struct vault *vault = epoch->vault;
    char text[24];
    if (epoch->telling) {
        return;
    }
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)epoch->value);
    struct audit_record record = audit_blank(AUDIT_SYSTEM, action, VIEW(""));
    record.tenant = view_text(keys_install_id(vault->keys));
    record.reason = view_text(text);
    epoch->telling = audit_submit(vault->audit, &record, told, epoch) == STATUS_OK;
    if (!epoch->telling) {
        again(epoch, tell_log);
        return;
    }
    epoch->told = epoch->value;
    epoch->granted = vault->counters.granted;
    epoch->told_ms = clock_mono_ms();
}

static void remind(void *arg)
{
    struct epoch *epoch = arg;
    bool due = epoch->vault->counters.granted - epoch->granted >= REMIND_CALLS ||
               clock_mono_ms() - epoch->told_ms >= REMIND_LIFE_MS;
    if (epoch->vault->door == DOOR_OPEN && due) {
        tell_log(epoch);
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
        tell_log(vault->epoch);
    }
}

/* ---- asking, at a start ---- */

static void open_door(struct epoch *epoch)
{
    log_info("epoch", "the database is at epoch %llu", (unsigned long long)epoch->value);
    tell_log(epoch);
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

static void answered(void *arg, const struct audit_result *result)
{
    struct epoch *epoch = arg;
    uint64_t logged = 0;
    if (result->status != STATUS_OK) {
        door_set(epoch->vault, DOOR_CHECKING, epoch->vault->closed_because); /* who waits is told */
        again(epoch, ask_log);
    } else if (read_page(result->records, &logged)) {
        compare(epoch, logged);
    } else if (result->next > 0 && result->next != epoch->before) {
        epoch->before = result->next;
        ask_log(epoch);
    } else {
        compare(epoch, 0); /* the log knows of none */
    }
}

static void ask_log(void *arg)
{
    struct epoch *epoch = arg;
    struct audit_query query = {
        .tenant = view_text(keys_install_id(epoch->vault->keys)),
        .action = view_text(action),
        .before = epoch->before,
        .limit = NEWEST,
    };
    if (audit_ask(epoch->vault->audit, &query, answered, epoch) != STATUS_OK) {
        again(epoch, ask_log);
    }
}

void epoch_again(struct vault *vault)
{
    struct epoch *epoch = vault->epoch;
    if (!epoch || vault->door == DOOR_REFUSED) {
        return;
    }
    loop_unevery(vault->loop, epoch->again_timer);
    epoch->before = 0;
    ask_log(epoch);
}

enum status epoch_open(struct vault *vault)
{
    struct epoch *epoch = calloc(1, sizeof *epoch);
    if (!epoch) {
        return STATUS_INTERNAL;
    }
    *epoch = (struct epoch){.vault = vault, .again_timer = -1};
    epoch->remind_timer = loop_every(vault->loop, REMIND_MS, remind, epoch);
    vault->epoch = epoch;
    door_set(vault, DOOR_CHECKING, "the vault compares its database with the audit log");
    ask_log(epoch);
    return epoch->remind_timer < 0 ? STATUS_INTERNAL : STATUS_OK;
}

void epoch_close(struct vault *vault)
{
    if (vault->epoch) {
        loop_unevery(vault->loop, vault->epoch->again_timer);
        loop_unevery(vault->loop, vault->epoch->remind_timer);
    }
    free(vault->epoch);
    vault->epoch = NULL;
}
