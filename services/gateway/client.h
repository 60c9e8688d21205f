/* client.h - who sent a request: the socket's other end, or, when that is a proxy which the operator
 * trusts, the address that the proxy put into its forwarding header. */
#ifndef SERVICES_GATEWAY_CLIENT_H
#define SERVICES_GATEWAY_CLIENT_H

#include <sys/socket.h>

#include "common/bytes.h"

/* An IPv4 or IPv6 address; an IPv4 one that came as IPv6 (::ffff:1.2.3.4) is IPv4. */
struct client_address {
    int family; /* AF_INET, AF_INET6, or 0 for none */
    uint8_t bytes[16];
};

/* Reads LIST, networks as "10.0.0.0/8,2001:db8::/32,192.0.2.7", and which HEADER such a proxy sets:
 * "x-forwarded-for" or "forwarded" (RFC 7239).  STATUS_INVALID with a log line. */
MUST_USE enum status client_trust(const char *list, const char *header);
const char *client_header(void); /* the header's name; NULL when nobody is trusted */

/* Whether ADDRESS (may be NULL) is a trusted proxy's. */
bool client_is_trusted(const struct sockaddr *address);

/* Walks FORWARDED (all lines of the header joined by commas; may be empty) from its end for as long
 * as what said so is trusted.  RET_CLIENT takes CLIENT_MAX + 1 bytes: an address as inet_ntop()
 * writes it, or "unknown". */
void client_find(const struct sockaddr *peer, struct view forwarded, char *ret_client);

#endif
