/* http1.h - reads one HTTP/1.1 answer (RFC 9112), however its bytes are cut.  Keeps no bytes. */
#ifndef SERVICES_PROXY_HTTP1_H
#define SERVICES_PROXY_HTTP1_H

#include "common/bytes.h"

enum {
    HTTP1_LINE_MAX = 33 << 10,  /* a field of HEADER_NAME_MAX and HEADER_VALUE_MAX bytes */
    HTTP1_HEAD_MAX = 128 << 10, /* all lines of one head, or of all trailers */
    HTTP1_FIELDS_MAX = 256,     /* also those that are not passed on */
    HTTP1_INTERIM_MAX = 16,     /* 1xx answers before the one that counts */
};

/* Zeroed and then http1_begin() makes one; plain memory. */
struct http1 {
    enum {
        HTTP1_STATUS_LINE, HTTP1_FIELDS, HTTP1_COUNTED, HTTP1_TO_CLOSE,
        HTTP1_CHUNK_SIZE, HTTP1_CHUNK, HTTP1_CHUNK_END, HTTP1_TRAILERS, HTTP1_DONE, HTTP1_BROKEN,
    } state;
    bool head_request, http10, close, chunked, has_length;
    unsigned status, fields, interim;
    uint64_t left; /* of the body or the chunk */
    size_t head_bytes;
};

enum http1_event {
    HTTP1_MORE, /* what is left of the input is the beginning of something: give it again with more */
    HTTP1_LINE, /* a line of a head without its end, the empty one after it too */
    HTTP1_BODY, /* a piece of the body, decoded of its chunks */
    HTTP1_END,  /* the answer is whole; what is left of the input is not part of it */
    HTTP1_BAD,  /* not an answer; nothing more can be read */
};

/* HEAD_REQUEST: its answer has no body (RFC 9112 section 6.3). */
void http1_begin(struct http1 *http1, bool head_request);

/* Takes one event off IN; RET_VIEW (for LINE and BODY) views it. */
enum http1_event http1_next(struct http1 *http1, struct view *in, struct view *ret_view);

/* Whether the answer is whole when the connection ends here. */
bool http1_whole_at_end(const struct http1 *http1);

/* Whether another answer can follow on the same connection, once this one is whole. */
bool http1_keeps(const struct http1 *http1);

#endif
