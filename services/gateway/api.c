/* api.c - the calls under /v1: a table of routes, each one question to the vault.
 *
 * The vault decides and writes the answer's body; the gateway reads JSON, carries the session
 * cookie, and unseals what /v1/secrets/get hands out on purpose. */
#include "services/gateway/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/crypto.h"
#include "common/keyfile.h"
#include "services/gateway/catalog.h"
#include "services/gateway/collect.h"
#include "services/gateway/refusals.h"
#include "services/gateway/tracing.h"

struct route {
    const char *method, *path; /* {id}, {token}, {name} take one segment */
    int op;                    /* enum vault_op, or one of OP_... */
    unsigned takes, needs;
};

enum { OP_CATALOG = -1, OP_PROXY = -2 };

#define ACCOUNT "/v1/account"
#define AGENTS ACCOUNT "/agents"
#define TOKENS AGENTS "/{id}/tokens"
static const struct route routes[] = {
    {"POST", ACCOUNT, VAULT_OP_ACCOUNT_CREATE, IN_EMAIL | IN_PASSWORD, IN_EMAIL | IN_PASSWORD},
    {"GET", ACCOUNT, VAULT_OP_ACCOUNT_GET, 0, 0},
    {"DELETE", ACCOUNT, VAULT_OP_ACCOUNT_DELETE, IN_PASSWORD, IN_PASSWORD},
    {"POST", "/v1/session", VAULT_OP_SESSION_CREATE, IN_EMAIL | IN_PASSWORD,
     IN_EMAIL | IN_PASSWORD},
    {"DELETE", "/v1/session", VAULT_OP_SESSION_DELETE, 0, 0},
    {"POST", ACCOUNT "/password", VAULT_OP_PASSWORD_CHANGE, IN_OLD | IN_NEW, IN_OLD | IN_NEW},
    {"POST", ACCOUNT "/keys", VAULT_OP_KEY_CREATE, IN_NAME, IN_NAME},
    {"GET", ACCOUNT "/keys", VAULT_OP_KEY_LIST, 0, 0},
    {"DELETE", ACCOUNT "/keys/{id}", VAULT_OP_KEY_DELETE, 0, 0},
    {"PUT", ACCOUNT "/secrets/{name}", VAULT_OP_SECRET_PUT, IN_VALUE | IN_PROVIDER, IN_VALUE},
    {"GET", ACCOUNT "/secrets", VAULT_OP_SECRET_LIST, 0, 0},
    {"DELETE", ACCOUNT "/secrets/{name}", VAULT_OP_SECRET_DELETE, 0, 0},
    {"POST", AGENTS, VAULT_OP_AGENT_CREATE, IN_NAME | IN_DIRECT_ACCESS, IN_NAME},
    {"GET", AGENTS, VAULT_OP_AGENT_LIST, 0, 0},
    {"GET", AGENTS "/{id}", VAULT_OP_AGENT_GET, 0, 0},
    {"PATCH", AGENTS "/{id}", VAULT_OP_AGENT_PATCH, IN_NAME | IN_DIRECT_ACCESS, 0},
    {"DELETE", AGENTS "/{id}", VAULT_OP_AGENT_DELETE, 0, 0},
    {"POST", AGENTS "/{id}/token", VAULT_OP_AGENT_TOKEN, 0, 0},
    {"POST", TOKENS, VAULT_OP_TOKEN_CREATE, IN_PROVIDER | IN_EXPIRES_IN | IN_SECRET, IN_PROVIDER},
    {"GET", TOKENS, VAULT_OP_TOKEN_LIST, 0, 0},
    {"POST", TOKENS "/{token}/renew", VAULT_OP_TOKEN_RENEW, 0, 0},
    {"DELETE", TOKENS "/{token}", VAULT_OP_TOKEN_DELETE, 0, 0},
    {"GET", ACCOUNT "/audit", VAULT_OP_AUDIT_LIST, 0, 0},
    {"POST", "/v1/secrets/list", VAULT_OP_AGENT_SECRETS, 0, 0},
    {"POST", "/secrets/list", VAULT_OP_AGENT_SECRETS, 0, 0},
    {"POST", "/v1/secrets/get", VAULT_OP_AGENT_SECRET_GET, IN_NAME, IN_NAME},
    {"POST", "/secrets/get", VAULT_OP_AGENT_SECRET_GET, IN_NAME, IN_NAME},
    {"POST", "/v1/proxy/request", OP_PROXY, 0, 0},
    {"POST", "/proxy/request", OP_PROXY, 0, 0},
    {"GET", "/v1/providers", OP_CATALOG, 0, 0},
};

