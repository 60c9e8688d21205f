/* otlp.h - one batch at a time to the collector, over a multi handle of its own. */
#ifndef SERVICES_PROXY_OTLP_H
#define SERVICES_PROXY_OTLP_H

#include "common/loop.h"
#include "common/bytes.h"

/* As spans_open(); READY is called now and then while there is nothing in hand. */
MUST_USE enum status otlp_open(struct loop *loop, const char *endpoint, const char *ca_file,
                               void (*ready)(void));
void otlp_close(void);

/* The empty buffer for the next body, or NULL while one is in hand. */
struct buffer *otlp_body(void);
/* Sends it: SPANS are in it. */
void otlp_send(uint64_t spans);
bool otlp_idle(void);

/* The daemon stops: the waits between two tries end, and what is not gone soon is given up. */
void otlp_hurry(void);
bool otlp_given_up(void);

uint64_t otlp_exported(void), otlp_refused(void);

#endif
