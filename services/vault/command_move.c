/* command_move.c - seks-vault migrate-store: an install goes from SQLite to PostgreSQL, or back.
 *
 * All rows are copied in one transaction of the target and read again there before it commits; only then
 * does the source say that it was moved.  Killed before, nothing has changed; killed between the two, the
 * same command finds that the target has every row as the source has it, and does the rest.
 */
#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 12, PAGE = 500 };
#define PAGE_SQL " ORDER BY 1 LIMIT 500"

struct move {
    const struct command_options *options;
    char *from_where, *to_where;
    struct store *from, *to;
    struct keys *keys; /* of the source */
    row_id install;
    uint64_t rows;
};

/* ---- what is moved ---- */

/* One row: views of the statement that read it. */
struct moved_row {
    struct view columns[COLUMNS_MAX]; /* of texts and bytes */
    uint64_t numbers[COLUMNS_MAX];
};

typedef enum status check_fn(struct move *move, const struct moved_row *row);

static void text_of(struct view view, char *ret, size_t size)
{
    if (!view_copy(view, ret, size)) {
        ret[0] = 0;
    }
}

static enum status check_data_key(struct move *move, const struct moved_row *row)
{
    row_id id, tenant;
    struct view key;
    text_of(row->columns[0], id, sizeof id);
    text_of(row->columns[1], tenant, sizeof tenant);
    /* Those of the install itself were opened with the database. */
    return tenant[0] ? keys_for_open(move->keys, tenant, id, &key) : STATUS_OK;
}

static enum status check_account(struct move *move, const struct moved_row *row)
{
    struct account account;
    row_id id;
    text_of(row->columns[0], id, sizeof id);
    return account_by_id(move->from, id, &account);
}

static enum status check_session(struct move *move, const struct moved_row *row)
{
    struct session session;
    return session_by_hash(move->from, row->columns[0], &session);
}

static enum status check_account_key(struct move *move, const struct moved_row *row)
{
    struct account_key key;
    return key_by_hash(move->from, row->columns[3], &key);
}

static enum status check_agent(struct move *move, const struct moved_row *row)
{
    CLEANUP(agent_free) struct agent agent = {0};
    return agent_by_hash(move->from, row->columns[5], &agent);
}

static enum status check_token(struct move *move, const struct moved_row *row)
{
    struct token token;
    return token_by_hash(move->from, row->columns[5], &token);
}

static enum status check_secret(struct move *move, const struct moved_row *row)
{
    CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
    CLEANUP(secret_free) struct secret *value = NULL;
    struct secret_row secret;
    row_id account;
    text_of(row->columns[1], account, sizeof account);
    enum status status =
        secret_row_by_name(move->from, account, row->columns[2], &secret, &blob);
    return status == STATUS_OK ? open_secret(move->keys, &secret, buffer_view(&blob), &value)
                               : status;
}

static enum status check_nothing(struct move *move, const struct moved_row *row)
{
    (void)move;
    (void)row;
    return STATUS_OK;
}

/* Parents before children.  The first column is the key by which they are read in pages; KINDS: t text,
 * b bytes, n number. */
