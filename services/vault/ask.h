/* ask.h - one operation that a gateway asked for, from its arrival to its answer.
 *
 * ask.c drives it: who asks, check, passwords, audit record, apply, answer.  operations.c has the
 * table, ops_*.c the two halves of each: `check` refuses what cannot be done and changes nothing;
 * `apply` runs in a transaction once the audit record is on disk, and looks again at what may have
 * changed since. */
#ifndef VAULT_ASK_H
#define VAULT_ASK_H

#include "vault.h"

enum asker { ASKER_NONE, ASKER_ACCOUNT, ASKER_AGENT };

struct ask;

struct operation {
    const char *action; /* in the audit log; NULL: not recorded, changes nothing */
    enum asker asker;
    bool with_csrf;     /* demanded of a session */
    bool adds;          /* as store_transact_adding() has it */
    enum status (*check)(struct ask *ask); /* may be NULL */
    enum status (*apply)(struct ask *ask);
};

struct ask {
    struct pending pending; /* first: the list's */
    struct vault *vault;
    struct buffer bytes;    /* what IN views */
    struct vault_ask in;
    const struct operation *operation;

    /* who asks */
    row_id tenant;          /* empty until known */
    struct agent agent;     /* ASKER_AGENT */
    bool by_session;
    uint8_t session_hash[CRYPTO_HASH_BYTES];

    /* from check to apply */
    struct secret *value;   /* the opened box */
    struct secret *value2;
    char email[EMAIL_MAX + 1];
    bool needs_hasher;
    struct hash_job job;

    /* for the audit record, besides what is in IN */
    char note_agent[ID_SIZE_MAX + 1];
    char note_token[ID_SIZE_MAX + 1];
    char note_provider[PROVIDER_MAX + 1];
    char note[NAME_MAX_BYTES + 1];
    const char *denied_because; /* a refusal with this is recorded */

    struct trace_timed audit_timed; /* how long the record took there */

    /* the answer */
    struct audit_pages *pages; /* that it waits for, or NULL */
    bool later;             /* apply has asked somebody else; ask_finish() ends it */
    unsigned http;
    struct buffer json, box;
    char session[SESSION_TEXT + 1];
    char detail[DETAIL_MAX + 1];
    uint64_t wait_s;        /* before the caller may try again, 0 when nothing says so */
};

/* Sets the sentence for the caller and yields STATUS. */
MUST_USE enum status ask_refuse(struct ask *ask, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for what the audit log is to know of. */
MUST_USE enum status ask_deny(struct ask *ask, enum status status, const char *because);
/* Sends the answer and frees. */
void ask_finish(struct ask *ask, enum status status);
/* Begins the body: {"ok":true, and the fields follow; ask_finish() closes it. */
struct buffer *ask_body(struct ask *ask, unsigned http);

/* operations.c: NULL for a number that is none. */
const struct operation *operation_of(uint64_t op);

/* ask_identify.c: who asks, by the credential; sets tenant and agent or session. */
MUST_USE enum status ask_identify(struct ask *ask);

/* For a view that becomes a name: a NUL-terminated copy for the rows. */
MUST_USE enum status ask_name(struct ask *ask, char *ret_name); /* IN.name as a label */


/* ---- ops_*.c ---- */

enum status check_account_create(struct ask *ask);
enum status apply_account_create(struct ask *ask);
enum status check_session_create(struct ask *ask);
enum status apply_session_create(struct ask *ask);
enum status check_session_delete(struct ask *ask);
enum status apply_session_delete(struct ask *ask);
enum status check_password_change(struct ask *ask);
enum status apply_password_change(struct ask *ask);
enum status check_account_delete(struct ask *ask);
enum status apply_account_delete(struct ask *ask);
enum status check_key_create(struct ask *ask);
enum status apply_key_create(struct ask *ask);
enum status check_key_delete(struct ask *ask);
enum status apply_key_delete(struct ask *ask);
enum status check_secret_put(struct ask *ask);
enum status apply_secret_put(struct ask *ask);
enum status check_secret_delete(struct ask *ask);
enum status apply_secret_delete(struct ask *ask);
enum status check_agent_create(struct ask *ask);
enum status apply_agent_create(struct ask *ask);
enum status check_agent_patch(struct ask *ask);
enum status apply_agent_patch(struct ask *ask);
enum status check_agent_delete(struct ask *ask);
enum status apply_agent_delete(struct ask *ask);
enum status check_agent_token(struct ask *ask);
enum status apply_agent_token(struct ask *ask);
enum status check_token_create(struct ask *ask);
enum status apply_token_create(struct ask *ask);
enum status check_token_renew(struct ask *ask);
enum status apply_token_renew(struct ask *ask);
enum status check_token_delete(struct ask *ask);
enum status apply_token_delete(struct ask *ask);
enum status check_agent_secret_get(struct ask *ask);
enum status apply_agent_secret_get(struct ask *ask);
enum status apply_account_get(struct ask *ask);
enum status apply_key_list(struct ask *ask);
enum status apply_secret_list(struct ask *ask);
enum status apply_agent_list(struct ask *ask);
enum status apply_agent_get(struct ask *ask);
enum status apply_token_list(struct ask *ask);
enum status apply_audit_list(struct ask *ask);
enum status apply_agent_secrets(struct ask *ask);
enum status apply_intake_key(struct ask *ask);

#endif
