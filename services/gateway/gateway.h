/* gateway.h - the map of the gateway, in the order a request meets it.
 *
 * reads.c      every byte before libmicrohttpd has it: vet.c and vet_body.c judge, refusals
 * parked.h     what is suspended stays in libmicrohttpd's epoll set
 * http.c       libmicrohttpd in the loop: connections, hang-ups, the first look at a request
 * listener.c   the socket it listens on
 * pace.c       connections that are too slow, or too many
 * client.h     who sent a request, behind proxies too
 * target.c     the raw request target: what is refused, what provider and path it names
 * hosts.c      the names that the page and sessions answer to, and pages that may change something
 * credential.c the fake token, wherever an SDK puts it, and what must not be forwarded
 * refusals.h   requests without a well-formed token, counted for the audit log
 * exchange.c   one passthrough call: grant, upstream call, answer
 * exchange_up.c, exchange_down.c  its bodies, piece by piece against credit
 * exchange_judged.c  the headers that have a part in whether a call is denied
 * api.c        the /v1 calls: routes, JSON in, the vault's JSON out
 * json_in.c    bodies of /v1 calls, field by field
 * peers.h      the daemons of a kind, who of them is there and who is next; discover.h finds them
 * tracing.h    the trace that a request belongs to
 * links.c      questions to the vaults
 * proxies.c    calls on the proxies
 * answers.c    error bodies and complete answers; answers_aws.c those for AWS clients
 * page.c       the web page's files */
#ifndef SERVICES_GATEWAY_GATEWAY_H
#define SERVICES_GATEWAY_GATEWAY_H

#include <microhttpd.h>

#include "common/channel.h"
#include "common/providers.h"
#include "proto/messages.h"

struct exchange;
struct api_call;
struct collect;
struct visit_trace;

struct config {
    const char *listen, *public_url, *key_dir, *providers_file;
    const char *tls_cert, *tls_key;
    struct option_list *vaults, *proxies;
    uint64_t body_max, header_deadline_ms;
    uint64_t rate_min, pace_window_ms; /* bytes a second of a body, over how long; see pace.h */
    struct option_list *allow_hosts;
    uint64_t connections_per_address;  /* 0 for no limit */
    bool trace;
    const struct providers *providers;
};
extern struct config config;

/* One request on one connection.  Owned by http.c from its first byte to its completion. */
struct visit {
    struct MHD_Connection *connection;
    char *target; /* raw */
    char method[METHOD_MAX + 1];
    char request[ID_SIZE_MAX + 1];
    char client[CLIENT_MAX + 1];
    bool vetted;    /* a vetted head stands against it */
    bool seen;      /* the handler was called */
    bool begun;     /* its head was judged and is good */
    bool suspended;
    bool answered;  /* a response is queued */
    bool is_page;   /* the answer is one of the page's files */
    bool gone;      /* the client hung up */
    unsigned http;         /* the status that was queued, 0 for none yet */
    unsigned wait_s;       /* for Retry-After, 0 for none */
    const char *provider;  /* the row's name, for a call that has one */
    const char *route;     /* the pattern of its path, for a call under /v1 */
    struct visit_trace *trace; /* NULL: not traced */
    uint64_t began_us;
    bool has_body;
    uint64_t body_size; /* BODY_SIZE_UNKNOWN when chunked, 0 when none */
    struct exchange *exchange;
    struct api_call *api;
};

/* ---- http.c ---- */

MUST_USE enum status http_open(struct loop *loop);
void http_drain(struct loop *loop);
void http_close(void);
void visit_suspend(struct visit *visit);
void visit_resume(struct visit *visit); /* takes one that is not suspended too */

size_t http_connections(void);
size_t http_visits(void);

/* ---- entry.c (entry.h) ---- */

struct view visit_header(const struct visit *visit, const char *name); /* empty when absent */

/* ---- metrics.c ---- */

