/* store.h - the vault's database: its statements and its rows, on SQLite or on PostgreSQL.
 *
 * What is here is the same on both; store_engine.h is what a kind of database has to do.  Everything
 * runs in the event loop's thread.  Rows that grant something carry a MAC over their security columns;
 * reading one that does not match gives STATUS_DENIED. */
#ifndef VAULT_STORE_H
#define VAULT_STORE_H

#include "common/confine.h"
#include "common/crypto.h"
#include "common/loop.h"
#include "proto/vault_messages.h"

enum {
    LAST_CHARS = 4,
    STATEMENTS_MAX = 128,
    KEK_ID_MAX = 32,     /* "kek_" and 16 hex digits */
    FORM_WITH_KEKS = 3,  /* before that, data keys do not name their master key */
    FORM_WITH_MOVED = 5, /* before that, none says that it was moved */
    STORE_FORM = 5,      /* the newest one */
    WRAPPED_KEY_BYTES = CRYPTO_BLOB_OVERHEAD_BYTES + CRYPTO_KEY_BYTES,
    MASTER_CHECK_MAX = 128,
    MOVED_MAX = 256,     /* the words for where an install went, and a NUL */
};

struct hot;
struct store_engine;

struct store {
    const struct store_engine *engine;
    unsigned version;       /* of the form that it has */
    bool in_transaction;
    bool again;             /* the last transaction lost against another one, and can be tried again */
    bool unsure;            /* its commit got no answer: it may have been done */
    uint64_t repeated, lost; /* transactions that were tried again; connections */
    struct secret *mac_key; /* set by keys_open() */
    struct {
        const char *sql;
        void *statement;    /* the engine's */
    } prepared[STATEMENTS_MAX];
    size_t prepared_count;
    struct hot *hot; /* hot.c's; NULL until it is needed */
};

/* ---- store.c: opening, transactions ---- */

/* Whether WHERE names a PostgreSQL database (a URL, or "conninfo:" and parameters) and no file. */
bool store_is_remote(const char *where);
/* Opens the database WHERE and looks at it: whether it is one, sound, and of a form that this program
 * knows.  WHERE is the path of an SQLite file, which nothing but this process may have open, or what
 * store_where() made.  Until store_begin_use() nothing is written, not even what lies in a write-ahead
 * log.  Logs its own failure.
 * STATUS_NOT_FOUND: there is none, or none with anything in it; says nothing.
 * STATUS_INVALID: damaged, newer, moved elsewhere, or not a vault's.  STATUS_UNAVAILABLE: in use,
 * unreadable, or it does not answer. */
MUST_USE enum status store_open(const char *where, struct store **ret_store);
/* Makes a new database where none is (on PostgreSQL, its tables); the rest as above. */
MUST_USE enum status store_create(const char *where, struct store **ret_store);
/* From now on it is written to: brings it to the newest form. */
MUST_USE enum status store_begin_use(struct store *store);
void store_close(struct store **store);
/* A transaction of its own: on PostgreSQL those of all vaults run one after the other, and each counts
 * the changes up (store_refresh()). */
MUST_USE enum status store_begin(struct store *store);
/* One that changes nothing that decides and that may be lost, such as times of last use; several at once. */
MUST_USE enum status store_begin_quiet(struct store *store);
/* Commits when STATUS is STATUS_OK, else rolls back; the status of it all. */
MUST_USE enum status store_end(struct store *store, enum status status);
/* Runs WORK in a transaction and, as long as that loses against another vault's, all of it again: what
 * it leaves outside of the database must come out the same. */
typedef enum status store_work(void *arg);
MUST_USE enum status store_transact(struct store *store, store_work *work, void *arg);
/* The same for WORK that only adds rows, or changes what hot.c does not keep: for the other vaults nothing
 * has changed that they keep. */
MUST_USE enum status store_transact_adding(struct store *store, store_work *work, void *arg);
/* The same for what store_begin_quiet() is for. */
MUST_USE enum status store_transact_quiet(struct store *store, store_work *work, void *arg);
/* Moves the write-ahead log into the database, so that what was deleted is gone from disk. */
void store_checkpoint(struct store *store);
/* Runs SQL, several statements without parameters or rows; for migrations and tests. */
MUST_USE enum status store_exec(struct store *store, const char *sql);

/* ---- several vaults on one database ---- */

/* Whether there may be. */
bool store_is_shared(const struct store *store);

struct store_state {
    char kek[KEK_ID_MAX + 1]; /* the master key that is in use */
    bool moved;               /* the install is in another database now */
};
/* Reads how many changes the database has seen: until store_stale() the rows that hot.c keeps count when
 * they were read at that number.  STATUS_UNAVAILABLE: the database is away. */
MUST_USE enum status store_refresh(struct store *store, struct store_state *ret_state);
void store_stale(struct store *store);

