/* exchange.c - one passthrough call, from the decision to the last byte.
 *
 * States: DECIDING (the vault was asked), CALLING (the proxy runs it, the body goes up), ANSWERING
 * (the head is queued, the body comes down), OVER.  Each side moves only against credit, so that
 * neither holds more than a window. */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "services/gateway/collect.h"
#include "services/gateway/exchange_private.h"

/* ---- failing ---- */

void exchange_fail(struct exchange *exchange, enum status status, struct view detail)
{
    if (exchange->state == OVER) {
        return;
    }
    exchange->failure = status;
    if (!view_copy(detail, exchange->detail, sizeof exchange->detail)) {
        exchange->detail[0] = 0;
    }
    if (exchange->state != ANSWERING) {
        exchange->state = OVER;
    }
    exchange->down_end = true;
    visit_resume(exchange->visit);
}

void exchange_drop_call(struct exchange *exchange, bool cancel)
{
    if (exchange->call && cancel) {
        struct proxy_cancel message = {exchange->call};
        if (proxy_send(exchange->proxy, &proxy_cancel_schema, &message) != STATUS_OK) {
            LOG_ABOUT(log_id(exchange->visit->request), VIEW(""));
            log_debug("cancel", "the proxy is away");
        }
    }
    proxy_call_end(exchange->call);
    exchange->call = 0;
}

static struct exchange *exchange_new(struct visit *visit, const char *token)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange) {
        visit->exchange = exchange;
        exchange->visit = visit;
        memcpy(exchange->token, token, strlen(token) + 1);
        visit_suspend(visit);
    }
    return exchange;
}

void exchange_start(struct visit *visit, struct view provider, struct buffer *target,
                    const char *token, bool aws4)
{
    struct exchange *exchange = exchange_new(visit, token);
    if (!exchange) {
        return;
    }
    exchange->aws4 = aws4;
    exchange->head_passed = !visit->has_body;
    exchange->target = *target;
    *target = BUFFER_EMPTY;
    memcpy(exchange->method, visit->method, sizeof exchange->method);
    if (!view_copy(provider, exchange->provider, sizeof exchange->provider)) {
        exchange_fail(exchange, STATUS_INTERNAL, VIEW(""));
        return;
    }
    exchange_ask(exchange);
}

void exchange_start_collected(struct visit *visit, struct collect *collect, const char *token)
{
    struct exchange *exchange = exchange_new(visit, token);
    if (!exchange) {
        collect_free(&collect);
        return;
    }
    exchange->collect = collect;
    exchange->head_passed = true;
    exchange->target = collect->target;
    collect->target = BUFFER_EMPTY;
    if (!view_copy(view_text(collect->provider), exchange->provider, sizeof exchange->provider) ||
        !view_copy(view_text(collect->method), exchange->method, sizeof exchange->method)) {
        exchange_fail(exchange, STATUS_INVALID, VIEW(""));
        return;
    }
    exchange_ask(exchange);
}

/* ---- what the proxy says ---- */

/* What is here as a whole goes out with its head in one system call. */
static bool is_whole(const struct exchange *exchange, const struct proxy_head *head)
{
    bool same = head->body_size == BODY_SIZE_UNKNOWN || head->body_size == head->data.size;
    return head->end && same && strcmp(exchange->method, "HEAD") != 0;
}

static struct MHD_Response *make_response(struct exchange *exchange, const struct proxy_head *head)
{
    bool bodiless = head->http == 204 || head->http == 304 || head->http < 200;
    /* libmicrohttpd would end the chunks of a HEAD's answer, which has none, and the next answer on
     * the connection would begin with that. */
    bool sizeless = strcmp(exchange->method, "HEAD") == 0 && head->body_size == BODY_SIZE_UNKNOWN;
    if (bodiless || sizeless) {
        return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    }
    if (is_whole(exchange, head)) {
        return MHD_create_response_from_buffer(
            head->data.size, (void *)(uintptr_t)head->data.data, MHD_RESPMEM_MUST_COPY);
    }
    uint64_t size = head->body_size == BODY_SIZE_UNKNOWN ? MHD_SIZE_UNKNOWN : head->body_size;
    return MHD_create_response_from_callback(size, exchange_down_begin(exchange, head->body_size),
                                             exchange_read_down, exchange, NULL);
}

/* SDKs call the URLs in a row's rewrite_headers without their credential (a resumable upload's
 * address is one by itself), so the caller's own fake token goes into them. */
static void add_token(const struct exchange *exchange, struct view name, struct buffer *value)
{
    const struct provider *provider =
        providers_find(config.providers, view_text(exchange->provider));
    bool ours = view_starts(buffer_view(value), config.public_url);
    for (const char **at = provider ? provider->rewrite_headers : NULL; ours && at && *at; at++) {
        if (view_is_nocase(name, *at)) {
            bool has_query = memchr(value->data, '?', value->size) != NULL;
            buffer_append_text(value, has_query ? "&key=" : "?key=");
            buffer_append_text(value, exchange->token);
            return;
        }
    }
}

static void add_header(struct exchange *exchange, const struct header_row *row)
{
    static struct buffer value; /* kept from header to header */
    char name[HEADER_NAME_MAX + 1];
    buffer_clear(&value);
    buffer_append_view(&value, row->value);
    add_token(exchange, row->name, &value);
    buffer_append_byte(&value, 0);
    if (!value.failed && view_copy(row->name, name, sizeof name)) {
        MHD_add_response_header(exchange->response, name, (const char *)value.data);
    }
}

