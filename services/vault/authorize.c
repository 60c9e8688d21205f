/* authorize.c - may this token call this provider?  If so, a grant that only the proxy can open.
 *
 * The grant is sealed at once and held until the intent is on disk; it never leaves before.  The
 * caller of a refused token learns nothing but that it is refused; the audit log learns why. */
#include "timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is being decided; lives on the stack of take_authorize(). */
struct decision {
    struct vault *vault;
    struct vault_authorize in;
    const struct provider *provider; /* what the caller named */
    row_id tenant, agent, token;
    char override[NAME_MAX_BYTES + 1]; /* the token's own secret, or empty */
    const char *reason;                /* for the audit log, when refused */
    char detail[DETAIL_MAX + 1];       /* for the caller */
    uint64_t began_us, timed_us;       /* the latter as of struct pending */
    struct buffer upstream;            /* the target as the provider sees it */
};

/* A grant that waits for its intent to be on disk. */
struct held {
    struct pending pending; /* first: the list's */
    struct vault *vault;
    uint64_t asked_us;
    char request[ID_SIZE_MAX + 1];
    struct buffer answer;   /* encoded vault_grant */
};

MUST_USE static enum status refuse(struct decision *decision, enum status status,
                                   const char *reason)
{
    decision->reason = reason;
    return status;
}

/* ---- whose token it is ---- */

static enum status dead_or_unknown(struct decision *decision, struct view hash)
{
    struct dead_token dead;
    if (dead_by_hash(decision->vault->store, hash, &dead) != STATUS_OK) {
        return refuse(decision, STATUS_UNAUTHENTICATED, "unknown token");
    }
    memcpy(decision->tenant, dead.account, sizeof decision->tenant);
    memcpy(decision->agent, dead.agent, sizeof decision->agent);
    memcpy(decision->token, dead.token, sizeof decision->token);
    return refuse(decision, STATUS_UNAUTHENTICATED, "revoked token");
}

static enum status changed_row(struct decision *decision, const char *table, const char *id)
{
    log_error("authorize", "%s row %s was changed from outside the vault", table, id);
    return refuse(decision, STATUS_UNAUTHENTICATED, "row changed from outside");
}

static enum status agent_token(struct decision *decision, struct view hash)
{
    CLEANUP(agent_free) struct agent agent = {0};
    enum status status = agent_by_hash(decision->vault->store, hash, &agent);
    if (status == STATUS_NOT_FOUND) {
        return dead_or_unknown(decision, hash);
    }
    if (status == STATUS_DENIED) {
        return changed_row(decision, "agents", agent.id);
    }
    if (status != STATUS_OK) {
        return status;
    }
    memcpy(decision->tenant, agent.account, sizeof decision->tenant);
    memcpy(decision->agent, agent.id, sizeof decision->agent);
    memcpy(decision->token, agent.id, sizeof decision->token);
    return STATUS_OK;
}

static enum status agent_alive(struct decision *decision)
{
    enum status status = hot_agent(decision->vault->store, decision->tenant, decision->agent);
    if (status == STATUS_NOT_FOUND) {
        return refuse(decision, STATUS_UNAUTHENTICATED, "agent is gone");
    }
    return status == STATUS_DENIED ? changed_row(decision, "agents", decision->agent) : status;
}

static enum status provider_token(struct decision *decision, struct view hash)
{
    struct token token;
    enum status status = hot_token(decision->vault->store, hash, &token);
    if (status == STATUS_NOT_FOUND) {
        return dead_or_unknown(decision, hash);
    }
    if (status == STATUS_DENIED) {
        return changed_row(decision, "tokens", token.id);
    }
    if (status != STATUS_OK) {
        return status;
    }
    memcpy(decision->tenant, token.account, sizeof decision->tenant);
    memcpy(decision->agent, token.agent, sizeof decision->agent);
    memcpy(decision->token, token.id, sizeof decision->token);
    memcpy(decision->override, token.secret, sizeof decision->override);
    if (token.expires_ms && clock_wall_ms() >= token.expires_ms) {
        return refuse(decision, STATUS_UNAUTHENTICATED, "expired token");
    }
    if (!decision->provider || strcmp(token.provider, decision->provider->name) != 0) {
        return refuse(decision, STATUS_UNAUTHENTICATED, "token of another provider");
    }
    return agent_alive(decision);
}

