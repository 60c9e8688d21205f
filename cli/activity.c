/* activity.c - `seks audit list` and `tail`: the account's own records, from the broker. */
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PATH_BYTES = 1024, LIMIT_DEFAULT = 50, TAIL_DEFAULT = 10, PAGE = 1000 };

/* What --agent and the others ask for, as a query that still takes "&limit=...". */
static int build_query(struct broker *broker, const struct args *args, char *ret, size_t size)
{
    static const enum opt filters[] = {OPT_PROVIDER, OPT_ACTION, OPT_KIND,  OPT_STATUS,
                                       OPT_TOKEN,    OPT_REQUEST, OPT_SINCE, OPT_UNTIL};
    json_t *agent = NULL;
    struct buffer query = BUFFER_EMPTY;
    int status = SEKS_OK;
    buffer_append_text(&query, "/v1/account/audit?");
    if (args->option[OPT_AGENT]) {
        status = find_agent(broker, args->option[OPT_AGENT], &agent);
        buffer_printf(&query, "agent=%s&", agent ? text_at(agent, "id") : "");
    }
    for (size_t i = 0; i < sizeof filters / sizeof filters[0] && status == SEKS_OK; i++) {
        const char *value = args->option[filters[i]];
        char part[256] = "";
        if (value) {
            status = broker_path(broker, part, sizeof part, "", value, "");
            buffer_printf(&query, "%s=%s&", option_rows[filters[i]].name, part + 1);
        }
    }
    if (status == SEKS_OK && !view_copy(buffer_view(&query), ret, size)) {
        status = fail(SEKS_USAGE, NULL, "the filters are too long");
    }
    buffer_free(&query);
    json_decref(agent);
    return status;
}

static int number(const struct args *args, enum opt option, long least, long most, long otherwise,
                  long *ret)
{
    const char *text = args->option[option];
    char *end = NULL;
    *ret = text ? strtol(text, &end, 10) : otherwise;
    if (text && (end == text || *end || *ret < least || *ret > most)) {
        return fail(SEKS_USAGE, NULL, "--%s must be a number from %ld to %ld",
                    option_rows[option].name, least, most);
    }
    return SEKS_OK;
}

/* ---- the cursor: a number, or a text when the log lies in several daemons ---- */

enum { CURSOR_BYTES = 256 };

static int take_cursor(const struct args *args, const char **ret)
{
    const char *text = args->option[OPT_BEFORE];
    *ret = text ? text : "";
    if (text && (text[strspn(text, "0123456789.")] || !*text || strlen(text) >= CURSOR_BYTES)) {
        return fail(SEKS_USAGE, NULL, "--before takes what the page before says");
    }
    return SEKS_OK;
}

/* The `next` of ANSWER; "" at the end.  RET takes CURSOR_BYTES. */
static void next_of(const json_t *answer, char *ret)
{
    const json_t *next = json_object_get(answer, "next");
    ret[0] = '\0';
    if (json_is_integer(next) && json_integer_value(next) > 0) {
        snprintf(ret, CURSOR_BYTES, "%lld", (long long)json_integer_value(next));
    } else if (json_is_string(next)) {
        snprintf(ret, CURSOR_BYTES, "%s", json_string_value(next));
    }
}

/* QUERY with its LIMIT and, unless it is "", CURSOR; RET takes SIZE bytes. */
static void page_path(const char *query, long limit, const char *cursor, char *ret, size_t size)
{
    snprintf(ret, size, "%slimit=%ld%s%s", query, limit, *cursor ? "&before=" : "", cursor);
}

/* ---- one record, one line ---- */

static void print_field(const json_t *record, const char *name, int width)
{
    const json_t *value = json_object_get(record, name);
    char text[64];
    if (json_is_integer(value)) {
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
    }
    const char *shown = json_is_integer(value) ? text : json_string_value(value);
    size_t size = shown ? strlen(shown) : 1;
    out_text(stdout, shown ? shown : "-");
    printf("%*s", size < (size_t)width ? (int)((size_t)width - size) + 1 : 1, "");
}

void print_record(const json_t *record)
{
    static const struct {
        const char *name;
        int width;
    } fields[] = {{"seq", 7},      {"time", 24},    {"kind", 8},     {"action", 14}, {"agent", 26},
                  {"client", 15}, {"provider", 11}, {"method", 6}, {"status", 6}, {"path", 1}};
    const char *kind = text_at(record, "kind"), *reason = text_at(record, "reason");
    json_int_t http = json_integer_value(json_object_get(record, "status"));
    bool bad = (kind && strcmp(kind, "denied") == 0) || http >= 400;
    fputs(bad ? style(stdout, STYLE_BAD) : "", stdout);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        print_field(record, fields[i].name, fields[i].width);
    }
    out_text(stdout, reason ? reason : "");
    printf("%s\n", bad ? style(stdout, STYLE_NONE) : "");
}

/* One record to a line, so that a program can read while more come. */
static void print_line(const json_t *record)
{
    if (out_is_json()) {
        (void)json_dumpf(record, stdout, JSON_COMPACT); /* a closed pipe ends us by its signal */
        putchar('\n');
    } else {
        print_record(record);
    }
}

