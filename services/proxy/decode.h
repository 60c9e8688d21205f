/* decode.h - undoes an answer's gzip or deflate (RFC 9110 section 8.4.1), a piece at a time. */
#ifndef SERVICES_PROXY_DECODE_H
#define SERVICES_PROXY_DECODE_H

#include "common/bytes.h"

struct decode;

/* For CODING "gzip", "x-gzip" or "deflate"; NULL for want of memory and for any other. */
struct decode *decode_new(struct view coding);
void decode_free(struct decode **decode);

/* Takes what it can off IN and writes at most SIZE bytes to ROOM.  STATUS_UPSTREAM for data that is
 * broken.  There may be more to write while RET_SIZE is SIZE, even when IN is empty. */
MUST_USE enum status decode_next(struct decode *decode, struct view *in, uint8_t *room,
                                 size_t size, size_t *ret_size);

/* Whether all that was begun came to its end. */
bool decode_whole(const struct decode *decode);

#endif
