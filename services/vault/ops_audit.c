/* ops_audit.c - a page of the audit log, asked for one tenant only. */
#include "ask.h"

enum { PAGE_DEFAULT = 100 };

static enum status refuse(struct ask *ask, enum status status)
{
    switch (status) {
    case STATUS_INVALID:
        return ask_refuse(ask, status, "before takes the `next` of another page, status a number or class");
    case STATUS_BUSY:
        return ask_refuse(ask, status, "too many questions about the audit log at once; try again");
    default:
        return ask_refuse(ask, STATUS_UNAVAILABLE, "the audit log does not answer; try again");
    }
}

static void page_came(void *arg, enum status status, struct view records, struct view next)
{
    struct ask *ask = arg;
    LOG_ABOUT(ask->in.request, log_id(ask->tenant));
    if (status != STATUS_OK) {
        ask_finish(ask, refuse(ask, status));
        return;
    }
    struct buffer *json = ask_body(ask, 200);
    json_raw(json, "records", records.size ? records : VIEW("[]"));
    json_raw(json, "next", next);
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
        .limit = ask->in.limit ? ask->in.limit : PAGE_DEFAULT,
    };
    ask->later = true;
    enum status status = audit_pages_ask(ask->vault->audit, &query, ask->in.before, page_came, ask, &ask->pages);
    return status == STATUS_OK ? status : refuse(ask, status);
}
