/* refusals.h - requests that never get as far as the vault for want of a well-formed token: counted
 * here, told to the vault now and then, which has them written down. */
#ifndef SERVICES_GATEWAY_REFUSALS_H
#define SERVICES_GATEWAY_REFUSALS_H

#include "services/gateway/gateway.h"

MUST_USE enum status refusals_open(struct loop *loop);
void refusals_close(void); /* tells what is left */
/* WHY is a string literal. */
void refusals_count(const struct visit *visit, const char *why);

#endif