static const struct moved_table {
    const char *name, *kinds, *select, *insert;
    check_fn *check;
} tables[] = {
    {"install", "ntbntnnbt",
     "SELECT one, id, master_check, created_ms, kek, epoch, restored_ms, epoch_mac, ''"
     " FROM install WHERE one > ?" PAGE_SQL,
     "INSERT INTO install (one, id, master_check, created_ms, kek, epoch, restored_ms, epoch_mac,"
     " moved) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", check_nothing},
    {"data_keys", "tttnbnnt",
     "SELECT id, tenant, purpose, version, wrapped, seals, created_ms, kek FROM data_keys"
     " WHERE id > ?" PAGE_SQL,
     "INSERT INTO data_keys (id, tenant, purpose, version, wrapped, seals, created_ms, kek)"
     " VALUES (?, ?, ?, ?, ?, ?, ?, ?)", check_data_key},
    {"accounts", "tttnb",
     "SELECT id, email, password, created_ms, mac FROM accounts WHERE id > ?" PAGE_SQL,
     "INSERT INTO accounts (id, email, password, created_ms, mac) VALUES (?, ?, ?, ?, ?)",
     check_account},
    {"sessions", "btnnb",
     "SELECT hash, account, created_ms, last_ms, mac FROM sessions WHERE hash > ?" PAGE_SQL,
     "INSERT INTO sessions (hash, account, created_ms, last_ms, mac) VALUES (?, ?, ?, ?, ?)",
     check_session},
    {"account_keys", "tttbtnnb",
     "SELECT id, account, name, hash, last4, created_ms, used_ms, mac FROM account_keys"
     " WHERE id > ?" PAGE_SQL,
     "INSERT INTO account_keys (id, account, name, hash, last4, created_ms, used_ms, mac)"
     " VALUES (?, ?, ?, ?, ?, ?, ?, ?)", check_account_key},
    {"agents", "tttnbbnnb",
     "SELECT id, account, name, direct, names, hash, created_ms, seen_ms, mac FROM agents"
     " WHERE id > ?" PAGE_SQL,
     "INSERT INTO agents (id, account, name, direct, names, hash, created_ms, seen_ms, mac)"
     " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", check_agent},
    {"tokens", "tttttbtnnnnb",
     "SELECT id, account, agent, provider, secret, hash, last4, created_ms, expires_ms, lifetime_s,"
     " used_ms, mac FROM tokens WHERE id > ?" PAGE_SQL,
     "INSERT INTO tokens (id, account, agent, provider, secret, hash, last4, created_ms, expires_ms,"
     " lifetime_s, used_ms, mac) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", check_token},
    {"dead_tokens", "bttttn",
     "SELECT hash, token, account, agent, provider, died_ms FROM dead_tokens WHERE hash > ?" PAGE_SQL,
     "INSERT INTO dead_tokens (hash, token, account, agent, provider, died_ms)"
     " VALUES (?, ?, ?, ?, ?, ?)", check_nothing},
    {"secrets", "ttttntbnnn",
     "SELECT id, account, name, provider, version, data_key, blob, created_ms, updated_ms, used_ms"
     " FROM secrets WHERE id > ?" PAGE_SQL,
     "INSERT INTO secrets (id, account, name, provider, version, data_key, blob, created_ms,"
     " updated_ms, used_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", check_secret},
};
enum { TABLES = sizeof tables / sizeof tables[0] };

/* ---- walking a table ---- */

/* What a table holds: as many rows, and a hash over all of them in their order. */
struct content {
    uint64_t rows;
    uint8_t hash[CRYPTO_HASH_BYTES];
};

static void read_row(struct query *query, const char *kinds, struct moved_row *ret)
{
    *ret = (struct moved_row){.numbers = {0}};
    for (size_t i = 0; kinds[i]; i++) {
        if (kinds[i] == 'n') {
            ret->numbers[i] = query_get_number(query);
        } else {
            ret->columns[i] = query_get_view(query);
        }
    }
}

static enum status add_up(const struct moved_row *row, const char *kinds, struct content *content)
{
    CLEANUP(buffer_free) struct buffer fields = BUFFER_EMPTY;
    buffer_append(&fields, content->hash, sizeof content->hash);
    for (size_t i = 0; kinds[i]; i++) {
        crypto_aad_field(&fields, kinds[i] == 'n' ? view_of(&row->numbers[i], sizeof row->numbers[i])
                                                  : row->columns[i]);
    }
    content->rows++;
    return fields.failed ? STATUS_INTERNAL : crypto_sha256(buffer_view(&fields), content->hash);
}

