/* direct.c - the carrier that frames HTTP/1.1 itself, on connections that libcurl makes.
 *
 * libcurl's multi interface costs two thirds of a short call.  Here a request is one send and an
 * answer one receive; what cannot go on at once waits in the transfer's own buffers, which are empty
 * otherwise.  A request of an idempotent method is repeated once when a kept connection turns out to
 * be dead: nothing came, and its body is all here.  The provider may have done what it was asked, so
 * a proxy repeats no other (RFC 9110 section 9.2.2). */
#include "services/proxy/transfer_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/proxy/connection.h"
#include "services/proxy/decode.h"
#include "services/proxy/http1.h"
#include "services/proxy/spare.h"

enum { RECEIVE_BYTES = 262144, PULL_BYTES = CHUNK_MAX, DECODED_BYTES = STREAM_WINDOW_BYTES };

struct direct {
    struct connection_user user; /* first: connection.c knows only this */
    struct transfer *transfer;
    struct connection *connection; /* NULL between two, and once the answer is whole */
    struct http1 http1;
    struct decode *decode;
    struct buffer out; /* of the request, what the socket did not take */
    struct buffer in;  /* of the answer, what could not be handed over or read yet */
    size_t piece;      /* of `in`: bytes at its beginning that are body already */
    uint64_t body_size;
    bool undecoded;    /* `decode` may have more to hand over, without new input */
    bool connected, head_made, sent_all, received, repeated;
};

static struct spares spare_directs = {.size = sizeof(struct direct)};

/* One request's head and first piece, or one answer's bytes: used within one call only. */
static struct buffer stage;
static uint8_t room[RECEIVE_BYTES];

/* Both may end the call and free the transfer: false then. */
static bool write_some(struct direct *direct);
static bool read_some(struct direct *direct);

/* ---- the request ---- */

/* Whether the body goes out from where it waits: with neither chunks around it nor TLS, which wants a
 * piece that it did not take once more from the same place. */
static bool sends_in_place(const struct direct *direct)
{
    return direct->head_made && direct->body_size != BODY_SIZE_UNKNOWN &&
           !connection_is_tls(direct->connection);
}

/* False when the socket takes no more, or nothing more is here. */
static bool send_in_place(struct direct *direct)
{
    struct view piece;
    if (!transfer_look(direct->transfer, &piece)) {
        return false;
    }
    ssize_t sent = piece.size > 0 ? connection_send(direct->connection, piece) : 0;
    direct->sent_all = piece.size == 0 || sent == CONNECTION_FAILED; /* the answer may say why */
    if (sent > 0) {
        transfer_pulled(direct->transfer, (size_t)sent);
    }
    return sent > 0;
}

/* Adds the body's next piece to OUT, in a chunk when its size is not known.  False when none is here
 * yet. */
static bool append_piece(struct direct *direct, struct buffer *out)
{
    char chunk[24];
    bool chunked = direct->body_size == BODY_SIZE_UNKNOWN;
    ssize_t got = transfer_pull(direct->transfer, room, PULL_BYTES);
    if (got < 0) {
        return false;
    }
    if (got == 0) {
        direct->sent_all = true;
        buffer_append_text(out, chunked ? "0\r\n\r\n" : "");
        return true;
    }
    if (chunked) {
        (void)snprintf(chunk, sizeof chunk, "%zx\r\n", (size_t)got);
        buffer_append_text(out, chunk);
    }
    buffer_append(out, room, (size_t)got);
    buffer_append_text(out, chunked ? "\r\n" : "");
    return true;
}

/* ---- failing, and once more ---- */

static bool fail(struct direct *direct, enum status status, const char *detail)
{
    connection_drop(direct->connection);
    direct->connection = NULL;
    transfer_finish(direct->transfer, status, detail);
    return false;
}

static bool open_new(struct direct *direct)
{
    struct transfer *transfer = direct->transfer;
    struct view url = view_text((const char *)transfer->request.url.data);
    struct origin origin;
    direct->connected = false;
    direct->connection = origin_split(url, &origin)
                             ? connection_start(transfer->call->provider, &origin, &direct->user)
                             : NULL;
    return direct->connection ||
           fail(direct, STATUS_INTERNAL, "no connection to the provider can be made");
}

