/* api.h - what api.c (routes, answers), api_body.c (JSON bodies) and api_query.c share. */
#ifndef SERVICES_GATEWAY_API_H
#define SERVICES_GATEWAY_API_H

#include "services/gateway/gateway.h"

/* The members that a body may have; a route takes some of them. */
enum {
    IN_EMAIL = 1 << 0,
    IN_PASSWORD = 1 << 1,
    IN_OLD = 1 << 2,
    IN_NEW = 1 << 3,
    IN_NAME = 1 << 4,
    IN_VALUE = 1 << 5,
    IN_PROVIDER = 1 << 6,
    IN_DIRECT_ACCESS = 1 << 7,
    IN_EXPIRES_IN = 1 << 8,
    IN_SECRET = 1 << 9,
};

enum { BODY_BYTES_MAX = 65536, WHY_MAX = 160 };

/* A body read: the views of `ask` point into `texts` and `names`. */
struct api_body {
    struct buffer texts[12];
    size_t text_count;
    struct buffer names;
};

/* Has jansson wipe what it frees. */
void api_body_init(void);

/* Fills ASK from BODY.  STATUS_INVALID with a sentence that names the member in RET_WHY (WHY_MAX)
 * for malformed JSON, a member that is not TAKES, a wrong type or size, or one of NEEDS missing.
 * Values and passwords are sealed to INTAKE_KEY at once. */
MUST_USE enum status api_body_read(struct view body, unsigned takes, unsigned needs,
                                   const uint8_t *intake_key, struct api_body *ret_body,
                                   struct vault_ask *ask, char *ret_why);
void api_body_free(struct api_body *body);

/* Fills ASK from the query of GET /v1/account/audit; its texts are the visit's.  STATUS_INVALID with
 * a sentence in RET_WHY (WHY_MAX, empty before) for a parameter that is none or malformed. */
MUST_USE enum status api_query_read(const struct visit *visit, struct vault_ask *ask,
                                    char *ret_why);

#endif
