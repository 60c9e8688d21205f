/* ops_account.c - accounts and sessions: signing up, in and out, passwords, the end of an account. */
#include "ask.h"

#include <string.h>

/* ---- shared ---- */

static enum status take_password(struct ask *ask, struct view box, const char *field,
                                 uint8_t *ret_peppered)
{
    CLEANUP(secret_free) struct secret *password = NULL;
    if (intake_open(ask->vault, box, &password) != STATUS_OK) {
        return ask_refuse(ask, STATUS_INVALID, "%s is missing", field);
    }
    if (secret_size(password) < PASSWORD_MIN || secret_size(password) > PASSWORD_MAX) {
        return ask_refuse(ask, STATUS_INVALID, "%s must have %d to %d bytes", field,
                          (int)PASSWORD_MIN, (int)PASSWORD_MAX);
    }
    return password_pepper(ask->vault, secret_view(password), ret_peppered);
}

/* For a password that is to be checked, any length is just a wrong one. */
static enum status take_old_password(struct ask *ask, struct view box, uint8_t *ret_peppered)
{
    CLEANUP(secret_free) struct secret *password = NULL;
    if (intake_open(ask->vault, box, &password) != STATUS_OK) {
        return ask_refuse(ask, STATUS_INVALID, "password is missing");
    }
    enum status status = password_pepper(ask->vault, secret_view(password), ret_peppered);
    ask->value = TAKE(password); /* until check_against() knows how it is stored */
    return status;
}

static enum status take_email(struct ask *ask)
{
    if (!email_normal(ask->in.email, ask->email)) {
        return ask_refuse(ask, STATUS_INVALID, "email is not an email address");
    }
    return STATUS_OK;
}

/* Whether a password of the account NAME may be tried now; an account that there is not counts too. */
static enum status take_try(struct ask *ask, struct view name)
{
    uint64_t wait_ms = throttle_take(ask->vault->throttle, name, ask->in.client,
                                     throttle_now(ask->vault->throttle));
    if (wait_ms == 0) {
        return STATUS_OK;
    }
    ask->wait_s = (wait_ms + 999) / 1000;
    return ask_refuse(ask, STATUS_THROTTLED, "too many attempts; try again in %u s",
                      (unsigned)ask->wait_s);
}

static void right_try(struct ask *ask, struct view name)
{
    throttle_right(ask->vault->throttle, name, ask->in.client, throttle_now(ask->vault->throttle));
}

static void check_against(struct ask *ask, const char *stored)
{
    ask->needs_hasher = true;
    ask->job.check = true;
    if (crypto_pbkdf2_is(stored)) {
        ask->job.raw = TAKE(ask->value);
    }
    secret_free(&ask->value);
    (void)view_copy(view_text(stored), ask->job.stored, sizeof ask->job.stored); /* same size */
}

static void account_json(struct buffer *json, const struct account *account)
{
    json_begin(json, "account", '{');
    json_text(json, "id", view_text(account->id));
    json_text(json, "email", view_text(account->email));
    json_time(json, "created_at", account->created_ms);
    json_end(json, '}');
}

