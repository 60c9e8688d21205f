/* import.c - the rows of an export as rows of this vault, each account with what belongs to it.
 *
 * Ids are new; emails, names, passwords and the values of tokens are what they were, so that nobody
 * has to change anything.  Secrets are opened with the old master key and sealed as all others.
 */
#include "import.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OLD_BLOB_MAX = SECRET_VALUE_MAX + CRYPTO_NONCE_BYTES + CRYPTO_TAG_BYTES };

/* One account on its way. */
struct moving {
    struct import *import;
    const char *old_id; /* of the export */
    struct account account;
};

static void problem(struct import *import, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void problem(struct import *import, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    command_say(format, args);
    va_end(args);
    import->counts.problems++;
}

/* ---- reading the export ---- */

typedef enum status row_fn(void *arg, sqlite3_stmt *row);

/* Runs SQL with up to two texts bound, and FN on each row. */
static enum status each_row(const struct import *import, const char *sql, const char *a,
                            const char *b, row_fn *fn, void *arg)
{
    sqlite3_stmt *statement = NULL;
    enum status status = STATUS_OK;
    int code = sqlite3_prepare_v2(import->source->db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK && a) {
        code = sqlite3_bind_text(statement, 1, a, -1, SQLITE_STATIC);
    }
    if (code == SQLITE_OK && b) {
        code = sqlite3_bind_text(statement, 2, b, -1, SQLITE_STATIC);
    }
    while (code == SQLITE_OK && status == STATUS_OK && sqlite3_step(statement) == SQLITE_ROW) {
        status = fn(arg, statement);
    }
    if (sqlite3_finalize(statement) != SQLITE_OK || code != SQLITE_OK) {
        return command_fail(STATUS_INVALID, "the export cannot be read: %s",
                            sqlite3_errmsg(import->source->db));
    }
    return status;
}

static const char *text_at(sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    return text ? text : "";
}

static uint64_t time_at(sqlite3_stmt *row, int column)
{
    int64_t seconds = sqlite3_column_int64(row, column);
    return seconds > 0 ? (uint64_t)seconds * 1000 : clock_wall_ms();
}

static enum status count_one(void *arg, sqlite3_stmt *row)
{
    *(int64_t *)arg = sqlite3_column_int64(row, 0);
    return STATUS_OK;
}

static int64_t count(const struct import *import, const char *sql, const char *a, const char *b)
{
    int64_t result = 0;
    return each_row(import, sql, a, b, count_one, &result) == STATUS_OK ? result : -1;
}

/* ---- secrets ---- */

/* Base64 of nonce, ciphertext and tag, AES-256-GCM under the old master key itself, no AAD. */
static enum status open_old(const struct import *import, const char *text,
                            struct secret **ret_value)
{
    uint8_t blob[OLD_BLOB_MAX];
    size_t size = 0;
    const char *end = NULL;
    const size_t overhead = CRYPTO_NONCE_BYTES + CRYPTO_TAG_BYTES;
    if (sodium_base642bin(blob, sizeof blob, text, strlen(text), NULL, &size, &end,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        *end != 0 || size <= overhead) {
        return STATUS_INVALID;
    }
    CLEANUP(secret_free) struct secret *value = secret_new(NULL, size - overhead);
    if (!value) {
        return STATUS_INTERNAL;
    }
    enum status status = crypto_gcm_decrypt(
        secret_view(import->old_key), blob, view_of(NULL, 0),
        view_of(blob + CRYPTO_NONCE_BYTES, size - overhead), blob + size - CRYPTO_TAG_BYTES,
        secret_data(value));
    if (status == STATUS_OK) {
        *ret_value = TAKE(value);
    }
    return status;
}

/* A newline at the end came with the copying; one inside could end a header. */
static bool usable(struct view *value)
{
    while (value->size && (value->data[value->size - 1] == '\n' ||
                           value->data[value->size - 1] == '\r')) {
        value->size--;
    }
    return value->size && !memchr(value->data, '\n', value->size) &&
           !memchr(value->data, '\r', value->size) && !memchr(value->data, 0, value->size);
}

static enum status store_secret(const struct moving *moving, struct secret_row *row,
                                struct view value)
{
    CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
    id_new("sec", row->id);
    row->version = 1;
    memcpy(row->account, moving->account.id, sizeof row->account);
    enum status status = seal_secret(moving->import->keys, row, value, &blob);
    return status == STATUS_OK
               ? secret_row_insert(moving->import->store, row, buffer_view(&blob))
               : status;
}

static const struct provider *provider_of_old_name(const struct providers *providers,
                                                   const char *name)
{
    for (size_t i = 0; i < providers_count(providers); i++) {
        const struct provider *provider = providers_at(providers, i);
        for (const char **old = provider->old_secrets; old && *old; old++) {
            if (strcmp(*old, name) == 0) {
                return provider;
            }
        }
    }
    return NULL;
}

/* A secret that calls are made with under another name here is stored under that too, unless the
 * account has one of that name. */
static enum status store_copy(const struct moving *moving, const struct secret_row *row,
                              struct view value)
{
    char sql[128];
    struct import *import = moving->import;
    const struct provider *provider = provider_of_old_name(import->providers, row->name);
    if (!provider) {
        return STATUS_OK;
    }
    const char *name = provider->secrets[0];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM secrets WHERE %s = ? AND name = ?",
                   import->source->owner);
    if (count(import, sql, moving->old_id, name) != 0) {
        return STATUS_OK;
    }
    struct secret_row copy = *row;
    (void)snprintf(copy.name, sizeof copy.name, "%s", name);
    (void)snprintf(copy.provider, sizeof copy.provider, "%s", provider->name);
    import->counts.copies++;
    return store_secret(moving, &copy, value);
}

/* name, provider, encrypted_value, created, updated */
static enum status take_secret(void *arg, sqlite3_stmt *row)
{
    struct moving *moving = arg;
    struct import *import = moving->import;
    CLEANUP(secret_free) struct secret *plain = NULL;
    struct secret_row secret = {.created_ms = time_at(row, 3), .updated_ms = time_at(row, 4)};
    const char *name = text_at(row, 0), *email = moving->account.email;
    const struct provider *known = providers_find(import->providers, view_text(text_at(row, 1)));
    if (!secret_name_valid(view_text(name))) {
        problem(import, "%s: the secret \"%s\" has a name that is not possible here", email, name);
        return STATUS_OK;
    }
    (void)snprintf(secret.name, sizeof secret.name, "%s", name);
    if (!view_copy(view_text(known ? known->name : text_at(row, 1)), secret.provider,
                   sizeof secret.provider)) {
        secret.provider[0] = 0; /* a label, no more */
    }
    enum status status = open_old(import, text_at(row, 2), &plain);
    if (status != STATUS_OK) {
        problem(import, "%s: the secret %s does not open with the old master key", email, name);
        return STATUS_OK;
    }
    struct view value = secret_view(plain);
    if (!usable(&value)) {
        problem(import, "%s: the secret %s is empty, or has a line break inside", email, name);
        return STATUS_OK;
    }
    import->counts.secrets++;
    status = store_secret(moving, &secret, value);
    return status == STATUS_OK ? store_copy(moving, &secret, value) : status;
}

/* ---- agents and tokens ---- */

struct moving_agent {
    struct moving *moving;
    const char *old_id;
    struct agent agent;
};

static enum status hash_of_token(const struct import *import, const char *token,
                                 uint8_t *ret_hash)
{
    uint8_t digest[CRYPTO_HASH_BYTES];
    enum status status = crypto_sha256(view_text(token), digest);
    return status == STATUS_OK
               ? credential_hash_imported(import->keys, view_of(digest, sizeof digest), ret_hash)
               : status;
}

/* provider, token, created, last used */
static enum status take_token(void *arg, sqlite3_stmt *row)
{
    struct moving_agent *agent = arg;
    struct import *import = agent->moving->import;
    const char *text = text_at(row, 1), *email = agent->moving->account.email;
    const struct provider *provider =
        providers_find(import->providers, view_text(text_at(row, 0)));
    struct view label;
    if (!provider) {
        problem(import, "%s: a token is for the provider %s, which is not known here: give its row "
                        "with --providers", email, text_at(row, 0));
        return STATUS_OK;
    }
    if (!token_is_imported(view_text(text)) || !token_check(view_text(text), &label)) {
        problem(import, "%s: a token for %s has a shape that is not known", email, provider->name);
        return STATUS_OK;
    }
    struct token token = {.created_ms = time_at(row, 2),
                          .used_ms = (uint64_t)sqlite3_column_int64(row, 3) * 1000};
    id_new("tok", token.id);
    memcpy(token.account, agent->agent.account, sizeof token.account);
    memcpy(token.agent, agent->agent.id, sizeof token.agent);
    (void)snprintf(token.provider, sizeof token.provider, "%s", provider->name);
    last_chars(text, token.last4);
    enum status status = hash_of_token(import, text, token.hash);
    if (status == STATUS_OK) {
        status = token_insert(import->store, &token);
    }
    import->counts.tokens += status == STATUS_OK;
    return status;
}

static enum status add_name(void *arg, sqlite3_stmt *row)
{
    struct moving_agent *agent = arg;
    if (secret_name_valid(view_text(text_at(row, 0)))) {
        buffer_append_text(&agent->agent.names, text_at(row, 0));
        buffer_append_byte(&agent->agent.names, '\n');
    }
    return agent->agent.names.failed ? STATUS_INTERNAL : STATUS_OK;
}

/* What it could read: everything that was not kept for others. */
static enum status set_access(struct moving_agent *agent)
{
    char sql[400];
    const struct import *import = agent->moving->import;
    agent->agent.direct = DIRECT_TRUE;
    if (!import->source->has_access) {
        return STATUS_OK;
    }
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM secret_access JOIN secrets ON secrets.id = secret_id"
                   " WHERE %s = ?", import->source->owner);
    if (count(import, sql, agent->moving->old_id, NULL) == 0) {
        return STATUS_OK;
    }
    agent->agent.direct = DIRECT_LIST;
    (void)snprintf(sql, sizeof sql,
                   "SELECT name FROM secrets WHERE %s = ? AND (NOT EXISTS (SELECT 1 FROM"
                   " secret_access WHERE secret_id = secrets.id) OR EXISTS (SELECT 1 FROM"
                   " secret_access WHERE secret_id = secrets.id AND agent_id = ?)) ORDER BY name",
                   import->source->owner);
    return each_row(import, sql, agent->moving->old_id, agent->old_id, add_name, agent);
}

