/* vet.h - judges the bytes of HTTP/1.1 requests before anything else reads them (RFC 9112).
 *
 * Strict, incremental, and without any effect but on its own state: however the same bytes are cut
 * into pieces, the verdict is the same. */
#ifndef SERVICES_GATEWAY_VET_H
#define SERVICES_GATEWAY_VET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VET_HEAD_BYTES_MAX = 32768,   /* request line and header fields, with their line ends */
    VET_TRAILER_BYTES_MAX = 4096, /* fields after a chunked body; nobody reads them */
    VET_CHUNK_EXT_MAX = 256,      /* bytes of extensions of one chunk; they are ignored */
    VET_KEPT = 20,                /* longest name or value that is compared with something */
};

/* One connection's requests, one after the other.  All zero at first. */
struct vet {
    unsigned http;    /* 0 while all is well, then for good the status to refuse with */
    const char *why;  /* then a sentence for the caller */
    bool api;         /* the target of the request at hand begins with "/api/" */
    uint64_t heads;   /* whole heads so far */
    uint64_t messages;   /* whole requests so far, bodies and trailers included */
    uint64_t body_bytes; /* bytes of bodies so far, with their framing */
    /* of the head that ended last: */
    uint64_t length;     /* of its body; UINT64_MAX when chunked, 0 when there is none */
    size_t target_size;

    /* private */
    uint8_t state, empty_lines, kept_size, field;
    bool version10, trailer, coded, sized;
    unsigned seen; /* fields that may come once */
    uint32_t head_bytes, run, fields, target_run;
    uint64_t left; /* of a body or chunk; the number being read */
    char kept[VET_KEPT];
};

/* Judges the next SIZE bytes.  Returns how many of them may be handed on: all of them, or when
 * `http` is set, those up to the end of the last whole request among them. */
size_t vet(struct vet *vet, const uint8_t *bytes, size_t size);

bool vet_between(const struct vet *vet); /* no byte of the next request has come */
bool vet_in_body(const struct vet *vet);

#endif
