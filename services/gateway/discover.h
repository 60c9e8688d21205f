/* discover.h - the addresses behind names (a Kubernetes headless service, a scaled compose service),
 * looked up again and again in a thread of its own, so that a slow DNS answer stalls nothing. */
#ifndef SERVICES_GATEWAY_DISCOVER_H
#define SERVICES_GATEWAY_DISCOVER_H

#include <stddef.h>

#include "common/loop.h"

struct discover;

enum { DISCOVER_NAMES_MAX = 16, DISCOVER_ADDRESSES_MAX = 256, DISCOVER_TEXT = 64, DISCOVER_MS = 1000 };

struct discovered {
    size_t count;
    char address[DISCOVER_ADDRESSES_MAX][DISCOVER_TEXT]; /* "10.0.0.7", "[fd00::7]" */
};

/* Looks NAMES up at once and then every DISCOVER_MS.  FN runs in the loop with ARG, the index of a name
 * and all its addresses, of which there is at least one: while a name cannot be looked up what was
 * known of it stays true.  NAMES are borrowed until discover_close().  STATUS_INTERNAL for want of
 * a thread or memory. */
typedef void discover_fn(void *arg, size_t name, const struct discovered *found);
MUST_USE enum status discover_open(struct loop *loop, const char *const *names, size_t count,
                                   discover_fn *fn, void *arg, struct discover **ret_discover);
/* Does not wait for a look-up that hangs longer than the thread needs to notice.  Takes NULL. */
void discover_close(struct discover **discover);

#endif
