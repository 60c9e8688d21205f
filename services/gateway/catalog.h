/* catalog.h - the provider table as GET /v1/providers shows it. */
#ifndef SERVICES_GATEWAY_CATALOG_H
#define SERVICES_GATEWAY_CATALOG_H

#include "services/gateway/gateway.h"

void catalog_write(struct buffer *json);

/* TEXT (UTF-8) quoted and escaped as JSON; bytes over 0x7f go as they are. */
void json_append_utf8(struct buffer *json, struct view text);

#endif
