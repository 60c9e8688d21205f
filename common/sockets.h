/* sockets.h - makes ZeroMQ sockets with every option set; used by channel.c alone.
 *
 * Defaults are not relied on: an unlimited message size, unbounded queues, silent drops and a
 * linger that loses records are among them. */
#ifndef COMMON_SOCKETS_H
#define COMMON_SOCKETS_H

#include "common/bytes.h"
#include "common/loop.h"

/* See channel_keys(). */
MUST_USE enum status sockets_keys(const char *dir, const char *name);

/* A ROUTER bound to ENDPOINT.  On tcp it speaks CURVE and takes only the keys of ROLE; on ipc the
 * socket's directory must be this user's with mode 0700, or 2710 for one group.  Each failure is logged. */
MUST_USE enum status sockets_listen(struct loop *loop, const char *endpoint, const char *role,
                                    void **ret_socket);

/* A DEALER with IDENTITY as its routing id, connecting to ENDPOINT; on tcp with SERVER's key. */
MUST_USE enum status sockets_connect(const char *endpoint, const char *server,
                                     struct view identity, void **ret_socket);

void sockets_close(void **socket); /* lingers as configured; takes NULL */

/* Ends the ZeroMQ context once the last socket is closed. */
void sockets_end(void);

/* Peers that came with a key that is not allowed. */
uint64_t sockets_strangers(void);

#endif