static enum status identify(struct decision *decision)
{
    uint8_t bytes[CRYPTO_HASH_BYTES] = {0};
    struct view hash = view_of(bytes, sizeof bytes), label;
    if (!token_check(decision->in.token, &label)) {
        return refuse(decision, STATUS_UNAUTHENTICATED, "malformed token");
    }
    enum status status = credential_hash(decision->vault, decision->in.token, bytes);
    if (status != STATUS_OK) {
        return status;
    }
    return view_is(label, "agent") ? agent_token(decision, hash) : provider_token(decision, hash);
}

/* ---- whether the call is permitted ---- */

static enum status judge(struct decision *decision, struct view upstream)
{
    struct call_header headers[JUDGED_HEADERS_MAX];
    struct header_row row;
    struct list list = decision->in.headers;
    struct provider_call call = {decision->in.method, upstream, headers, 0};
    const char *why;
    while (call.header_count < JUDGED_HEADERS_MAX &&
           proto_list_next(&header_row_schema, &list, &row)) {
        headers[call.header_count++] = (struct call_header){row.name, row.value};
    }
    enum status status = provider_judge(decision->provider, &call, &why);
    if (status == STATUS_OK) {
        return STATUS_OK;
    }
    (void)snprintf(decision->detail, sizeof decision->detail, "%s", why);
    return refuse(decision, status, status == STATUS_DENIED ? "on the provider's deny list"
                                                            : "malformed second object");
}

static enum status permit(struct decision *decision, const struct auth_rule **ret_rule)
{
    const struct provider *provider = decision->provider;
    if (!provider) {
        (void)snprintf(decision->detail, sizeof decision->detail, "there is no such provider");
        return refuse(decision, STATUS_NOT_FOUND, "unknown provider");
    }
    enum status status = provider_target(provider, decision->in.target, &decision->upstream);
    struct view upstream = buffer_view(&decision->upstream);
    const struct auth_rule *rule = status == STATUS_OK ? provider_auth(provider, upstream) : NULL;
    /* No rule can judge a path that the provider may read as another one. */
    if (status != STATUS_OK ||
        !target_plain(decision->in.target, rule && rule->type == AUTH_SIGV4)) {
        return refuse(decision, status == STATUS_OK ? STATUS_INVALID : status, "malformed target");
    }
    status = judge(decision, upstream);
    if (status != STATUS_OK) {
        return status;
    }
    *ret_rule = rule;
    return rule ? STATUS_OK : refuse(decision, STATUS_DENIED, "no auth rule for the path");
}

/* ---- the credentials ---- */

/* Opens the tenant's secret NAME; STATUS_NOT_FOUND when there is none. */
static enum status read_secret(struct decision *decision, const char *name,
                               struct secret **ret_value)
{
    CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
    struct secret_row row;
    struct vault *vault = decision->vault;
    enum status status =
        hot_secret(vault->store, decision->tenant, view_text(name), &row, &blob);
    if (status == STATUS_OK) {
        status = open_secret(vault->keys, &row, buffer_view(&blob), ret_value);
    }
    if (status == STATUS_OK) {
        touch(vault->touches, TOUCH_SECRET, view_text(row.id), clock_wall_ms());
    }
    return status;
}

static enum status needed_secret(struct decision *decision, size_t index,
                                 struct secret **ret_value)
{
    bool own = index == 0 && decision->override[0];
    const char *name = own ? decision->override : decision->provider->secrets[index];
    enum status status = read_secret(decision, name, ret_value);
    if (status == STATUS_NOT_FOUND) {
        (void)snprintf(decision->detail, sizeof decision->detail,
                       "the secret %s is not stored in this account", name);
        return refuse(decision, status, "missing secret");
    }
    return status;
}