struct api_call {
    struct visit *visit;
    const struct route *route;
    struct buffer body;
    struct api_body read;
    char id[ID_SIZE_MAX + 1], token_id[ID_SIZE_MAX + 1], name[NAME_MAX_BYTES + 1];
    bool too_large, asked;
    uint64_t question;
    uint8_t reply_public[CRYPTO_KEY_BYTES], reply_private[CRYPTO_KEY_BYTES];
    /* the vault's answer, copied */
    bool done;
    enum status status;
    unsigned http;
    struct buffer json;
    char session[65], detail[DETAIL_MAX + 1];
};

static uint8_t intake_key[CRYPTO_KEY_BYTES];

enum status api_open(const char *key_dir)
{
    api_body_init();
    return keyfile_read_public(key_dir, "intake.pub", sizeof intake_key, intake_key);
}

void api_free(struct api_call **call_at)
{
    struct api_call *call = *call_at;
    if (!call) {
        return;
    }
    vault_forget(call->question);
    buffer_wipe(&call->body);
    buffer_wipe(&call->json);
    api_body_free(&call->read);
    explicit_bzero(call, sizeof *call);
    free(call);
    *call_at = NULL;
}

/* ---- routing ---- */

static struct view segment_at(struct view path)
{
    size_t size = 0;
    while (size < path.size && path.data[size] != '/' && path.data[size] != '?') {
        size++;
    }
    return view_of(path.data, size);
}

static int hex(uint8_t c)
{
    c = c >= 'A' && c <= 'F' ? (uint8_t)(c | 0x20) : c;
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes SEGMENT into RET; false when it does not fit or decodes to a NUL. */
static bool decode(struct view segment, char *ret, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < segment.size; i++) {
        uint8_t byte = segment.data[i];
        if (byte == '%' && i + 2 < segment.size) {
            byte = (uint8_t)(hex(segment.data[i + 1]) << 4 | hex(segment.data[i + 2]));
            i += 2;
        }
        if (byte == 0 || used + 1 >= size) {
            return false;
        }
        ret[used++] = (char)byte;
    }
    ret[used] = 0;
    return used > 0;
}

/* Whether PATH has the route's form; its variables go to CALL. */
static bool path_matches(const struct route *route, struct view path, struct api_call *call)
{
    const char *pattern = route->path;
    while (*pattern) {
        if (*pattern != '{') {
            if (path.size == 0 || path.data[0] != (uint8_t)*pattern) {
                return false;
            }
            pattern++;
            path = view_of(path.data + 1, path.size - 1);
            continue;
        }
        struct view segment = segment_at(path);
        bool good = pattern[1] == 'i'   ? decode(segment, call->id, sizeof call->id)
                    : pattern[1] == 't' ? decode(segment, call->token_id, sizeof call->token_id)
                                        : decode(segment, call->name, sizeof call->name);
        if (!good) {
            return false;
        }
        path = view_of(path.data + segment.size, path.size - segment.size);
        pattern = strchr(pattern, '}') + 1;
    }
    return path.size == 0;
}

static const struct route *find_route(struct api_call *call, const char *method,
                                      struct buffer *ret_allow)
{
    struct view path = view_of(call->visit->target, strcspn(call->visit->target, "?"));
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!path_matches(&routes[i], path, call)) {
            continue;
        }
        bool head = strcmp(method, "HEAD") == 0 && strcmp(routes[i].method, "GET") == 0;
        if (head || strcmp(routes[i].method, method) == 0) {
            return &routes[i];
        }
        buffer_printf(ret_allow, "%s%s", ret_allow->size ? ", " : "", routes[i].method);
    }
    return NULL;
}

