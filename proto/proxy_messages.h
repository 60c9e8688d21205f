/* proxy_messages.h - one upstream call as a stream between a gateway and a proxy.
 *
 * CALL begins it and alone creates it; each side sends bytes only against credit, which equals what
 * the receiver has consumed; exactly one end (HEAD or DATA with END true, or PROXY_END) closes it;
 * CANCEL drops it.  Anything later for the same `call` is ignored. */
#ifndef PROTO_PROXY_MESSAGES_H
#define PROTO_PROXY_MESSAGES_H

#include <stddef.h>

#include "proto/vault_messages.h"

enum proxy_message {
    PROXY_CALL = 2,
    PROXY_HEAD = 3,
    PROXY_BODY = 4,
    PROXY_DATA = 5,
    PROXY_CREDIT = 6,
    PROXY_END = 7,
    PROXY_CANCEL = 8,
    PROXY_WANT = 9,
    PROXY_LEAVING = 11,
};

enum {
    CHUNK_MAX = 65536,          /* bytes of body in one message */
    STREAM_WINDOW_BYTES = 16384,/* credit that a stream begins with, each way */
    WIDE_WINDOW_BYTES = 1 << 20,/* that a large body's receiver may add to that; see wide_window() */
    WIDE_ALL_BYTES = 16 << 20,  /* what all of those come to, in one daemon */
    WIDE_MIN_BYTES = 65536,
    WINDOW_MAX_BYTES = STREAM_WINDOW_BYTES + WIDE_WINDOW_BYTES,
    HEADERS_MAX = 100,          /* fields; design, HTTP face */
    URL_MAX = 512,
};
#define BODY_SIZE_UNKNOWN UINT64_MAX

/* What one more large body's window gets beyond STREAM_WINDOW_BYTES when others have USED bytes: an
 * eighth of what is left, so that there is something for the next one, too; 0 when it is not worth it. */
static inline size_t wide_window(size_t used)
{
    size_t share = used < WIDE_ALL_BYTES ? (WIDE_ALL_BYTES - used) / 8 : 0;
    share = share > WIDE_WINDOW_BYTES ? WIDE_WINDOW_BYTES : share;
    return share < WIDE_MIN_BYTES ? 0 : share;
}

/* GRANT and what it is bound to come from the vault (vault_grant); PUBLIC_URL is the broker's own
 * ("http://127.0.0.1:8787"), for rewriting headers that point at the provider; S3_CREDENTIAL says
 * that the client signed with AWS4.  BODY is what has arrived so far, END whether that is all. */
#define FIELDS_proxy_call(F, L, M)          \
    F(M, call, UINT, UINT64_MAX)            \
    F(M, request, TEXT, ID_SIZE_MAX)        \
    F(M, tenant, TEXT, ID_SIZE_MAX)         \
    F(M, token_id, TEXT, ID_SIZE_MAX)       \
    F(M, agent, TEXT, ID_SIZE_MAX)          \
    F(M, provider, TEXT, PROVIDER_MAX)      \
    F(M, expires_ms, UINT, UINT64_MAX)      \
    F(M, shard, UINT, AUDIT_SHARDS_MAX - 1)       \
    F(M, grant, BYTES, GRANT_MAX)           \
    F(M, method, TEXT, METHOD_MAX)          \
    F(M, target, TEXT, TARGET_MAX)          \
    F(M, public_url, TEXT, URL_MAX)         \
    F(M, client, TEXT, CLIENT_MAX)          \
    L(M, headers, header_row, HEADERS_MAX)  \
    F(M, body_size, UINT, UINT64_MAX)       \
    F(M, body, BYTES, CHUNK_MAX)            \
    F(M, end, BOOL, 1)
PROTO_DECLARE(proxy_call);

/* More of the request's body; END with the last (whose DATA may be empty). */
#define FIELDS_proxy_body(F, L, M) \
    F(M, call, UINT, UINT64_MAX)   \
    F(M, data, BYTES, CHUNK_MAX)   \
    F(M, end, BOOL, 1)
PROTO_DECLARE(proxy_body);

/* The gateway took BYTES of the answer: so many more may come. */
#define FIELDS_proxy_credit(F, L, M) \
    F(M, call, UINT, UINT64_MAX)     \
    F(M, bytes, UINT, UINT32_MAX)
PROTO_DECLARE(proxy_credit);

/* The client went away; nothing more is answered. */
#define FIELDS_proxy_cancel(F, L, M) F(M, call, UINT, UINT64_MAX)
PROTO_DECLARE(proxy_cancel);

/* The answer's head with what has arrived of its body.  BODY_SIZE is its Content-Length. */
#define FIELDS_proxy_head(F, L, M)         \
    F(M, call, UINT, UINT64_MAX)           \
    F(M, http, UINT, 999)                  \
    L(M, headers, header_row, HEADERS_MAX) \
    F(M, body_size, UINT, UINT64_MAX)      \
    F(M, data, BYTES, CHUNK_MAX)           \
    F(M, end, BOOL, 1)
PROTO_DECLARE(proxy_head);

#define FIELDS_proxy_data(F, L, M) \
    F(M, call, UINT, UINT64_MAX)   \
    F(M, data, BYTES, CHUNK_MAX)   \
    F(M, end, BOOL, 1)
PROTO_DECLARE(proxy_data);

/* A call that failed: before HEAD it becomes an error answer with STATUS and DETAIL, after it the
 * client's connection is cut. */
#define FIELDS_proxy_end(F, L, M)  \
    F(M, call, UINT, UINT64_MAX)   \
    F(M, status, UINT, UINT16_MAX) \
    F(M, detail, TEXT, DETAIL_MAX)
PROTO_DECLARE(proxy_end);

/* The proxy consumed BYTES of the request's body: so many more may come. */
#define FIELDS_proxy_want(F, L, M) \
    F(M, call, UINT, UINT64_MAX)   \
    F(M, bytes, UINT, UINT32_MAX)
PROTO_DECLARE(proxy_want);

/* The proxy, in which RUNNING calls run, is about to stop: they go on, new ones should go elsewhere, and
 * those that crossed this message are still taken for a while. */
#define FIELDS_proxy_leaving(F, L, M) F(M, running, UINT, UINT32_MAX)
PROTO_DECLARE(proxy_leaving);

#endif