/* Has LOST called (in the loop) when the connection is gone and BACK when there is a new one, which is
 * looked for from then on; a store that is a file is never away. */
struct store_events {
    void (*lost)(void *arg);
    void (*back)(void *arg);
};
MUST_USE enum status store_watch(struct store *store, struct loop *loop,
                                 const struct store_events *events, void *arg);
bool store_is_away(const struct store *store);

/* ---- store_where.c: the option --store ---- */

/* From --store (NULL: DATA/vault.db), a URL "postgres://..." or a file that holds one or libpq's
 * parameters, to WHERE, which the caller free()s.  A password on the command line, a host elsewhere
 * without sslmode=verify-full unless ALLOW_INSECURE, or a missing user: STATUS_INVALID, logged. */
MUST_USE enum status store_where(const char *data, const char *option, bool allow_insecure,
                                 char **ret_where);
/* How messages name it: a path, or words, for a URL may hold a password. */
const char *store_title(const char *where);
/* The same with the names of database and host; RET takes MOVED_MAX bytes. */
void store_describe(const char *where, char *ret);
/* Names the files and ports that a connection to WHERE needs. */
void store_confine(struct confinement *confinement, const char *where);

/* ---- store_copy.c: a copy of the database, some pages at a time ---- */

struct store_copy;
/* Into a new file PATH; what STORE writes meanwhile goes into the copy too.  STATUS_INVALID for a
 * store that is no file. */
MUST_USE enum status store_copy_begin(struct store *store, const char *path,
                                      struct store_copy **ret_copy);
/* RET_PAGES: how many there are in all. */
MUST_USE enum status store_copy_step(struct store_copy *copy, int pages, bool *ret_done,
                                     uint64_t *ret_pages);
void store_copy_end(struct store_copy **copy);

/* ---- query.c: one run of a prepared statement; parameters and columns in their order ---- */

struct query {
    struct store *store;
    void *statement; /* the engine's; NULL when it could not be prepared */
    int parameter;
    int column;
    enum status status; /* of binding and stepping so far */
};

/* SQL must be a string literal: statements are kept by its address. */
struct query query_new(struct store *store, const char *sql);
void query_end(struct query *query);
void query_text(struct query *query, const char *text);
void query_view(struct query *query, struct view text);
void query_bytes(struct query *query, struct view bytes);
void query_number(struct query *query, uint64_t number);
/* Steps to the next row; false at the end and on failure, see `status`. */
bool query_row(struct query *query);
/* Runs a statement that changes rows.  STATUS_CONFLICT for a constraint. */
MUST_USE enum status query_run(struct query *query);
/* The same; STATUS_NOT_FOUND when it changed none. */
MUST_USE enum status query_run_one(struct query *query);
void query_get_text(struct query *query, char *text, size_t size);
void query_get_bytes(struct query *query, uint8_t *bytes, size_t size);
uint64_t query_get_number(struct query *query);
struct view query_get_view(struct query *query); /* until the next step */

/* A MAC over the fields that are added, the table's name first. */
struct row_mac {
    struct buffer fields;
};
struct row_mac row_mac_new(const char *table);
void row_mac_text(struct row_mac *mac, const char *text);
void row_mac_bytes(struct row_mac *mac, struct view bytes);
void row_mac_number(struct row_mac *mac, uint64_t number);
/* Computes and frees. */
MUST_USE enum status row_mac_make(struct store *store, struct row_mac *mac, uint8_t *ret_mac);

/* The three ways in which rows are read: STATUS_NOT_FOUND when there is none. */
MUST_USE enum status query_only_row(struct query *query);
struct view hash_view(const uint8_t *hash); /* of CRYPTO_HASH_BYTES */
/* Whether the next column is MAC, if MADE says that it could be made; STATUS_DENIED. */
MUST_USE enum status query_mac_matches(struct query *query, enum status made,
                                       const uint8_t *mac);

/* ---- rows ---- */

typedef char row_id[ID_SIZE_MAX + 1];

struct account {
    row_id id;
    char email[EMAIL_MAX + 1];
    char password[CRYPTO_PASSWORD_SIZE];
    uint64_t created_ms;
};

struct session {
    uint8_t hash[CRYPTO_HASH_BYTES];
    row_id account;
    uint64_t created_ms;
    uint64_t last_ms; /* not under the MAC: written in batches */
};

struct account_key {
    row_id id, account;
    char name[NAME_MAX_BYTES + 1];
    uint8_t hash[CRYPTO_HASH_BYTES];
    char last4[LAST_CHARS + 1];
    uint64_t created_ms, used_ms;
};