static enum status insert_row(struct store *to, const struct moved_table *table,
                              const struct moved_row *row)
{
    CLEANUP(query_end) struct query query = query_new(to, table->insert);
    for (size_t i = 0; table->kinds[i]; i++) {
        if (table->kinds[i] == 'n') {
            query_number(&query, row->numbers[i]);
        } else if (table->kinds[i] == 't') {
            query_view(&query, row->columns[i]);
        } else {
            query_bytes(&query, row->columns[i]);
        }
    }
    return query_run(&query);
}

struct walk {
    struct move *move;
    struct store *store;
    const struct moved_table *table;
    bool copy;  /* each row is checked, and goes to the target */
    struct content content;
    struct buffer last; /* the key of the last row that was read */
    uint64_t last_number;
};

static enum status take_row(struct walk *walk, const struct moved_row *row)
{
    enum status status = add_up(row, walk->table->kinds, &walk->content);
    if (status == STATUS_OK && walk->copy) {
        status = walk->table->check(walk->move, row);
        if (status != STATUS_OK) {
            return command_fail(STATUS_DENIED, "row %llu of %s is not as the vault left it (%s): it has "
                                "to be deleted, or the database restored, first",
                                (unsigned long long)walk->content.rows, walk->table->name,
                                status_name(status));
        }
        status = insert_row(walk->move->to, walk->table, row);
    }
    walk->last_number = row->numbers[0];
    buffer_clear(&walk->last);
    buffer_append_view(&walk->last, row->columns[0]);
    return status == STATUS_OK && walk->last.failed ? STATUS_INTERNAL : status;
}

static enum status walk_page(struct walk *walk, uint64_t *ret_rows)
{
    CLEANUP(query_end) struct query query = query_new(walk->store, walk->table->select);
    const char *kinds = walk->table->kinds;
    struct moved_row row;
    enum status status = STATUS_OK;
    uint64_t rows = 0;
    if (kinds[0] == 'n') {
        query_number(&query, walk->last_number);
    } else if (kinds[0] == 't') {
        query_view(&query, buffer_view(&walk->last));
    } else {
        query_bytes(&query, buffer_view(&walk->last));
    }
    while (status == STATUS_OK && query_row(&query)) {
        read_row(&query, kinds, &row);
        status = take_row(walk, &row);
        rows++;
    }
    *ret_rows = rows;
    return status == STATUS_OK ? query.status : status;
}

static enum status walk_table(struct walk *walk)
{
    uint64_t rows = PAGE;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && rows == PAGE) {
        status = walk_page(walk, &rows);
    }
    buffer_free(&walk->last);
    return status;
}

/* Walks the source, copying or not, and then the target: both must hold the same. */
static enum status walk_both(struct move *move, bool copy)
{
    for (size_t i = 0; i < TABLES; i++) {
        struct walk from = {.move = move, .store = move->from, .table = &tables[i], .copy = copy};
        struct walk to = {.move = move, .store = move->to, .table = &tables[i]};
        enum status status = walk_table(&from);
        if (status == STATUS_OK) {
            status = walk_table(&to);
        }
        if (status != STATUS_OK) {
            return status;
        }
        if (from.content.rows != to.content.rows ||
            memcmp(from.content.hash, to.content.hash, sizeof from.content.hash) != 0) {
            return command_fail(STATUS_CONFLICT, "%s has %llu rows in the source and %llu in the target, "
                                "or some of them differ", tables[i].name,
                                (unsigned long long)from.content.rows,
                                (unsigned long long)to.content.rows);
        }
        move->rows += from.content.rows;
    }
    return STATUS_OK;
}

/* ---- the two databases ---- */

static enum status where_of(const struct command_options *options, const char *text, char **ret)
{
    if (!text) {
        return command_fail(STATUS_INVALID, "--from and --to are needed: sqlite, or a URL or FILE as "
                                            "the vault's --store");
    }
    bool sqlite = strcmp(text, "sqlite") == 0;
    return store_where(options->data, sqlite ? NULL : text, options->store_allow_insecure, ret);
}