enum MHD_Result api_begin(struct visit *visit, const char *method)
{
    CLEANUP(buffer_free) struct buffer allow = BUFFER_EMPTY;
    struct api_call *call = calloc(1, sizeof *call);
    if (!call) {
        return MHD_NO;
    }
    visit->api = call;
    call->visit = visit;
    call->route = find_route(call, method, &allow);
    if (!call->route && allow.size == 0) {
        return answer_error(visit, 404, VIEW("there is nothing at this path"), false);
    }
    if (!call->route) {
        buffer_append_byte(&allow, 0);
        const char *const headers[] = {"Allow", (const char *)allow.data, NULL};
        return answer_send(visit, 405, "application/json",
                           VIEW("{\"ok\":false,\"error\":\"this method is not permitted\"}"),
                           headers);
    }
    call->body.max = call->route->op == OP_PROXY ? COLLECT_REQUEST_MAX : BODY_BYTES_MAX;
    if (visit->body_size != BODY_SIZE_UNKNOWN && visit->body_size > call->body.max) {
        return answer_error(visit, 413, VIEW("the body is larger than this call takes"), false);
    }
    visit->begun = true;
    visit->route = call->route->path;
    return MHD_YES;
}

/* ---- asking ---- */

static bool secure(void)
{
    return strncmp(config.public_url, "https:", 6) == 0;
}

static const char *cookie_name(void)
{
    return secure() ? "__Host-seks_session" : "seks_session";
}

/* An Authorization of ours comes before the cookie. */
static struct view credential_of(const struct visit *visit)
{
    struct view value = visit_header(visit, "Authorization");
    if (value.size > 7 && strncasecmp((const char *)value.data, "bearer ", 7) == 0) {
        return view_of(value.data + 7, value.size - 7);
    }
    if (value.size) {
        return value;
    }
    return view_text(
        MHD_lookup_connection_value(visit->connection, MHD_COOKIE_KIND, cookie_name()));
}

static void on_answer(void *arg, enum status status, const struct vault_answer *answer)
{
    struct api_call *call = arg;
    call->question = 0;
    call->done = true;
    call->status = status;
    if (answer && call->visit->trace) {
        tracing_answered(call->visit, answer->call);
    }
    if (answer) {
        call->http = (unsigned)answer->http;
        call->visit->wait_s = (unsigned)answer->wait_s;
        buffer_append_view(&call->json, answer->json);
        if (!view_copy(answer->session, call->session, sizeof call->session) ||
            !view_copy(answer->detail, call->detail, sizeof call->detail)) {
            call->status = STATUS_PROTOCOL;
        }
        if (status == STATUS_OK && call->route->op == VAULT_OP_AGENT_SECRET_GET) {
            CLEANUP(secret_free) struct secret *value = NULL;
            call->status = crypto_sealed_open(call->reply_public, call->reply_private,
                                              answer->box, &value);
            buffer_clear(&call->json);
            /* Room at once: a buffer that grows leaves copies behind. */
            if (!buffer_room(&call->json, 6 * SECRET_VALUE_MAX + 64)) {
                call->status = STATUS_INTERNAL;
            }
            buffer_append_text(&call->json, "{\"ok\":true,\"value\":");
            if (value) {
                json_append_utf8(&call->json, secret_view(value));
            }
            buffer_append_text(&call->json, "}");
        }
    }
    visit_resume(call->visit);
}

static enum MHD_Result refuse(struct api_call *call, enum status status, const char *detail)
{
    return answer_status(call->visit, status, view_text(detail), false);
}

