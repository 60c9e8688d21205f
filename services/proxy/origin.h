/* origin.h - where an upstream request goes: scheme and authority of its URL. */
#ifndef SERVICES_PROXY_ORIGIN_H
#define SERVICES_PROXY_ORIGIN_H

#include "common/bytes.h"

struct origin {
    struct view whole;     /* "https://api.example.com:8443" */
    struct view host;      /* for the Host header: "api.example.com:8443", no port that is usual */
    struct view target;    /* from the path on: "/v1/models?limit=3" */
    bool tls;
};

/* Views URL; false when it has no such form. */
bool origin_split(struct view url, struct origin *ret_origin);

#endif
