/* curl_loop.h - libcurl's multi handles in the daemon's loop: their sockets and timers, one
 * descriptor for all. */
#ifndef SERVICES_PROXY_CURL_LOOP_H
#define SERVICES_PROXY_CURL_LOOP_H

#include <curl/curl.h>

#include "common/loop.h"

struct curl_member;

/* Told once for each handle that is done; may remove the handle and free what is behind it. */
typedef void curl_done_fn(CURL *easy, CURLcode result);

MUST_USE enum status curl_loop_open(struct loop *loop);
void curl_loop_close(void);

/* One more multi handle, freed by curl_loop_close(); NULL when there are too many. */
struct curl_member *curl_loop_add(curl_done_fn *done);
CURLM *curl_loop_multi(const struct curl_member *member);
/* Has libcurl look at what was changed (a handle unpaused). */
void curl_loop_drive(struct curl_member *member);

#endif
