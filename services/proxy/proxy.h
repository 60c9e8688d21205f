/* proxy.h - the map of the proxy, in the order a call meets it.
 *
 * calls.c    what gateways send: opens the grant, keeps one struct call per call, ends it once
 * call_answer.c the answer, gathered for a turn; sends.c to the gateway
 * call_body.c the request's body, into `up` and against credit
 * hold.c     keeps a call until its body is whole, where the signature needs its hash
 * request.c  URL, headers and credential; request_sign.c with a signature (sigv4.c) for credential;
 *            request_head.c as bytes
 * chunks.c   signs an aws-chunked body again on its way up
 * headers.c  the rules for what goes up and what comes down
 * transfer.c the upstream side: one transfer per call, its body, answer and deadlines; carried by
 *            direct.c (HTTP/1.1 framed here) or multi.c (libcurl), as origin.c says
 * tracing.h  the trace that a call belongs to; spans.h, otlp.h those of all daemons on their way out
 * outcome.c  tells audit how each call ended, and keeps that until it is acknowledged */
#ifndef SERVICES_PROXY_PROXY_H
#define SERVICES_PROXY_PROXY_H

#include <curl/curl.h>

#include "common/channel.h"
#include "common/options.h"
#include "common/providers.h"
#include "proto/messages.h"

struct chunks;
struct held;
struct transfer;
struct call_trace;

/* One call, from PROXY_CALL to its one end.  Owned by calls.c. */
struct call {
    uint64_t id; /* the gateway's, unique per peer */
    struct channel_peer *peer;
    struct call *next;
    const struct provider *provider;
    char request[ID_SIZE_MAX + 1], tenant[ID_SIZE_MAX + 1], token[ID_SIZE_MAX + 1];
    char agent[ID_SIZE_MAX + 1], client[CLIENT_MAX + 1], method[METHOD_MAX + 1];
    char *path;       /* for audit, without query */
    unsigned shard;   /* the audit daemon that has its intent */
    char *public_url;
    struct held *held;         /* until its body is whole, or NULL; then there is no transfer yet */
    struct transfer *transfer;
    struct chunks *chunks;     /* through which the body goes into `up`, or NULL */
    struct buffer up;   /* request body, from `up_read` on not yet taken by the carrier */
    size_t up_read;
    uint64_t up_credit; /* that the gateway has */
    size_t up_owed;     /* of the client's body, due to be credited */
    size_t wide;        /* what its window has beyond the ordinary one */
    bool up_end;
    uint64_t up_bytes, down_bytes; /* in all, for audit */
    uint64_t credit;               /* bytes of answer that the gateway will take */
    unsigned http;                 /* 0 until the head was there */
    struct buffer head_rows;       /* the answer's head, until it is sent with the first piece */
    uint64_t head_count;
    bool head_due, due;            /* `due`: in the list of those that have something to send */
    struct call *next_due, **at_due;
    struct buffer piece;           /* of the answer, taken and not yet sent */
    uint64_t body_size;            /* that the head announced */
    uint64_t started_ms;
    bool scrubbed; /* the answer held the key */
    struct call_trace *trace; /* NULL: not traced */
    const char *why; /* a sentence for a caller whose request cannot be built, or NULL */
};

/* ---- calls.c ---- */

MUST_USE enum status calls_open(struct loop *loop, const char *endpoint, const char *key_dir,
                                const struct providers *providers);
void calls_close(void);
/* Tells the gateways that this proxy leaves.  Calls that are on their way are still taken for a moment;
 * those that run go on. */
void calls_drain(void);
bool calls_drained(void); /* none runs, and none is on its way */
size_t calls_in_flight(void);
/* Calls FN with the request id of each call that began before BEFORE_MS (clock_mono_ms), and whose audit
 * daemon is SHARD. */
void calls_each(uint64_t before_ms, unsigned shard, void (*fn)(void *arg, const char *request), void *arg);
bool calls_ready(void);

/* The answer's head; HEADERS is a list of header_row and copied.  It leaves at the end of the turn, or
 * before, with what has come of the body: a short answer is one record. */
MUST_USE enum status call_head(struct call *call, unsigned http, struct list headers,
                               uint64_t body_size);
