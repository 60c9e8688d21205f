/* cores.h - which core a daemon's threads run on.
 *
 * A message between two daemons wakes three threads: the sender's ZeroMQ thread, the receiver's, and the
 * receiver's loop.  When each wakes on the core where the one before runs, no idle core has to be
 * brought back from its sleep, which in a virtual machine takes longer than the work itself. */
#ifndef COMMON_CORES_H
#define COMMON_CORES_H

#include <stdint.h>

#include "common/status.h"

#define CORES_ANY UINT64_MAX

/* The calling thread, and each that is started from now on, runs on CORE alone (counted from 0, as
 * the kernel does).  CORES_ANY changes nothing.  Call it before the first thread.
 * STATUS_INVALID when there is no such core, or this process may not use it. */
MUST_USE enum status cores_keep(uint64_t core);

/* For a thread that computes for long (hashes, searches): it runs where the process could before
 * cores_keep(), so that it does not stand in the loop's way.  Failing is harmless and not told. */
void cores_leave(void);

#endif
