/* decode.c - zlib behind decode.h.
 *
 * "deflate" means the zlib format, but servers that send bare deflate data exist: the first two
 * bytes tell them apart. */
#include "services/proxy/decode.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

enum { GZIP_BITS = 15 + 16, ZLIB_BITS = 15, BARE_BITS = -15 };

struct decode {
    z_stream stream;
    bool gzip, begun, ended, checked;
    uint8_t first; /* of "deflate", until the second byte came */
};

struct decode *decode_new(struct view coding)
{
    bool gzip = view_is_nocase(coding, "gzip") || view_is_nocase(coding, "x-gzip");
    if (!gzip && !view_is_nocase(coding, "deflate")) {
        return NULL;
    }
    struct decode *decode = calloc(1, sizeof *decode);
    if (decode && inflateInit2(&decode->stream, gzip ? GZIP_BITS : ZLIB_BITS) != Z_OK) {
        free(decode);
        return NULL;
    }
    if (decode) {
        decode->gzip = decode->checked = gzip;
    }
    return decode;
}

void decode_free(struct decode **decode)
{
    if (*decode) {
        (void)inflateEnd(&(*decode)->stream);
        free(*decode);
        *decode = NULL;
    }
}

static enum status run(struct decode *decode, struct view *in, uint8_t *room, size_t size,
                       size_t *ret_size)
{
    size_t take = in->size > UINT_MAX ? UINT_MAX : in->size;
    decode->stream.next_in = (uint8_t *)(uintptr_t)in->data; /* zlib only reads it */
    decode->stream.avail_in = (unsigned)take;
    decode->stream.next_out = room;
    decode->stream.avail_out = (unsigned)size;
    int code = inflate(&decode->stream, Z_NO_FLUSH);
    size_t used = take - decode->stream.avail_in;
    *in = view_of(in->data + used, in->size - used);
    *ret_size = size - decode->stream.avail_out;
    decode->ended = code == Z_STREAM_END;
    return code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR ? STATUS_OK
                                                                       : STATUS_UPSTREAM;
}

/* RFC 1950: the method is 8 and the two bytes are a multiple of 31. */
static bool is_zlib(uint8_t first, uint8_t second)
{
    return (first & 15) == 8 && (first * 256 + second) % 31 == 0;
}

/* Gives zlib what is known of the format; false when the second byte is still to come. */
static bool check(struct decode *decode, struct view *in, enum status *ret_status)
{
    *ret_status = STATUS_OK;
    if (in->size == 0) {
        return false;
    }
    if (!decode->begun) {
        decode->begun = true;
        decode->first = in->data[0];
        *in = view_of(in->data + 1, in->size - 1);
    }
    if (in->size == 0) {
        return false;
    }
    decode->checked = true;
    if (!is_zlib(decode->first, in->data[0]) &&
        inflateReset2(&decode->stream, BARE_BITS) != Z_OK) {
        *ret_status = STATUS_UPSTREAM;
        return false;
    }
    uint8_t none;
    size_t made;
    struct view first = view_of(&decode->first, 1);
    *ret_status = run(decode, &first, &none, 0, &made);
    return *ret_status == STATUS_OK && first.size == 0;
}

enum status decode_next(struct decode *decode, struct view *in, uint8_t *room, size_t size,
                        size_t *ret_size)
{
    enum status status = STATUS_OK;
    *ret_size = 0;
    if (!decode->checked && !check(decode, in, &status)) {
        return status;
    }
    if (decode->ended) {
        if (in->size == 0) {
            return STATUS_OK;
        }
        /* Another member may follow in gzip (RFC 1952 section 2.2), nothing in deflate. */
        if (!decode->gzip || inflateReset(&decode->stream) != Z_OK) {
            return STATUS_UPSTREAM;
        }
        decode->ended = false;
    }
    decode->begun = decode->begun || in->size > 0;
    return run(decode, in, room, size, ret_size);
}

bool decode_whole(const struct decode *decode)
{
    return decode->ended || !decode->begun;
}
