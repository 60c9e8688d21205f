/* ask.c - drives one operation: who asks, check, passwords, audit record, apply, answer.
 *
 * Nothing takes effect before its record is on disk: when the audit daemon does not acknowledge in
 * time, the operation is refused and a later acknowledgement revives nothing.  A request whose
 * gateway has gone is dropped at the next step.
 */
#include "ask.h"
#include "timing.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void ask_free(struct pending *pending)
{
    struct ask *ask = (struct ask *)pending;
    pending_remove(ask->vault, &ask->pending);
    secret_free(&ask->value);
    secret_free(&ask->value2);
    secret_free(&ask->job.raw);
    agent_free(&ask->agent);
    audit_pages_free(&ask->pages);
    buffer_wipe(&ask->bytes); /* tokens and session ids are in it */
    buffer_wipe(&ask->json);
    buffer_free(&ask->box);
    explicit_bzero(ask, sizeof *ask);
    free(ask);
    log_about_nothing();
}

enum status ask_refuse(struct ask *ask, enum status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(ask->detail, sizeof ask->detail, format, args); /* cut, when too long */
    va_end(args);
    return status;
}

enum status ask_deny(struct ask *ask, enum status status, const char *because)
{
    ask->denied_because = because;
    return status;
}

struct buffer *ask_body(struct ask *ask, unsigned http)
{
    ask->http = http;
    ask->json.max = ANSWER_MAX;
    json_begin(&ask->json, NULL, '{');
    json_bool(&ask->json, "ok", true);
    return &ask->json;
}

/* ---- the audit record ---- */

static struct audit_record record_of(const struct ask *ask, enum audit_kind kind)
{
    const char *action = ask->operation->action ? ask->operation->action : "read";
    struct audit_record record = audit_blank(kind, action, ask->in.request);
    record.tenant = view_text(ask->tenant);
    record.agent = view_text(ask->note_agent);
    record.token = view_text(ask->note_token);
    record.provider = view_text(ask->note_provider);
    record.client = ask->in.client;
    record.reason = view_text(ask->note);
    record.shard = audit_shard(ask->vault->audit, record.tenant, ask->in.shards);
    return record;
}

static void tell_denied(const struct ask *ask)
{
    struct audit_record record = record_of(ask, AUDIT_DENIED);
    record.reason = view_text(ask->denied_because);
    denials_tell(ask->vault->denials, &record, 1);
}

/* What was written down before it was done, and then could not be. */
static void tell_failed(const struct ask *ask, enum status status)
{
    struct audit_record record = record_of(ask, AUDIT_ACCOUNT);
    record.decision = VIEW("fail");
    record.reason = view_text(ask->vault->store->unsure ? "whether it was done is not known"
                                                        : status_text(status));
    audit_tell(ask->vault->audit, &record);
}

/* ---- the answer ---- */

void ask_finish(struct ask *ask, enum status status)
{
    struct vault_answer answer = {0};
    if (ask->json.failed) {
        status = STATUS_TOO_LARGE;
    }
    if (status != STATUS_OK && ask->denied_because) {
        tell_denied(ask);
    }
    answer.call = ask->in.call;
    answer.status = status_to_wire(status);
    answer.http = (uint64_t)status_http(status);
    answer.detail = view_text(ask->detail);
    answer.wait_s = ask->wait_s;
    if (status == STATUS_OK) {
        json_end(&ask->json, '}');
        answer.http = ask->http;
        answer.json = buffer_view(&ask->json);
        answer.session = view_text(ask->session);
        answer.box = buffer_view(&ask->box);
        ask->vault->counters.answered++;
    } else {
        ask->vault->counters.failed++;
    }
    timing_tell(ask->pending.peer, answer.call, ask->pending.timed_us, &ask->audit_timed);
    if (ask->pending.peer) {
        vault_send(ask->pending.peer, &vault_answer_schema, &answer);
    }
    ask_free(&ask->pending);
}

/* ---- the steps ---- */

/* May run again: whatever a try before it has made of the answer is gone, and so are keys made in it. */
static enum status change(void *arg)
{
    struct ask *ask = arg;
    buffer_wipe(&ask->json);
    buffer_free(&ask->box);
    ask->session[0] = ask->detail[0] = 0;
    ask->denied_because = NULL;
    enum status status = ask->operation->apply(ask);
    if (status == STATUS_OK) {
        status = epoch_bump(ask->vault);
    }
    if (status != STATUS_OK) {
        keys_forget(ask->vault->keys);
    }
    return status;
}

static enum status apply_change(struct ask *ask)
{
    struct store *store = ask->vault->store;
    enum status status = ask->operation->adds ? store_transact_adding(store, change, ask)
                                              : store_transact(store, change, ask);
    if (status == STATUS_OK) {
        epoch_changed(ask->vault);
    } else {
        keys_forget(ask->vault->keys); /* a key made in it is gone */
        if (ask->vault->store->unsure) {
            status = ask_refuse(ask, status, "the database gave no answer: whether it was done is not known");
        }
        tell_failed(ask, status);
    }
    return status;
}

