/* loop.h - the daemon's one event loop (epoll), with work that is done once a turn.
 *
 * Each library's descriptors are given as one nested epoll descriptor.  When all that was ready has
 * been handled the turn-end functions run in the order in which they were added: this is where
 * output that has gathered is sent, one message per destination and not one per record. */
#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

#include <stdint.h>

#include "common/status.h"

struct loop;
typedef void loop_fn(void *arg);

struct loop *loop_new(void); /* NULL for want of memory */
void loop_free(struct loop **loop);

/* Calls FN whenever FD is readable (level-triggered) until loop_unwatch(). */
MUST_USE enum status loop_watch(struct loop *loop, int fd, loop_fn *fn, void *arg);
void loop_unwatch(struct loop *loop, int fd);

/* The same for a ZeroMQ socket: FN receives until EAGAIN, or calls loop_soon() when it stops before
 * that; whoever sends on the socket calls loop_soon() too. */
MUST_USE enum status loop_watch_zmq(struct loop *loop, void *socket, loop_fn *fn, void *arg);
/* Has the handler of SOCKET run again before the loop sleeps. */
void loop_soon(struct loop *loop, void *socket);
void loop_unwatch_zmq(struct loop *loop, void *socket);

/* Calls FN every EVERY_MS until loop_unevery(); returns its id, or -1 for want of memory. */
int loop_every(struct loop *loop, uint32_t every_ms, loop_fn *fn, void *arg);
void loop_unevery(struct loop *loop, int id);

/* Calls FN once after DELAY_MS; returns its id, good for loop_unevery(), or -1. */
int loop_once(struct loop *loop, uint32_t delay_ms, loop_fn *fn, void *arg);

/* Calls FN at the end of each turn in which something ran; it may run more than once a turn. */
MUST_USE enum status loop_turn_end(struct loop *loop, loop_fn *fn, void *arg);
void loop_unturn_end(struct loop *loop, loop_fn *fn, void *arg);

/* Runs until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

#endif
