/* entry.h - the first look at a request, and the files that the server begins with. */
#ifndef SERVICES_GATEWAY_ENTRY_H
#define SERVICES_GATEWAY_ENTRY_H

#include "services/gateway/gateway.h"

/* Finds out who sent it, judges the head and either answers or begins the request's own part. */
enum MHD_Result entry_begin(struct visit *visit, const char *method, const char *version);

/* The certificate and key of --tls-cert and --tls-key, NULL when there are none; the caller frees
 * them.  Logs its own failure. */
MUST_USE enum status entry_read_tls(char **ret_cert, char **ret_key);

#endif
