/* transfer_private.h - what all transfers share (transfer.c) and what a carrier adds.
 *
 * A carrier is a way to the provider.  It pulls the request's body, hands the answer over line by
 * line and piece by piece, and says once how the transfer ended. */
#ifndef SERVICES_PROXY_TRANSFER_PRIVATE_H
#define SERVICES_PROXY_TRANSFER_PRIVATE_H

#include <sys/types.h>

#include "services/proxy/answer.h"
#include "services/proxy/proxy.h"
#include "services/proxy/request.h"

struct transfer;

struct carrier {
    MUST_USE enum status (*start)(struct transfer *transfer, const struct proxy_call *message);
    void (*body)(struct transfer *transfer);   /* more can be pulled; reading was paused */
    void (*credit)(struct transfer *transfer); /* more may be handed over; writing was paused */
    void (*drop)(struct transfer *transfer);   /* ends it at once; `state` is NULL after it */
};

struct transfer {
    struct call *call;
    struct transfer *next, **at; /* `at`: what points here */
    const struct carrier *carrier;
    void *state; /* the carrier's; NULL before it started */
    struct request request;
    struct answer *answer;
    size_t up_sent; /* of call->up, while it is kept: */
    bool keep_up;   /* all of the body stays here: it can be sent again on a stale connection */
    bool reading_paused, writing_paused;
    bool finished;  /* the carrier is done; what is held back still goes out */
    enum status status; /* how, once finished */
    const char *detail;
    uint64_t active_ms;
};

/* ---- transfer.c ---- */

/* One header line of the answer, the empty one too; what answer_header() says. */
MUST_USE enum status transfer_header(struct transfer *transfer, struct view line);

enum taken { TAKEN, TAKEN_NOT /* paused until credit comes */, TAKEN_FAILED };
/* A piece of the answer's body. */
enum taken transfer_take(struct transfer *transfer, struct view data);

/* What is here of the request's body, empty at its end; false when none is here yet (reading is paused
 * then).  Valid until more comes; what was sent of it is told to transfer_pulled(). */
bool transfer_look(struct transfer *transfer, struct view *ret_piece);
void transfer_pulled(struct transfer *transfer, size_t size);
/* Copies at most SIZE bytes of it to ROOM: how many, 0 at its end, -1 when none is here yet. */
ssize_t transfer_pull(struct transfer *transfer, uint8_t *room, size_t size);
/* Back to the body's first byte; false when it is not all here any more. */
bool transfer_rewind(struct transfer *transfer);

/* The carrier is done: STATUS_OK when the answer came whole.  DETAIL is for the caller and constant.
 * May free the transfer. */
void transfer_finish(struct transfer *transfer, enum status status, const char *detail);

/* ---- multi.c ---- */

extern const struct carrier multi_carrier; /* libcurl does it all: HTTP/2 and 1.1 */
MUST_USE enum status multi_open(const char *ca_file);

/* ---- direct.c ---- */

extern const struct carrier direct_carrier; /* HTTP/1.1 framed here, on connections of libcurl */

/* ---- origin.c ---- */

/* The carrier for the request that is built: direct for plain http and for https origins that are
 * known to speak HTTP/1.1 only. */
const struct carrier *origin_carrier(const struct transfer *transfer);
/* Called when libcurl has seen what the origin speaks. */
void origin_learn(const struct transfer *transfer, bool http1);
void origins_forget(void);

#endif
