/* admin.h - a daemon's own small listener for /healthz, /readyz and /metrics (Prometheus). */
#ifndef COMMON_ADMIN_H
#define COMMON_ADMIN_H

#include "common/daemon.h"

struct admin;

/* Listens on ADDRESS ("127.0.0.1:9901", "[::1]:9901").  Logs its own failure. */
MUST_USE enum status admin_open(struct loop *loop, const struct daemon *daemon,
                                const char *address, struct admin **ret_admin);
void admin_close(struct admin **admin);

/* Splits "HOST:PORT" or "[V6]:PORT" and resolves it for listening; the gateway uses it too.
 * STATUS_INVALID when it is not one.  RET_ADDRESS takes a struct sockaddr_storage. */
struct sockaddr_storage;
MUST_USE enum status address_parse(const char *text, struct sockaddr_storage *ret_address);

#endif
