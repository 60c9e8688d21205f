/* hold.h - a call that waits for the whole of its body, because its signature holds the body's hash. */
#ifndef SERVICES_PROXY_HOLD_H
#define SERVICES_PROXY_HOLD_H

#include "common/secret.h"
#include "services/proxy/proxy.h"

enum {
    HELD_BODY_MAX = 64 << 20, /* the largest that such a service takes: Lambda's code, 50 MB */
    HELD_ALL_MAX = 256 << 20, /* of all calls together */
};

/* Keeps RECORD (a proxy_call) and takes CONTENT, in which CREDENTIALS are. */
MUST_USE enum status hold_begin(struct call *call, struct view record, struct secret **content,
                                struct list credentials);
/* More of the body; starts the upstream call at its END.  STATUS_TOO_LARGE past HELD_BODY_MAX,
 * STATUS_BUSY when all held bodies together have HELD_ALL_MAX. */
MUST_USE enum status hold_push(struct call *call, struct view data, bool end);
void hold_free(struct held **held); /* takes NULL */

#endif
