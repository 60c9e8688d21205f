/* secret.h - memory for keys: locked, left out of dumps, zeroed by its only destructor. */
#ifndef COMMON_SECRET_H
#define COMMON_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"

/* Opaque; up to 240 bytes in shared arenas of memfd_secret(2), or, where the kernel has none or the
 * secret is larger, in memory of libsodium (mlock, MADV_DONTDUMP); guard pages around both.  Has no
 * printed form. */
struct secret;

/* A copy of SIZE bytes (0 is allowed), or zeroes when DATA is NULL.  NULL for want of memory.
 * The caller owns it and still has to wipe its own DATA. */
MUST_USE struct secret *secret_new(const void *data, size_t size);

/* Zeroes and frees *SECRET and leaves NULL; takes NULL. */
void secret_free(struct secret **secret);

/* The bytes, valid until secret_free(). */
uint8_t *secret_data(struct secret *secret);
size_t secret_size(const struct secret *secret);
struct view secret_view(const struct secret *secret);

/* What kind of memory the newest arena is, for the log: "memfd_secret", "locked memory", or that it
 * may be swapped out. */
const char *secret_memory_name(void);

/* Constant-time comparison of equal sizes; sizes themselves are not hidden. */
bool secret_equal(struct view a, struct view b);

#endif
