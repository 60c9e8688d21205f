/* token.h - the shape of the broker's own tokens (design: keys, tokens, rows).
 *
 * seks_<label>_ + 43 base62 characters (256 random bits) + 6 base62 characters of the CRC-32 over
 * all before; digits, upper case, lower case in that order.
 *
 * Tokens that were imported have the shape in which they were made, without a checksum: seks_agent_ and
 * 32, or seks_<provider>_ and 24 characters of base64url (the first of which may be "_": the older
 * form). */
#ifndef COMMON_TOKEN_H
#define COMMON_TOKEN_H

#include "common/bytes.h"

enum {
    TOKEN_RANDOM_CHARS = 43,
    TOKEN_CRC_CHARS = 6,
    TOKEN_LABEL_MAX = 32,
    TOKEN_SIZE_MAX = 5 + TOKEN_LABEL_MAX + 1 + TOKEN_RANDOM_CHARS + TOKEN_CRC_CHARS,
    TOKEN_IMPORTED_CHARS = 24,       /* of a provider token of the broker this one can import from */
    TOKEN_IMPORTED_AGENT_CHARS = 32, /* of an agent's */
    ID_RANDOM_CHARS = 22, /* 131 bits */
    ID_SIZE_MAX = 32,
};

/* Writes a new random token with its NUL into RET_TOKEN (TOKEN_SIZE_MAX + 1 bytes).  STATUS_INVALID
 * for a label that is empty, longer than TOKEN_LABEL_MAX or not of [a-z0-9-]. */
MUST_USE enum status token_new(struct view label, char *ret_token);

/* Whether the shape and the checksum are right, or the shape is an imported token's; says nothing
 * about whether the token is known.
 * RET_LABEL (may be NULL) becomes a view into TOKEN. */
bool token_check(struct view token, struct view *ret_label);

/* Whether TOKEN, which token_check() accepted, has the shape of an imported one. */
bool token_is_imported(struct view token);

/* The IEEE CRC-32 (RFC 1952 section 8). */
uint32_t token_crc32(struct view data);

/* Writes "<prefix>_" and 22 random base62 characters into RET_ID (ID_SIZE_MAX + 1 bytes); PREFIX
 * has at most 8 characters. */
void id_new(const char *prefix, char *ret_id);

#endif