void gateway_metrics(struct buffer *text);
void metrics_visit(struct visit *visit);       /* it is over */
void metrics_refusal(const char *why);         /* a literal: refused by the gateway itself */
void metrics_vault(uint64_t asked_us);         /* the vault's answer came; times as of clock_mono_us() */
void metrics_upstream(uint64_t called_us);     /* the head of the provider's answer came */

/* ---- listener.c ---- */

/* Listens on config.listen; logs its own failure.  The caller owns RET_FD. */
MUST_USE enum status listener_open(int *ret_fd);

/* ---- target.c ---- */

/* Whether the raw target may go on.  `\` is let through in keys of S3 only. */
MUST_USE enum status target_check(struct view target);
/* Splits "/api/<provider>/<rest>": RET_REST begins with '/' (and is "/" when there is none). */
bool target_provider(struct view target, struct view *ret_provider, struct view *ret_rest);

/* ---- hosts.c ---- */

/* Whether Host names a host and perhaps a port; OPTIONAL: it may be missing or empty. */
bool host_well_formed(const struct visit *visit, bool optional);
/* Whether the name is an address, one that no stranger can own, or one of the operator's. */
bool host_is_ours(const struct visit *visit);
/* Whether the page that sends this, if one does, is ours. */
bool origin_may_change(const struct visit *visit);

/* ---- credential.c ---- */

/* The fake token in headers or query: STATUS_UNAUTHENTICATED when there is none that is well
 * formed, STATUS_INVALID when there are two different ones, STATUS_DENIED for a presigned query whose
 * credential is no token.  RET_TOKEN views the request.
 * RET_REST gets REST without the parameters that carry tokens; RET_AWS4 tells an AWS signature. */
MUST_USE enum status credential_find(struct visit *visit, struct view rest, struct buffer *ret_rest,
                                     char *ret_token, bool *ret_aws4);
bool credential_header(const char *name); /* never forwarded */
/* Appends REST without the parameters that carry credentials; STATUS_DENIED for a presigned query. */
MUST_USE enum status credential_strip(struct view rest, struct buffer *ret_rest);

/* ---- links.c ---- */

typedef void grant_fn(void *arg, enum status status, const struct vault_grant *grant);
typedef void answer_fn(void *arg, enum status status, const struct vault_answer *answer);

MUST_USE enum status links_open(struct loop *loop);
void links_close(void);
bool links_ready(void);
size_t links_questions(void); /* that wait for a vault */
void links_metrics(struct buffer *text); /* what is known of each vault */
const char *links_unready(void); /* NULL when calls can be served, or why they cannot */

/* Asks a vault; `call` is filled in here.  FN runs once, later, unless forgotten: with the answer's
 * own status, or STATUS_UNAVAILABLE when no vault answered within VAULT_WAIT_MS.
 * Returns 0 for want of room, then FN never runs. */
enum { VAULT_WAIT_MS = 5000 };
uint64_t vault_authorize_send(struct vault_authorize *message, grant_fn *fn, void *arg);
uint64_t vault_ask_send(struct vault_ask *message, answer_fn *fn, void *arg);
void vault_forget(uint64_t id);
/* The next question is timed; in its FN vault_timed() has what the vault told, NULL for nothing. */
void vault_time_next(void);
const struct trace_timed *vault_timed(uint64_t call);
/* What has no answer; STATUS_UNAVAILABLE while the vault is away. */
MUST_USE enum status vault_tell(const struct schema *schema, const void *message);

/* ---- proxies.c ---- */

/* Connects to the proxies of the configuration; those behind a name are looked for from then on. */
MUST_USE enum status proxies_open(struct loop *loop);
void proxies_close(void);
size_t proxies_calls(void); /* that run or were promised a proxy */
size_t proxies_up(void);
size_t proxies_waited_for(void); /* calls that wait until one is up */
void proxies_metrics(struct buffer *text); /* what is known of each */
/* Calls FN(ARG) once a proxy is up, or after PROXY_WAIT_MS all the same, unless it is forgotten.
 * STATUS_INTERNAL for want of memory. */
