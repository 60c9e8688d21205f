/* target.c - the raw request target: whether it may go on, and the provider that it names; never
 * rewritten. */
#include "services/gateway/gateway.h"

#include <string.h>

#include "common/target.h"

_Static_assert((int)TARGET_MAX == (int)TARGET_PLAIN_MAX, "what may be asked for can be judged");

static bool is_s3(struct view target)
{
    return view_starts(target, "/api/aws/s3/");
}

enum status target_check(struct view target)
{
    if (target.size > TARGET_MAX) {
        return STATUS_TOO_LARGE;
    }
    bool path = target.size > 0 && target.data[0] == '/';
    return path && target_plain(target, is_s3(target)) ? STATUS_OK : STATUS_INVALID;
}

bool target_provider(struct view target, struct view *ret_provider, struct view *ret_rest)
{
    const size_t head = sizeof "/api/" - 1;
    if (!view_starts(target, "/api/")) {
        return false;
    }
    size_t end = head;
    while (end < target.size && target.data[end] != '/' && target.data[end] != '?') {
        end++;
    }
    if (end == head || end - head > PROVIDER_MAX) {
        return false;
    }
    *ret_provider = view_of(target.data + head, end - head);
    *ret_rest = view_of(target.data + end, target.size - end);
    return true;
}