static enum MHD_Result ask(struct api_call *call)
{
    char why[WHY_MAX] = "";
    struct visit *visit = call->visit;
    const struct route *route = call->route;
    struct vault_ask message = {
        .request = view_text(visit->request),
        .op = (uint64_t)route->op,
        .credential = credential_of(visit),
        .csrf = visit_header(visit, "X-CSRF-Token"),
        .client = view_text(visit->client),
        .public_url = view_text(config.public_url),
    };
    enum status status = api_body_read(buffer_view(&call->body), route->takes, route->needs,
                                       intake_key, &call->read, &message, why);
    buffer_wipe(&call->body);
    if (status != STATUS_OK) {
        return refuse(call, status, why);
    }
    if (call->name[0]) {
        message.name = view_text(call->name);
    }
    message.id = view_text(call->id);
    message.token_id = view_text(call->token_id);
    if (route->op == VAULT_OP_AUDIT_LIST &&
        api_query_read(visit, &message, why) != STATUS_OK) {
        return refuse(call, STATUS_INVALID, why);
    }
    if (route->op == VAULT_OP_AGENT_SECRET_GET) {
        crypto_sealed_keypair(call->reply_public, call->reply_private);
        message.box = view_of(call->reply_public, sizeof call->reply_public);
    }
    if (message.credential.size > TOKEN_SIZE_MAX || message.csrf.size > 64) {
        refusals_count(visit, "no well-formed token");
        return refuse(call, STATUS_UNAUTHENTICATED, "");
    }
    call->asked = true;
    if (visit->trace) {
        tracing_asks(visit);
    }
    call->question = vault_ask_send(&message, on_answer, call);
    if (call->question == 0) {
        return refuse(call, STATUS_INVALID, "a field is too long");
    }
    visit_suspend(visit);
    return MHD_YES;
}

/* ---- answering ---- */

static enum MHD_Result answer(struct api_call *call)
{
    char cookie[256];
    const char *headers[5] = {"Cache-Control", "no-store", NULL};
    bool logout = call->route->op == VAULT_OP_SESSION_DELETE;
    if (call->status != STATUS_OK) {
        return refuse(call, call->status,
                      call->detail[0] || call->status != STATUS_UNAVAILABLE
                          ? call->detail
                          : "the vault did not answer; try again");
    }
    if (call->session[0] || logout) {
        snprintf(cookie, sizeof cookie, "%s=%s; HttpOnly; SameSite=Strict; Path=/%s%s",
                 cookie_name(), call->session, secure() ? "; Secure" : "",
                 logout ? "; Max-Age=0" : "");
        headers[2] = "Set-Cookie";
        headers[3] = cookie;
        headers[4] = NULL;
    }
    enum MHD_Result result =
        answer_secret(call->visit, call->http ? call->http : 200, &call->json, headers);
    explicit_bzero(cookie, sizeof cookie);
    return result;
}

static enum MHD_Result answer_catalog(struct api_call *call)
{
    catalog_write(&call->json);
    return answer_send(call->visit, 200, "application/json", buffer_view(&call->json), NULL);
}

static enum MHD_Result start_proxy(struct api_call *call)
{
    char why[WHY_MAX] = "", token[TOKEN_SIZE_MAX + 1];
    struct collect *collect = NULL;
    struct view credential = credential_of(call->visit);
    if (!token_check(credential, NULL) || !view_copy(credential, token, sizeof token)) {
        refusals_count(call->visit, "no well-formed token");
        return refuse(call, STATUS_UNAUTHENTICATED, "");
    }
    enum status status = collect_read(buffer_view(&call->body), &collect, why, sizeof why);
    buffer_wipe(&call->body);
    if (status != STATUS_OK) {
        return refuse(call, status, why);
    }
    exchange_start_collected(call->visit, collect, token);
    explicit_bzero(token, sizeof token);
    return call->visit->exchange ? MHD_YES : MHD_NO;
}

static enum MHD_Result begin_work(struct api_call *call)
{
    if (call->body.failed) {
        return refuse(call, STATUS_TOO_LARGE, "the body is larger than this call takes");
    }
    switch (call->route->op) {
    case OP_CATALOG:
        return answer_catalog(call);
    case OP_PROXY:
        return start_proxy(call);
    default:
        return ask(call);
    }
}

enum MHD_Result api_continue(struct visit *visit, const char *data, size_t *size)
{
    struct api_call *call = visit->api;
    if (*size > 0) {
        if (call->body.size == 0 && !buffer_room(&call->body, BODY_BYTES_MAX)) {
            return MHD_NO; /* room at once: a buffer that grows leaves copies behind */
        }
        buffer_append(&call->body, data, *size);
        explicit_bzero((void *)(uintptr_t)data, *size); /* it may hold a secret's value */
        *size = 0;
        return MHD_YES;
    }
    if (call->done) {
        return answer(call);
    }
    if (call->asked) {
        visit_suspend(visit);
        return MHD_YES;
    }
    return begin_work(call);
}
