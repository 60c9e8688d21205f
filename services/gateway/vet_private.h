/* vet_private.h - what vet.c (heads) and vet_body.c (bodies) share. */
#ifndef SERVICES_GATEWAY_VET_PRIVATE_H
#define SERVICES_GATEWAY_VET_PRIVATE_H

#include "services/gateway/vet.h"

/* A step takes a run of bytes, at least one of them at hand, and yields how many it took: with none
 * it has gone to another state, or refused. */
typedef size_t vet_step(struct vet *vet, const uint8_t *at, size_t size);

enum state {
    BEGIN, BEGIN_LF, METHOD, TARGET, VERSION, LINE_LF,
    FIELD, NAME, VALUE, FIELD_LF, END_LF,
    BODY, SIZE_FIRST, SIZE, EXTENSION, SIZE_LF, CHUNK, CHUNK_CR, CHUNK_LF,
};

enum { IS_TOKEN = 1, IS_TARGET = 2, IS_VALUE = 4 };
extern const uint8_t vet_classes[256];

void vet_enter(struct vet *vet, enum state state);
size_t vet_malformed(struct vet *vet, const char *why); /* refuses with 400; yields 0 */
size_t vet_run_of(uint8_t class, const uint8_t *at, size_t size); /* bytes of CLASS at first */
size_t vet_take_lf(struct vet *vet, const uint8_t *at, enum state state); /* then goes to STATE */
size_t vet_end_message(struct vet *vet); /* yields 1 */

/* vet_body.c */
vet_step vet_in_counted, vet_at_size, vet_in_size, vet_in_extension, vet_at_size_lf, vet_in_chunk,
    vet_at_chunk_cr, vet_at_chunk_lf;

#endif
