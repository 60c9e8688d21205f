/* chunks.h - a request body in aws-chunked coding, taken apart and signed again.
 *
 * Source: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple
 * Chunks" and the same "... with trailing headers" of the Amazon S3 API reference.  A client that
 * holds a fake token signs each chunk with a key that S3 does not know, so the data is cut anew into
 * chunks of one size and each gets a signature that chains from the request's. */
#ifndef SERVICES_PROXY_CHUNKS_H
#define SERVICES_PROXY_CHUNKS_H

#include "services/proxy/sigv4.h"

enum { CHUNKS_DATA_BYTES = 16384 }; /* at least 8 KiB, S3 says; as much as a stream's window */
#define CHUNKS_SIZE_UNKNOWN UINT64_MAX

struct chunks;

/* How a body is to be signed.  Everything is copied. */
struct chunks_plan {
    const struct sigv4_scope *scope;
    const char *seed;      /* the request's signature in hex */
    uint64_t data_size;    /* bytes of data (x-amz-decoded-content-length) */
    size_t chunk_size;     /* data in each chunk but the last */
    bool trailer;          /* signed trailers follow */
    struct view trailers;  /* their names as the request announced them (x-amz-trailer) */
};

/* NULL for want of memory.  The key is wiped with the object. */
struct chunks *chunks_new(const struct chunks_plan *plan);
void chunks_free(struct chunks **chunks);

/* Takes DATA of the client's body, and whether that was its END, and appends to RET_BODY what goes up:
 * never more than DATA's size, one chunk and their framing.  STATUS_INVALID for a coding that is
 * malformed, for more or less data than was announced, for a trailer that was not. */
MUST_USE enum status chunks_push(struct chunks *chunks, struct view data, bool end,
                                 struct buffer *ret_body);

/* Bytes that the whole body will have; CHUNKS_SIZE_UNKNOWN when it announces a trailer of a size that
 * its name does not tell. */
uint64_t chunks_body_size(const struct chunks_plan *plan);

#endif
