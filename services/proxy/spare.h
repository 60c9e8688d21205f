/* spare.h - blocks of one size that every call needs, kept zeroed between two calls.
 *
 * The C library keeps seven blocks of a size at hand; calls come by the dozen, and for the others it
 * sorts and joins what is free. */
#ifndef SERVICES_PROXY_SPARE_H
#define SERVICES_PROXY_SPARE_H

#include <stddef.h>

/* Under the sanitizer each has an allocation of its own, so that a late use is seen. */
#if defined(__SANITIZE_ADDRESS__) && !defined(SPARES_ALWAYS) /* the test keeps them */
enum { SPARES_KEPT = 0, SPARES_MAX = 1 };
#else
enum { SPARES_KEPT = 64, SPARES_MAX = SPARES_KEPT }; /* of a size: the calls of one turn under load */
#endif

/* Begins as {.size = BYTES}; SIZE stays the same. */
struct spares {
    size_t size, count;
    void *kept[SPARES_MAX];
};

/* A zeroed block of SPARES->size bytes, to be given back, or NULL for want of memory. */
void *spare_take(struct spares *spares);
/* Zeroes BLOCK, which may hold a key, and keeps or frees it.  Takes NULL. */
void spare_give(struct spares *spares, void *block);

#endif
