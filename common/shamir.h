/* shamir.h - a secret split into shares, of which any THRESHOLD give it back and fewer say nothing.
 *
 * Shamir, "How to share a secret" (1979), byte by byte over GF(2^8) with the AES polynomial (FIPS 197
 * section 4.2): a share's x is 1 to 255, its y is as long as the secret.  Nothing here branches on,
 * or looks up a table by, a secret byte.  What comes of shares that do not belong together is another
 * secret, not an error: compare it with something. */
#ifndef COMMON_SHAMIR_H
#define COMMON_SHAMIR_H

#include "common/secret.h"

enum { SHAMIR_SHARES_MAX = 255, SHAMIR_SECRET_MAX = 64 };

/* Writes the share at X (1 to 255) of each of COUNT: RET_SHARES takes COUNT * secret.size bytes, the
 * share at X beginning at (X - 1) * secret.size.  STATUS_INVALID unless 2 <= THRESHOLD <= COUNT <= 255
 * and the secret has 1 to SHAMIR_SECRET_MAX bytes. */
MUST_USE enum status shamir_split(struct view secret, unsigned threshold, unsigned count,
                                  uint8_t *ret_shares);

/* The secret from COUNT shares of SIZE bytes, one after the other, at the places XS.  STATUS_INVALID for
 * a place that is 0 or there twice. */
MUST_USE enum status shamir_combine(const uint8_t *xs, const uint8_t *shares, unsigned count,
                                    size_t size, uint8_t *ret_secret);

#endif