/* The connection ended before the answer did. */
static bool lost(struct direct *direct)
{
    bool again = method_is_idempotent(direct->transfer->call->method) && !direct->received &&
                 !direct->repeated && connection_used(direct->connection) &&
                 transfer_rewind(direct->transfer);
    if (!again) {
        return fail(direct, STATUS_UPSTREAM, "the provider ended the connection early");
    }
    connection_drop(direct->connection);
    direct->repeated = true;
    direct->head_made = direct->sent_all = false;
    buffer_wipe(&direct->out);
    return open_new(direct);
}

/* ---- sending ---- */

/* Sends what is staged; the rest is kept.  A failure is left to the reading side: there may be an
 * answer that says why. */
static void send_out(struct direct *direct)
{
    ssize_t sent = connection_send(direct->connection, buffer_view(&stage));
    if (sent == CONNECTION_FAILED) {
        direct->sent_all = true;
    } else if (sent == CONNECTION_AGAIN) { /* SSL_write(3): again from the same place, or it fails */
        buffer_free(&direct->out);
        direct->out = stage;
        stage = BUFFER_EMPTY;
    } else {
        buffer_append(&direct->out, stage.data + sent, stage.size - (size_t)sent);
    }
}

static bool flush_out(struct direct *direct)
{
    while (direct->out.size > 0) {
        ssize_t sent = connection_send(direct->connection, buffer_view(&direct->out));
        if (sent == CONNECTION_AGAIN) {
            return false;
        }
        if (sent == CONNECTION_FAILED) {
            direct->sent_all = true;
            buffer_wipe(&direct->out);
            return true;
        }
        buffer_consume(&direct->out, (size_t)sent);
    }
    buffer_wipe(&direct->out); /* it may have held the head */
    return true;
}

static bool write_some(struct direct *direct)
{
    while (flush_out(direct) && !direct->sent_all) {
        if (sends_in_place(direct)) {
            if (!send_in_place(direct)) {
                break;
            }
            continue;
        }
        buffer_clear(&stage);
        enum status status = STATUS_OK;
        if (!direct->head_made) {
            direct->head_made = true;
            status = request_head(&direct->transfer->request, direct->transfer->call->method, &stage);
            direct->sent_all = direct->body_size == 0;
        }
        bool more = !direct->sent_all && status == STATUS_OK && append_piece(direct, &stage);
        if (stage.failed) {
            status = STATUS_INTERNAL;
        }
        if (status == STATUS_OK && stage.size > 0) {
            send_out(direct);
        }
        if (stage.size > 0) {
            explicit_bzero(stage.data, stage.size);
        }
        if (status != STATUS_OK || direct->out.failed) {
            return fail(direct, status != STATUS_OK ? status : STATUS_INTERNAL,
                        status_text(STATUS_INTERNAL));
        }
        if (!more) {
            break;
        }
    }
    return true;
}

/* ---- receiving ---- */

/* Hands a piece of the body over, decoded: how much of it was taken. */
static enum taken take_piece(struct direct *direct, struct view *piece)
{
    static uint8_t decoded[DECODED_BYTES];
    size_t size = DECODED_BYTES;
    if (!direct->decode) {
        enum taken taken = transfer_take(direct->transfer, *piece);
        piece->size = taken == TAKEN ? 0 : piece->size;
        return taken;
    }
    while (piece->size > 0 || size == DECODED_BYTES) {
        enum taken taken = transfer_take(direct->transfer, view_of(decoded, 0));
        direct->undecoded = taken == TAKEN_NOT;
        if (taken != TAKEN) {
            return taken;
        }
        if (decode_next(direct->decode, piece, decoded, sizeof decoded, &size) != STATUS_OK) {
            return TAKEN_FAILED;
        }
        taken = transfer_take(direct->transfer, view_of(decoded, size));
        if (taken != TAKEN) {
            return taken;
        }
    }
    return TAKEN;
}

