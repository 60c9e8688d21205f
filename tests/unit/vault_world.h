/* vault_world.h - a vault in this process, with stand-ins for its gateway and its audit daemon on
 * real channels, and a directory of its own that goes away. */
#ifndef TESTS_VAULT_WORLD_H
#define TESTS_VAULT_WORLD_H

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/vault/vault.h"

struct world {
    char dir[64];
    char keys[96], data[96], listen[128], audit[128], providers[128];
    char where[320];            /* the store: a path, or a URL with a schema of its own */
    struct loop *loop;
    struct vault vault;
    struct channel *audit_door; /* the stand-in for the audit daemon */
    struct channel *gateway;    /* the stand-in for the gateway */
    bool audit_mute;            /* takes records and says nothing */
    enum status audit_status;
    uint64_t intent_call;       /* of the last intent */
    size_t records;
    char logged_epoch[64];      /* the page with the newest record of the database's epoch */
    char last[4096];            /* "kind action decision reason" of each record, a line */
    uint64_t call;
    struct buffer reply;
    bool gave_up;
};

static inline void write_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static inline void make_key(const char *dir, const char *name)
{
    uint8_t key[CRYPTO_KEY_BYTES];
    crypto_random(key, sizeof key);
    assert_int_equal(keyfile_create(dir, name, view_of(key, sizeof key), false), STATUS_OK);
}

static inline void make_keys(const char *dir)
{
    uint8_t public_key[CRYPTO_KEY_BYTES], private_key[CRYPTO_KEY_BYTES];
    make_key(dir, "master.key");
    make_key(dir, "grant.key");
    crypto_sealed_keypair(public_key, private_key);
    /* For tcp; read at every start. */
    assert_int_equal(keyfile_create(dir, "vault.curve", view_of(private_key, 32), false),
                     STATUS_OK);
    assert_int_equal(keyfile_create(dir, "vault.pub", view_of(public_key, 32), true), STATUS_OK);
    crypto_sealed_keypair(public_key, private_key);
    assert_int_equal(keyfile_create(dir, "intake.key", view_of(private_key, 32), false),
                     STATUS_OK);
    assert_int_equal(keyfile_create(dir, "intake.pub", view_of(public_key, 32), true), STATUS_OK);
}

static inline void audit_record_came(void *arg, struct channel_peer *peer, struct view record)
{
    struct world *world = arg;
    struct audit_record in;
    struct audit_query query;
    CLEANUP(buffer_free) struct buffer out = BUFFER_EMPTY;
    if (proto_decode(&audit_query_schema, record, &query) == STATUS_OK) {
        struct audit_page page = {.call = query.call, .status = 0, .records = VIEW("[{\"seq\":7}]"),
                                  .next = 7};
        if (view_is(query.action, "vault.epoch")) {
            page.records = view_text(world->logged_epoch);
            page.next = 0;
        }
        assert_int_equal(proto_encode(&audit_page_schema, &page, &out), STATUS_OK);
        assert_int_equal(channel_send(peer, buffer_view(&out)), STATUS_OK);
        return;
    }
    assert_int_equal(proto_decode(&audit_record_schema, record, &in), STATUS_OK);
    if (!view_is(in.action, "vault.epoch")) {
        world->records++;
    world->intent_call = in.kind == AUDIT_INTENT ? in.call : world->intent_call;
        size_t used = strlen(world->last);
        (void)snprintf(world->last + used, sizeof world->last - used, "%d %.*s %.*s %.*s\n",
                       (int)in.kind, (int)in.action.size, in.action.data, (int)in.decision.size,
                       in.decision.data, (int)in.reason.size, in.reason.data);
    } else {
        (void)snprintf(world->logged_epoch, sizeof world->logged_epoch, "[{\"reason\":\"%.*s\"}]",
                       (int)in.reason.size, in.reason.data);
    }
    if (world->audit_mute) {
        return;
    }
    struct audit_ack ack = {.call = in.call, .status = status_to_wire(world->audit_status),
                            .seq = world->records};
    assert_int_equal(proto_encode(&audit_ack_schema, &ack, &out), STATUS_OK);
    assert_int_equal(channel_send(peer, buffer_view(&out)), STATUS_OK);
}

