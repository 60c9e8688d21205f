/* probe.h - asks a daemon's admin port whether it is ready, for a container's health check. */
#ifndef COMMON_PROBE_H
#define COMMON_PROBE_H

/* GET /readyz at HOST:PORT (see --admin), at most 2 seconds: 0 when it answers 200, else 1 with one
 * line on standard error. */
int probe(const char *address);

#endif
