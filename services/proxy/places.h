/* places.h - where in a text a form of the key may begin: by its first two bytes. */
#ifndef SERVICES_PROXY_PLACES_H
#define SERVICES_PROXY_PLACES_H

#include "common/bytes.h"

/* Zero-initialised: no pair.  Tells something of the secret: to be wiped. */
struct places {
    /* A form can begin with two bytes when the first's and the second's groups have one in common; each
     * first byte has a group of its own as long as there are enough. */
    uint16_t first[256], second[256];
    unsigned group_count;
    /* The same by the halves of a byte, coarser, for sixteen places at a time. */
    uint8_t first_low[16], first_high[16], second_low[16], second_high[16];
};

void places_add(struct places *places, uint8_t first, uint8_t second);
/* The next place at or after AT; TEXT's size when there is none.  At TEXT's last byte the first alone
 * decides. */
size_t places_next(const struct places *places, struct view text, size_t at);

#endif