static enum status set_hash(struct moving_agent *agent, const char *token)
{
    const struct import *import = agent->moving->import;
    uint8_t digest[CRYPTO_HASH_BYTES];
    if (!import->source->hashed) {
        return token_is_imported(view_text(token))
                   ? hash_of_token(import, token, agent->agent.hash)
                   : STATUS_INVALID;
    }
    return hex_decode(view_text(token), digest, sizeof digest)
               ? credential_hash_imported(import->keys, view_of(digest, sizeof digest),
                                          agent->agent.hash)
               : STATUS_INVALID;
}

/* The export lets two agents of an account have one name. */
static enum status set_name(struct moving_agent *agent, const char *name)
{
    CLEANUP(agent_free) struct agent other = {0};
    struct store *store = agent->moving->import->store;
    enum status status = STATUS_OK;
    for (int i = 1; status == STATUS_OK && i < 1000; i++) {
        int size = snprintf(agent->agent.name, sizeof agent->agent.name, i == 1 ? "%s" : "%s (%d)",
                            name, i);
        if (size < 0 || (size_t)size >= sizeof agent->agent.name ||
            !label_valid(view_text(agent->agent.name))) {
            return STATUS_INVALID;
        }
        status = agent_by_name(store, agent->agent.account, agent->agent.name, &other);
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status == STATUS_OK ? STATUS_CONFLICT : status;
}

static enum status insert_agent(struct moving_agent *agent)
{
    static const char sql[] = "SELECT provider, token, unixepoch(created_at),"
                              " coalesce(unixepoch(last_used_at), 0) FROM fake_tokens"
                              " WHERE agent_id = ?";
    struct import *import = agent->moving->import;
    enum status status = agent_insert(import->store, &agent->agent);
    import->counts.agents += status == STATUS_OK;
    if (status == STATUS_OK && import->source->has_tokens) {
        status = each_row(import, sql, agent->old_id, NULL, take_token, agent);
    }
    return status;
}

/* id, name, token or its hash, created, last seen */
static enum status take_agent(void *arg, sqlite3_stmt *row)
{
    struct moving *moving = arg;
    struct moving_agent agent = {.moving = moving, .old_id = text_at(row, 0)};
    agent.agent.created_ms = time_at(row, 3);
    agent.agent.seen_ms = (uint64_t)sqlite3_column_int64(row, 4) * 1000;
    memcpy(agent.agent.account, moving->account.id, sizeof agent.agent.account);
    id_new("agt", agent.agent.id);
    enum status status = set_name(&agent, text_at(row, 1));
    if (status == STATUS_OK) {
        status = set_hash(&agent, text_at(row, 2));
    }
    if (status == STATUS_INVALID) {
        problem(moving->import, "%s: the agent \"%s\" has a name or a token that is not possible",
                moving->account.email, text_at(row, 1));
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        status = set_access(&agent);
    }
    if (status == STATUS_OK) {
        status = insert_agent(&agent);
    }
    agent_free(&agent.agent);
    return status;
}

/* ---- accounts ---- */

static enum status take_belongings(struct moving *moving)
{
    char sql[300];
    const struct import_source *source = moving->import->source;
    (void)snprintf(sql, sizeof sql,
                   "SELECT name, provider, encrypted_value, unixepoch(created_at),"
                   " unixepoch(updated_at) FROM secrets WHERE %s = ?", source->owner);
    enum status status =
        each_row(moving->import, sql, moving->old_id, NULL, take_secret, moving);
    (void)snprintf(sql, sizeof sql,
                   "SELECT id, name, %s, unixepoch(created_at), coalesce(unixepoch(last_seen_at), 0)"
                   " FROM agents WHERE %s = ? ORDER BY created_at, id",
                   source->hashed ? "token_hash" : "token", source->owner);
    return status == STATUS_OK
               ? each_row(moving->import, sql, moving->old_id, NULL, take_agent, moving)
               : status;
}

/* id, email, password_hash, created, status */
static enum status take_account(void *arg, sqlite3_stmt *row)
{
    struct import *import = arg;
    struct moving moving = {.import = import, .old_id = text_at(row, 0)};
    struct account *account = &moving.account;
    const char *email = text_at(row, 1);
    if (strcmp(text_at(row, 4), "active") != 0) {
        problem(import, "%s: the account is not active but %s", email, text_at(row, 4));
        return STATUS_OK;
    }
    if (!email_normal(view_text(email), account->email) ||
        crypto_pbkdf2_take(text_at(row, 2), account->password) != STATUS_OK) {
        problem(import, "%s: the email or the password's hash is not of a known form", email);
        return STATUS_OK;
    }
    id_new("acc", account->id);
    account->created_ms = time_at(row, 3);
    struct account other;
    enum status status = account_by_email(import->store, account->email, &other);
    if (status == STATUS_OK || status == STATUS_DENIED) {
        problem(import, "%s: an account with this email is here already", email);
        return STATUS_OK;
    }
    status = status == STATUS_NOT_FOUND ? account_insert(import->store, account) : status;
    import->counts.accounts += status == STATUS_OK;
    return status == STATUS_OK ? take_belongings(&moving) : status;
}

/* What belongs to nobody would be lost without a word. */
static void look_for_orphans(struct import *import)
{
    char sql[200];
    const struct import_source *source = import->source;
    const struct {
        const char *table, *owner, *owners;
    } rows[] = {
        {"agents", source->owner, source->accounts},
        {"secrets", source->owner, source->accounts},
        {source->has_tokens ? "fake_tokens" : NULL, "agent_id", "agents"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && rows[i].table; i++) {
        (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s WHERE %s NOT IN (SELECT id FROM %s)",
                       rows[i].table, rows[i].owner, rows[i].owners);
        int64_t orphans = count(import, sql, NULL, NULL);
        if (orphans != 0) {
            problem(import, "%lld rows of %s belong to none of %s", (long long)orphans,
                    rows[i].table, rows[i].owners);
        }
    }
}

static void look_for_restrictions(struct import *import)
{
    int64_t kept = import->source->has_access
                       ? count(import, "SELECT count(DISTINCT secret_id) FROM secret_access", NULL,
                               NULL)
                       : 0;
    if (kept != 0 && !import->accept_wider) {
        problem(import, "%lld secrets are kept for some agents; here every agent of the account can "
                        "make calls with them by its agent token (reading them stays kept): say "
                        "--accept-wider-access if that is right", (long long)kept);
    }
}

enum status import_run(struct import *import)
{
    char sql[160];
    (void)snprintf(sql, sizeof sql,
                   "SELECT id, email, password_hash, unixepoch(created_at), %s FROM %s"
                   " ORDER BY created_at, id",
                   import->source->has_status ? "status" : "'active'", import->source->accounts);
    look_for_orphans(import);
    look_for_restrictions(import);
    return each_row(import, sql, NULL, NULL, take_account, import);
}