static enum status take_line(struct direct *direct, struct view line)
{
    static const char coding[] = "content-encoding:";
    enum status status = transfer_header(direct->transfer, line);
    if (status != STATUS_OK || direct->transfer->request.untouched || line.size < sizeof coding ||
        strncasecmp((const char *)line.data, coding, sizeof coding - 1) != 0) {
        return status;
    }
    struct view value = view_of(line.data + sizeof coding - 1, line.size - (sizeof coding - 1));
    while (value.size && (value.data[0] == ' ' || value.data[0] == '\t')) {
        value = view_of(value.data + 1, value.size - 1);
    }
    while (value.size && (value.data[value.size - 1] == ' ' || value.data[value.size - 1] == '\t')) {
        value.size--;
    }
    bool bodiless = direct->http1.head_request || direct->http1.status == 204 ||
                    direct->http1.status == 304;
    if (bodiless || direct->http1.status < 200 || value.size == 0 || view_is_nocase(value, "identity")) {
        return STATUS_OK;
    }
    direct->decode = direct->decode ? NULL : decode_new(value); /* answer.c lets one pass */
    return direct->decode ? STATUS_OK : STATUS_UPSTREAM;
}

/* The answer is whole; LEFT came behind it. */
static bool end_answer(struct direct *direct, size_t left, bool drained)
{
    struct connection *connection = direct->connection;
    uint8_t byte;
    bool keep = http1_keeps(&direct->http1) && direct->sent_all && direct->out.size == 0 &&
                left == 0;
    if (keep && !drained) {
        keep = connection_receive(connection, &byte, 1) == CONNECTION_AGAIN;
    }
    direct->connection = NULL;
    if (keep) {
        connection_give(connection);
    } else {
        connection_drop(connection);
    }
    bool whole = !direct->decode || decode_whole(direct->decode);
    transfer_finish(direct->transfer, whole ? STATUS_OK : STATUS_UPSTREAM,
                    whole ? NULL : "the provider's answer cannot be decoded");
    return false;
}

/* Keeps what is left: body first, then what was not read yet. */
static void keep_in(struct direct *direct, struct view piece, struct view rest)
{
    struct buffer in = BUFFER_EMPTY; /* both may view the old one */
    buffer_append_view(&in, piece);
    buffer_append_view(&in, rest);
    buffer_free(&direct->in);
    direct->in = in;
    direct->piece = piece.size;
}

/* Reads BYTES, the first of which are PIECE bytes of body.  DRAINED: nothing more is to be received
 * now.  RET_PAUSED tells that the client has to take something first. */
static bool read_bytes(struct direct *direct, struct view bytes, size_t piece_size, bool drained,
                       bool *ret_paused)
{
    struct view piece = view_of(bytes.data, piece_size);
    struct view rest = view_of(bytes.data + piece_size, bytes.size - piece_size);
    enum http1_event event = piece_size || direct->undecoded
                                 ? HTTP1_BODY
                                 : http1_next(&direct->http1, &rest, &piece);
    for (;; event = http1_next(&direct->http1, &rest, &piece)) {
        enum status status = STATUS_OK;
        enum taken taken = TAKEN;
        switch (event) {
        case HTTP1_LINE:
            status = take_line(direct, piece);
            break;
        case HTTP1_BODY:
            taken = take_piece(direct, &piece);
            break;
        case HTTP1_END:
            return end_answer(direct, rest.size, drained);
        case HTTP1_BAD:
            return fail(direct, STATUS_UPSTREAM, "the provider's answer is not HTTP/1.1");
        case HTTP1_MORE:
            keep_in(direct, view_of(rest.data, 0), rest);
            return !direct->in.failed || fail(direct, STATUS_INTERNAL, "out of memory");
        }
        if (status != STATUS_OK || taken == TAKEN_FAILED) {
            return fail(direct, STATUS_UPSTREAM, "the provider's answer cannot be passed on");
        }
        if (taken == TAKEN_NOT) {
            keep_in(direct, piece, rest);
            *ret_paused = true;
            return !direct->in.failed || fail(direct, STATUS_INTERNAL, "out of memory");
        }
    }
}

