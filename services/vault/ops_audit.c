/* ops_audit.c - a page of the audit log, asked of the audit daemon for one tenant only. */
#include "ask.h"

enum { PAGE_DEFAULT = 100 };

static enum status refuse(struct ask *ask, enum status status)
{
    switch (status) {
    case STATUS_INVALID:
        return status;
    case STATUS_BUSY:
        return ask_refuse(ask, status, "too many questions about the audit log at once; try again");
    default:
        return ask_refuse(ask, STATUS_UNAVAILABLE, "the audit log does not answer; try again");
    }
}

static void page_came(void *arg, const struct audit_result *result)
{
    struct ask *ask = arg;
    LOG_ABOUT(ask->in.request, log_id(ask->tenant));
    if (result->status != STATUS_OK) {
        ask_finish(ask, refuse(ask, result->status));
        return;
    }
    struct buffer *json = ask_body(ask, 200);
    json_raw(json, "records", result->records.size ? result->records : VIEW("[]"));
    if (result->next) {
        json_number(json, "next", result->next);
    } else {
        json_raw(json, "next", VIEW("null"));
    }
    ask_finish(ask, STATUS_OK);
}

enum status apply_audit_list(struct ask *ask)
{
    struct audit_query query = {
        .tenant = view_text(ask->tenant),
        .agent = ask->in.id,
        .token = ask->in.token_id,
        .provider = ask->in.provider,
        .action = ask->in.action,
        .kind = ask->in.kind,
        .request = ask->in.find,
        .status = ask->in.http,
        .since_ms = ask->in.since_ms,
        .until_ms = ask->in.until_ms,
        .before = ask->in.before,
        .limit = ask->in.limit ? ask->in.limit : PAGE_DEFAULT,
    };
    ask->later = true;
    return audit_ask(ask->vault->audit, &query, page_came, ask);
}
