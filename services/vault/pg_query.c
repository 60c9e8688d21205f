/* pg_query.c - one statement on PostgreSQL: prepared once for each connection, waited for with an end.
 *
 * Values travel in the binary format: text as its bytes, numbers as 8 bytes.  A failure that says that
 * another transaction was first sets `again`; one that says that the server goes away, or only reads, gives
 * the connection up.
 */
#include "pg.h"

#include <endian.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

/* Of the system catalogue, and the same in every database that speaks the protocol. */
enum { OID_BYTEA = 17, OID_INT8 = 20, OID_TEXT = 25 };

struct pg_statement {
    char *sql;            /* with $1, $2, ... */
    char name[16];
    uint64_t prepared_on; /* the connection; 0: none */
    int count;
    Oid types[PG_PARAMETERS_MAX];
    size_t offsets[PG_PARAMETERS_MAX];
    int sizes[PG_PARAMETERS_MAX];
    struct buffer values;
    bool ran;
    PGresult *result;
    int row;
};

/* ---- waiting ---- */

static bool wait_result(struct pg_store *store, uint64_t deadline_ms)
{
    for (;;) {
        int unsent = PQflush(store->conn);
        if (unsent < 0 || PQconsumeInput(store->conn) == 0) {
            return false;
        }
        if (unsent == 0 && PQisBusy(store->conn) == 0) {
            return true;
        }
        uint64_t now_ms = clock_mono_ms();
        if (now_ms >= deadline_ms) {
            return false;
        }
        struct pollfd fd = {PQsocket(store->conn), (short)(unsent ? POLLIN | POLLOUT : POLLIN), 0};
        (void)poll(&fd, 1, (int)(deadline_ms - now_ms)); /* a signal: once more around */
    }
}

static bool is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY;
}

/* What was sent is answered: the first failure, or the last result. */
static PGresult *collect(struct pg_store *store)
{
    uint64_t deadline_ms = clock_mono_ms() + PG_WAIT_MS;
    PGresult *kept = NULL;
    for (;;) {
        if (!wait_result(store, deadline_ms)) {
            PQclear(kept);
            pg_lost(store, clock_mono_ms() >= deadline_ms ? "it does not answer" : NULL);
            return NULL;
        }
        PGresult *result = PQgetResult(store->conn);
        if (!result) {
            break;
        }
        if (!kept || is_good(kept)) {
            PQclear(kept);
            kept = result;
        } else {
            PQclear(result);
        }
    }
    if (PQstatus(store->conn) == CONNECTION_BAD) {
        PQclear(kept);
        pg_lost(store, NULL);
        return NULL;
    }
    return kept;
}

PGresult *pg_run(struct pg_store *store, const char *sql)
{
    if (!store->conn) {
        return NULL;
    }
    if (PQsendQuery(store->conn, sql) == 0) {
        pg_lost(store, NULL);
        return NULL;
    }
    return collect(store);
}

/* ---- what came of it ---- */

bool pg_failed_with(const PGresult *result, const char *state)
{
    const char *given = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    return given && strncmp(given, state, strlen(state)) == 0;
}

/* The first row whose state, or class, is the failure's. */
static const struct failure {
    const char *state;
    enum status status;
    bool again, lost;
} failures[] = {
    {"23", STATUS_CONFLICT, false, false},       /* a constraint */
    {"40001", STATUS_BUSY, true, false},         /* serialization_failure */
    {"40P01", STATUS_BUSY, true, false},         /* deadlock_detected */
    {"55P03", STATUS_BUSY, true, false},         /* lock_not_available */
    {"53100", STATUS_STORAGE_FULL, false, false}, /* disk_full */
    {"53", STATUS_UNAVAILABLE, false, false},    /* other resources */
    {"25006", STATUS_UNAVAILABLE, false, true},  /* read only: this is a standby now */
    {"25P03", STATUS_UNAVAILABLE, false, true},  /* idle_in_transaction_session_timeout */
    {"57014", STATUS_UNAVAILABLE, false, false}, /* statement_timeout */
    {"57P", STATUS_UNAVAILABLE, false, true},    /* shutting down, or starting */
    {"08", STATUS_UNAVAILABLE, false, true},     /* connection */
};

enum status pg_outcome(struct pg_store *store, const PGresult *result)
{
    static struct log_limit limit;
    uint64_t count;
    if (!result) {
        return STATUS_UNAVAILABLE;
    }
    if (is_good(result)) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        const struct failure *row = &failures[i];
        if (!pg_failed_with(result, row->state)) {
            continue;
        }
        store->base.again = store->base.again || row->again;
        if (row->lost) {
            pg_lost(store, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
        } else if (row->status != STATUS_CONFLICT && !row->again && log_due(&limit, &count)) {
            log_error("store", "PostgreSQL: %s (%llu times)",
                      PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), (unsigned long long)count);
        }
        return row->status;
    }
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    log_error("store", "PostgreSQL: %s (%s)", text ? text : "it failed", state ? state : "no state");
    return STATUS_INTERNAL;
}

/* ---- statements ---- */

/* Each ? becomes $1, $2, ...; no statement of ours has one in a string. */
static char *numbered(const char *sql)
{
    struct buffer text = BUFFER_EMPTY;
    int count = 0;
    for (; *sql; sql++) {
        if (*sql == '?') {
            buffer_printf(&text, "$%d", ++count);
        } else {
            buffer_append_byte(&text, (uint8_t)*sql);
        }
    }
    buffer_append_byte(&text, 0);
    if (text.failed || count > PG_PARAMETERS_MAX) {
        buffer_free(&text);
        return NULL;
    }
    return (char *)text.data;
}

