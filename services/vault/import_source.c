/* import_source.c - opens an export: an SQLite file, or an SQL dump that is run in memory.
 *
 * Both come from elsewhere: nothing in them may open a file, load code, or do more than make tables
 * and rows.  A form that is not known is refused with what is missing or too much.
 */
#include "import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DUMP_MAX = 1 << 30 };

/* What a dump may do. */
static int permit(void *arg, int action, const char *a, const char *b, const char *database,
                  const char *trigger)
{
    static const int permitted[] = {SQLITE_CREATE_INDEX, SQLITE_CREATE_TABLE, SQLITE_INSERT,
                                    SQLITE_UPDATE, SQLITE_DELETE, SQLITE_READ, SQLITE_SELECT,
                                    SQLITE_TRANSACTION, SQLITE_FUNCTION, SQLITE_REINDEX};
    (void)arg;
    (void)a;
    (void)database;
    (void)trigger;
    if (action == SQLITE_PRAGMA) {
        return SQLITE_IGNORE;
    }
    if (action == SQLITE_FUNCTION && b && strcmp(b, "load_extension") == 0) {
        return SQLITE_DENY;
    }
    for (size_t i = 0; i < sizeof permitted / sizeof permitted[0]; i++) {
        if (permitted[i] == action) {
            return SQLITE_OK;
        }
    }
    return SQLITE_DENY;
}

static enum status read_dump(FILE *file, struct buffer *text)
{
    size_t got = 1;
    text->max = DUMP_MAX;
    while (got > 0) {
        uint8_t *room = buffer_room(text, 1 << 16);
        if (!room) {
            return STATUS_TOO_LARGE;
        }
        got = fread(room, 1, 1 << 16, file);
        text->size += got;
    }
    buffer_append_byte(text, 0);
    return ferror(file) || text->failed ? STATUS_UNAVAILABLE : STATUS_OK;
}

static enum status run_dump(struct import_source *source, FILE *file, const char *path)
{
    CLEANUP(buffer_free) struct buffer text = BUFFER_EMPTY;
    char *why = NULL;
    if (read_dump(file, &text) != STATUS_OK) {
        return command_fail(STATUS_INVALID, "cannot read %s", path);
    }
    if (sqlite3_open_v2(":memory:", &source->db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
        return STATUS_INTERNAL;
    }
    (void)sqlite3_limit(source->db, SQLITE_LIMIT_ATTACHED, 0);
    (void)sqlite3_set_authorizer(source->db, permit, NULL);
    if (sqlite3_exec(source->db, (const char *)text.data, NULL, NULL, &why) != SQLITE_OK) {
        enum status status = command_fail(STATUS_INVALID, "the dump is not as one of the upstream broker: %s",
                                    why ? why : "no memory");
        sqlite3_free(why);
        return status;
    }
    return STATUS_OK;
}

/* `immutable`: nothing is made beside the file, and so its write-ahead log would be overlooked. */
static enum status open_file(struct import_source *source, const char *path)
{
    char log[VAULT_PATH_SIZE + 8];
    struct stat info;
    (void)snprintf(log, sizeof log, "%s-wal", path);
    if (stat(log, &info) == 0 && info.st_size > 0) {
        return command_fail(STATUS_INVALID, "%s holds changes that are not in the database yet: stop the old broker, and "
                      "copy its database with sqlite3's .backup", log);
    }
    char *uri = sqlite3_mprintf("file:%s?immutable=1", path);
    int code = uri ? sqlite3_open_v2(uri, &source->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL)
                   : SQLITE_NOMEM;
    sqlite3_free(uri);
    if (code != SQLITE_OK ||
        sqlite3_exec(source->db, "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON", NULL,
                     NULL, NULL) != SQLITE_OK) {
        return command_fail(STATUS_INVALID, "cannot open %s", path);
    }
    (void)sqlite3_set_authorizer(source->db, permit, NULL);
    return STATUS_OK;
}

/* ---- which form it has ---- */

static int64_t number(sqlite3 *db, const char *sql, const char *a, const char *b)
{
    sqlite3_stmt *statement = NULL;
    int64_t result = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
        (!a || sqlite3_bind_text(statement, 1, a, -1, SQLITE_STATIC) == SQLITE_OK) &&
        (!b || sqlite3_bind_text(statement, 2, b, -1, SQLITE_STATIC) == SQLITE_OK) &&
        sqlite3_step(statement) == SQLITE_ROW) {
        result = sqlite3_column_int64(statement, 0);
    }
    (void)sqlite3_finalize(statement); /* repeats the failure that step reported */
    return result;
}

static bool has_table(const struct import_source *source, const char *name)
{
    return number(source->db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?",
                  name, NULL) > 0;
}

