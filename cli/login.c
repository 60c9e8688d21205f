/* login.c - signup, login, logout, whoami: how this host gets an account key, keeps it, and gives it
 * up.  A password is asked for, sent once, and kept nowhere. */
#include "cli/cli.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_BYTES = 65, PATH_BYTES = 512 };

static json_t *secret_json(struct secret *secret)
{
    return json_stringn((const char *)secret_data(secret), secret_size(secret));
}

/* The password from --password-file, or typed (TWICE when it is a new one). */
static int take_password(const struct args *args, bool twice, struct secret **ret)
{
    CLEANUP(secret_free) struct secret *first = NULL, *second = NULL;
    if (args->option[OPT_PASSWORD_FILE]) {
        return read_value(args->option[OPT_PASSWORD_FILE], ret);
    }
    int status = ask_hidden("Password", "use --password-file", &first);
    if (status == SEKS_OK && twice) {
        status = ask_hidden("Again", "use --password-file", &second);
    }
    if (status == SEKS_OK && twice && !secret_equal(secret_view(first), secret_view(second))) {
        return fail(SEKS_FAILED, "try again", "the two passwords differ");
    }
    *ret = status == SEKS_OK ? TAKE(first) : NULL;
    return status;
}

static int take_login(const struct args *args, bool new, json_t **ret)
{
    CLEANUP(secret_free) struct secret *email = NULL, *password = NULL;
    const char *given = args->option[OPT_EMAIL];
    int status = SEKS_OK;
    if (given) {
        email = secret_new(given, strlen(given));
    } else {
        status = ask_line("Email", "use --email", &email);
    }
    if (status == SEKS_OK) {
        status = take_password(args, new, &password);
    }
    if (status != SEKS_OK) {
        return status;
    }
    *ret = json_pack("{s:o,s:o}", "email", secret_json(email), "password", secret_json(password));
    return *ret ? SEKS_OK : fail(SEKS_USAGE, NULL, "email and password must be text in UTF-8");
}

/* "seks on HOST", of the characters that a name may have. */
static void host_name(char *ret, size_t size)
{
    char host[48] = "";
    (void)gethostname(host, sizeof host - 1);
    for (char *c = host; *c; c++) {
        *c = isalnum((unsigned char)*c) || strchr("_.-", *c) ? *c : '-';
    }
    snprintf(ret, size, "seks on %s", host[0] ? host : "a host");
}

static bool is_far_plain(const char *url)
{
    static const char *const near[] = {"http://127.", "http://localhost", "http://[::1]", "https://"};
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
        if (strncmp(url, near[i], strlen(near[i])) == 0) {
            return false;
        }
    }
    return true;
}

/* ---- the account key ---- */

static int make_key(struct broker *broker, const struct args *args, json_t **ret)
{
    char name[NAME_BYTES];
    host_name(name, sizeof name);
    const char *given = args->option[OPT_KEY_NAME];
    return broker_call(broker, "POST", "/v1/account/keys",
                       json_pack("{s:s}", "name", given ? given : name), ret);
}

/* Revokes a key by itself.  Best effort: it may be revoked already, or its account be gone. */
static void drop_key(struct broker *broker, const json_t *entry)
{
    char path[PATH_BYTES];
    const char *id = text_at(entry, "key_id"), *key = text_at(entry, "key");
    if (id && key && broker_use_key(broker, key) == SEKS_OK &&
        broker_path(broker, path, sizeof path, "/v1/account/keys", id, "") == SEKS_OK) {
        (void)broker_ask(broker, "DELETE", path, NULL, NULL);
    }
}

/* Keeps the new key; what was there for this broker goes to RET_OLD. */
static int remember(struct broker *broker, const json_t *account, const json_t *key,
                    json_t **ret_old)
{
    json_t *config = NULL;
    int lock = files_lock(), status = files_load("config.json", &config);
    if (status == SEKS_OK) {
        *ret_old = json_incref(config_server(config, broker_url(broker)));
        if (!json_object_get(config, "servers")) {
            (void)json_object_set_new(config, "servers", json_object());
        }
        (void)json_object_set_new(config, "server", json_string(broker_url(broker)));
        json_t *entry = json_pack("{s:O,s:O,s:O}", "email", json_object_get(account, "email"), "key",
                                  json_object_get(key, "key"), "key_id", json_object_get(key, "id"));
        (void)json_object_set_new(json_object_get(config, "servers"), broker_url(broker), entry);
        status = files_save("config.json", config);
    }
    json_decref(config);
    if (lock >= 0) {
        (void)close(lock);
    }
    return status;
}

