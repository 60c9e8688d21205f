/* operations.c - the table of operations: what is recorded as what, who may ask, who does it. */
#include "ask.h"

#define ACCOUNT_READS(name) {NULL, ASKER_ACCOUNT, false, false, NULL, apply_##name}
#define ACCOUNT_CHANGES(action, name) {action, ASKER_ACCOUNT, true, false, check_##name, apply_##name}
#define ACCOUNT_ADDS(action, name) {action, ASKER_ACCOUNT, true, true, check_##name, apply_##name}
#define NOBODY_ADDS(action, name) {action, ASKER_NONE, false, true, check_##name, apply_##name}

static const struct operation operations[VAULT_OP_COUNT] = {
    [VAULT_OP_ACCOUNT_CREATE] = NOBODY_ADDS("account.create", account_create),
    [VAULT_OP_SESSION_CREATE] = NOBODY_ADDS("session.create", session_create),
    [VAULT_OP_SESSION_DELETE] = ACCOUNT_ADDS("session.delete", session_delete),
    [VAULT_OP_ACCOUNT_GET] = ACCOUNT_READS(account_get),
    [VAULT_OP_PASSWORD_CHANGE] = ACCOUNT_ADDS("account.password", password_change),
    [VAULT_OP_ACCOUNT_DELETE] = ACCOUNT_CHANGES("account.delete", account_delete),
    [VAULT_OP_KEY_CREATE] = ACCOUNT_ADDS("key.create", key_create),
    [VAULT_OP_KEY_LIST] = ACCOUNT_READS(key_list),
    [VAULT_OP_KEY_DELETE] = ACCOUNT_ADDS("key.delete", key_delete),
    [VAULT_OP_SECRET_PUT] = ACCOUNT_CHANGES("secret.put", secret_put),
    [VAULT_OP_SECRET_LIST] = ACCOUNT_READS(secret_list),
    [VAULT_OP_SECRET_DELETE] = ACCOUNT_CHANGES("secret.delete", secret_delete),
    [VAULT_OP_AGENT_CREATE] = ACCOUNT_ADDS("agent.create", agent_create),
    [VAULT_OP_AGENT_LIST] = ACCOUNT_READS(agent_list),
    [VAULT_OP_AGENT_GET] = ACCOUNT_READS(agent_get),
    [VAULT_OP_AGENT_PATCH] = ACCOUNT_CHANGES("agent.change", agent_patch),
    [VAULT_OP_AGENT_DELETE] = ACCOUNT_CHANGES("agent.delete", agent_delete),
    [VAULT_OP_AGENT_TOKEN] = ACCOUNT_CHANGES("agent.token", agent_token),
    [VAULT_OP_TOKEN_CREATE] = ACCOUNT_ADDS("token.create", token_create),
    [VAULT_OP_TOKEN_LIST] = ACCOUNT_READS(token_list),
    [VAULT_OP_TOKEN_RENEW] = ACCOUNT_CHANGES("token.renew", token_renew),
    [VAULT_OP_TOKEN_DELETE] = ACCOUNT_CHANGES("token.delete", token_delete),
    [VAULT_OP_AUDIT_LIST] = ACCOUNT_READS(audit_list),
    [VAULT_OP_AGENT_SECRETS] = {NULL, ASKER_AGENT, false, false, NULL, apply_agent_secrets},
    [VAULT_OP_AGENT_SECRET_GET] = {"secret.get", ASKER_AGENT, false, true, check_agent_secret_get,
                                   apply_agent_secret_get},
    [VAULT_OP_INTAKE_KEY] = {NULL, ASKER_NONE, false, false, NULL, apply_intake_key},
};

const struct operation *operation_of(uint64_t op)
{
    return op < VAULT_OP_COUNT && operations[op].apply ? &operations[op] : NULL;
}