struct agent {
    row_id id, account;
    char name[NAME_MAX_BYTES + 1];
    enum direct_access direct;
    struct buffer names; /* DIRECT_LIST: each name and a newline */
    uint8_t hash[CRYPTO_HASH_BYTES];
    uint64_t created_ms, seen_ms;
};
void agent_free(struct agent *agent);

struct token {
    row_id id, account, agent;
    char provider[PROVIDER_MAX + 1];
    char secret[NAME_MAX_BYTES + 1]; /* instead of the provider's first; or empty */
    uint8_t hash[CRYPTO_HASH_BYTES];
    char last4[LAST_CHARS + 1];
    uint64_t created_ms;
    uint64_t expires_ms; /* 0: never */
    uint64_t lifetime_s; /* what renewing gives again; 0: for ever */
    uint64_t used_ms;
};

/* A token that no longer works, kept so that the audit log can say whose it was. */
struct dead_token {
    row_id token, account, agent;
    char provider[PROVIDER_MAX + 1];
};

struct secret_row {
    row_id id, account;
    char name[NAME_MAX_BYTES + 1];
    char provider[PROVIDER_MAX + 1];
    uint64_t version;
    row_id data_key;
    uint64_t created_ms, updated_ms, used_ms; /* used_ms: 0 for never; written by touch.c alone */
};

/* The one row about the installation itself. */
struct install {
    row_id id;
    char kek[KEK_ID_MAX + 1];         /* of the master key under which `check` is sealed */
    uint8_t check[MASTER_CHECK_MAX];  /* a known text under the wrapping key */
    size_t check_size;
};

/* How many changes the database has seen; under a MAC, for the audit log knows it too. */
struct epoch_row {
    uint64_t epoch;
    uint64_t restored_ms; /* when `restore` made it, until a vault has used it; else 0 */
};

/* A data key, wrapped under the master key that KEK names ("" before FORM_WITH_KEKS: the only
 * one).  TENANT is empty for the install's own keys. */
struct data_key_row {
    row_id id, tenant;
    char purpose[16];
    uint64_t version, seals, created_ms;
    char kek[KEK_ID_MAX + 1];
    uint8_t wrapped[WRAPPED_KEY_BYTES];
};

/* ---- rows_keys.c ---- */

MUST_USE enum status install_insert(struct store *store, const struct install *install);
MUST_USE enum status install_read(struct store *store, struct install *ret);
MUST_USE enum status install_set_check(struct store *store, const struct install *install);
/* Says that the install is in the database PLACE from now on; a vault does not start on this one. */
MUST_USE enum status install_set_moved(struct store *store, const char *place);
/* RET takes MOVED_MAX bytes; "" when it is here. */
MUST_USE enum status install_moved(struct store *store, char *ret);

/* After keys_open(), for the MAC's key. */
MUST_USE enum status epoch_read(struct store *store, struct epoch_row *ret);
MUST_USE enum status epoch_write(struct store *store, const struct epoch_row *row);

MUST_USE enum status data_key_insert(struct store *store, const struct data_key_row *key);
MUST_USE enum status data_key_newest(struct store *store, const char *tenant,
                                     const char *purpose, struct data_key_row *ret);
MUST_USE enum status data_key_by_id(struct store *store, const char *tenant, const char *purpose,
                                    const char *id, struct data_key_row *ret);
/* All of them by id: the first after ID ("" to begin), STATUS_NOT_FOUND at the end. */
MUST_USE enum status data_key_after(struct store *store, const char *id,
                                    struct data_key_row *ret);
MUST_USE enum status data_key_set_wrapped(struct store *store, const struct data_key_row *key);
MUST_USE enum status data_key_count_seal(struct store *store, const char *id);
MUST_USE enum status data_key_erase(struct store *store, const char *tenant);
/* How many there are, and how many of them under neither of the two master keys. */
MUST_USE enum status data_key_census(struct store *store, const char *kek, const char *other,
                                     uint64_t *ret_all, uint64_t *ret_strange);
/* The tenants that have data keys, by id: the first after TENANT ("" to begin); RET takes a row_id and
 * may be TENANT itself.  STATUS_NOT_FOUND at the end. */
MUST_USE enum status data_key_tenant_after(struct store *store, const char *tenant, char *ret);
/* A tenant after TENANT that has more than one version; RET may be TENANT itself. */
MUST_USE enum status data_key_superseded(struct store *store, const char *tenant, char *ret);
/* A tenant whose newest version is older than BEFORE_MS or has sealed SEALS times; RET a row_id. */
MUST_USE enum status data_key_worn(struct store *store, uint64_t before_ms, uint64_t seals,
                                   char *ret);
/* Deletes the tenant's versions that are older than NEWEST. */
MUST_USE enum status data_key_drop_older(struct store *store, const char *tenant,
                                         const char *newest);
/* Names the master key of the rows that name none, after the form of the database has changed. */
MUST_USE enum status data_key_adopt(struct store *store, const char *kek);