int command_audit_list(const struct args *args)
{
    struct broker *broker = NULL;
    json_t *answer = NULL, *record;
    size_t i;
    char query[PATH_BYTES], path[PATH_BYTES + 64 + CURSOR_BYTES], next[CURSOR_BYTES];
    const char *before = "";
    long limit = 0;
    int status = number(args, OPT_LIMIT, 1, PAGE, LIMIT_DEFAULT, &limit);
    status = status == SEKS_OK ? take_cursor(args, &before) : status;
    status = status == SEKS_OK ? broker_open(args, NEED_KEY, &broker) : status;
    status = status == SEKS_OK ? build_query(broker, args, query, sizeof query) : status;
    if (status == SEKS_OK) {
        page_path(query, limit, before, path, sizeof path);
        status = broker_call(broker, "GET", path, NULL, &answer);
    }
    if (status == SEKS_OK && out_is_json()) {
        status = out_json(answer);
    } else if (status == SEKS_OK) {
        json_array_foreach(json_object_get(answer, "records"), i, record)
        {
            print_record(record);
        }
        next_of(answer, next);
        if (*next) {
            note("older ones: --before %s", next);
        }
    }
    json_decref(answer);
    broker_close(&broker);
    return status;
}

/* ---- tail ---- */

struct tail {
    struct broker *broker;
    const char *query;
    json_t *seen; /* the number of the newest record that was printed, by its log */
    char begin[64]; /* the time of the newest that was there before */
    bool answered; /* the broker has, at least once */
};

/* The log that RECORD lies in, where there are several. */
static const char *log_of(const json_t *record)
{
    const char *log = text_at(record, "log");
    return log ? log : "audit-0";
}

/* Of a log of which none was printed yet, what was there before is not wanted either. */
static bool is_new(const struct tail *tail, const json_t *record)
{
    const json_t *seen = json_object_get(tail->seen, log_of(record));
    const char *time = text_at(record, "time");
    if (seen || json_object_size(tail->seen) == 0) {
        return json_integer_value(json_object_get(record, "seq")) > json_integer_value(seen);
    }
    return time && strcmp(time, tail->begin) > 0;
}

/* Collects, newest first, what is newer than SEEN; just one page when nothing was seen yet.  Returns the
 * HTTP status of the last question. */
static int collect(struct tail *tail, long limit, json_t *ret_records)
{
    char path[PATH_BYTES + 64 + CURSOR_BYTES], before[CURSOR_BYTES] = "";
    for (;;) {
        json_t *answer = NULL, *record;
        size_t i;
        bool older = false;
        page_path(tail->query, limit, before, path, sizeof path);
        int http = broker_ask(tail->broker, "GET", path, NULL, &answer);
        json_array_foreach(json_object_get(answer, "records"), i, record)
        {
            if (is_new(tail, record)) {
                (void)json_array_append(ret_records, record);
            } else {
                older = true; /* those of another log may be new all the same */
            }
        }
        next_of(answer, before);
        json_decref(answer);
        if (http / 100 != 2 || older || !*before || json_object_size(tail->seen) == 0) {
            return http;
        }
    }
}

/* A broker that is away for a while (0 and 5xx) is waited for, once it has answered at all: the records
 * of that time come later. */
static int print_newer(struct tail *tail, long limit)
{
    json_t *records = json_array();
    int http = collect(tail, limit, records);
    bool away = http == 0 || http / 100 == 5;
    for (size_t i = away ? 0 : json_array_size(records); i-- > 0;) {
        const json_t *record = json_array_get(records, i);
        progress_end();
        print_line(record);
        (void)json_object_set(tail->seen, log_of(record), json_object_get(record, "seq"));
        if (i == 0 && !tail->answered && text_at(record, "time")) {
            snprintf(tail->begin, sizeof tail->begin, "%s", text_at(record, "time"));
        }
    }
    json_decref(records);
    if (away && tail->answered) {
        progress("%s; trying again ...", broker_error(tail->broker));
        return SEKS_OK;
    }
    tail->answered = true;
    if (http / 100 != 2) {
        return broker_tell(tail->broker, http);
    }
    return fflush(stdout) == 0 ? SEKS_OK : SEKS_FAILED;
}

int command_audit_follow(const struct args *args)
{
    const struct timespec pause = {1, 0};
    char query[PATH_BYTES];
    struct tail tail = {.query = query, .seen = json_object()};
    long limit = 0;
    int status = number(args, OPT_LIMIT, 1, PAGE, TAIL_DEFAULT, &limit);
    if (status == SEKS_OK && args->words == 1) {
        json_decref(tail.seen);
        return audit_tail_dir(args, limit);
    }
    status = status == SEKS_OK ? broker_open(args, NEED_KEY, &tail.broker) : status;
    status = status == SEKS_OK ? build_query(tail.broker, args, query, sizeof query) : status;
    status = status == SEKS_OK ? print_newer(&tail, limit) : status;
    while (status == SEKS_OK && !args->option[OPT_ONCE]) {
        (void)nanosleep(&pause, NULL); /* a signal that does not end us just shortens it */
        status = print_newer(&tail, json_object_size(tail.seen) > 0 ? PAGE / 10 : limit);
    }
    json_decref(tail.seen);
    broker_close(&tail.broker);
    return status;
}
