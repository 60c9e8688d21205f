/* Any text as a share of the master key: what reads prints as the same text again. */
#include <stdlib.h>
#include <string.h>

#include "services/vault/seal_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct share share;
    char text[SHARE_TEXT_MAX];
    if (share_read(view_of(data, size), &share) != STATUS_OK) {
        return 0;
    }
    share_text(&share, text);
    if (!view_is(view_of(data, size), text)) {
        abort();
    }
    return 0;
}