static inline void gateway_record_came(void *arg, struct channel_peer *peer, struct view record)
{
    struct world *world = arg;
    (void)peer;
    if (proto_id(record) == VAULT_STATE) {
        return; /* told, not asked for */
    }
    buffer_clear(&world->reply);
    buffer_append_view(&world->reply, record);
    loop_stop(world->loop);
}

static inline void world_up(void *arg, struct channel_peer *peer)
{
    (void)peer;
    loop_stop(((struct world *)arg)->loop);
}

static inline void give_up(void *arg)
{
    struct world *world = arg;
    world->gave_up = true;
    loop_stop(world->loop);
}

static inline void nothing(void *arg)
{
    (void)arg;
}

/* Runs the loop until something stops it, or gives up after MS.  What was sent before, outside of
 * the loop, leaves at the end of the first turn. */
static inline void world_run(struct world *world, uint32_t ms)
{
    world->gave_up = false;
    int timer = loop_once(world->loop, ms, give_up, world);
    (void)loop_once(world->loop, 1, nothing, NULL); /* without it the beat makes the first turn */
    loop_run(world->loop);
    loop_unevery(world->loop, timer);
}

/* Where the store is: a file, or with SEKS_TEST_POSTGRES_FILE, which holds a server's URL, PostgreSQL. */
static inline void world_where(struct world *world)
{
    static unsigned count;
    char url[160], sql[64];
    const char *file = getenv("SEKS_TEST_POSTGRES_FILE");
    if (!file) {
        (void)snprintf(world->where, sizeof world->where, "%s/vault.db", world->data);
        return;
    }
    FILE *in = fopen(file, "r");
    assert_non_null(in);
    assert_non_null(fgets(url, sizeof url, in));
    fclose(in);
    url[strcspn(url, "\n")] = 0;
    PGconn *conn = PQconnectdb(url);
    assert_int_equal(PQstatus(conn), CONNECTION_OK);
    (void)snprintf(sql, sizeof sql, "CREATE SCHEMA t%d_%u", (int)getpid(), ++count);
    PGresult *result = PQexec(conn, sql);
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    PQfinish(conn);
    (void)snprintf(world->where, sizeof world->where, "%s&options=-csearch_path%%3Dt%d_%u", url,
                   (int)getpid(), count);
}

static inline bool world_is_remote(const struct world *world)
{
    return store_is_remote(world->where);
}

static inline void world_start(struct world *world, const char *signup)
{
    static const struct channel_events audit_events = {audit_record_came, NULL, NULL};
    static const struct channel_events gateway_events = {gateway_record_came, world_up, NULL};
    world->loop = loop_new();
    assert_non_null(world->loop);
    world->vault = (struct vault){0};
    world->vault.options = (struct vault_options){
        .data = world->data, .keys = world->keys, .listen = world->listen, .audit = {{world->audit}, 1},
        .providers = world->providers, .signup = signup,
        .store = world_is_remote(world) ? world->where : NULL};
    assert_int_equal(channel_listen(world->loop, world->audit, "vault", &audit_events, world,
                                    &world->audit_door), STATUS_OK);
    assert_int_equal(vault_open(&world->vault, world->loop), STATUS_OK);
    assert_int_equal(channel_connect(world->loop, world->listen, "vault", &gateway_events, world,
                                     &world->gateway), STATUS_OK);
    for (int i = 0; i < 100 && !(channel_peer_up(channel_server(world->gateway)) &&
                                 audit_up(world->vault.audit)); i++) {
        world_run(world, 50);
    }
    assert_true(audit_up(world->vault.audit));
}

static inline void world_stop(struct world *world)
{
    channel_close(&world->gateway);
    vault_close(&world->vault);
    channel_close(&world->audit_door);
    loop_free(&world->loop);
    buffer_wipe(&world->reply);
}