void *pg_prepare(struct store *base, const char *sql)
{
    struct pg_statement *statement = calloc(1, sizeof *statement);
    char *text = numbered(sql);
    if (!statement || !text) {
        log_error("store", "cannot prepare a statement");
        free(statement);
        free(text);
        return NULL;
    }
    statement->sql = text;
    (void)snprintf(statement->name, sizeof statement->name, "seks%u", ++pg_of(base)->statements);
    return statement;
}

void pg_reset(void *at)
{
    struct pg_statement *statement = at;
    PQclear(statement->result);
    statement->result = NULL;
    statement->ran = false;
    statement->count = 0;
    if (statement->values.size) {
        explicit_bzero(statement->values.data, statement->values.size);
    }
    buffer_clear(&statement->values);
}

void pg_drop(void *at)
{
    struct pg_statement *statement = at;
    pg_reset(statement);
    buffer_free(&statement->values);
    free(statement->sql);
    free(statement);
}

static enum status bind(struct query *query, Oid type, struct view value)
{
    struct pg_statement *statement = query->statement;
    int at = query->parameter++;
    if (at >= PG_PARAMETERS_MAX || value.size > INT32_MAX / 2) {
        return STATUS_TOO_LARGE;
    }
    statement->types[at] = type;
    statement->offsets[at] = statement->values.size;
    statement->sizes[at] = (int)value.size;
    statement->count = at + 1;
    buffer_append_view(&statement->values, value);
    buffer_append_byte(&statement->values, 0); /* so that an empty one has an address */
    return statement->values.failed ? STATUS_INTERNAL : STATUS_OK;
}

/* RFC 3629, without what is longer than needed, surrogates and what is beyond the last character; the
 * server takes nothing else, and no NUL. */
static bool is_text(struct view text)
{
    size_t at = 0;
    while (at < text.size) {
        uint8_t lead = text.data[at];
        size_t more = lead < 0x80 ? 0 : lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead == 0 || (lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || text.size - at <= more) {
            return false;
        }
        for (size_t i = 1; i <= more; i++) {
            if ((text.data[at + i] & 0xc0) != 0x80) {
                return false;
            }
        }
        uint8_t second = more ? text.data[at + 1] : 0x80;
        if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
            (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
            return false;
        }
        at += more + 1;
    }
    return true;
}

/* Names that were stored have been checked: one that is no text is in no row. */
enum status pg_bind_text(struct query *query, struct view text)
{
    return is_text(text) ? bind(query, OID_TEXT, text) : STATUS_NOT_FOUND;
}

enum status pg_bind_bytes(struct query *query, struct view bytes)
{
    return bind(query, OID_BYTEA, bytes);
}

enum status pg_bind_number(struct query *query, uint64_t number)
{
    uint64_t wire = htobe64(number);
    return bind(query, OID_INT8, view_of(&wire, sizeof wire));
}

static enum status prepare_here(struct pg_store *store, struct pg_statement *statement)
{
    if (statement->prepared_on == store->connection) {
        return STATUS_OK;
    }
    if (PQsendPrepare(store->conn, statement->name, statement->sql, statement->count,
                      statement->types) == 0) {
        pg_lost(store, NULL);
        return STATUS_UNAVAILABLE;
    }
    PGresult *result = collect(store);
    enum status status = pg_outcome(store, result);
    PQclear(result);
    if (status == STATUS_OK) {
        statement->prepared_on = store->connection;
    }
    return status;
}

static enum status execute(struct pg_store *store, struct pg_statement *statement)
{
    const char *values[PG_PARAMETERS_MAX];
    int formats[PG_PARAMETERS_MAX];
    statement->row = -1;
    statement->ran = true;
    if (!store->conn) {
        return STATUS_UNAVAILABLE;
    }
    enum status status = prepare_here(store, statement);
    if (status != STATUS_OK) {
        return status;
    }
    for (int i = 0; i < statement->count; i++) {
        values[i] = (const char *)statement->values.data + statement->offsets[i];
        formats[i] = 1;
    }
    if (PQsendQueryPrepared(store->conn, statement->name, statement->count, values,
                            statement->sizes, formats, 1) == 0) {
        pg_lost(store, NULL);
        return STATUS_UNAVAILABLE;
    }
    statement->result = collect(store);
    return pg_outcome(store, statement->result);
}

bool pg_row(struct query *query)
{
    struct pg_statement *statement = query->statement;
    if (!statement->ran) {
        query->status = execute(pg_of(query->store), statement);
    }
    return query->status == STATUS_OK && ++statement->row < PQntuples(statement->result);
}

uint64_t pg_changed(struct query *query)
{
    struct pg_statement *statement = query->statement;
    return statement->result ? strtoull(PQcmdTuples(statement->result), NULL, 10) : 0;
}

struct view pg_get_view(struct query *query, int column)
{
    struct pg_statement *statement = query->statement;
    return view_of(PQgetvalue(statement->result, statement->row, column),
                   (size_t)PQgetlength(statement->result, statement->row, column));
}

uint64_t pg_get_number(struct query *query, int column)
{
    uint64_t wire = 0;
    struct view value = pg_get_view(query, column);
    if (value.size != sizeof wire) {
        log_error("store", "column %d is not a BIGINT", column);
        return 0;
    }
    memcpy(&wire, value.data, sizeof wire);
    return be64toh(wire);
}
