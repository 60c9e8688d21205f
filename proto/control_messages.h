/* control_messages.h - what the operator's commands on the vault's own host ask of a running vault.
 *
 * They come over `ipc://DATA/run/control`: who may enter that directory (mode 0700, the vault's own
 * user) may ask, and nobody else can; no gateway has a way to it. */
#ifndef PROTO_CONTROL_MESSAGES_H
#define PROTO_CONTROL_MESSAGES_H

#include "common/crypto.h"
#include "proto/vault_messages.h"

enum control_message { CONTROL_ASK = 2, CONTROL_ANSWER = 3 };

enum { CONTROL_TEXT_MAX = 512 };

/* COMMAND is a row of the vault's table (control.c).  BOX is sealed to the vault's intake key, which
 * the answer to "status" gives. */
#define FIELDS_control_ask(F, L, M)        \
    F(M, call, UINT, UINT64_MAX)           \
    F(M, command, TEXT, 32)                \
    F(M, text, TEXT, CONTROL_TEXT_MAX)     \
    F(M, box, BYTES, BOX_MAX)
PROTO_DECLARE(control_ask);

/* TEXT is for the operator; NUMBER and KEY as the command says. */
#define FIELDS_control_answer(F, L, M)     \
    F(M, call, UINT, UINT64_MAX)           \
    F(M, status, UINT, UINT16_MAX)         \
    F(M, text, TEXT, CONTROL_TEXT_MAX)     \
    F(M, number, UINT, UINT64_MAX)         \
    F(M, key, BYTES, CRYPTO_KEY_BYTES)
PROTO_DECLARE(control_answer);

#endif
