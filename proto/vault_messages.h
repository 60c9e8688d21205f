/* vault_messages.h - what the gateway may ask of the vault.  Requests are even, replies odd.
 *
 * `call` pairs a reply with its request and is chosen by the asker; `request` is the id under which
 * the audit log knows the HTTP request.  `status` is status_to_wire(). */
#ifndef PROTO_VAULT_MESSAGES_H
#define PROTO_VAULT_MESSAGES_H

#include "common/token.h"
#include "proto/codec.h"

enum vault_message {
    VAULT_AUTHORIZE = 2,
    VAULT_GRANT = 3,
    VAULT_ASK = 4,
    VAULT_ANSWER = 5,
    VAULT_REFUSED = 6,
    VAULT_STATE = 7,
};

enum {
    INSTANCE_BYTES = 16,        /* a process's own random id, new at each start (channel.h) */
    TARGET_MAX = 8192,          /* bytes of a request target; design, HTTP face */
    PROVIDER_MAX = 64,          /* bytes of a provider's name or alias */
    METHOD_MAX = 32,
    HEADER_NAME_MAX = 256,
    HEADER_VALUE_MAX = 32768,
    JUDGED_HEADERS_MAX = 16,
    CLIENT_MAX = 64,            /* an IPv6 address with its zone */
    DETAIL_MAX = 512,
    NAME_MAX_BYTES = 128,       /* names of secrets, agents and account keys */
    EMAIL_MAX = 254,            /* RFC 5321 section 4.5.3.1.3, less the angle brackets */
    SECRET_VALUE_MAX = 8192,
    PASSWORD_MAX = 1024,
    BOX_MAX = SECRET_VALUE_MAX + 64,
    GRANT_MAX = 4 * SECRET_VALUE_MAX,
    ANSWER_MAX = 1 << 20,
    NAMES_MAX = 1000,
    PUBLIC_URL_MAX = 512,
    STATE_MAX = 255,
    WAIT_S_MAX = 3600,
    AUDIT_SHARDS_MAX = 16,            /* audit daemons; audit_messages.h */
    CURSOR_MAX = 14 * AUDIT_SHARDS_MAX, /* a sequence number (below 2^43) and a dot for each */
};

/* Several vaults may have different lists of audit daemons while one is being made longer.  So each says in
 * its state how many SHARDS it has, and a question says over how many its tenants are to be spread: asked of
 * another vault, it goes to the same audit daemon, which knows it again.  0: as many as the vault has. */

#define FIELDS_header_row(F, L, M)      \
    F(M, name, TEXT, HEADER_NAME_MAX)   \
    F(M, value, TEXT, HEADER_VALUE_MAX)
PROTO_DECLARE(header_row);

/* May this token call this provider, through the one proxy process PROXY?  TOKEN is a provider
 * token or an agent token.  TARGET is what follows /api/<provider>, raw, without the parameters
 * that carried the token. */
#define FIELDS_vault_authorize(F, L, M) \
    F(M, call, UINT, UINT64_MAX)        \
    F(M, request, TEXT, ID_SIZE_MAX)    \
    F(M, token, TEXT, TOKEN_SIZE_MAX)   \
    F(M, provider, TEXT, PROVIDER_MAX)  \
    F(M, proxy, BYTES, INSTANCE_BYTES)  \
    F(M, method, TEXT, METHOD_MAX)      \
    F(M, target, TEXT, TARGET_MAX)      \
    F(M, client, TEXT, CLIENT_MAX)      \
    F(M, shards, UINT, AUDIT_SHARDS_MAX)      \
    L(M, headers, header_row, JUDGED_HEADERS_MAX)
PROTO_DECLARE(vault_authorize);

/* On STATUS_OK a grant that only the proxy can open (grant.h), and what it is bound to.  Otherwise
 * DETAIL is a sentence for the caller, or empty.  SHARD is the audit daemon that has the intent. */
#define FIELDS_vault_grant(F, L, M)    \
    F(M, call, UINT, UINT64_MAX)       \
    F(M, status, UINT, UINT16_MAX)     \
    F(M, detail, TEXT, DETAIL_MAX)     \
    F(M, grant, BYTES, GRANT_MAX)      \
    F(M, tenant, TEXT, ID_SIZE_MAX)    \
    F(M, token_id, TEXT, ID_SIZE_MAX)  \
    F(M, agent, TEXT, ID_SIZE_MAX)     \
    F(M, provider, TEXT, PROVIDER_MAX) \
    F(M, expires_ms, UINT, UINT64_MAX) \
    F(M, shard, UINT, AUDIT_SHARDS_MAX - 1)
PROTO_DECLARE(vault_grant);

/* What VAULT_ASK asks; the vault's table of operations has one row for each. */
#define VAULT_OPS(X)                                                                       \
    X(ACCOUNT_CREATE) X(SESSION_CREATE) X(SESSION_DELETE) X(ACCOUNT_GET)                   \
    X(PASSWORD_CHANGE) X(ACCOUNT_DELETE) X(KEY_CREATE) X(KEY_LIST) X(KEY_DELETE)           \
    X(SECRET_PUT) X(SECRET_LIST) X(SECRET_DELETE) X(AGENT_CREATE) X(AGENT_LIST)            \
    X(AGENT_GET) X(AGENT_PATCH) X(AGENT_DELETE) X(AGENT_TOKEN) X(TOKEN_CREATE)             \
    X(TOKEN_LIST) X(TOKEN_RENEW) X(TOKEN_DELETE) X(AUDIT_LIST) X(AGENT_SECRETS)            \
    X(AGENT_SECRET_GET) X(INTAKE_KEY)