static enum status begin_session(struct ask *ask, const struct account *account, unsigned http)
{
    struct session session = {.created_ms = clock_wall_ms()};
    uint8_t random[SESSION_BYTES];
    char csrf[SESSION_TEXT + 1];
    crypto_random(random, sizeof random);
    hex_encode(view_of(random, sizeof random), ask->session);
    explicit_bzero(random, sizeof random);
    session.last_ms = session.created_ms;
    (void)view_copy(view_text(account->id), session.account, sizeof session.account);
    enum status status = credential_hash(ask->vault, view_text(ask->session), session.hash);
    if (status == STATUS_OK) {
        status = session_insert(ask->vault->store, &session);
    }
    if (status == STATUS_OK) {
        status = session_csrf(ask->vault, view_text(ask->session), csrf);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct buffer *json = ask_body(ask, http);
    account_json(json, account);
    json_text(json, "csrf", view_text(csrf));
    return STATUS_OK;
}

static enum status own_account(struct ask *ask, struct account *ret)
{
    enum status status = account_by_id(ask->vault->store, ask->tenant, ret);
    if (status == STATUS_NOT_FOUND || status == STATUS_DENIED) {
        return ask_deny(ask, STATUS_UNAUTHENTICATED, status == STATUS_DENIED
                                                         ? "account changed from outside"
                                                         : "account is gone");
    }
    return status;
}

/* ---- signing up ---- */

static enum status signup_open(struct ask *ask)
{
    const char *mode = ask->vault->options.signup;
    bool any = true;
    if (strcmp(mode, "open") == 0) {
        return STATUS_OK;
    }
    if (strcmp(mode, "first") == 0) {
        enum status status = account_any(ask->vault->store, &any);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return any ? ask_refuse(ask, ask_deny(ask, STATUS_DENIED, "signing up is closed"),
                            "this broker takes no new accounts")
               : STATUS_OK;
}

static enum status email_free(struct ask *ask)
{
    struct account other;
    enum status status = account_by_email(ask->vault->store, ask->email, &other);
    if (status == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (status == STATUS_OK || status == STATUS_DENIED) {
        return ask_refuse(ask, STATUS_CONFLICT, "an account with this email exists");
    }
    return status;
}

enum status check_account_create(struct ask *ask)
{
    enum status status = signup_open(ask);
    if (status == STATUS_OK) {
        status = take_email(ask);
    }
    if (status == STATUS_OK) {
        status = take_password(ask, ask->in.box, "password", ask->job.new);
    }
    if (status == STATUS_OK) {
        status = take_try(ask, view_text("")); /* or it would tell whose e-mails are known */
    }
    if (status == STATUS_OK) {
        status = email_free(ask);
    }
    if (status == STATUS_OK) {
        id_new("acc", ask->tenant);
        ask->needs_hasher = true;
        ask->job.make = true;
    }
    return status;
}

enum status apply_account_create(struct ask *ask)
{
    struct account account = {.created_ms = clock_wall_ms()};
    enum status status = signup_open(ask); /* another may have been first */
    if (status == STATUS_OK) {
        status = email_free(ask);
    }
    if (status != STATUS_OK) {
        return status;
    }
    (void)view_copy(view_text(ask->tenant), account.id, sizeof account.id);
    (void)view_copy(view_text(ask->email), account.email, sizeof account.email);
    (void)view_copy(view_text(ask->job.made), account.password, sizeof account.password);
    status = account_insert(ask->vault->store, &account);
    right_try(ask, view_text(""));
    return status == STATUS_OK ? begin_session(ask, &account, 201) : status;
}

/* ---- sessions ---- */

enum status check_session_create(struct ask *ask)
{
    struct account account;
    enum status status = take_email(ask);
    if (status == STATUS_OK) {
        status = take_old_password(ask, ask->in.box, ask->job.old);
    }
    if (status == STATUS_OK) {
        status = take_try(ask, view_text(ask->email));
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = account_by_email(ask->vault->store, ask->email, &account);
    if (status == STATUS_NOT_FOUND || status == STATUS_DENIED) {
        check_against(ask, hasher_nobody); /* the same time and the same answer */
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        memcpy(ask->tenant, account.id, sizeof ask->tenant);
        check_against(ask, account.password);
        if (ask->job.raw) { /* the first login since the import */
            ask->job.make = true;
            memcpy(ask->job.new, ask->job.old, sizeof ask->job.new);
        }
    }
    return status;
}

static enum status keep_new_hash(struct ask *ask, struct account *account)
{
    if (!ask->job.make || strcmp(account->password, ask->job.stored) != 0) {
        return STATUS_OK;
    }
    (void)view_copy(view_text(ask->job.made), account->password, sizeof account->password);
    return account_set_password(ask->vault->store, account);
}

enum status apply_session_create(struct ask *ask)
{
    struct account account;
    enum status status = own_account(ask, &account);
    if (status == STATUS_OK) {
        right_try(ask, view_text(account.email));
        status = keep_new_hash(ask, &account);
    }
    if (status == STATUS_OK) {
        status = session_prune(ask->vault->store, clock_wall_ms() - SESSION_LIFE_MS);
    }
    return status == STATUS_OK ? begin_session(ask, &account, 200) : status;
}

enum status check_session_delete(struct ask *ask)
{
    return ask->by_session ? STATUS_OK
                           : ask_refuse(ask, STATUS_INVALID, "there is no session to end");
}

enum status apply_session_delete(struct ask *ask)
{
    (void)ask_body(ask, 200);
    return session_delete(ask->vault->store,
                          view_of(ask->session_hash, sizeof ask->session_hash));
}

/* ---- the account itself ---- */

enum status apply_account_get(struct ask *ask)
{
    struct account account;
    char csrf[SESSION_TEXT + 1] = "";
    enum status status = own_account(ask, &account);
    if (status == STATUS_OK && ask->by_session) {
        status = session_csrf(ask->vault, ask->in.credential, csrf);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct buffer *json = ask_body(ask, 200);
    account_json(json, &account);
    if (ask->by_session) {
        json_text(json, "csrf", view_text(csrf));
    } else {
        json_raw(json, "csrf", VIEW("null"));
    }
    return STATUS_OK;
}

enum status check_password_change(struct ask *ask)
{
    struct account account;
    enum status status = own_account(ask, &account);
    if (status == STATUS_OK) {
        status = take_old_password(ask, ask->in.box, ask->job.old);
    }
    if (status == STATUS_OK) {
        status = take_password(ask, ask->in.box2, "new", ask->job.new);
    }
    if (status == STATUS_OK) {
        status = take_try(ask, view_text(ask->tenant));
    }
    if (status == STATUS_OK) {
        check_against(ask, account.password);
        ask->job.make = true;
    }
    return status;
}

/* Whether the account's password is still the one that was checked. */
static enum status unchanged(struct ask *ask, struct account *ret)
{
    enum status status = own_account(ask, ret);
    if (status == STATUS_OK && strcmp(ret->password, ask->job.stored) != 0) {
        return ask_refuse(ask, STATUS_CONFLICT, "the password was changed meanwhile");
    }
    right_try(ask, view_text(ask->tenant));
    return status;
}

enum status apply_password_change(struct ask *ask)
{
    struct account account;
    enum status status = unchanged(ask, &account);
    if (status != STATUS_OK) {
        return status;
    }
    (void)view_copy(view_text(ask->job.made), account.password, sizeof account.password);
    status = account_set_password(ask->vault->store, &account);
    if (status == STATUS_OK) {
        status = session_delete_all(ask->vault->store, ask->tenant);
    }
    (void)ask_body(ask, 200);
    return status;
}

enum status check_account_delete(struct ask *ask)
{
    struct account account;
    enum status status = own_account(ask, &account);
    if (status == STATUS_OK) {
        status = take_old_password(ask, ask->in.box, ask->job.old);
    }
    if (status == STATUS_OK) {
        status = take_try(ask, view_text(ask->tenant));
    }
    if (status == STATUS_OK) {
        check_against(ask, account.password);
    }
    return status;
}

/* The data keys go first and at once: from then on nothing of the tenant opens, whatever happens to
 * the rest. */
enum status apply_account_delete(struct ask *ask)
{
    struct account account;
    struct store *store = ask->vault->store;
    enum status status = unchanged(ask, &account);
    if (status == STATUS_OK) {
        status = keys_erase(ask->vault->keys, ask->tenant);
    }
    status = store_end(store, status);
    if (status != STATUS_OK) {
        return status;
    }
    store_checkpoint(store);
    status = store_begin(store);
    if (status == STATUS_OK) {
        status = account_delete(store, ask->tenant);
    }
    (void)ask_body(ask, 200);
    return status;
}

enum status apply_intake_key(struct ask *ask)
{
    (void)ask_body(ask, 200);
    buffer_append(&ask->box, ask->vault->intake_public, sizeof ask->vault->intake_public);
    return ask->box.failed ? STATUS_INTERNAL : STATUS_OK;
}
