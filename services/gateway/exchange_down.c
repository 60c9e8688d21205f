/* exchange_down.c - the answer's body between the proxy and libmicrohttpd.
 *
 * What the proxy may send is always less than a window ahead of what the client took.  A large body that
 * its client takes as fast as it comes gets a wider window, while all of those together stay within a
 * limit; so a thousand streams cost a small window each, and one download is not slowed by the way back. */
#include <string.h>

#include "common/log.h"
#include "services/gateway/exchange_private.h"

enum {
    LARGE_BYTES = 4 * STREAM_WINDOW_BYTES, /* a body of this size is worth a wider window */
    BLOCK_BYTES = 4096, /* that libmicrohttpd allocates for a response, and sends at once */
};

static size_t wide_bytes; /* of all exchanges */

static size_t window(const struct exchange *exchange)
{
    return STREAM_WINDOW_BYTES + exchange->wide;
}

static size_t block(const struct exchange *exchange)
{
    return exchange->wide ? exchange->wide / 4 : BLOCK_BYTES;
}

static void widen(struct exchange *exchange)
{
    if (exchange->wide == 0) {
        exchange->wide = wide_window(wide_bytes);
        wide_bytes += exchange->wide + exchange->wide / 4; /* and libmicrohttpd's block */
        exchange->credit_due += exchange->wide;
    }
}

void exchange_down_free(struct exchange *exchange)
{
    wide_bytes -= exchange->wide + exchange->wide / 4;
    exchange->wide = 0;
    buffer_free(&exchange->down);
}

/* Credit goes back a quarter of the window at a time: the proxy has the rest meanwhile, or it is here. */
static void give_credit(struct exchange *exchange)
{
    struct proxy_credit message = {exchange->call, exchange->credit_due};
    if (!exchange->call || exchange->credit_due < window(exchange) / 4) {
        return;
    }
    if (proxy_send(exchange->proxy, &proxy_credit_schema, &message) != STATUS_OK) {
        LOG_ABOUT(log_id(exchange->visit->request), VIEW(""));
        log_debug("credit", "the proxy is away");
        return;
    }
    exchange->credit_left += exchange->credit_due;
    exchange->credit_due = 0;
}

size_t exchange_down_begin(struct exchange *exchange, uint64_t size)
{
    if (size == BODY_SIZE_UNKNOWN || size < LARGE_BYTES) {
        return BLOCK_BYTES;
    }
    widen(exchange);
    give_credit(exchange);
    return block(exchange);
}

static void took(struct exchange *exchange, size_t size)
{
    exchange->down_read += size;
    exchange->credit_due += size;
    if (exchange->down_read < exchange->down.size) {
        give_credit(exchange);
        return;
    }
    /* All is taken; when the proxy has no credit left either, the window is what it waits for. */
    if (exchange->down_bytes >= LARGE_BYTES && exchange->credit_left < STREAM_WINDOW_BYTES / 4) {
        widen(exchange);
    }
    exchange->down_read = 0;
    buffer_clear(&exchange->down);
    if (!exchange->wide) {
        buffer_free(&exchange->down); /* a stream that is silent holds nothing */
    }
    give_credit(exchange);
}

ssize_t exchange_read_down(void *arg, uint64_t position, char *room, size_t size)
{
    struct exchange *exchange = arg;
    size_t here = exchange->down.size - exchange->down_read;
    (void)position;
    if (here == 0) {
        if (!exchange->down_end) {
            visit_suspend(exchange->visit);
            return 0;
        }
        return exchange->failure == STATUS_OK ? MHD_CONTENT_READER_END_OF_STREAM
                                              : MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size = size > here ? here : size;
    memcpy(room, exchange->down.data + exchange->down_read, size);
    took(exchange, size);
    return (ssize_t)size;
}

/* What was read is moved out of the way only where the buffer would grow otherwise. */
static void keep_down(struct exchange *exchange, struct view data)
{
    if (exchange->down_read > 0 && exchange->down.size + data.size > exchange->down.capacity) {
        buffer_consume(&exchange->down, exchange->down_read);
        exchange->down_read = 0;
    }
    buffer_append_view(&exchange->down, data);
}

bool exchange_down_take(struct exchange *exchange, struct view data)
{
    if (data.size > exchange->credit_left) {
        return false;
    }
    exchange->credit_left -= data.size;
    exchange->down_bytes += data.size;
    keep_down(exchange, data);
    return !exchange->down.failed;
}
