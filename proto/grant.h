/* grant.h - the sealed box by which the vault hands a credential to one proxy, past the gateway.
 *
 * AES-256-GCM under the grant key, which only vaults and proxies have; everything in struct
 * grant_binding is its associated data, so a grant moved to another request, proxy or target does
 * not open. */
#ifndef PROTO_GRANT_H
#define PROTO_GRANT_H

#include "common/secret.h"
#include "proto/vault_messages.h"

enum { GRANT_LIFE_MS = 30000 };

struct grant_binding {
    struct view request;
    struct view tenant;
    struct view token_id;
    struct view agent;
    struct view provider; /* canonical name, never an alias */
    struct view proxy;    /* instance id, INSTANCE_BYTES */
    struct view method;
    struct view target;
    struct view headers;  /* those that decide (provider_judges_header), as rows of header_row in the
                           * order in which they are sent; empty for none */
    uint64_t expires_ms;  /* wall clock */
    uint64_t shard;       /* the audit daemon that has the intent, and so gets the outcome */
};

/* One credential: NAME is the secret's ("OPENAI_API_KEY"); for sigv4 the vault puts
 * the access key's id under its secret's name, "signing-key" (32 raw bytes, for the day, region and
 * service of the target), "date" (YYYYMMDD), and maybe the session token under its own. */
#define FIELDS_grant_row(F, L, M)      \
    F(M, name, TEXT, NAME_MAX_BYTES)   \
    F(M, value, BYTES, SECRET_VALUE_MAX)
PROTO_DECLARE(grant_row);

#define FIELDS_grant_content(F, L, M) L(M, credentials, grant_row, 8)
PROTO_DECLARE(grant_content);

/* Appends the sealed grant.  CREDENTIALS is a list built by proto_list_add(&grant_row_schema); its
 * buffer is the caller's to wipe. */
MUST_USE enum status grant_seal(struct view grant_key, const struct grant_binding *binding,
                                struct list credentials, struct buffer *ret_grant);

/* Opens a grant; RET_CREDENTIALS views RET_CONTENT, which the caller owns.  STATUS_DENIED when it
 * is not for this binding or has expired at NOW_MS. */
MUST_USE enum status grant_open(struct view grant_key, const struct grant_binding *binding,
                                struct view grant, uint64_t now_ms, struct secret **ret_content,
                                struct list *ret_credentials);

#endif