static inline void world_make(struct world *world)
{
    *world = (struct world){0};
    (void)snprintf(world->dir, sizeof world->dir, "/tmp/seks-vault-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    (void)snprintf(world->keys, sizeof world->keys, "%s/keys", world->dir);
    (void)snprintf(world->data, sizeof world->data, "%s/data", world->dir);
    (void)snprintf(world->listen, sizeof world->listen, "ipc://%s/vault", world->dir);
    (void)snprintf(world->audit, sizeof world->audit, "ipc://%s/audit", world->dir);
    (void)snprintf(world->providers, sizeof world->providers, "%s/providers.json", world->dir);
    assert_int_equal(mkdir(world->keys, 0700), 0);
    make_keys(world->keys);
    write_file(world->dir, "providers.json", "{\"providers\":[]}");
    world_where(world);
}

static inline void world_remove(struct world *world)
{
    char command[96];
    (void)snprintf(command, sizeof command, "rm -rf %s", world->dir);
    assert_int_equal(system(command), 0);
}

/* ---- asking ---- */

static inline struct buffer sealed(struct world *world, const char *text)
{
    struct buffer box = BUFFER_EMPTY;
    assert_int_equal(crypto_sealed_make(world->vault.intake_public, view_text(text), &box),
                     STATUS_OK);
    return box;
}

/* Sends ASK and gives its answer, whose views are good until the next. */
static inline struct vault_answer ask(struct world *world, struct vault_ask in)
{
    CLEANUP(buffer_free) struct buffer record = BUFFER_EMPTY;
    struct vault_answer answer;
    in.call = ++world->call;
    in.request = VIEW("req_0000000000000000000001");
    in.public_url = VIEW("http://b.test");
    assert_int_equal(proto_encode(&vault_ask_schema, &in, &record), STATUS_OK);
    assert_int_equal(channel_send(channel_server(world->gateway), buffer_view(&record)),
                     STATUS_OK);
    world_run(world, 5000);
    assert_false(world->gave_up);
    assert_int_equal(proto_decode(&vault_answer_schema, buffer_view(&world->reply), &answer),
                     STATUS_OK);
    assert_int_equal(answer.call, in.call);
    return answer;
}

static inline enum status outcome(struct vault_answer answer)
{
    return status_from_wire((unsigned)answer.status);
}

/* The text at PATH ("agent.id") of the answer's body; free() it. */
static inline char *field(struct vault_answer answer, const char *path)
{
    char name[64];
    json_t *root = json_loadb((const char *)answer.json.data, answer.json.size, 0, NULL);
    assert_non_null(root);
    assert_true(json_is_true(json_object_get(root, "ok")));
    json_t *at = root;
    while (*path) {
        size_t size = strcspn(path, ".");
        assert_true(view_copy(view_of(path, size), name, sizeof name));
        at = json_object_get(at, name);
        path += size + (path[size] == '.');
    }
    assert_true(json_is_string(at));
    char *text = strdup(json_string_value(at));
    json_decref(root);
    return text;
}

static inline struct vault_answer ask_box(struct world *world, struct vault_ask in,
                                          const char *value)
{
    struct buffer box = sealed(world, value);
    in.box = buffer_view(&box);
    struct vault_answer answer = ask(world, in);
    buffer_free(&box);
    return answer;
}

/* An account with a key; both free()d by the caller. */
static inline char *make_account(struct world *world, const char *email)
{
    struct vault_answer answer = ask_box(
        world, (struct vault_ask){.op = VAULT_OP_ACCOUNT_CREATE, .email = view_text(email)},
        "correct horse");
    assert_int_equal(outcome(answer), STATUS_OK);
    assert_int_equal(answer.http, 201);
    char session[65];
    char *csrf = field(answer, "csrf");
    assert_true(view_copy(answer.session, session, sizeof session));
    answer = ask(world, (struct vault_ask){.op = VAULT_OP_KEY_CREATE, .name = VIEW("cli"),
                                           .credential = view_text(session),
                                           .csrf = view_text(csrf)});
    assert_int_equal(outcome(answer), STATUS_OK);
    free(csrf);
    return field(answer, "key");
}

static inline void put_secret(struct world *world, const char *key, const char *name,
                              const char *value)
{
    struct vault_answer answer = ask_box(
        world, (struct vault_ask){.op = VAULT_OP_SECRET_PUT, .credential = view_text(key),
                                  .name = view_text(name)}, value);
    assert_int_equal(outcome(answer), STATUS_OK);
}

#endif
