/* pace.h - clients that are too slow, and addresses with too many connections. */
#ifndef SERVICES_GATEWAY_PACE_H
#define SERVICES_GATEWAY_PACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* How fast a client moves one body.  All zero at first. */
struct pace {
    uint64_t since_ms, bytes; /* where the window began */
};

/* To be called about once a second.  WAITING: the next step is the client's; BYTES: how many it has
 * moved so far.  True when, through a whole window (config.pace_window_ms) of waiting, it moved
 * fewer than config.rate_min bytes a second. */
bool pace_too_slow(struct pace *pace, bool waiting, uint64_t bytes, uint64_t now_ms);

/* Bytes that the client's host has acknowledged of all that was sent on FD.  False when there are
 * none under way: then the client waits for us. */
bool pace_unsent(int fd, uint64_t *ret_acked);

/* Counts connections by address, an IPv6 /64 as one; 127.0.0.1 and ::1 are not counted: a reverse
 * proxy on this host stands for many. */
bool pace_admits(const struct sockaddr *address); /* below config.connections_per_address */
void pace_enter(const struct sockaddr *address);
void pace_leave(const struct sockaddr *address);
void pace_close(void);

#endif
