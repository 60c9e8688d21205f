/* messages.h - every message there is, for tests and fuzzing. */
#ifndef PROTO_MESSAGES_H
#define PROTO_MESSAGES_H

#include "proto/audit_messages.h"
#include "proto/control_messages.h"
#include "proto/grant.h"
#include "proto/proxy_messages.h"
#include "proto/trace_messages.h"
#include "proto/vault_messages.h"

extern const struct schema *const proto_schemas[]; /* NULL at the end */

#endif