static int tell(struct broker *broker, const json_t *account)
{
    if (out_is_json()) {
        json_t *answer = json_pack("{s:b,s:O,s:s}", "ok", 1, "account", account, "server",
                                   broker_url(broker));
        int status = out_json(answer);
        json_decref(answer);
        return status;
    }
    printf("logged in to %s as ", broker_url(broker));
    out_text(stdout, text_at(account, "email") ? text_at(account, "email") : "?");
    printf("\n");
    return SEKS_OK;
}

/* A session at PATH (to sign up or to log in). */
static int begin_session(const struct args *args, struct broker *broker, const char *path, bool new,
                         json_t **ret)
{
    json_t *body = NULL;
    if (is_far_plain(broker_url(broker))) {
        note("seks: warning: %s is not encrypted: the password can be read on its way",
             broker_url(broker));
    }
    int status = take_login(args, new, &body);
    if (status != SEKS_OK) {
        return status;
    }
    progress("logging in to %s ...", broker_url(broker));
    int http = broker_ask(broker, "POST", path, body, ret);
    if (http == 401) {
        return fail(SEKS_LOGIN, "try again, or run: seks signup", "email or password is wrong");
    }
    if (http == 409) {
        return fail(SEKS_FAILED, "run: seks login", "%s", broker_error(broker));
    }
    return http / 100 == 2 ? SEKS_OK : broker_tell(broker, http);
}

/* A session gives an account key; then it has had its use, and so has the key that was kept before. */
static int enter(const struct args *args, const char *path, bool new)
{
    struct broker *broker = NULL;
    json_t *session = NULL, *key = NULL, *old = NULL;
    int status = broker_open(args, NEED_NOTHING, &broker);
    status = status == SEKS_OK ? begin_session(args, broker, path, new, &session) : status;
    const json_t *account = json_object_get(session, "account");
    if (status == SEKS_OK) {
        broker_csrf(broker, text_at(session, "csrf"));
        status = make_key(broker, args, &key);
    }
    if (status == SEKS_OK) {
        status = remember(broker, account, key, &old);
        (void)broker_ask(broker, "DELETE", "/v1/session", NULL, NULL); /* it ends by itself too */
        drop_key(broker, status == SEKS_OK ? old : NULL);
    }
    progress_end();
    status = status == SEKS_OK ? tell(broker, account) : status;
    json_decref(session);
    json_decref(key);
    json_decref(old);
    broker_close(&broker);
    return status;
}

int command_login(const struct args *args)
{
    return enter(args, "/v1/session", false);
}

int command_signup(const struct args *args)
{
    int status = enter(args, "/v1/account", true);
    if (status == SEKS_OK) {
        note("next: seks secret set NAME, or seks secret import .env");
    }
    return status;
}

/* ---- leaving ---- */

/* Forgets SERVER: its key, and the tokens that came by it. */
static int forget(const char *server)
{
    json_t *config = NULL, *tokens = NULL;
    int lock = files_lock(), status = files_load("config.json", &config);
    if (status == SEKS_OK) {
        (void)json_object_del(json_object_get(config, "servers"), server);
        status = files_save("config.json", config);
    }
    if (status == SEKS_OK) {
        status = files_load("tokens.json", &tokens);
    }
    if (status == SEKS_OK && json_object_del(tokens, server) == 0) {
        status = files_save("tokens.json", tokens);
    }
    json_decref(config);
    json_decref(tokens);
    if (lock >= 0) {
        (void)close(lock);
    }
    return status;
}