enum vault_op {
#define X(name) VAULT_OP_##name,
    VAULT_OPS(X)
#undef X
    VAULT_OP_COUNT
};

enum direct_access { DIRECT_UNSET, DIRECT_FALSE, DIRECT_TRUE, DIRECT_LIST };

#define FIELDS_name_row(F, L, M) F(M, name, TEXT, NAME_MAX_BYTES)
PROTO_DECLARE(name_row);

/* One operation for an account or an agent.  CREDENTIAL is a seks_account_ or seks_agent_ token or
 * a session id; fields that OP does not use are empty.  BOX and BOX2 hold the secret value or the
 * password(s) (old, new), sealed to the vault's intake key, or, for AGENT_SECRET_GET, BOX is the
 * X25519 public key to which the value is to be sealed.  PUBLIC_URL is the broker's own
 * ("http://127.0.0.1:8787"), for the base_url of a token.  AUDIT_LIST filters
 * by ID (of an agent), TOKEN_ID, PROVIDER, and ACTION to LIMIT; FIND is a request's id, BEFORE the `next` of
 * the page before, as text. */
#define FIELDS_vault_ask(F, L, M)            \
    F(M, call, UINT, UINT64_MAX)             \
    F(M, request, TEXT, ID_SIZE_MAX)         \
    F(M, op, UINT, VAULT_OP_COUNT - 1)       \
    F(M, credential, TEXT, TOKEN_SIZE_MAX)   \
    F(M, csrf, TEXT, 64)                     \
    F(M, client, TEXT, CLIENT_MAX)           \
    F(M, public_url, TEXT, PUBLIC_URL_MAX)   \
    F(M, id, TEXT, ID_SIZE_MAX)              \
    F(M, token_id, TEXT, ID_SIZE_MAX)        \
    F(M, name, TEXT, NAME_MAX_BYTES)         \
    F(M, email, TEXT, EMAIL_MAX)             \
    F(M, provider, TEXT, PROVIDER_MAX)       \
    F(M, secret, TEXT, NAME_MAX_BYTES)       \
    F(M, direct, UINT, DIRECT_LIST)          \
    L(M, names, name_row, NAMES_MAX)         \
    F(M, expires_in, UINT, UINT32_MAX)       \
    F(M, action, TEXT, 64)                   \
    F(M, kind, TEXT, 16)                     \
    F(M, find, TEXT, ID_SIZE_MAX)            \
    F(M, http, TEXT, 8)                      \
    F(M, since_ms, UINT, UINT64_MAX)         \
    F(M, until_ms, UINT, UINT64_MAX)         \
    F(M, before, TEXT, CURSOR_MAX)           \
    F(M, limit, UINT, 1000)                  \
    F(M, shards, UINT, AUDIT_SHARDS_MAX)           \
    F(M, box, BYTES, BOX_MAX)                \
    F(M, box2, BYTES, BOX_MAX)
PROTO_DECLARE(vault_ask);

/* JSON is the whole body for the caller ({"ok":true,...}); HTTP is 200 or 201.  SESSION is set
 * when a session cookie is to be given out.  BOX answers AGENT_SECRET_GET and INTAKE_KEY.  WAIT_S is
 * for how many seconds a throttled caller is refused, 0 for the others. */
#define FIELDS_vault_answer(F, L, M) \
    F(M, call, UINT, UINT64_MAX)     \
    F(M, status, UINT, UINT16_MAX)   \
    F(M, http, UINT, 999)            \
    F(M, detail, TEXT, DETAIL_MAX)   \
    F(M, json, TEXT, ANSWER_MAX)     \
    F(M, session, TEXT, 64)          \
    F(M, box, BYTES, BOX_MAX)        \
    F(M, wait_s, UINT, WAIT_S_MAX)
PROTO_DECLARE(vault_answer);

/* Told to every gateway that is up, not asked for.  TEXT: why the vault does not serve; empty when it
 * does.  AVOID: another one is better asked, if there is one, since this one misses what it needs.  LEAVING:
 * it is about to stop; it answers what it has, and what crosses this message. */
#define FIELDS_vault_state(F, L, M) \
    F(M, text, TEXT, STATE_MAX)     \
    F(M, avoid, BOOL, 1)            \
    F(M, leaving, BOOL, 1)          \
    F(M, shards, UINT, AUDIT_SHARDS_MAX)
PROTO_DECLARE(vault_state);

/* COUNT requests of CLIENT that the gateway refused by itself, for REASON; REQUEST is one of them.
 * Has no reply. */
#define FIELDS_vault_refused(F, L, M) \
    F(M, request, TEXT, ID_SIZE_MAX)  \
    F(M, client, TEXT, CLIENT_MAX)    \
    F(M, reason, TEXT, 64)            \
    F(M, count, UINT, UINT32_MAX)
PROTO_DECLARE(vault_refused);

#endif