/* A copy takes as long as it takes. */
static enum status be_patient(struct store *store)
{
    return store_is_shared(store)
               ? store_exec(store, "SET statement_timeout = 0;"
                                   "SET idle_in_transaction_session_timeout = 0")
               : STATUS_OK;
}

static enum status open_source(struct move *move)
{
    enum status status = database_open_there(move->from_where, move->options->keys, &move->from,
                                             &move->keys);
    if (status != STATUS_OK) {
        return command_fail(status, "the source cannot be used");
    }
    memcpy(move->install, keys_install_id(move->keys), sizeof move->install);
    return be_patient(move->from);
}

/* RET_THERE: it has this install already, from a run that was cut short. */
static enum status open_target(struct move *move, bool *ret_there)
{
    struct install install;
    enum status status = store_open(move->to_where, &move->to);
    if (status == STATUS_NOT_FOUND) {
        status = store_create(move->to_where, &move->to);
    } else if (status == STATUS_OK) {
        status = store_begin_use(move->to);
    } else if (status == STATUS_INVALID) {
        return command_fail(status, "the target is not empty: move it away first");
    }
    if (status == STATUS_OK) {
        status = be_patient(move->to);
    }
    if (status != STATUS_OK) {
        return command_fail(status, "the target cannot be used");
    }
    status = install_read(move->to, &install);
    *ret_there = status == STATUS_OK && strcmp(install.id, move->install) == 0;
    if (status == STATUS_OK && !*ret_there) {
        return command_fail(STATUS_CONFLICT, "the target is not empty: another install is in it");
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status copy(struct move *move)
{
    enum status status = store_begin(move->to);
    if (status == STATUS_OK) {
        status = store_end(move->to, walk_both(move, true));
    }
    if (status == STATUS_OK) {
        store_checkpoint(move->to);
        return STATUS_OK;
    }
    return command_fail(status, "nothing was moved");
}

static enum status compare(struct move *move)
{
    enum status status = walk_both(move, false);
    return status == STATUS_OK
               ? STATUS_OK
               : command_fail(status, "the target has this install already, and not the same rows: one "
                                      "of the two was used since; nothing was changed");
}

/* The source's transaction is open from before the first row was read: no other vault changes it. */
static enum status move_rows(struct move *move)
{
    char place[MOVED_MAX];
    bool there = false;
    enum status status = open_target(move, &there);
    if (status == STATUS_OK) {
        status = there ? compare(move) : copy(move);
    }
    if (status == STATUS_OK && !store_is_remote(move->to_where)) {
        status = mark_make(move->options->data, move->install);
    }
    if (status == STATUS_OK) {
        store_describe(move->to_where, place);
        status = install_set_moved(move->from, place);
    }
    return status;
}

static void move_end(struct move *move)
{
    keys_free(&move->keys);
    store_close(&move->from);
    store_close(&move->to);
    free(move->from_where);
    free(move->to_where);
}

enum status command_migrate_store(const struct command_options *options)
{
    CLEANUP(move_end) struct move move = {.options = options};
    enum status status = where_of(options, options->from, &move.from_where);
    if (status == STATUS_OK) {
        status = where_of(options, options->to, &move.to_where);
    }
    if (status == STATUS_OK && control_alive(options->data)) {
        status = command_fail(STATUS_CONFLICT, "a vault runs on %s: stop it first", options->data);
    }
    if (status == STATUS_OK) {
        status = open_source(&move);
    }
    if (status == STATUS_OK) {
        status = store_begin(move.from);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = store_end(move.from, move_rows(&move));
    if (status != STATUS_OK) {
        return status;
    }
    store_checkpoint(move.from);
    printf("%llu rows are moved, each compared; the source says so and no vault starts on it. Start "
           "the vaults with --store for the target\n", (unsigned long long)move.rows);
    return STATUS_OK;
}
