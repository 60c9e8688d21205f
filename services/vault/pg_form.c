/* pg_form.c - the tables on PostgreSQL: the same columns as in store_sqlite.c, in the newest form.
 *
 * Only what every database that speaks the protocol has: no sequence, no extension, no advisory lock, no
 * notification.  `seks_store` has one row, which every transaction that decides anything changes first:
 * so they run one after the other, over all vaults, and whoever reads `changes` knows whether something
 * happened since.  Texts compare by their bytes, as in SQLite.
 */
#include "pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT "TEXT COLLATE \"C\" NOT NULL"

/* What brings a database to the form TO; rows are only ever added. */
static const struct {
    uint64_t to;
    const char *sql;
} forms[] = {
    {5,
     "CREATE TABLE install (one BIGINT PRIMARY KEY CHECK (one = 1), id " TEXT ","
     " master_check BYTEA NOT NULL, created_ms BIGINT NOT NULL, kek " TEXT " DEFAULT '',"
     " epoch BIGINT NOT NULL DEFAULT 0, restored_ms BIGINT NOT NULL DEFAULT 0,"
     " epoch_mac BYTEA NOT NULL DEFAULT ''::bytea, moved " TEXT " DEFAULT '');"
     "CREATE TABLE data_keys (id TEXT COLLATE \"C\" PRIMARY KEY, tenant " TEXT ", purpose " TEXT ","
     " version BIGINT NOT NULL, wrapped BYTEA NOT NULL, seals BIGINT NOT NULL,"
     " created_ms BIGINT NOT NULL, kek " TEXT " DEFAULT '', UNIQUE (tenant, purpose, version));"
     "CREATE TABLE accounts (id TEXT COLLATE \"C\" PRIMARY KEY, email " TEXT " UNIQUE,"
     " password " TEXT ", created_ms BIGINT NOT NULL, mac BYTEA NOT NULL);"
     "CREATE TABLE sessions (hash BYTEA PRIMARY KEY, account " TEXT " REFERENCES accounts (id)"
     " ON DELETE CASCADE, created_ms BIGINT NOT NULL, last_ms BIGINT NOT NULL, mac BYTEA NOT NULL);"
     "CREATE INDEX sessions_account ON sessions (account);"
     "CREATE TABLE account_keys (id TEXT COLLATE \"C\" PRIMARY KEY, account " TEXT " REFERENCES"
     " accounts (id) ON DELETE CASCADE, name " TEXT ", hash BYTEA NOT NULL UNIQUE, last4 " TEXT ","
     " created_ms BIGINT NOT NULL, used_ms BIGINT NOT NULL, mac BYTEA NOT NULL);"
     "CREATE INDEX account_keys_account ON account_keys (account);"
     "CREATE TABLE agents (id TEXT COLLATE \"C\" PRIMARY KEY, account " TEXT " REFERENCES"
     " accounts (id) ON DELETE CASCADE, name " TEXT ", direct BIGINT NOT NULL,"
     " names BYTEA NOT NULL, hash BYTEA NOT NULL UNIQUE, created_ms BIGINT NOT NULL,"
     " seen_ms BIGINT NOT NULL, mac BYTEA NOT NULL, UNIQUE (account, name));"
     "CREATE TABLE tokens (id TEXT COLLATE \"C\" PRIMARY KEY, account " TEXT " REFERENCES"
     " accounts (id) ON DELETE CASCADE, agent " TEXT " REFERENCES agents (id) ON DELETE CASCADE,"
     " provider " TEXT ", secret " TEXT ", hash BYTEA NOT NULL UNIQUE, last4 " TEXT ","
     " created_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL, lifetime_s BIGINT NOT NULL,"
     " used_ms BIGINT NOT NULL, mac BYTEA NOT NULL);"
     "CREATE INDEX tokens_account ON tokens (account);"
     "CREATE INDEX tokens_agent ON tokens (agent);"
     "CREATE TABLE dead_tokens (hash BYTEA PRIMARY KEY, token " TEXT ", account " TEXT
     " REFERENCES accounts (id) ON DELETE CASCADE, agent " TEXT ", provider " TEXT ","
     " died_ms BIGINT NOT NULL);"
     "CREATE INDEX dead_tokens_account ON dead_tokens (account);"
     "CREATE TABLE secrets (id TEXT COLLATE \"C\" PRIMARY KEY, account " TEXT " REFERENCES"
     " accounts (id) ON DELETE CASCADE, name " TEXT ", provider " TEXT ", version BIGINT NOT NULL,"
     " data_key " TEXT ", blob BYTEA NOT NULL, created_ms BIGINT NOT NULL,"
     " updated_ms BIGINT NOT NULL, used_ms BIGINT NOT NULL DEFAULT 0, UNIQUE (account, name));"
     /* throttle.c: how often passwords were tried, by keyed hash */
     "CREATE TABLE tries (key BYTEA PRIMARY KEY, used_ms BIGINT NOT NULL, next_ms BIGINT NOT NULL,"
     " tries BIGINT NOT NULL);"
     "CREATE INDEX tries_used ON tries (used_ms)"},
};

