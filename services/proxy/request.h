/* request.h - what libcurl is told to send; holds a real key from request_build() to
 * request_wipe(). */
#ifndef SERVICES_PROXY_REQUEST_H
#define SERVICES_PROXY_REQUEST_H

#include "services/proxy/proxy.h"

struct call_trace;
struct chunks;

struct lines;

struct request {
    struct curl_slist *headers; /* in `lines`; never freed by libcurl's functions */
    struct curl_slist *last_header;
    struct lines *lines;
    struct buffer url;     /* NUL-terminated */
    uint64_t body_size;    /* that goes up, BODY_SIZE_UNKNOWN for chunked, 0 for none */
    struct chunks *chunks; /* through which the client's body goes first (chunks.h), or NULL */
    bool untouched;        /* the key does not travel: the answer passes without a look at it */
};

/* Whether the request can be built only when its body is there as a whole. */
bool request_needs_body(const struct provider *provider, const struct proxy_call *message);

/* TRACE (may be NULL) replaces the trace headers of the client.  BODY is the whole body where request_needs_body(), else not looked at.  STATUS_INVALID for a header
 * that cannot be sent, STATUS_DENIED when no auth rule matches the target, STATUS_LENGTH_REQUIRED for
 * a body without size that has to have one; with a sentence in RET_WHY or NULL there.  The caller
 * wipes the request when the transfer is over. */
MUST_USE enum status request_build(const struct provider *provider,
                                   const struct proxy_call *message, struct list credentials,
                                   struct view body, const struct call_trace *trace,
                                   struct request *ret_request,
                                   const char **ret_why);
void request_wipe(struct request *request); /* takes an empty one too */

/* ---- for the files that build one ---- */

/* Adds "NAME: VALUE".  STATUS_INVALID for what is not a header. */
MUST_USE enum status request_add_header(struct request *request, struct view name,
                                        struct view value);
/* The first header of that NAME, or an empty view. */
struct view request_find_header(struct list headers, const char *name);

/* ---- request_head.c ---- */

/* Whether TARGET has no byte that ends or changes a request line; libcurl would refuse or cut there, too. */
bool request_target_safe(struct view target);
/* Appends the head of the built REQUEST to HEAD, the empty line included; what the list of headers does not
 * say is as libcurl does it, so that both carriers send the same.  STATUS_INVALID for a URL that is none
 * or a target with bytes that RFC 9112 section 3.2 forbids. */
MUST_USE enum status request_head(const struct request *request, const char *method,
                                  struct buffer *head);

/* ---- request_sign.c ---- */

/* Signs REQUEST, which has its headers, for auth of type sigv4: sets its URL, adds what the signature
 * needs and the signature itself.  As request_build(). */
MUST_USE enum status request_sign(const struct provider *provider, const struct auth_rule *rule,
                                  const struct proxy_call *message, struct list credentials,
                                  struct view body, struct request *request,
                                  const char **ret_why);
/* As request_needs_body(). */
bool request_sign_needs_body(const struct auth_rule *rule, const struct proxy_call *message);
/* Whether a client's header is part of its own signature and so not of ours. */
bool request_sign_drops(struct view name);

#endif
