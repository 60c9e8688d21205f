/* api_query.c - the query parameters of GET /v1/account/audit, strictly and by a table: a filter that
 * was misspelled would otherwise show everything. */
#include "services/gateway/api.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"

enum { AUDIT_LIMIT_MAX = 1000 };

enum argument_kind { ARGUMENT_TEXT, ARGUMENT_CURSOR, ARGUMENT_LIMIT, ARGUMENT_TIME, ARGUMENT_STATUS };

struct argument {
    const char *name;
    enum argument_kind kind;
    size_t offset; /* in struct vault_ask: of a struct view, or of a uint64_t */
    size_t max;    /* bytes of a text */
};

static const struct argument arguments[] = {
    {"agent", ARGUMENT_TEXT, offsetof(struct vault_ask, id), ID_SIZE_MAX},
    {"token", ARGUMENT_TEXT, offsetof(struct vault_ask, token_id), ID_SIZE_MAX},
    {"provider", ARGUMENT_TEXT, offsetof(struct vault_ask, provider), PROVIDER_MAX},
    {"action", ARGUMENT_TEXT, offsetof(struct vault_ask, action), 64},
    {"kind", ARGUMENT_TEXT, offsetof(struct vault_ask, kind), 16},
    {"request", ARGUMENT_TEXT, offsetof(struct vault_ask, find), ID_SIZE_MAX},
    {"status", ARGUMENT_STATUS, offsetof(struct vault_ask, http), 3},
    {"since", ARGUMENT_TIME, offsetof(struct vault_ask, since_ms), 0},
    {"until", ARGUMENT_TIME, offsetof(struct vault_ask, until_ms), 0},
    {"before", ARGUMENT_CURSOR, offsetof(struct vault_ask, before), CURSOR_MAX},
    {"limit", ARGUMENT_LIMIT, offsetof(struct vault_ask, limit), 0},
};

static bool read_number(struct view text, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || number > UINT64_MAX / 16) {
            return false;
        }
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret_number = number;
    return text.size > 0;
}

/* A number, or several with dots between. */
static bool is_cursor(struct view text)
{
    for (size_t i = 0; i < text.size; i++) {
        if ((text.data[i] < '0' || text.data[i] > '9') && text.data[i] != '.') {
            return false;
        }
    }
    return true;
}

/* "404", or "4xx". */
static bool is_status(struct view text)
{
    uint64_t number;
    bool class = text.size == 3 && memcmp(text.data + 1, "xx", 2) == 0;
    return text.size == 3 && text.data[0] >= '1' && text.data[0] <= '9' &&
           (class || read_number(text, &number));
}

/* Why TEXT is none, or NULL. */
static const char *set(const struct argument *argument, struct view text, struct vault_ask *ask)
{
    void *place = (char *)ask + argument->offset;
    switch (argument->kind) {
    case ARGUMENT_STATUS:
        if (!is_status(text)) {
            return "is a status such as 404, or a class of them such as 4xx";
        } /* fall through */
    case ARGUMENT_TEXT:
        *(struct view *)place = text;
        return text.size > argument->max ? "is too long" : NULL;
    case ARGUMENT_CURSOR:
        *(struct view *)place = text;
        return is_cursor(text) && text.size <= argument->max ? NULL : "is the `next` of another page";
    case ARGUMENT_LIMIT:
        return read_number(text, place) && *(uint64_t *)place <= AUDIT_LIMIT_MAX
                   ? NULL
                   : "is a whole number up to 1000";
    case ARGUMENT_TIME:
        return clock_parse(text, place)
                   ? NULL
                   : "is a time such as 2026-01-31T12:00:00Z, or a day such as 2026-01-31 (UTC)";
    }
    return NULL;
}

struct reading {
    struct vault_ask *ask;
    char *why; /* WHY_MAX bytes; empty while all is good */
};

static enum MHD_Result take(void *arg, enum MHD_ValueKind kind, const char *name,
                            const char *value)
{
    struct reading *reading = arg;
    struct view text = view_text(value);
    (void)kind;
    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++) {
        if (strcmp(arguments[i].name, name) == 0) {
            const char *why = text.size > 0 ? set(&arguments[i], text, reading->ask) : NULL;
            if (why) {
                snprintf(reading->why, WHY_MAX, "%s %s", name, why);
            }
            return why ? MHD_NO : MHD_YES;
        }
    }
    snprintf(reading->why, WHY_MAX, "there is no parameter %.40s", name);
    return MHD_NO;
}

enum status api_query_read(const struct visit *visit, struct vault_ask *ask, char *ret_why)
{
    struct reading reading = {ask, ret_why};
    if (strstr(visit->target, "%00")) { /* libmicrohttpd would cut the value there, and so widen a filter */
        snprintf(ret_why, WHY_MAX, "a parameter has a NUL in it");
        return STATUS_INVALID;
    }
    MHD_get_connection_values(visit->connection, MHD_GET_ARGUMENT_KIND, take, &reading);
    return ret_why[0] ? STATUS_INVALID : STATUS_OK;
}
