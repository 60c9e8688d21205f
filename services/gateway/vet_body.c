/* vet_body.c - the states of a body: counted, or in chunks whose framing is held as strictly as a
 * head. */
#include "services/gateway/vet_private.h"

enum { SIZE_DIGITS_MAX = 15 }; /* fewer than 2^60 bytes */

/* ---- bodies (RFC 9112 sections 6 and 7.1) ---- */

static size_t take_left(struct vet *vet, size_t size)
{
    size = size < vet->left ? size : (size_t)vet->left;
    vet->left -= size;
    return size;
}

size_t vet_in_counted(struct vet *vet, const uint8_t *at, size_t size)
{
    (void)at;
    size_t taken = take_left(vet, size);
    if (vet->left == 0) {
        (void)vet_end_message(vet);
    }
    return taken;
}

static int hex_of(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

size_t vet_at_size(struct vet *vet, const uint8_t *at, size_t size)
{
    (void)size;
    if (hex_of(*at) < 0) {
        return vet_malformed(vet, "a chunk's size is malformed");
    }
    vet->left = 0;
    vet_enter(vet, SIZE);
    return 0;
}

size_t vet_in_size(struct vet *vet, const uint8_t *at, size_t size)
{
    (void)size;
    int value = hex_of(*at);
    if (value >= 0 && vet->run < SIZE_DIGITS_MAX) {
        vet->run++;
        vet->left = vet->left * 16 + (uint64_t)value;
        return 1;
    }
    if (*at != '\r' && *at != ';') {
        return vet_malformed(vet, "a chunk's size is malformed");
    }
    vet_enter(vet, *at == '\r' ? SIZE_LF : EXTENSION);
    return 1;
}

size_t vet_in_extension(struct vet *vet, const uint8_t *at, size_t size)
{
    size_t run = vet_run_of(IS_VALUE, at, size);
    if (vet->run + run > VET_CHUNK_EXT_MAX) {
        return vet_malformed(vet, "a chunk's extensions are too long");
    }
    vet->run += (uint32_t)run;
    if (run > 0) {
        return run;
    }
    if (*at != '\r') {
        return vet_malformed(vet, "a chunk's extension is malformed");
    }
    vet_enter(vet, SIZE_LF);
    return 1;
}

size_t vet_at_size_lf(struct vet *vet, const uint8_t *at, size_t size)
{
    (void)size;
    vet->trailer = vet->left == 0;
    if (vet->trailer) {
        vet->head_bytes = vet->fields = 0;
    }
    return vet_take_lf(vet, at, vet->trailer ? FIELD : CHUNK);
}

size_t vet_in_chunk(struct vet *vet, const uint8_t *at, size_t size)
{
    (void)at;
    size_t taken = take_left(vet, size);
    if (vet->left == 0) {
        vet_enter(vet, CHUNK_CR);
    }
    return taken;
}

size_t vet_at_chunk_cr(struct vet *vet, const uint8_t *at, size_t size)
{
    (void)size;
    if (*at != '\r') {
        return vet_malformed(vet, "a chunk does not end where its size says");
    }
    vet_enter(vet, CHUNK_LF);
    return 1;
}

size_t vet_at_chunk_lf(struct vet *vet, const uint8_t *at, size_t size)
{
    (void)size;
    return vet_take_lf(vet, at, SIZE_FIRST);
}
