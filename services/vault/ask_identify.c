/* ask_identify.c - from the credential of an ask to the account or agent that it stands for.
 *
 * Every reason for a refusal looks the same to the caller; the audit record tells them apart.
 */
#include "ask.h"

#include <string.h>

static enum status unknown(struct ask *ask, enum status found, const char *what)
{
    if (found == STATUS_NOT_FOUND) {
        return ask_deny(ask, STATUS_UNAUTHENTICATED, what);
    }
    if (found == STATUS_DENIED) {
        log_error("identify", "a row was changed from outside the vault");
        return ask_deny(ask, STATUS_UNAUTHENTICATED, "row changed from outside");
    }
    return found;
}

static enum status by_key(struct ask *ask, struct view hash)
{
    struct account_key key;
    enum status status = key_by_hash(ask->vault->store, hash, &key);
    if (status != STATUS_OK) {
        return unknown(ask, status, "unknown account key");
    }
    memcpy(ask->tenant, key.account, sizeof ask->tenant);
    touch(ask->vault->touches, TOUCH_KEY, view_text(key.id), clock_wall_ms());
    return STATUS_OK;
}

static enum status by_agent(struct ask *ask, struct view hash)
{
    struct dead_token dead;
    struct store *store = ask->vault->store;
    enum status status = agent_by_hash(store, hash, &ask->agent);
    if (status == STATUS_NOT_FOUND && dead_by_hash(store, hash, &dead) == STATUS_OK) {
        memcpy(ask->tenant, dead.account, sizeof ask->tenant);
        memcpy(ask->note_agent, dead.agent, sizeof ask->note_agent);
        return ask_deny(ask, STATUS_UNAUTHENTICATED, "revoked agent token");
    }
    if (status != STATUS_OK) {
        return unknown(ask, status, "unknown agent token");
    }
    memcpy(ask->tenant, ask->agent.account, sizeof ask->tenant);
    memcpy(ask->note_agent, ask->agent.id, sizeof ask->note_agent);
    touch(ask->vault->touches, TOUCH_AGENT, view_text(ask->agent.id), clock_wall_ms());
    return STATUS_OK;
}

static enum status csrf_right(struct ask *ask)
{
    char csrf[SESSION_TEXT + 1];
    if (!ask->operation->with_csrf) {
        return STATUS_OK;
    }
    enum status status = session_csrf(ask->vault, ask->in.credential, csrf);
    if (status == STATUS_OK && !secret_equal(view_text(csrf), ask->in.csrf)) {
        return ask_refuse(ask, ask_deny(ask, STATUS_DENIED, "wrong CSRF token"),
                          "the header X-CSRF-Token is missing or wrong");
    }
    return status;
}

static enum status by_session(struct ask *ask, struct view hash)
{
    struct session session;
    uint64_t now_ms = clock_wall_ms();
    enum status status = session_by_hash(ask->vault->store, hash, &session);
    if (status != STATUS_OK) {
        return unknown(ask, status, "unknown session");
    }
    memcpy(ask->tenant, session.account, sizeof ask->tenant);
    if (now_ms > session.created_ms + SESSION_LIFE_MS ||
        now_ms > session.last_ms + SESSION_IDLE_MS) {
        return ask_deny(ask, STATUS_UNAUTHENTICATED, "expired session");
    }
    status = csrf_right(ask);
    if (status == STATUS_OK) {
        memcpy(ask->session_hash, session.hash, sizeof ask->session_hash);
        ask->by_session = true;
        touch(ask->vault->touches, TOUCH_SESSION, hash, now_ms);
    }
    return status;
}

enum status ask_identify(struct ask *ask)
{
    struct view credential = ask->in.credential, label = {NULL, 0};
    uint8_t hash_bytes[CRYPTO_HASH_BYTES] = {0};
    struct view hash = view_of(hash_bytes, sizeof hash_bytes);
    enum asker asker = ask->operation->asker;
    if (asker == ASKER_NONE) {
        return STATUS_OK;
    }
    enum status status = credential_hash(ask->vault, credential, hash_bytes);
    if (status != STATUS_OK) {
        return status;
    }
    bool is_token = token_check(credential, &label);
    if (asker == ASKER_ACCOUNT && is_token && view_is(label, "account")) {
        return by_key(ask, hash);
    }
    if (asker == ASKER_AGENT && is_token && view_is(label, "agent")) {
        return by_agent(ask, hash);
    }
    if (asker == ASKER_ACCOUNT && !is_token && credential.size == SESSION_TEXT) {
        return by_session(ask, hash);
    }
    return ask_deny(ask, STATUS_UNAUTHENTICATED,
                    credential.size ? "credential of another kind" : "no credential");
}
