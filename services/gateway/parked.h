/* parked.h - a suspended connection stays in libmicrohttpd's epoll set.
 *
 * Suspending takes a connection out of the set and resuming puts it back: two system calls for each
 * request, and a third that reads nothing because a resumed connection counts as readable.  The
 * program defines epoll_ctl() and epoll_wait() as it does recv() (reads.h): for an armed connection
 * the first is put off, and what the second finds of a suspended one is kept from libmicrohttpd and
 * found again once the connection is back.  A build in which the library's own functions are called
 * works as ever, only slower. */
#ifndef SERVICES_GATEWAY_PARKED_H
#define SERVICES_GATEWAY_PARKED_H

#include <microhttpd.h>

#include "services/gateway/reads.h"

/* DAEMON's epoll descriptor is EPOLL_FD from now on; -1 when it is about to stop.  The context of
 * each of its connections begins with a struct reads, or is NULL. */
void parked_watch(const struct MHD_Daemon *daemon, int epoll_fd);

/* To be called with each MHD_suspend_connection() and MHD_resume_connection(). */
void parked_suspend(struct reads *reads);
void parked_resume(struct reads *reads);

/* Takes a connection that closes out of the set; libmicrohttpd may think that it is. */
void parked_closing(struct reads *reads);

#endif
