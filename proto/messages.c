/* messages.c - the tables of all messages. */
#include "proto/messages.h"

PROTO_DEFINE(name_row, 0);
PROTO_DEFINE(header_row, 0);
PROTO_DEFINE(grant_row, 0);
PROTO_DEFINE(grant_content, 1);

PROTO_DEFINE(vault_authorize, VAULT_AUTHORIZE);
PROTO_DEFINE(vault_grant, VAULT_GRANT);
PROTO_DEFINE(vault_ask, VAULT_ASK);
PROTO_DEFINE(vault_answer, VAULT_ANSWER);
PROTO_DEFINE(vault_state, VAULT_STATE);
PROTO_DEFINE(vault_refused, VAULT_REFUSED);

PROTO_DEFINE(proxy_call, PROXY_CALL);
PROTO_DEFINE(proxy_head, PROXY_HEAD);
PROTO_DEFINE(proxy_body, PROXY_BODY);
PROTO_DEFINE(proxy_data, PROXY_DATA);
PROTO_DEFINE(proxy_credit, PROXY_CREDIT);
PROTO_DEFINE(proxy_end, PROXY_END);
PROTO_DEFINE(proxy_cancel, PROXY_CANCEL);
PROTO_DEFINE(proxy_want, PROXY_WANT);
PROTO_DEFINE(proxy_leaving, PROXY_LEAVING);

PROTO_DEFINE(audit_record, AUDIT_RECORD);
PROTO_DEFINE(audit_ack, AUDIT_ACK);
PROTO_DEFINE(audit_query, AUDIT_QUERY);
PROTO_DEFINE(audit_page, AUDIT_PAGE);
PROTO_DEFINE(audit_running, AUDIT_RUNNING);
PROTO_DEFINE(audit_head, AUDIT_HEAD);

PROTO_DEFINE(control_ask, CONTROL_ASK);
PROTO_DEFINE(control_answer, CONTROL_ANSWER);

PROTO_DEFINE(trace_time, TRACE_TIME);
PROTO_DEFINE(trace_timed, TRACE_TIMED);
PROTO_DEFINE(trace_call, TRACE_CALL);
PROTO_DEFINE(trace_visit, TRACE_VISIT);

const struct schema *const proto_schemas[] = {
    &vault_authorize_schema, &vault_grant_schema, &vault_ask_schema,   &vault_answer_schema,
    &vault_refused_schema,
    &proxy_call_schema,      &proxy_head_schema,  &proxy_body_schema,  &proxy_data_schema,
    &proxy_credit_schema,    &proxy_end_schema,   &proxy_cancel_schema, &proxy_want_schema,
    &proxy_leaving_schema,
    &audit_record_schema,    &audit_ack_schema,   &audit_query_schema, &audit_page_schema,
    &audit_running_schema,   &audit_head_schema,  &grant_content_schema,
    &control_ask_schema,     &control_answer_schema, &vault_state_schema,
    &trace_time_schema, &trace_timed_schema, &trace_call_schema, &trace_visit_schema, NULL,
};