static enum status add_credential(const char *name, struct view value, struct buffer *rows,
                                  struct list *list)
{
    struct grant_row row = {view_text(name), value};
    return proto_list_add(&grant_row_schema, &row, rows, list);
}

static enum status add_optional(struct decision *decision, struct buffer *rows, struct list *list)
{
    const char **names = decision->provider->optional_secrets;
    for (size_t i = 0; names && names[i]; i++) {
        CLEANUP(secret_free) struct secret *value = NULL;
        enum status status = read_secret(decision, names[i], &value);
        if (status == STATUS_OK) {
            status = add_credential(names[i], secret_view(value), rows, list);
        }
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
            return status;
        }
    }
    return STATUS_OK;
}

static enum status add_plain(struct decision *decision, struct buffer *rows, struct list *list)
{
    const char **names = decision->provider->secrets;
    for (size_t i = 0; names[i]; i++) {
        CLEANUP(secret_free) struct secret *value = NULL;
        enum status status = needed_secret(decision, i, &value);
        if (status == STATUS_OK) {
            status = add_credential(names[i], secret_view(value), rows, list);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

/* The first secret is the access key's id, the second the key; only what is derived of it leaves.
 * Region and service are in the target, to which the grant is bound. */
static enum status add_sigv4(struct decision *decision, const struct auth_rule *rule,
                             struct buffer *rows, struct list *list)
{
    CLEANUP(secret_free) struct secret *id = NULL;
    CLEANUP(secret_free) struct secret *key = NULL;
    CLEANUP(secret_free) struct secret *derived = secret_new(NULL, CRYPTO_HASH_BYTES);
    struct signing_scope scope;
    const char *why = "";
    char now[CLOCK_TEXT_SIZE], date[9];
    enum status status = signing_scope(rule, decision->in.target, &scope, &why);
    if (status != STATUS_OK) {
        (void)snprintf(decision->detail, sizeof decision->detail, "%s", why);
        return refuse(decision, status, status == STATUS_DENIED ? "service not permitted"
                                                                : "malformed region or bucket");
    }
    if (!decision->provider->secrets[0] || !decision->provider->secrets[1] || !derived) {
        return STATUS_INTERNAL;
    }
    clock_text(clock_wall_ms(), now); /* 2026-01-31T... */
    (void)snprintf(date, sizeof date, "%.4s%.2s%.2s", now, now + 5, now + 8);
    status = needed_secret(decision, 0, &id);
    if (status == STATUS_OK) {
        status = needed_secret(decision, 1, &key);
    }
    if (status == STATUS_OK) {
        status = sigv4_key(secret_view(key), view_text(date), scope.region,
                           view_text(scope.sign_as), secret_data(derived));
    }
    const struct grant_row parts[] = {
        {view_text(decision->provider->secrets[0]),
         id ? secret_view(id) : view_of(NULL, 0)},
        {VIEW("signing-key"), secret_view(derived)},
        {VIEW("date"), view_text(date)},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && status == STATUS_OK; i++) {
        status = proto_list_add(&grant_row_schema, &parts[i], rows, list);
    }
    return status;
}

/* ---- the grant ---- */

/* Of the audit daemon that takes the intent, and so the outcome. */
static unsigned shard_for(const struct decision *decision)
{
    return audit_shard(decision->vault->audit, view_text(decision->tenant), decision->in.shards);
}

static enum status seal_grant(struct decision *decision, struct list credentials,
                              struct vault_grant *grant, struct buffer *box)
{
    const struct grant_binding binding = {
        .request = decision->in.request,
        .tenant = grant->tenant,
        .token_id = grant->token_id,
        .agent = grant->agent,
        .provider = grant->provider,
        .proxy = decision->in.proxy,
        .method = decision->in.method,
        .target = decision->in.target,
        .headers = decision->in.headers.rows,
        .expires_ms = grant->expires_ms,
        .shard = grant->shard,
    };
    return grant_seal(secret_view(decision->vault->grant_key), &binding, credentials, box);
}

static enum status make_grant(struct decision *decision, const struct auth_rule *rule,
                              struct buffer *ret_answer)
{
    CLEANUP(buffer_wipe) struct buffer rows = BUFFER_EMPTY;
    CLEANUP(buffer_free) struct buffer box = BUFFER_EMPTY;
    struct list credentials = {0};
    struct vault_grant grant = {
        .call = decision->in.call,
        .tenant = view_text(decision->tenant),
        .token_id = view_text(decision->token),
        .agent = view_text(decision->agent),
        .provider = view_text(decision->provider->name),
        .expires_ms = clock_wall_ms() + GRANT_LIFE_MS,
        .shard = shard_for(decision),
    };
    enum status status = rule->type == AUTH_SIGV4
                             ? add_sigv4(decision, rule, &rows, &credentials)
                             : add_plain(decision, &rows, &credentials);
    if (status == STATUS_OK) {
        status = add_optional(decision, &rows, &credentials);
    }
    if (status == STATUS_OK) {
        status = seal_grant(decision, credentials, &grant, &box);
    }
    if (status != STATUS_OK) {
        return status;
    }
    grant.status = status_to_wire(STATUS_OK);
    grant.grant = buffer_view(&box);
    return proto_encode(&vault_grant_schema, &grant, ret_answer);
}

/* ---- the record and the answer ---- */

static struct audit_record record_of(const struct decision *decision, enum audit_kind kind)
{
    struct audit_record record = audit_blank(kind, "call", decision->in.request);
    struct view path = decision->in.target;
    const uint8_t *query = path.size ? memchr(path.data, '?', path.size) : NULL;
    if (query) {
        path.size = (size_t)(query - path.data);
    }
    record.tenant = view_text(decision->tenant);
    record.agent = view_text(decision->agent);
    record.token = view_text(decision->token);
    record.provider = decision->provider ? view_text(decision->provider->name)
                                         : decision->in.provider;
    record.method = decision->in.method;
    record.path = path;
    record.client = decision->in.client;
    record.decision = view_text(kind == AUDIT_DENIED ? "deny" : "allow");
    record.reason = view_text(decision->reason);
    record.shard = shard_for(decision);
    return record;
}

static void answer_refusal(struct vault *vault, struct channel_peer *peer, uint64_t call,
                           enum status status, const char *detail)
{
    struct vault_grant grant = {.call = call, .status = status_to_wire(status)};
    if (status != STATUS_UNAUTHENTICATED) {
        grant.detail = view_text(detail);
    }
    if (status == STATUS_UNAVAILABLE) {
        vault->counters.unavailable++;
    } else {
        vault->counters.refused++;
    }
    vault_send(peer, &vault_grant_schema, &grant);
}

static void held_free(struct pending *pending)
{
    struct held *held = (struct held *)pending;
    pending_remove(held->vault, &held->pending);
    buffer_free(&held->answer);
    free(held);
}

static void intent_acknowledged(void *arg, const struct audit_result *result)
{
    struct held *held = arg;
    struct channel_peer *peer = held->pending.peer;
    bool conflict = result->status == STATUS_CONFLICT;
    LOG_ABOUT(log_id(held->request), VIEW(""));
    histogram_add(&held->vault->audit_wait, clock_mono_us() - held->asked_us);
    timing_tell(peer, held->pending.call, held->pending.timed_us, audit_timed(held->vault->audit));
    if (peer && result->status == STATUS_OK) {
        held->vault->counters.granted++;
        (void)!channel_send(peer, buffer_view(&held->answer)); /* a stuck gateway asks again */
    } else if (peer && !(conflict && pending_twice(held->vault, &held->pending))) {
        /* On a conflict the request id was used before, and the gateway takes another. */
        answer_refusal(held->vault, peer, held->pending.call, conflict ? STATUS_CONFLICT : STATUS_UNAVAILABLE,
                       "the audit log cannot be written");
    }
    held_free(&held->pending);
}

/* Takes ANSWER over on success. */
static enum status hold(struct decision *decision, struct channel_peer *peer,
                        struct buffer *answer)
{
    struct audit_record record = record_of(decision, AUDIT_INTENT);
    memcpy(&record.bound, decision->in.proxy.data, sizeof record.bound); /* its size was checked */
    struct held *held = calloc(1, sizeof *held);
    if (!held) {
        return STATUS_INTERNAL;
    }
    held->vault = decision->vault;
    held->pending.call = decision->in.call;
    held->asked_us = clock_mono_us();
    histogram_add(&decision->vault->decided, held->asked_us - decision->began_us);
    timing_hold(decision->vault, &held->pending, decision->timed_us);
    (void)view_copy(decision->in.request, held->request, sizeof held->request); /* it fits */
    enum status status =
        audit_submit(decision->vault->audit, &record, intent_acknowledged, held);
    if (status != STATUS_OK) {
        free(held);
        return status;
    }
    held->pending.free = held_free;
    pending_add(decision->vault, &held->pending, peer);
    held->answer = *answer;
    *answer = BUFFER_EMPTY;
    return STATUS_OK;
}

static enum status decide(struct decision *decision, struct channel_peer *peer)
{
    CLEANUP(buffer_free) struct buffer answer = BUFFER_EMPTY;
    const struct auth_rule *rule = NULL;
    if (decision->in.proxy.size != INSTANCE_BYTES || decision->in.request.size == 0) {
        return STATUS_INVALID;
    }
    if (decision->vault->pending_count >= PENDING_MAX) {
        return STATUS_BUSY;
    }
    if (!audit_knows(decision->vault->audit, decision->in.shards)) {
        return STATUS_UNAVAILABLE;
    }
    enum status status = identify(decision);
    if (status == STATUS_OK) {
        status = permit(decision, &rule);
    }
    if (status == STATUS_OK) {
        status = make_grant(decision, rule, &answer);
    }
    return status == STATUS_OK ? hold(decision, peer, &answer) : status;
}

static void touch_used(struct decision *decision)
{
    uint64_t now_ms = clock_wall_ms();
    struct touches *touches = decision->vault->touches;
    touch(touches, TOUCH_AGENT, view_text(decision->agent), now_ms);
    if (strcmp(decision->token, decision->agent) != 0) {
        touch(touches, TOUCH_TOKEN, view_text(decision->token), now_ms);
    }
}

void take_authorize(struct vault *vault, struct channel_peer *peer, struct view record)
{
    struct decision decision = {.vault = vault, .began_us = clock_mono_us()};
    if (proto_decode(&vault_authorize_schema, record, &decision.in) != STATUS_OK) {
        vault_refuse_record(vault, "that is malformed");
        return;
    }
    LOG_ABOUT(decision.in.request, log_id(decision.tenant));
    decision.timed_us = timing_of(vault, peer, decision.in.call);
    decision.provider = providers_find(vault->providers, decision.in.provider);
    enum status status = decide(&decision, peer);
    if (status == STATUS_UNAVAILABLE && store_is_away(vault->store)) {
        door_again(vault, peer, record); /* nothing has come of it yet */
    } else if (status == STATUS_OK) {
        touch_used(&decision);
    } else {
        if (decision.reason) {
            tally_add(&vault->refusals, decision.reason, NULL);
            struct audit_record denied = record_of(&decision, AUDIT_DENIED);
            denials_tell(vault->denials, &denied, 1);
        }
        timing_tell(peer, decision.in.call, decision.timed_us, NULL);
        answer_refusal(vault, peer, decision.in.call, status, decision.detail);
    }
    buffer_free(&decision.upstream);
}
