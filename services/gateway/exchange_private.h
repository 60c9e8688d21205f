/* exchange_private.h - what exchange.c (the call and its answer), exchange_up.c and exchange_down.c (the
 * bodies) share. */
#ifndef SERVICES_GATEWAY_EXCHANGE_PRIVATE_H
#define SERVICES_GATEWAY_EXCHANGE_PRIVATE_H

#include "services/gateway/gateway.h"

enum { TRIES_MAX = 3 };

enum state { DECIDING, CALLING, ANSWERING, OVER };

struct exchange {
    struct visit *visit;
    enum state state;
    bool waits;                    /* for a proxy to come up */
    uint64_t question;             /* to the vault, 0 for none */
    uint64_t call;                 /* with the proxy, 0 for none */
    struct channel_peer *proxy;
    bool picked;                   /* `proxy` is promised, and has no call yet */
    uint8_t asked_for[CHANNEL_INSTANCE_BYTES]; /* the process that the grant is for */
    char provider[PROVIDER_MAX + 1], method[METHOD_MAX + 1];
    struct buffer target;
    char token[TOKEN_SIZE_MAX + 1];
    bool aws4;
    unsigned tries;
    bool head_passed;              /* libmicrohttpd may take the body now */
    uint64_t asked_us, called_us;  /* when the vault was asked, and the proxy called */
    uint64_t up_credit, up_bytes;
    bool up_end;
    enum status failure;           /* with detail, when the call failed */
    char detail[DETAIL_MAX + 1];
    struct MHD_Response *response; /* made, not yet queued */
    unsigned http;
    struct buffer down;            /* of the answer, from `down_read` on not yet taken */
    size_t down_read;
    uint64_t down_bytes;           /* that came, in all */
    uint64_t credit_left;          /* that the proxy has */
    uint64_t credit_due;           /* taken and not yet given back */
    size_t wide;                   /* what its window has beyond the ordinary one */
    bool down_end;
    struct collect *collect;       /* a call that came as JSON, or NULL */
};

/* Headers that decide: a list in ROWS, which the caller frees; FAILED for too many of them. */
struct judged {
    struct buffer rows;
    struct list list;
    bool failed;
};
/* Adds the exchange's to RET_JUDGED, which is empty. */
void exchange_judged(const struct exchange *exchange, struct judged *ret_judged);

/* The one way in which an exchange fails: an error answer, or the answer under way is cut. */
void exchange_fail(struct exchange *exchange, enum status status, struct view detail);
/* Forgets the call with the proxy, which is told when CANCEL. */
void exchange_drop_call(struct exchange *exchange, bool cancel);
enum MHD_Result exchange_queue_answer(struct exchange *exchange);

/* Waits for a proxy if need be, asks the vault, and calls the proxy with the grant; or fails. */
void exchange_ask(struct exchange *exchange);
void exchange_stop_asking(struct exchange *exchange); /* takes one that asks nothing */

/* The head came, of a body of SIZE bytes: how many libmicrohttpd is to take at a time. */
size_t exchange_down_begin(struct exchange *exchange, uint64_t size);
/* Keeps a piece of the answer; false when it came without credit, or there is no memory. */
MUST_USE bool exchange_down_take(struct exchange *exchange, struct view data);
ssize_t exchange_read_down(void *exchange, uint64_t position, char *room, size_t size); /* MHD's */
void exchange_down_free(struct exchange *exchange);

/* Sends of a JSON call's body what there is credit for. */
void exchange_send_collected(struct exchange *exchange);
/* Takes from libmicrohttpd what there is credit for. */
enum MHD_Result exchange_take_body(struct exchange *exchange, const char *data, size_t *size);
enum MHD_Result exchange_end_body(struct exchange *exchange);

#endif
