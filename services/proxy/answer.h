/* answer.h - an upstream answer on its way back: its head, then its body against credit. */
#ifndef SERVICES_PROXY_ANSWER_H
#define SERVICES_PROXY_ANSWER_H

#include "services/proxy/proxy.h"

struct answer;

/* CREDENTIALS are what must not come back; UNTOUCHED when none of them travelled (a signature did), so
 * that the body passes as it is, in whatever coding.  NULL for want of memory. */
struct answer *answer_new(struct call *call, struct list credentials, bool untouched);
void answer_free(struct answer **answer);

/* One header line as libcurl gives it, the empty one too.  STATUS_UPSTREAM for an answer that cannot
 * be passed on. */
MUST_USE enum status answer_header(struct answer *answer, struct view line);

/* More of the body.  What the gateway has no credit for is held back. */
MUST_USE enum status answer_body(struct answer *answer, struct view data);

/* No more will come. */
MUST_USE enum status answer_end(struct answer *answer);

/* Sends what is held back, as far as credit goes. */
void answer_flush(struct answer *answer);
size_t answer_held(const struct answer *answer);

#endif
