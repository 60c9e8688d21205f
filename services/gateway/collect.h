/* collect.h - a passthrough call that comes and goes as JSON: POST /v1/proxy/request. */
#ifndef SERVICES_GATEWAY_COLLECT_H
#define SERVICES_GATEWAY_COLLECT_H

#include "services/gateway/gateway.h"

enum {
    COLLECT_REQUEST_MAX = 8 << 20, /* bytes of the JSON body */
    COLLECT_ANSWER_MAX = 8 << 20,  /* bytes of the provider's body */
};

struct collect {
    char *provider, *method;
    struct buffer target;  /* after /api/<provider> */
    struct buffer rows;    /* header_row */
    struct list headers;
    struct buffer body;    /* for the provider */
    size_t sent;
    unsigned http;         /* of its answer */
    bool done;
};

/* Reads {"service","method","path","headers"?,"body"?}.  STATUS_INVALID with a sentence in RET_WHY
 * (`size` bytes) that names the member. */
MUST_USE enum status collect_read(struct view json, struct collect **ret_collect, char *ret_why,
                                  size_t size);
void collect_free(struct collect **collect);

/* {"ok": status is 2xx, "status", "body"}: BODY as JSON when it is that, else as a string. */
enum MHD_Result collect_answer(struct visit *visit, const struct collect *collect,
                               struct view body);

#endif
