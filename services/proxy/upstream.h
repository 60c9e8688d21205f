/* upstream.h - what holds for every upstream connection. */
#ifndef SERVICES_PROXY_UPSTREAM_H
#define SERVICES_PROXY_UPSTREAM_H

#include <sys/socket.h>

#include "services/proxy/proxy.h"

/* Sets every option that does not depend on the request.  STATUS_INTERNAL when libcurl refuses
 * one. */
MUST_USE enum status upstream_configure(CURL *easy, const struct provider *provider,
                                        const char *ca_file);

/* Whether ADDRESS is one of the public internet: not loopback, private, link-local, shared
 * (RFC 6598), unique local, multicast, or one of these written as IPv6. */
bool upstream_is_public(const struct sockaddr *address);

#endif
