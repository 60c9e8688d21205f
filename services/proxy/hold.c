/* hold.c - keeps calls until their body is whole, within a limit for each and for all.
 *
 * AWS services other than S3 take no request whose body was not hashed first, and most of their
 * clients do not say the hash.  Bodies of S3 never come here. */
#include "services/proxy/hold.h"

#include <stdlib.h>

struct held {
    struct buffer record;
    struct secret *content;
    struct list credentials;
    size_t bytes; /* counted in held_bytes */
};

static size_t held_bytes;

enum status hold_begin(struct call *call, struct view record, struct secret **content,
                       struct list credentials)
{
    struct held *held = calloc(1, sizeof *held);
    if (!held) {
        return STATUS_INTERNAL;
    }
    call->held = held;
    buffer_append_view(&held->record, record);
    held->content = TAKE(*content);
    held->credentials = credentials;
    return held->record.failed ? STATUS_INTERNAL : hold_push(call, (struct view){NULL, 0}, false);
}

void hold_free(struct held **held_at)
{
    struct held *held = *held_at;
    if (!held) {
        return;
    }
    held_bytes -= held->bytes;
    buffer_free(&held->record);
    secret_free(&held->content);
    free(held);
    *held_at = NULL;
}

static enum status start(struct call *call, struct held *held)
{
    struct proxy_call message;
    enum status status =
        proto_decode(&proxy_call_schema, buffer_view(&held->record), &message);
    if (status != STATUS_OK) {
        return status;
    }
    message.body_size = call->up.size;
    message.body = (struct view){NULL, 0};
    message.end = true;
    return transfer_start(call, &message, held->credentials);
}

enum status hold_push(struct call *call, struct view data, bool end)
{
    struct held *held = call->held;
    buffer_append_view(&call->up, data);
    if (call->up.failed) {
        return STATUS_BUSY;
    }
    held_bytes += call->up.size - held->bytes;
    held->bytes = call->up.size;
    if (call->up.size > HELD_BODY_MAX) {
        return STATUS_TOO_LARGE;
    }
    if (held_bytes > HELD_ALL_MAX) {
        return STATUS_BUSY;
    }
    if (!end) {
        call_want(call, data.size);
        return STATUS_OK;
    }
    call->held = NULL;
    enum status status = start(call, held);
    hold_free(&held);
    return status;
}