/* What is kept from before and what came now are read as one. */
static bool read_more(struct direct *direct, size_t got, bool drained, bool *ret_paused)
{
    if (direct->in.size == 0) {
        return read_bytes(direct, view_of(room, got), 0, drained, ret_paused);
    }
    struct buffer in = direct->in;
    size_t piece = direct->piece;
    direct->in = BUFFER_EMPTY;
    direct->piece = 0;
    buffer_append(&in, room, got);
    bool alive = in.failed ? fail(direct, STATUS_INTERNAL, "out of memory")
                           : read_bytes(direct, buffer_view(&in), piece, drained, ret_paused);
    buffer_free(&in);
    return alive;
}

static bool ended(struct direct *direct)
{
    if (http1_whole_at_end(&direct->http1) && direct->in.size == 0) {
        return end_answer(direct, 1, true); /* not kept */
    }
    return lost(direct);
}

/* No more than the gateway takes, or it would have to be kept here. */
static size_t room_size(const struct direct *direct)
{
    uint64_t credit = direct->transfer->call->credit;
    return credit < STREAM_WINDOW_BYTES ? STREAM_WINDOW_BYTES
           : credit < sizeof room       ? (size_t)credit
                                        : sizeof room;
}

static bool read_some(struct direct *direct)
{
    bool paused = direct->transfer->writing_paused;
    while (!paused) {
        size_t size = room_size(direct);
        ssize_t got = connection_receive(direct->connection, room, size);
        if (got == CONNECTION_AGAIN) {
            return true;
        }
        if (got <= 0) {
            return got == 0 ? ended(direct) : lost(direct);
        }
        direct->received = true;
        bool drained = connection_drained(direct->connection, (size_t)got, size);
        if (!read_more(direct, (size_t)got, drained, &paused)) {
            return false;
        }
        if (drained) {
            return true;
        }
    }
    return true;
}

/* ---- what happens ---- */

static void on_ready(struct connection_user *user)
{
    struct direct *direct = (struct direct *)user;
    if (!direct->connected || !write_some(direct)) {
        return;
    }
    (void)read_some(direct); /* whether the call lives on does not matter here */
}

static void on_connected(struct connection_user *user, enum status status, const char *detail)
{
    struct direct *direct = (struct direct *)user;
    if (status != STATUS_OK) {
        direct->connection = NULL;
        transfer_finish(direct->transfer, status, detail);
        return;
    }
    direct->connected = true;
    (void)write_some(direct);
}

static enum status start(struct transfer *transfer, const struct proxy_call *message)
{
    struct view url = view_text((const char *)transfer->request.url.data);
    struct direct *direct = spare_take(&spare_directs);
    struct origin origin;
    if (!direct || !origin_split(url, &origin) || !request_target_safe(origin.target)) {
        spare_give(&spare_directs, direct);
        return direct ? STATUS_INVALID : STATUS_INTERNAL;
    }
    transfer->state = direct;
    *direct = (struct direct){.user = {on_connected, on_ready},
                              .transfer = transfer,
                              .body_size = message->body_size};
    http1_begin(&direct->http1, view_is(message->method, "HEAD"));
    direct->connection = connection_take(transfer->call->provider, &origin, &direct->user);
    if (!direct->connection) {
        direct->connection = connection_start(transfer->call->provider, &origin, &direct->user);
        return direct->connection ? STATUS_OK : STATUS_INTERNAL;
    }
    direct->connected = true;
    (void)write_some(direct); /* may have ended the call */
    return STATUS_OK;
}

static void more_body(struct transfer *transfer)
{
    struct direct *direct = transfer->state;
    if (direct->connected && direct->connection) {
        (void)write_some(direct);
    }
}

static void more_credit(struct transfer *transfer)
{
    struct direct *direct = transfer->state;
    bool paused = false;
    if ((direct->in.size > 0 || direct->undecoded) && !read_more(direct, 0, false, &paused)) {
        return;
    }
    if (!paused && direct->connection) {
        (void)read_some(direct);
    }
}

static void drop(struct transfer *transfer)
{
    struct direct *direct = transfer->state;
    connection_drop(direct->connection);
    decode_free(&direct->decode);
    buffer_wipe(&direct->out);
    buffer_free(&direct->in);
    spare_give(&spare_directs, direct);
    transfer->state = NULL;
}

const struct carrier direct_carrier = {start, more_body, more_credit, drop};
