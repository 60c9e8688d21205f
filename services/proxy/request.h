/* request.h - what libcurl is told to send; holds a real key from request_build() to
 * request_wipe(). */
#ifndef SERVICES_PROXY_REQUEST_H
#define SERVICES_PROXY_REQUEST_H

#include "services/proxy/proxy.h"

struct request {
    struct curl_slist *headers;
    struct buffer url; /* NUL-terminated */
};

/* STATUS_INVALID for a header that cannot be sent, STATUS_DENIED when no auth rule matches the
 * target.  The caller wipes the request when the transfer is over. */
MUST_USE enum status request_build(const struct provider *provider,
                                   const struct proxy_call *message, struct list credentials,
                                   struct request *ret_request);
void request_wipe(struct request *request); /* takes an empty one too */

#endif