/* Whether config.json has a key for URL; its id then. */
static int kept_key(const char *url, json_t **ret)
{
    json_t *config = NULL;
    int status = files_load("config.json", &config);
    *ret = json_incref(config_server(config, url));
    json_decref(config);
    return status == SEKS_OK && !*ret
               ? fail(SEKS_LOGIN, NULL, "not logged in to %s", url)
               : status;
}

int command_logout(const struct args *args)
{
    struct broker *broker = NULL;
    json_t *kept = NULL;
    char path[PATH_BYTES];
    int http = 200, status = broker_open(args, NEED_NOTHING, &broker);
    status = status == SEKS_OK ? kept_key(broker_url(broker), &kept) : status;
    if (status == SEKS_OK) {
        status = broker_use_key(broker, text_at(kept, "key"));
    }
    const char *id = text_at(kept, "key_id");
    if (status == SEKS_OK && id) {
        status = broker_path(broker, path, sizeof path, "/v1/account/keys", id, "");
        http = status == SEKS_OK ? broker_ask(broker, "DELETE", path, NULL, NULL) : http;
    }
    if (status == SEKS_OK) {
        status = forget(broker_url(broker));
    }
    if (status == SEKS_OK && http / 100 != 2 && http != 401 && http != 404) {
        status = fail(SEKS_AWAY, "delete it later: seks key rm, or on the web page",
                      "the key is forgotten here, but still good: %s", broker_error(broker));
    } else if (status == SEKS_OK) {
        status = finish(status, NULL, "logged out of %s", broker_url(broker));
    }
    json_decref(kept);
    broker_close(&broker);
    return status;
}

int command_whoami(const struct args *args)
{
    struct broker *broker = NULL;
    json_t *answer = NULL;
    int status = broker_open(args, NEED_KEY, &broker);
    if (status == SEKS_OK) {
        status = broker_call(broker, "GET", "/v1/account", NULL, &answer);
    }
    if (status == SEKS_OK) {
        (void)json_object_set_new(answer, "server", json_string(broker_url(broker)));
        (void)json_object_del(answer, "csrf");
        const char *email = text_at(json_object_get(answer, "account"), "email");
        if (out_is_json()) {
            status = out_json(answer);
        } else {
            out_text(stdout, email ? email : "?");
            printf(" at %s\n", broker_url(broker));
        }
    }
    json_decref(answer);
    broker_close(&broker);
    return status;
}

/* ---- the account itself ---- */

int command_account_password(const struct args *args)
{
    CLEANUP(secret_free) struct secret *old = NULL, *new = NULL, *again = NULL;
    struct broker *broker = NULL;
    int status = broker_open(args, NEED_KEY, &broker);
    status = status == SEKS_OK ? ask_hidden("Old password", NULL, &old) : status;
    status = status == SEKS_OK ? ask_hidden("New password", NULL, &new) : status;
    status = status == SEKS_OK ? ask_hidden("Again", NULL, &again) : status;
    if (status == SEKS_OK && !secret_equal(secret_view(new), secret_view(again))) {
        status = fail(SEKS_FAILED, "try again", "the two passwords differ");
    }
    if (status == SEKS_OK) {
        json_t *body = json_pack("{s:o,s:o}", "old", secret_json(old), "new", secret_json(new));
        status = broker_call(broker, "POST", "/v1/account/password", body, NULL);
    }
    status = finish(status, NULL,
                    "the password is changed; sessions of the web page have ended, account keys go on");
    broker_close(&broker);
    return status;
}

int command_account_delete(const struct args *args)
{
    CLEANUP(secret_free) struct secret *password = NULL;
    struct broker *broker = NULL;
    int status = broker_open(args, NEED_KEY, &broker);
    if (status == SEKS_OK) {
        note("this erases the account at %s with all its secrets, agents and tokens; nothing brings "
             "them back", broker_url(broker));
        status = take_password(args, false, &password);
    }
    if (status == SEKS_OK) {
        status = broker_call(broker, "DELETE", "/v1/account",
                             json_pack("{s:o}", "password", secret_json(password)), NULL);
    }
    if (status == SEKS_OK) {
        status = forget(broker_url(broker));
    }
    status = finish(status, NULL, "the account is erased");
    broker_close(&broker);
    return status;
}
