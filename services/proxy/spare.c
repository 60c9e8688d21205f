/* spare.c - the lists behind spare.h.  What is in them holds no byte of a call: it is zeroed before it
 * is kept, not when it is used again. */
#include "services/proxy/spare.h"

#include <stdlib.h>
#include <string.h>

void *spare_take(struct spares *spares)
{
    return spares->count > 0 ? spares->kept[--spares->count] : calloc(1, spares->size);
}

void spare_give(struct spares *spares, void *block)
{
    if (!block) {
        return;
    }
    explicit_bzero(block, spares->size);
    if (spares->count + 1 <= SPARES_KEPT) {
        spares->kept[spares->count++] = block;
    } else {
        free(block);
    }
}
