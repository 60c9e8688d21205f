/* pools.h - where libmicrohttpd's memory pools are, one for each connection, and giving back what an
 * idle one does not use.
 *
 * libmicrohttpd clears a connection's whole pool after each request, which leaves all of it resident
 * for as long as the connection is kept.  It asks for a pool by mmap() and returns it by munmap(); the
 * program defines both as it does recv() (reads.h) and gives pools out of one area of its own.  A
 * page of that area that holds zeros only can be given back at any time: it reads as zeros again.
 * A build in which the library's own functions are called works as ever, and gives nothing back. */
#ifndef SERVICES_GATEWAY_POOLS_H
#define SERVICES_GATEWAY_POOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOLS_NONE ((size_t)-1)

/* A connection's. */
struct pool {
    size_t number; /* POOLS_NONE for one that is not of the area */
    bool trimmed;  /* to be set to false whenever a request begins or ends */
};

/* Makes the area: COUNT pools of BYTES, which are asked for by this thread.  Costs no memory before
 * they are used; without address space for it there is none, and pools are where they always were. */
void pools_open(size_t bytes, size_t count);
/* When no pool is left. */
void pools_close(void);

/* The pool that was given out last and not asked for yet. */
struct pool pools_take_last(void);

/* Gives those pages of the pool back that hold zeros only.  Reads all of it: some microseconds. */
void pools_trim(size_t number);

/* To be called now and then for each connection, all with the same NOW_MS (clock_mono_ms()): trims the
 * pool of one that has been waiting or answered since SINCE_MS, for a second at least, once; at most 128
 * of them at a time, which is a millisecond. */
void pools_tend(struct pool *pool, uint64_t since_ms, uint64_t now_ms);

#endif