/* Collects the answer whole; what comes is taken at once. */
static void collect_data(struct exchange *exchange, const struct proxy_data *data)
{
    struct proxy_credit credit = {exchange->call, data->data.size};
    buffer_append_view(&exchange->down, data->data);
    if (exchange->down.size > COLLECT_ANSWER_MAX || exchange->down.failed) {
        exchange_drop_call(exchange, true);
        exchange_fail(exchange, STATUS_UPSTREAM, VIEW("the answer is too large to be given as JSON"));
        return;
    }
    if (data->end) {
        exchange_drop_call(exchange, false);
        exchange->collect->done = true;
        visit_resume(exchange->visit);
    } else if (credit.bytes > 0 &&
               proxy_send(exchange->proxy, &proxy_credit_schema, &credit) != STATUS_OK) {
        LOG_ABOUT(log_id(exchange->visit->request), VIEW(""));
        log_debug("credit", "the proxy is away");
    }
}

static void refuse_data(struct exchange *exchange)
{
    exchange_drop_call(exchange, true);
    exchange_fail(exchange, STATUS_PROTOCOL, VIEW("the answer came without credit"));
}

void exchange_on_head(struct exchange *exchange, const struct proxy_head *head)
{
    struct header_row row;
    struct list headers = head->headers;
    if (exchange->state != CALLING || exchange->response) {
        return;
    }
    metrics_upstream(exchange->called_us);
    if (exchange->collect) {
        const struct proxy_data data = {head->call, head->data, head->end};
        exchange->collect->http = (unsigned)head->http;
        collect_data(exchange, &data);
        return;
    }
    exchange->response = make_response(exchange, head);
    exchange->http = (unsigned)head->http;
    if (!exchange->response) {
        exchange_fail(exchange, STATUS_INTERNAL, VIEW(""));
        return;
    }
    while (proto_list_next(&header_row_schema, &headers, &row)) {
        add_header(exchange, &row);
    }
    answer_headers(exchange->visit, exchange->response);
    if (!is_whole(exchange, head) && !exchange_down_take(exchange, head->data)) {
        refuse_data(exchange);
        return;
    }
    exchange->down_end = head->end;
    if (head->end) {
        exchange_drop_call(exchange, false);
    }
    if (exchange->up_end || !exchange->visit->has_body || head->end) {
        visit_resume(exchange->visit);
    }
}

void exchange_on_data(struct exchange *exchange, const struct proxy_data *data)
{
    if (exchange->collect) {
        collect_data(exchange, data);
        return;
    }
    if (!exchange_down_take(exchange, data->data)) {
        refuse_data(exchange);
        return;
    }
    exchange->down_end = data->end;
    if (data->end) {
        exchange_drop_call(exchange, false);
    }
    visit_resume(exchange->visit);
}

void exchange_on_end(struct exchange *exchange, enum status status, struct view detail)
{
    exchange_drop_call(exchange, false);
    if (exchange->response && exchange->state == CALLING) {
        exchange->state = ANSWERING; /* the head came: it is queued and then cut */
    }
    exchange_fail(exchange, status == STATUS_OK ? STATUS_PROTOCOL : status, detail);
}

void exchange_on_want(struct exchange *exchange, uint64_t bytes)
{
    exchange->up_credit += bytes;
    if (exchange->collect) {
        exchange_send_collected(exchange);
    } else {
        visit_resume(exchange->visit);
    }
}

/* ---- what libmicrohttpd asks ---- */

enum MHD_Result exchange_queue_answer(struct exchange *exchange)
{
    struct visit *visit = exchange->visit;
    if (exchange->response) {
        enum MHD_Result result =
            MHD_queue_response(visit->connection, exchange->http, exchange->response);
        visit->http = exchange->http;
        MHD_destroy_response(exchange->response);
        exchange->response = NULL;
        exchange->state = ANSWERING;
        visit->answered = true;
        return result;
    }
    if (exchange->collect && exchange->collect->done) {
        return collect_answer(visit, exchange->collect, buffer_view(&exchange->down));
    }
    return answer_status(visit, exchange->failure, view_text(exchange->detail), exchange->aws4);
}

enum MHD_Result exchange_continue(struct visit *visit, const char *data, size_t *size)
{
    struct exchange *exchange = visit->exchange;
    if (visit->answered) {
        return MHD_YES;
    }
    if (*size > 0) {
        return exchange_take_body(exchange, data, size);
    }
    bool collected = exchange->collect && exchange->collect->done;
    if (exchange->state == OVER || exchange->state == ANSWERING || collected ||
        (exchange->response && exchange->up_end)) {
        return exchange_queue_answer(exchange);
    }
    if (!exchange->head_passed && visit->has_body && exchange->state == CALLING) {
        exchange->head_passed = true; /* now the body (and 100 Continue before it) */
        return MHD_YES;
    }
    if (exchange->state == CALLING && !exchange->up_end) {
        return exchange_end_body(exchange);
    }
    visit_suspend(visit);
    return MHD_YES;
}

void exchange_hang_up(struct visit *visit)
{
    struct exchange *exchange = visit->exchange;
    exchange_stop_asking(exchange);
    exchange_drop_call(exchange, true);
    exchange_fail(exchange, STATUS_CANCELLED, VIEW("the client went away"));
}

void exchange_free(struct exchange **exchange_at)
{
    struct exchange *exchange = *exchange_at;
    if (!exchange) {
        return;
    }
    exchange_stop_asking(exchange);
    exchange_drop_call(exchange, true); /* whatever ended the visit early ends the call */
    if (exchange->response) {
        MHD_destroy_response(exchange->response);
    }
    explicit_bzero(exchange->token, sizeof exchange->token);
    collect_free(&exchange->collect);
    buffer_free(&exchange->target);
    exchange_down_free(exchange);
    free(exchange);
    *exchange_at = NULL;
}