/* ---- rows_account.c ---- */

MUST_USE enum status account_insert(struct store *store, const struct account *account);
MUST_USE enum status account_by_id(struct store *store, const char *id, struct account *ret);
MUST_USE enum status account_by_email(struct store *store, const char *email,
                                      struct account *ret);
MUST_USE enum status account_set_password(struct store *store, struct account *account);
MUST_USE enum status account_delete(struct store *store, const char *id);
MUST_USE enum status account_any(struct store *store, bool *ret_any);

MUST_USE enum status session_insert(struct store *store, const struct session *session);
MUST_USE enum status session_by_hash(struct store *store, struct view hash, struct session *ret);
MUST_USE enum status session_delete(struct store *store, struct view hash);
MUST_USE enum status session_delete_all(struct store *store, const char *account);
MUST_USE enum status session_prune(struct store *store, uint64_t before_ms);

MUST_USE enum status key_insert(struct store *store, const struct account_key *key);
MUST_USE enum status key_by_hash(struct store *store, struct view hash, struct account_key *ret);
MUST_USE enum status key_delete(struct store *store, const char *account, const char *id);
struct query key_list(struct store *store, const char *account);
bool key_next(struct query *query, struct account_key *ret);

/* ---- rows_access.c ---- */

MUST_USE enum status agent_insert(struct store *store, const struct agent *agent);
MUST_USE enum status agent_update(struct store *store, const struct agent *agent);
MUST_USE enum status agent_by_id(struct store *store, const char *account, const char *id,
                                 struct agent *ret);
MUST_USE enum status agent_by_hash(struct store *store, struct view hash, struct agent *ret);
MUST_USE enum status agent_by_name(struct store *store, const char *account, const char *name,
                                   struct agent *ret);
MUST_USE enum status agent_delete(struct store *store, const struct agent *agent);
struct query agent_list(struct store *store, const char *account);
bool agent_next(struct query *query, struct agent *ret); /* frees what RET had before */

MUST_USE enum status token_insert(struct store *store, const struct token *token);
MUST_USE enum status token_update(struct store *store, const struct token *token);
MUST_USE enum status token_by_id(struct store *store, const char *account, const char *agent,
                                 const char *id, struct token *ret);
MUST_USE enum status token_by_hash(struct store *store, struct view hash, struct token *ret);
MUST_USE enum status token_delete(struct store *store, const struct token *token);
struct query token_list(struct store *store, const char *account, const char *agent);
bool token_next(struct query *query, struct token *ret);

/* Remembers that HASH is dead; TOKEN is NULL for an agent's own. */
MUST_USE enum status dead_insert(struct store *store, struct view hash, const char *account,
                                 const char *agent, const struct token *token);
MUST_USE enum status dead_by_hash(struct store *store, struct view hash, struct dead_token *ret);
MUST_USE enum status dead_prune(struct store *store, uint64_t before_ms);

/* ---- rows_secret.c ---- */

MUST_USE enum status secret_row_insert(struct store *store, const struct secret_row *row,
                                       struct view blob);
MUST_USE enum status secret_row_update(struct store *store, const struct secret_row *row,
                                       struct view blob);
/* RET_BLOB may be NULL. */
MUST_USE enum status secret_row_by_name(struct store *store, const char *account,
                                        struct view name, struct secret_row *ret,
                                        struct buffer *ret_blob);
MUST_USE enum status secret_row_delete(struct store *store, const char *account,
                                       struct view name);
/* The account's first secret whose name is behind NAME and which is not under the data key NEWEST. */
MUST_USE enum status secret_row_after(struct store *store, const char *account, const char *name,
                                      const char *newest, struct secret_row *ret,
                                      struct buffer *ret_blob);
struct query secret_row_list(struct store *store, const char *account);
bool secret_row_next(struct query *query, struct secret_row *ret);

/* How many rows of TABLE belong to ACCOUNT (tokens: to the agent of that id). */
enum counted { COUNT_KEYS, COUNT_AGENTS, COUNT_TOKENS, COUNT_SECRETS };
MUST_USE enum status rows_count(struct store *store, enum counted table, const char *account,
                                uint64_t *ret_count);

/* ---- hot.c: what every call reads, from memory while nothing has changed ---- */

/* As token_by_hash(). */
MUST_USE enum status hot_token(struct store *store, struct view hash, struct token *ret);
/* Whether the account has this agent, as agent_by_id() says. */
MUST_USE enum status hot_agent(struct store *store, const char *account, const char *id);
/* As secret_row_by_name(); RET_BLOB is empty before. */
MUST_USE enum status hot_secret(struct store *store, const char *account, struct view name,
                                struct secret_row *ret, struct buffer *ret_blob);

#endif