enum { PROXY_WAIT_MS = 5000 };
MUST_USE enum status proxy_wait(void (*fn)(void *arg), void *arg);
void proxy_wait_forget(const void *arg);
/* The proxy with the fewest calls, which counts one more from here on until proxy_unpick() and is there
 * as long; or NULL when none is up. */
struct channel_peer *proxy_pick(void);
void proxy_unpick(struct channel_peer *proxy);
bool proxy_any(void); /* whether there is one to pick */
/* Gives EXCHANGE an id for its messages with PROXY; 0 for want of room. */
uint64_t proxy_call_begin(struct channel_peer *proxy, struct exchange *exchange);
void proxy_call_end(uint64_t id);
/* STATUS_UNAVAILABLE when it cannot be sent. */
MUST_USE enum status proxy_send(struct channel_peer *proxy, const struct schema *schema,
                                const void *message);

/* The same to any proxy that is up. */
MUST_USE enum status proxy_tell(const struct schema *schema, const void *message);

/* ---- exchange.c ---- */

/* TARGET, which is taken, is what follows /api/<provider>; the visit is suspended until something is to be done. */
void exchange_start(struct visit *visit, struct view provider, struct buffer *target,
                    const char *token, bool aws4);
/* The same for a call that came as JSON; takes COLLECT. */
void exchange_start_collected(struct visit *visit, struct collect *collect, const char *token);
/* The handler's call for a visit with an exchange: body, or time to answer. */
enum MHD_Result exchange_continue(struct visit *visit, const char *data, size_t *size);
void exchange_hang_up(struct visit *visit);
void exchange_free(struct exchange **exchange);
void exchange_on_head(struct exchange *exchange, const struct proxy_head *head);
void exchange_on_data(struct exchange *exchange, const struct proxy_data *data);
void exchange_on_end(struct exchange *exchange, enum status status, struct view detail);
void exchange_on_want(struct exchange *exchange, uint64_t bytes);

/* ---- api.c ---- */

/* Reads intake.pub, to which secret values and passwords are sealed. */
MUST_USE enum status api_open(const char *key_dir);
enum MHD_Result api_begin(struct visit *visit, const char *method);
enum MHD_Result api_continue(struct visit *visit, const char *data, size_t *size);
void api_free(struct api_call **call);

/* ---- answers.c ---- */

/* A complete answer; HEADERS is a NULL-ended list of name, value pairs or NULL.  BODY is copied. */
enum MHD_Result answer_send(struct visit *visit, unsigned http, const char *type, struct view body,
                            const char *const *headers);
/* The same as JSON for a body that may hold a secret: takes BODY, and wipes it once it was sent. */
enum MHD_Result answer_secret(struct visit *visit, unsigned http, struct buffer *body,
                              const char *const *headers);
/* An error as bytes, head and all, for a connection that ends with it before there is a visit; REQUEST is
 * its id. */
void answer_raw(struct buffer *text, unsigned http, struct view detail, bool api,
                const char *request);
/* The error in the form of the path: problem+json under /api, XML for AWS4, {"ok":false} else.
 * DETAIL may be empty. */
enum MHD_Result answer_error(struct visit *visit, unsigned http, struct view detail, bool aws4);
enum MHD_Result answer_status(struct visit *visit, enum status status, struct view detail,
                              bool aws4);
void answer_headers(struct visit *visit, struct MHD_Response *response);

/* ---- answers_aws.c ---- */

/* Whether the request carries a signature as AWS clients make them, also one that is refused before
 * its token was looked for. */
bool aws_caller(const struct visit *visit);

struct aws_error {
    unsigned http;
    const char *type; /* Content-Type */
    const char *code; /* for the header x-amzn-ErrorType, or NULL */
};
/* Appends the error in the form that SDKs of the target's service read. */
struct aws_error aws_error(const struct visit *visit, unsigned http, struct view detail,
                           struct buffer *ret_body);
void json_append_text(struct buffer *json, struct view text); /* quoted and escaped */

#endif