static const char table_sql[] =
    "CREATE TABLE IF NOT EXISTS seks_store (one BIGINT PRIMARY KEY CHECK (one = 1),"
    " form BIGINT NOT NULL, changes BIGINT NOT NULL)";
static const char row_sql[] =
    "INSERT INTO seks_store (one, form, changes) VALUES (1, 0, 0) ON CONFLICT DO NOTHING";

enum status pg_form(struct pg_store *store, uint64_t *ret_form)
{
    PGresult *result = pg_run(store, "SELECT form FROM seks_store");
    enum status status = STATUS_NOT_FOUND;
    if (!pg_failed_with(result, "42P01")) { /* undefined_table */
        status = pg_outcome(store, result);
        if (status == STATUS_OK) {
            *ret_form = PQntuples(result) ? strtoull(PQgetvalue(result, 0, 0), NULL, 10) : 0;
            status = *ret_form ? STATUS_OK : STATUS_NOT_FOUND;
        }
    }
    PQclear(result);
    return status;
}

/* Two vaults that make the table at once: one of them may be told so in one of three ways. */
static enum status make_table(struct pg_store *store)
{
    enum status status = STATUS_CONFLICT;
    for (int i = 0; i < 5 && status == STATUS_CONFLICT; i++) {
        PGresult *result = pg_run(store, table_sql);
        bool met = pg_failed_with(result, "42P07") || pg_failed_with(result, "42710") ||
                   pg_failed_with(result, "XX000");
        status = met ? STATUS_CONFLICT : pg_outcome(store, result);
        PQclear(result);
    }
    return status == STATUS_OK ? store_exec(&store->base, row_sql) : status;
}

static enum status bring_to(struct pg_store *store, size_t at)
{
    char stamp[64];
    (void)snprintf(stamp, sizeof stamp, "UPDATE seks_store SET form = %llu",
                   (unsigned long long)forms[at].to);
    enum status status = store_exec(&store->base, forms[at].sql);
    return status == STATUS_OK ? store_exec(&store->base, stamp) : status;
}

/* In a transaction, so whoever came second finds it done. */
static enum status migrate(void *arg)
{
    struct pg_store *store = arg;
    uint64_t form = 0;
    enum status status = pg_form(store, &form);
    if (status == STATUS_NOT_FOUND) {
        status = STATUS_OK;
    }
    for (size_t i = 0; i < sizeof forms / sizeof forms[0] && status == STATUS_OK; i++) {
        if (forms[i].to > form) {
            status = bring_to(store, i);
        }
    }
    return status;
}

enum status pg_migrate(struct pg_store *store)
{
    uint64_t form = 0;
    _Static_assert((int)STORE_FORM == 5, "the last row of forms");
    enum status status = pg_form(store, &form);
    if (status == STATUS_OK && form == STORE_FORM) {
        store->base.version = STORE_FORM; /* who may only read and write rows is not asked for more */
        return STATUS_OK;
    }
    if (status == STATUS_NOT_FOUND) {
        status = make_table(store);
    }
    if (status == STATUS_OK) {
        status = store_transact(&store->base, migrate, store);
    }
    if (status != STATUS_OK) {
        log_error("store", "the tables could not be made or brought to form %d: %s", (int)STORE_FORM,
                  status_name(status));
        return status;
    }
    store->base.version = STORE_FORM;
    return STATUS_OK;
}
