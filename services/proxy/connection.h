/* connection.h - HTTP/1.1 connections to origins: libcurl resolves, connects and does TLS; whoever
 * uses one sends and receives its bytes.  Idle ones are kept for the next request. */
#ifndef SERVICES_PROXY_CONNECTION_H
#define SERVICES_PROXY_CONNECTION_H

#include <sys/types.h>

#include "services/proxy/origin.h"
#include "services/proxy/proxy.h"

struct connection;

/* Part of whoever uses a connection, which has one user or none (idle). */
struct connection_user {
    /* STATUS_OK, or why there is none; the connection is gone then.  DETAIL is constant. */
    void (*connected)(struct connection_user *user, enum status status, const char *detail);
    /* Bytes can be received or sent, or the connection ended; edge-triggered. */
    void (*ready)(struct connection_user *user);
};

MUST_USE enum status connections_open(struct loop *loop, const char *ca_file);
void connections_close(void);

/* An idle connection for PROVIDER's row to ORIGIN, or NULL. */
struct connection *connection_take(const struct provider *provider, const struct origin *origin,
                                   struct connection_user *user);
/* Begins a new one; `connected` comes later.  NULL for want of memory. */
struct connection *connection_start(const struct provider *provider, const struct origin *origin,
                                    struct connection_user *user);
/* Back among the idle ones, when nothing came on it that was not asked for. */
void connection_give(struct connection *connection);
void connection_drop(struct connection *connection); /* closes it; takes NULL */

/* Whether it served a request before. */
bool connection_used(const struct connection *connection);
bool connection_is_tls(const struct connection *connection);

enum { CONNECTION_AGAIN = -1, CONNECTION_FAILED = -2 };
/* How many bytes went out or came in (0: the other side has ended), or one of the above. */
ssize_t connection_send(struct connection *connection, struct view data);
ssize_t connection_receive(struct connection *connection, uint8_t *room, size_t size);
/* Whether receiving GOT bytes into SIZE bytes of room has left nothing behind: without it the next
 * bytes, or the end, would not be announced. */
bool connection_drained(const struct connection *connection, size_t got, size_t size);

#endif
