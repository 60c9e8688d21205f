/* exchange_up.c - the request body of a passthrough call, piece by piece against credit. */
#include "common/log.h"
#include "services/gateway/collect.h"
#include "services/gateway/exchange_private.h"

/* Sends one piece of the body; false when the call is over. */
static bool send_piece(struct exchange *exchange, struct view piece)
{
    struct proxy_body message = {exchange->call, piece, false};
    if (exchange->up_bytes + piece.size > config.body_max) {
        exchange_drop_call(exchange, true);
        exchange_fail(exchange, STATUS_TOO_LARGE, VIEW("the body is larger than this broker takes"));
        return false;
    }
    if (proxy_send(exchange->proxy, &proxy_body_schema, &message) != STATUS_OK) {
        exchange_drop_call(exchange, false);
        exchange_fail(exchange, STATUS_UNAVAILABLE, VIEW("the proxy is away"));
        return false;
    }
    exchange->up_credit -= piece.size;
    exchange->up_bytes += piece.size;
    return true;
}

/* Sends of the JSON call's body what there is credit for. */
void exchange_send_collected(struct exchange *exchange)
{
    struct collect *collect = exchange->collect;
    while (exchange->call && collect->sent < collect->body.size && exchange->up_credit) {
        size_t piece = collect->body.size - collect->sent;
        piece = piece > exchange->up_credit ? (size_t)exchange->up_credit : piece;
        piece = piece > CHUNK_MAX ? CHUNK_MAX : piece;
        if (!send_piece(exchange, view_of(collect->body.data + collect->sent, piece))) {
            return;
        }
        collect->sent += piece;
        if (collect->sent == collect->body.size) {
            struct proxy_body last = {exchange->call, {NULL, 0}, true};
            if (proxy_send(exchange->proxy, &proxy_body_schema, &last) != STATUS_OK) {
                LOG_ABOUT(log_id(exchange->visit->request), VIEW(""));
                log_debug("body", "the proxy is away");
            }
        }
    }
}

/* What there is no credit for stays with libmicrohttpd, which calls again only when the connection
 * was suspended and resumed. */
enum MHD_Result exchange_take_body(struct exchange *exchange, const char *data, size_t *size)
{
    size_t sent = 0;
    while (sent < *size && exchange->state == CALLING && exchange->call && exchange->up_credit) {
        size_t piece = *size - sent;
        piece = piece > exchange->up_credit ? (size_t)exchange->up_credit : piece;
        piece = piece > CHUNK_MAX ? CHUNK_MAX : piece;
        if (!send_piece(exchange, view_of(data + sent, piece))) {
            break;
        }
        sent += piece;
    }
    if (exchange->state != CALLING || !exchange->call) {
        *size = 0; /* the call is over: what still comes is dropped */
        return MHD_YES;
    }
    *size -= sent;
    if (*size > 0) {
        visit_suspend(exchange->visit);
    }
    return MHD_YES;
}

enum MHD_Result exchange_end_body(struct exchange *exchange)
{
    struct proxy_body message = {exchange->call, {NULL, 0}, true};
    exchange->up_end = true;
    if (proxy_send(exchange->proxy, &proxy_body_schema, &message) != STATUS_OK) {
        exchange_drop_call(exchange, false);
        exchange_fail(exchange, STATUS_UNAVAILABLE, VIEW("the proxy is away"));
        return exchange_queue_answer(exchange);
    }
    if (!exchange->response) {
        visit_suspend(exchange->visit);
        return MHD_YES;
    }
    return exchange_queue_answer(exchange);
}