/* By asking for it: a form without the column does not prepare. */
static bool has_column(const struct import_source *source, const char *table, const char *column)
{
    char sql[128];
    sqlite3_stmt *statement = NULL;
    (void)snprintf(sql, sizeof sql, "SELECT %s FROM %s LIMIT 0", column, table); /* our own words */
    bool there = sqlite3_prepare_v2(source->db, sql, -1, &statement, NULL) == SQLITE_OK;
    (void)sqlite3_finalize(statement); /* never stepped */
    return there;
}

static enum status need_columns(const struct import_source *source, const char *table,
                                const char *columns)
{
    char text[160];
    if (has_column(source, table, columns)) {
        return STATUS_OK;
    }
    (void)snprintf(text, sizeof text, "%s (%s)", table, columns);
    return command_fail(STATUS_INVALID, "this is no export of the upstream broker: it lacks %s", text);
}

/* Tables that an export may have beside those that are read.  What `told` ones hold is not taken. */
static const struct {
    const char *name;
    bool told;
} others[] = {
    {"sessions", true},      {"audit_log", true},         {"actuators", true},
    {"capabilities", true},  {"capability_grants", true}, {"command_queue", true},
    {"d1_migrations", false}, {"_cf_KV", false},          {"_cf_METADATA", false},
};

static bool is_known(const char *table)
{
    static const char *const read[] = {"accounts", "clients",     "agents",
                                       "secrets",  "fake_tokens", "secret_access"};
    bool known = strncmp(table, "sqlite_", 7) == 0;
    for (size_t i = 0; i < sizeof read / sizeof read[0]; i++) {
        known = known || strcmp(read[i], table) == 0;
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        known = known || strcmp(others[i].name, table) == 0;
    }
    return known;
}

/* A table with rows that this program does not know may hold what must not be lost. */
static enum status nothing_else(const struct import_source *source)
{
    sqlite3_stmt *statement = NULL;
    enum status status = STATUS_OK;
    int code = sqlite3_prepare_v2(source->db, "SELECT name FROM sqlite_schema WHERE type = 'table'",
                                  -1, &statement, NULL);
    while (code == SQLITE_OK && status == STATUS_OK && sqlite3_step(statement) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        if (!name || !is_known(name)) {
            status = command_fail(STATUS_INVALID,
                                  "the export has a table that is not known here: %s",
                                  name ? name : "");
        }
    }
    if (sqlite3_finalize(statement) != SQLITE_OK || code != SQLITE_OK) {
        status = command_fail(STATUS_INVALID, "the export is damaged: %s",
                              sqlite3_errmsg(source->db));
    }
    return status;
}

void import_source_left(const struct import_source *source, struct buffer *text)
{
    char sql[64], item[64];
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const char *name = others[i].name;
        if (!others[i].told || !has_table(source, name)) {
            continue;
        }
        (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", name); /* our own words */
        int64_t rows = number(source->db, sql, NULL, NULL);
        if (rows != 0) {
            (void)snprintf(item, sizeof item, "%s%lld of %s", text->size ? ", " : "",
                           (long long)rows, name);
            buffer_append_text(text, item);
        }
    }
}

static enum status find_form(struct import_source *source)
{
    bool newer = has_table(source, "accounts");
    source->accounts = newer ? "accounts" : "clients";
    source->owner = newer ? "account_id" : "client_id";
    source->hashed = has_column(source, "agents", "token_hash");
    source->has_status = has_column(source, source->accounts, "status");
    source->has_tokens = has_table(source, "fake_tokens");
    source->has_access = has_table(source, "secret_access");
    const struct {
        const char *table, *columns;
    } needed[] = {
        {source->accounts, "id, email, password_hash, created_at"},
        {"agents", "id, name, created_at"},
        {"agents", source->owner},
        {"agents", source->hashed ? "token_hash" : "token"},
        {"secrets", "id, name, provider, encrypted_value, created_at, updated_at"},
        {"secrets", source->owner},
        {source->has_tokens ? "fake_tokens" : NULL, "agent_id, provider, token, created_at"},
        {source->has_access ? "secret_access" : NULL, "secret_id, agent_id"},
    };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        enum status status = needed[i].table
                                 ? need_columns(source, needed[i].table, needed[i].columns)
                                 : STATUS_OK;
        if (status != STATUS_OK) {
            return status;
        }
    }
    return nothing_else(source);
}

enum status import_source_open(const char *path, struct import_source *ret_source)
{
    static const char magic[16] = "SQLite format 3";
    char head[sizeof magic] = "";
    FILE *file = fopen(path, "re");
    if (!file) {
        return command_fail(STATUS_INVALID, "cannot read %s", path);
    }
    size_t got = fread(head, 1, sizeof head, file);
    rewind(file);
    bool binary = got == sizeof head && memcmp(head, magic, sizeof head) == 0;
    enum status status =
        binary ? open_file(ret_source, path) : run_dump(ret_source, file, path);
    (void)fclose(file); /* only read from */
    return status == STATUS_OK ? find_form(ret_source) : status;
}

void import_source_close(struct import_source *source)
{
    (void)sqlite3_close(source->db); /* nothing was written to a file */
    source->db = NULL;
}
