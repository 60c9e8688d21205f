/* reads.h - every byte of a request passes the vetting before libmicrohttpd has it.
 *
 * libmicrohttpd reads by recv(), or by gnutls_record_recv() with TLS; the program defines both, and
 * the dynamic linker finds the program's first.  Descriptors that are not armed are read as ever.
 * Should a build find the library's functions after all, no head counts as vetted, and the first
 * look at a request (reads_take_head) refuses everything. */
#ifndef SERVICES_GATEWAY_READS_H
#define SERVICES_GATEWAY_READS_H

#include "common/loop.h"
#include "services/gateway/vet.h"

struct visit;

/* What is read of one connection. */
struct reads {
    int fd;
    bool tls;
    bool drained;              /* all that the socket had was read when it was read last */
    bool hung_up;              /* the client has ended its side: behind what is read comes an end */
    bool away;                 /* suspended */
    bool parked;               /* in the epoll set, though libmicrohttpd thinks not: see parked.h */
    bool missed;               /* meanwhile something happened to it that libmicrohttpd was not told */
    bool refused;              /* the error was sent: libmicrohttpd finds the connection reset */
    struct vet vet;
    uint64_t taken, finished;  /* requests that the handler began with, and that are answered */
    uint64_t head_since_ms;    /* when the first bytes of an unfinished head came; 0 for none */
    const struct visit *visit; /* the request at hand, or NULL; set by http.c */
};

/* Makes the table of descriptors, and what lets refused connections end in order. */
MUST_USE enum status reads_open(struct loop *loop);
void reads_close(void);
/* From now on FD is vetted into READS, which stays in place until disarmed.  A descriptor beyond the
 * table is not armed, and so refused. */
void reads_arm(struct reads *reads, int fd, bool tls);
void reads_disarm(struct reads *reads);
struct reads *reads_find(int fd); /* NULL when FD is not armed */

/* Whether a vetted head stands against the request that the handler was called for, one whose raw
 * target has TARGET_SIZE bytes; counts it. */
bool reads_take_head(struct reads *reads, size_t target_size);

/* A request that the handler began with is over. */
void reads_finish(struct reads *reads);
/* Has the connection refused with HTTP and the sentence WHY when libmicrohttpd reads next. */
void reads_fail(struct reads *reads, unsigned http, const char *why);
/* To be refused, and every good request before is answered: libmicrohttpd should read. */
bool reads_due(const struct reads *reads);

/* To be called when libmicrohttpd is about to close: a client that was answered before its body came
 * whole is given time to read that answer. */
void reads_closing(struct reads *reads);

/* Ends what refused connections are given time for; call now and then. */
void reads_tick(uint64_t now_ms);

#endif
