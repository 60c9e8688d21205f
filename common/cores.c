/* cores.c - which core a daemon's threads run on. */
#include "common/cores.h"

#include <sched.h>
#include <stdbool.h>

static struct {
    cpu_set_t before;
    bool kept;
} cores;

enum status cores_keep(uint64_t core)
{
    cpu_set_t one;
    if (core == CORES_ANY) {
        return STATUS_OK;
    }
    CPU_ZERO(&one);
    if (core >= CPU_SETSIZE || sched_getaffinity(0, sizeof cores.before, &cores.before) != 0 ||
        !CPU_ISSET((size_t)core, &cores.before)) {
        return STATUS_INVALID;
    }
    CPU_SET((size_t)core, &one);
    cores.kept = sched_setaffinity(0, sizeof one, &one) == 0;
    return cores.kept ? STATUS_OK : STATUS_INVALID;
}

void cores_leave(void)
{
    if (cores.kept) {
        (void)!sched_setaffinity(0, sizeof cores.before, &cores.before);
    }
}
