/* audit_messages.h - what the vault and the proxy tell the audit daemon, and what the vault asks.
 *
 * The vault sends intents, denials and account records, the proxy outcomes; only the vault asks for
 * pages, and only for one tenant. */
#ifndef PROTO_AUDIT_MESSAGES_H
#define PROTO_AUDIT_MESSAGES_H

#include "proto/checkpoint.h"
#include "proto/vault_messages.h"

enum audit_message {
    AUDIT_RECORD = 2,
    AUDIT_ACK = 3,
    AUDIT_QUERY = 4,
    AUDIT_PAGE = 5,
    AUDIT_RUNNING = 6,
    AUDIT_HEAD = 7,
};

enum audit_kind { AUDIT_INTENT, AUDIT_OUTCOME, AUDIT_DENIED, AUDIT_ACCOUNT, AUDIT_SYSTEM };

#define AUDIT_NONE UINT64_MAX /* a number that does not apply: null in the log */

/* There may be several audit daemons, each with a log of its own, in an order that every sender has the
 * same.  SHARD is the number, from 0, of the one that a message is for: another one refuses it with
 * STATUS_MISDIRECTED, for then two lists are not the same. */

/* One record; `seq`, `time`, `prev` and `hash` are the audit daemon's own.  Empty text is null.
 * PATH has no query.  Sent again after a lost acknowledgement it is acknowledged again and not
 * written twice: an intent, an outcome or what an account did is known by its `request`.  BOUND is not
 * written: of an intent, the first bytes of the id of the one proxy process that its grant is for, so that
 * two vaults cannot be led to give grants for two.  Nor is SHARD. */
#define FIELDS_audit_record(F, L, M)      \
    F(M, call, UINT, UINT64_MAX)          \
    F(M, kind, UINT, AUDIT_SYSTEM)        \
    F(M, action, TEXT, 64)                \
    F(M, request, TEXT, ID_SIZE_MAX)      \
    F(M, tenant, TEXT, ID_SIZE_MAX)       \
    F(M, agent, TEXT, ID_SIZE_MAX)        \
    F(M, token, TEXT, ID_SIZE_MAX)        \
    F(M, provider, TEXT, PROVIDER_MAX)    \
    F(M, method, TEXT, METHOD_MAX)        \
    F(M, path, TEXT, TARGET_MAX)          \
    F(M, decision, TEXT, 16)              \
    F(M, reason, TEXT, 128)               \
    F(M, status, UINT, UINT64_MAX)        \
    F(M, bytes_in, UINT, UINT64_MAX)      \
    F(M, bytes_out, UINT, UINT64_MAX)     \
    F(M, duration_ms, UINT, UINT64_MAX)   \
    F(M, client, TEXT, CLIENT_MAX)        \
    F(M, bound, UINT, UINT64_MAX)         \
    F(M, shard, UINT, AUDIT_SHARDS_MAX - 1)
PROTO_DECLARE(audit_record);

/* STATUS_OK: the record is on disk as number SEQ.  STATUS_CONFLICT: another intent, or what an
 * account did, has this request id.  STATUS_STORAGE_FULL and others: it is not on disk and never will be. */
#define FIELDS_audit_ack(F, L, M)  \
    F(M, call, UINT, UINT64_MAX)   \
    F(M, status, UINT, UINT16_MAX) \
    F(M, seq, UINT, UINT64_MAX)
PROTO_DECLARE(audit_ack);

/* The newest records of TENANT with seq below BEFORE (0: from the newest), at most LIMIT (0: 100).
 * Each text that is not empty filters; STATUS is "404" or "4xx".  SINCE_MS and UNTIL_MS are wall
 * times since 1970, 0 for none; UNTIL_MS itself is not in. */
#define FIELDS_audit_query(F, L, M)    \
    F(M, call, UINT, UINT64_MAX)       \
    F(M, tenant, TEXT, ID_SIZE_MAX)    \
    F(M, agent, TEXT, ID_SIZE_MAX)     \
    F(M, token, TEXT, ID_SIZE_MAX)     \
    F(M, provider, TEXT, PROVIDER_MAX) \
    F(M, action, TEXT, 64)             \
    F(M, kind, TEXT, 16)               \
    F(M, request, TEXT, ID_SIZE_MAX)   \
    F(M, status, TEXT, 8)              \
    F(M, since_ms, UINT, UINT64_MAX)   \
    F(M, until_ms, UINT, UINT64_MAX)   \
    F(M, before, UINT, UINT64_MAX)     \
    F(M, limit, UINT, 1000)            \
    F(M, shard, UINT, AUDIT_SHARDS_MAX - 1)
PROTO_DECLARE(audit_query);

/* RECORDS is a JSON array, newest first; NEXT is the BEFORE for the following page, 0 at the end. */
#define FIELDS_audit_page(F, L, M) \
    F(M, call, UINT, UINT64_MAX)   \
    F(M, status, UINT, UINT16_MAX) \
    F(M, records, TEXT, ANSWER_MAX - 256) \
    F(M, next, UINT, UINT64_MAX)
PROTO_DECLARE(audit_page);

/* A proxy tells every few seconds which of its calls have been running for long, and whose outcomes
 * still wait: for others that nobody claims, audit writes `unknown`. */
#define AUDIT_RUNNING_MAX 1000
#define FIELDS_audit_running(F, L, M)           \
    F(M, shard, UINT, AUDIT_SHARDS_MAX - 1)           \
    L(M, requests, name_row, AUDIT_RUNNING_MAX)
PROTO_DECLARE(audit_running);

/* Told to every vault that is up, not asked for: CHECKPOINT is the newest one (proto/checkpoint.h). */
#define FIELDS_audit_head(F, L, M) F(M, checkpoint, TEXT, CHECKPOINT_SIZE_MAX)
PROTO_DECLARE(audit_head);

#endif