/* Takes at most `credit` bytes and returns how many; they leave at the end of the turn at the latest. */
size_t call_data(struct call *call, struct view data);
/* The request body's credit goes back to the gateway. */
void call_want(struct call *call, size_t bytes);
/* The one end.  STATUS_OK: the answer is whole.  Frees the call. */
void call_end(struct call *call, enum status status, const char *detail);

/* ---- call_body.c ---- */

/* More of the client's body.  DATA is used where it is until call_keep_lent(), which has to follow. */
MUST_USE enum status call_push_up(struct call *call, struct view data, bool end);
/* Copies to `up` what of that was not taken.  Takes calls that have ended since; may end the call. */
void call_keep_lent(void);
/* What waits to go up; valid until more comes. */
struct view call_up(const struct call *call);
/* BYTES of that are taken and not needed again: gives back what credit is due for that. */
void call_up_taken(struct call *call, size_t bytes);
void call_up_free(struct call *call);
/* From here on the body goes through CHUNKS, which the call owns, also what of it is here. */
MUST_USE enum status call_set_chunks(struct call *call, struct chunks *chunks);

/* ---- sends.c ---- */

/* Sends a record to the gateway PEER, or not, when it is gone or stuck (STATUS_UNAVAILABLE). */
enum status call_send(struct channel_peer *peer, const struct schema *schema, const void *message);
/* The same for the last one of a call: a gateway that is stuck gets it later. */
enum status call_send_last(struct channel_peer *peer, const struct schema *schema, const void *message);
void call_sends_flush(void); /* sends what has room now */
bool call_sends_wait(void);  /* some has none yet */
void call_sends_forget(const struct channel_peer *peer); /* it is gone; NULL: all are */

/* ---- call_answer.c ---- */

/* Sends what was taken of the answer, and its END; false when the gateway is stuck. */
bool call_answer_flush(struct call *call, bool end);
void call_answer_free(struct call *call);
size_t call_answers_begun(void); /* whose head came and whose end did not */
void call_answers_flush(void *arg); /* of all calls; a turn-end function before the channel's */

/* ---- headers.c ---- */

/* Whether a header of the request may go to the provider; CONNECTION is the Connection header. */
bool header_goes_up(struct view name, struct view connection);
/* Whether a header of the answer may go to the client. */
bool header_comes_down(struct view name);
/* Rewrites the provider's origin to the broker's own URL wherever it begins a URL in VALUE. */
void header_rewrite(const struct call *call, struct view value, struct buffer *ret_value);
bool header_is_rewritten(const struct provider *provider, struct view name);
/* A token of RFC 9110 section 5.6.2: so are methods, too. */
bool header_name_safe(struct view name);
/* RFC 9110 section 9.2.2: may be sent again by itself. */
bool method_is_idempotent(const char *method);
/* No CR, LF, NUL. */
bool header_value_safe(struct view value);
/* No control byte but the tab (RFC 9110 section 5.5). */
bool header_value_plain(struct view value);

/* ---- transfer.c ---- */

MUST_USE enum status transfers_open(struct loop *loop, const char *ca_file);
void transfers_close(void);
/* Starts the upstream call; CREDENTIALS are those of the grant and are not kept. */
MUST_USE enum status transfer_start(struct call *call, const struct proxy_call *message,
                                    struct list credentials);
void transfer_body_arrived(struct transfer *transfer);   /* call->up grew or ended */
void transfer_credit_arrived(struct transfer *transfer); /* call->credit grew */
void transfer_free(struct transfer **transfer);          /* drops it at once */

/* ---- outcome.c ---- */

/* ENDPOINTS, borrowed, are those of audit daemon 0, 1 and so on. */
MUST_USE enum status outcomes_open(struct loop *loop, const struct option_list *endpoints);
void outcomes_close(void);
/* False when too many wait for daemon SHARD's acknowledgement. */
bool outcomes_accepting(unsigned shard);
bool outcomes_ready(void); /* there is a daemon for which that is not so */
/* False when there is no daemon SHARD; says so. */
bool outcomes_knows(uint64_t shard);
void outcome_record(const struct call *call, enum status status);
/* Has the log say so now and then; DETAIL as for call_end(). */
void outcome_failed(const struct call *call, enum status status, const char *detail);
size_t outcomes_waiting(void);
void outcomes_metrics(struct buffer *text);
void count_refusal(const char *what); /* a literal: what a gateway sent and may not */

#endif