static void step_apply(struct ask *ask)
{
    bool changes = ask->operation->action != NULL;
    enum status status = changes ? apply_change(ask) : ask->operation->apply(ask);
    if (status == STATUS_OK && ask->later) {
        return;
    }
    ask_finish(ask, status);
}

static void acknowledged(void *arg, const struct audit_result *result)
{
    struct ask *ask = arg;
    bool conflict = result->status == STATUS_CONFLICT; /* another vault was asked before this one */
    LOG_ABOUT(ask->in.request, log_id(ask->tenant));
    ask->audit_timed = *audit_timed(ask->vault->audit);
    if (!ask->pending.peer || (conflict && pending_twice(ask->vault, &ask->pending))) {
        ask_free(&ask->pending);
    } else if (conflict) {
        ask_finish(ask, ask_refuse(ask, STATUS_UNAVAILABLE,
                                   "the vault that was asked did not answer: whether it was done "
                                   "is not known"));
    } else if (result->status != STATUS_OK) {
        ask_finish(ask, ask_refuse(ask, STATUS_UNAVAILABLE, "the audit log cannot be written"));
    } else {
        step_apply(ask);
    }
}

static void step_record(struct ask *ask)
{
    if (!ask->operation->action) {
        step_apply(ask);
        return;
    }
    if (!audit_knows(ask->vault->audit, ask->in.shards)) {
        ask_finish(ask, STATUS_UNAVAILABLE);
        return;
    }
    struct audit_record record = record_of(ask, AUDIT_ACCOUNT);
    record.decision = VIEW("allow");
    timing_hold(ask->vault, &ask->pending, ask->pending.timed_us);
    enum status status = audit_submit(ask->vault->audit, &record, acknowledged, ask);
    if (status != STATUS_OK) {
        ask_finish(ask, status);
    }
}

static void hashed(void *arg)
{
    struct ask *ask = arg;
    LOG_ABOUT(ask->in.request, log_id(ask->tenant));
    if (!ask->pending.peer) {
        ask_free(&ask->pending);
        return;
    }
    if (ask->job.check && !ask->job.right) {
        enum status status = ask_deny(ask, STATUS_UNAUTHENTICATED, ask->tenant[0]
                                               ? "wrong password" : "unknown email");
        ask_finish(ask, ask_refuse(ask, status, ask->operation->asker == ASKER_NONE
                                       ? "the email or the password is wrong"
                                       : "the password is wrong"));
        return;
    }
    if (ask->job.status != STATUS_OK) {
        ask_finish(ask, ask->job.status);
        return;
    }
    step_record(ask);
}

static void step_check(struct ask *ask)
{
    enum status status = ask_identify(ask);
    if (status == STATUS_OK && ask->operation->check) {
        status = ask->operation->check(ask);
    }
    if (status == STATUS_OK && ask->needs_hasher) {
        ask->job.done = hashed;
        ask->job.arg = ask;
        status = hasher_submit(ask->vault->hasher, &ask->job);
        if (status == STATUS_OK) {
            return;
        }
    }
    if (status != STATUS_OK) {
        ask_finish(ask, status);
        return;
    }
    step_record(ask);
}

void take_ask(struct vault *vault, struct channel_peer *peer, struct view record)
{
    struct ask *ask = calloc(1, sizeof *ask);
    if (!ask) {
        return;
    }
    ask->vault = vault;
    ask->http = 200;
    ask->pending.free = ask_free;
    pending_add(vault, &ask->pending, peer);
    buffer_append_view(&ask->bytes, record);
    if (ask->bytes.failed ||
        proto_decode(&vault_ask_schema, buffer_view(&ask->bytes), &ask->in) != STATUS_OK) {
        vault_refuse_record(vault, "that is malformed");
        ask_free(&ask->pending);
        return;
    }
    LOG_ABOUT(ask->in.request, log_id(ask->tenant));
    ask->pending.call = ask->in.call;
    ask->pending.timed_us = timing_of(vault, peer, ask->in.call);
    ask->operation = operation_of(ask->in.op);
    if (!ask->operation || vault->pending_count > PENDING_MAX) {
        ask->operation = operation_of(VAULT_OP_INTAKE_KEY);
        ask_finish(ask, STATUS_BUSY);
        return;
    }
    step_check(ask);
}

enum status ask_name(struct ask *ask, char *ret_name)
{
    if (!label_valid(ask->in.name)) {
        return ask_refuse(ask, STATUS_INVALID,
                          "name must be 1 to 128 bytes of UTF-8 without control characters");
    }
    (void)view_copy(ask->in.name, ret_name, NAME_MAX_BYTES + 1); /* its size was checked */
    return STATUS_OK;
}
