/* control_client.h - the asking end of control_messages.h, for commands: it blocks. */
#ifndef PROTO_CONTROL_CLIENT_H
#define PROTO_CONTROL_CLIENT_H

#include "common/secret.h"
#include "proto/control_messages.h"

enum { CONTROL_ENDPOINT_SIZE = 128 };

struct control_reply {
    enum status status;
    char text[CONTROL_TEXT_MAX + 1];
    uint64_t number;
    uint8_t key[CRYPTO_KEY_BYTES];
};

/* "ipc://DATA/run/control"; STATUS_INVALID when that is longer than a socket's path may be (107). */
MUST_USE enum status control_endpoint(const char *data, char *ret_endpoint);
/* Whether somebody listens there. */
bool control_alive(const char *data);
/* Asks COMMAND with TEXT (may be NULL) and, unless NULL, SECRET, which crosses sealed.
 * STATUS_UNAVAILABLE when no vault runs on DATA or it does not answer in ten minutes; the answer's
 * own status is in RET_REPLY. */
MUST_USE enum status control_ask_vault(const char *data, const char *command, const char *text,
                                       const struct secret *secret,
                                       struct control_reply *ret_reply);

#endif
