/* test_audit_query.c - pages of the log, and the daemon's two doors over real sockets. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <jansson.h>

#include "common/channel.h"
#include "services/audit/reading.h"

static char dir[64];
static struct ledger *ledger;
static struct indexes *indexes;
enum { RECORDS = 3000 };

static int open_log(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/seks-audit-XXXXXX");
    struct ledger_options options = {.dir = dir, .segment_bytes = 128 << 10}; /* many files */
    memset(options.signer.seed, 7, sizeof options.signer.seed);
    indexes = indexes_new();
    return crypto_sign_public(options.signer.seed, options.signer.public_key) == STATUS_OK &&
                   mkdtemp(dir) && ledger_open(&options, &ledger) == STATUS_OK
               ? 0
               : -1;
}

static int close_log(void **state)
{
    (void)state;
    ledger_close(&ledger);
    indexes_free(&indexes);
    DIR *list = opendir(dir);
    for (struct dirent *at; list && (at = readdir(list)) != NULL;) {
        (void)unlinkat(dirfd(list), at->d_name, 0); /* "." and ".." stay */
    }
    closedir(list);
    return rmdir(dir);
}

/* Every third record is of acc_a, every seventh of provider p7; sizes differ widely. */
static void fill(void)
{
    static char long_path[6000];
    memset(long_path, 'x', sizeof long_path);
    for (uint64_t i = 1; i <= RECORDS; i++) {
        uint64_t seq;
        struct audit_record record = {
            .kind = AUDIT_ACCOUNT, .tenant = i % 3 == 0 ? VIEW("acc_a") : VIEW("acc_b"),
            .provider = i % 7 == 0 ? VIEW("p7") : VIEW("p"), .action = VIEW("say \"tenant\":\"acc_a\""),
            .path = view_of(long_path, (i * 37) % (i % 50 == 0 ? 6000 : 300)),
            .status = AUDIT_NONE, .bytes_in = i, .bytes_out = AUDIT_NONE, .duration_ms = 0};
        assert_int_equal(ledger_add(ledger, &record, &seq), STATUS_OK);
        assert_int_equal(seq, i);
        if (i % 100 == 0) {
            assert_int_equal(ledger_commit(ledger), STATUS_OK);
        }
    }
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
    assert_true(ledger_files(ledger) > 5);
}

/* Runs QUERY and adds the numbers of its records behind COUNT in SEQS. */
static uint64_t page(const struct audit_query *query, uint64_t *seqs, size_t *count)
{
    struct buffer records = BUFFER_EMPTY;
    uint64_t next = 12345;
    json_error_t error;
    struct files files = ledger_files_of(ledger);
    assert_int_equal(query_run(indexes, &files, query, &records, &next), STATUS_OK);
    assert_true(records.size <= PAGE_BYTES_MAX);
    json_t *json = json_loadb((const char *)records.data, records.size, 0, &error);
    assert_non_null(json);
    for (size_t i = 0; i < json_array_size(json); i++) {
        json_t *row = json_array_get(json, i);
        assert_string_equal(json_string_value(json_object_get(row, "tenant")), "acc_a");
        seqs[(*count)++] = (uint64_t)json_integer_value(json_object_get(row, "seq"));
    }
    json_decref(json);
    buffer_free(&records);
    return next;
}

static void pages_follow_each_other(void **state)
{
    (void)state;
    static uint64_t seqs[RECORDS];
    fill();
    for (uint64_t limit = 1; limit <= 1000; limit = limit * 5 + 2) {
        struct audit_query query = {.tenant = VIEW("acc_a"), .limit = limit};
        size_t count = 0;
        do {
            query.before = page(&query, seqs, &count);
        } while (query.before > 0);
        assert_int_equal(count, RECORDS / 3);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(seqs[i], RECORDS - 3 * i);
        }
    }
}

static void filters_hold(void **state)
{
    (void)state;
    static uint64_t seqs[RECORDS];
    size_t count = 0;
    struct audit_query query = {.tenant = VIEW("acc_a"), .provider = VIEW("p7"), .limit = 1000};
    assert_int_equal(page(&query, seqs, &count), 0);
    assert_int_equal(count, RECORDS / 21);
    count = 0;
    query.agent = VIEW("agt_none");
    assert_int_equal(page(&query, seqs, &count), 0);
    assert_int_equal(count, 0);
    query = (struct audit_query){.tenant = VIEW("acc_a"), .limit = 3,
                                 .action = VIEW("say \"tenant\":\"acc_a\"")};
    assert_int_equal(page(&query, seqs, &count), RECORDS - 8); /* the last it looked at */
    assert_int_equal(count, 3);
    query = (struct audit_query){.tenant = VIEW("acc_a"), .before = 3};
    assert_int_equal(page(&query, seqs, &count), 0);
    query = (struct audit_query){.tenant = VIEW("acc_a"), .before = UINT64_MAX, .limit = 1};
    assert_int_equal(page(&query, seqs, &count), RECORDS - 2);
    struct buffer records = BUFFER_EMPTY;
    uint64_t next;
    query.tenant = view_of(NULL, 0);
    struct files files = ledger_files_of(ledger);
    assert_int_equal(query_run(indexes, &files, &query, &records, &next), STATUS_DENIED);
    buffer_free(&records);
}

static void every_before_starts_below_it(void **state)
{
    (void)state;
    static uint64_t seqs[RECORDS];
    for (uint64_t before = 1; before <= RECORDS + 2; before++) {
        struct audit_query query = {.tenant = VIEW("acc_a"), .before = before, .limit = 1};
        uint64_t wanted = before > RECORDS ? RECORDS : (before - 1) / 3 * 3;
        size_t count = 0;
        (void)page(&query, seqs, &count); /* `next` is tested above */
        assert_int_equal(count, wanted > 0);
        if (count > 0) {
            assert_int_equal(seqs[0], wanted);
        }
    }
}

/* ---- filters against a plain walk, with good, missing and broken indexes ---- */

struct made {
    uint64_t seq;
    unsigned tenant, agent, token, provider, status, kind;
};
static struct made made[RECORDS];

static const char *name_of(char *room, const char *what, unsigned number)
{
    snprintf(room, 32, "%s_%u", what, number);
    return room;
}

/* Rare and frequent values, so that blocks differ. */
static void fill_varied(void)
{
    static const enum audit_kind kinds[] = {AUDIT_ACCOUNT, AUDIT_DENIED};
    char tenant[32], agent[32], token[32], provider[32], request[32];
    unsigned random = 1;
    for (unsigned i = 0; i < RECORDS; i++) {
        random = random * 1103515245 + 12345;
        struct made *one = &made[i];
        *one = (struct made){0, (random >> 8) % 3 ? 1 : 2, (random >> 10) % 40, i / 100,
                             (random >> 16) % 5, i % 500 == 7 ? 502 : (random >> 20) % 9 ? 200 : 404,
                             (random >> 24) % 2};
        one->tenant = i == 1503 ? 1 : one->tenant;
        struct audit_record record = {
            .kind = kinds[one->kind], .action = VIEW("call"),
            .tenant = view_text(name_of(tenant, "t", one->tenant)),
            .agent = view_text(name_of(agent, "a", one->agent)),
            .token = view_text(name_of(token, "k", one->token)),
            .provider = view_text(name_of(provider, "p", one->provider)),
            .request = view_text(name_of(request, "r", i)), .status = one->status,
            .bytes_in = AUDIT_NONE, .bytes_out = AUDIT_NONE, .duration_ms = AUDIT_NONE};
        assert_int_equal(ledger_add(ledger, &record, &one->seq), STATUS_OK);
        if (i % 97 == 0) {
            assert_int_equal(ledger_commit(ledger), STATUS_OK);
        }
    }
    assert_int_equal(ledger_commit(ledger), STATUS_OK);
}

/* Follows all pages of QUERY and compares with what FITS says. */
static void compare(struct audit_query query, bool fits(const struct made *one))
{
    size_t at = RECORDS;
    query.tenant = VIEW("t_1");
    do {
        struct buffer records = BUFFER_EMPTY;
        json_error_t error;
        struct files files = ledger_files_of(ledger);
        assert_int_equal(query_run(indexes, &files, &query, &records, &query.before), STATUS_OK);
        json_t *json = json_loadb((const char *)records.data, records.size, 0, &error);
        for (size_t i = 0; i < json_array_size(json); i++) {
            do {
                assert_true(at-- > 0);
            } while (made[at].tenant != 1 || !fits(&made[at]));
            assert_int_equal(json_integer_value(json_object_get(json_array_get(json, i), "seq")),
                             made[at].seq);
        }
        json_decref(json);
        buffer_free(&records);
    } while (query.before > 0);
    while (at-- > 0) {
        assert_false(made[at].tenant == 1 && fits(&made[at]));
    }
}

static bool of_agent(const struct made *one) { return one->agent == 3; }
static bool of_token(const struct made *one) { return one->token == 17; }
static bool with_404(const struct made *one) { return one->status == 404; }
static bool with_5xx(const struct made *one) { return one->status == 502; }
static bool denied(const struct made *one) { return one->kind == 1; }
static bool one_request(const struct made *one) { return one == &made[1503]; }
static bool any(const struct made *one) { return one != NULL; }
static bool none(const struct made *one) { return one == NULL; }
static bool three(const struct made *one)
{
    return one->agent == 5 && one->provider == 2 && one->status == 200;
}

static void compare_all(void)
{
    compare((struct audit_query){.limit = 7}, any);
    compare((struct audit_query){.agent = VIEW("a_3"), .limit = 9}, of_agent);
    compare((struct audit_query){.token = VIEW("k_17")}, of_token);
    compare((struct audit_query){.status = VIEW("404"), .limit = 1000}, with_404);
    compare((struct audit_query){.status = VIEW("5xx")}, with_5xx);
    compare((struct audit_query){.kind = VIEW("denied"), .limit = 50}, denied);
    compare((struct audit_query){.request = VIEW("r_1503")}, one_request);
    compare((struct audit_query){.agent = VIEW("a_5"), .provider = VIEW("p_2"),
                                 .status = VIEW("2xx"), .limit = 2}, three);
    compare((struct audit_query){.provider = VIEW("p_9")}, none);
    compare((struct audit_query){.since_ms = clock_wall_ms() - 3600000,
                                 .until_ms = clock_wall_ms() + 3600000, .limit = 1000}, any);
    compare((struct audit_query){.since_ms = clock_wall_ms() + 3600000}, none);
    compare((struct audit_query){.until_ms = clock_wall_ms() - 3600000}, none);
}

/* Calls FN for the index file of every file that is done; returns how many there are. */
static unsigned each_index(void fn(int dir_fd, const char *name))
{
    unsigned count = 0;
    DIR *list = opendir(dir);
    for (struct dirent *at; list && (at = readdir(list)) != NULL;) {
        if (strstr(at->d_name, ".idx")) {
            count++;
            if (fn) {
                fn(dirfd(list), at->d_name);
            }
        }
    }
    closedir(list);
    return count;
}

static void remove_it(int dir_fd, const char *name)
{
    assert_int_equal(unlinkat(dir_fd, name, 0), 0);
}

static void spoil(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDWR);
    assert_int_equal(pwrite(fd, "zzzz", 4, 100), 4); /* an offset: out of the file by far */
    close(fd);
}

static void cut(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDWR);
    assert_int_equal(ftruncate(fd, 700), 0);
    close(fd);
}

static void indexes_decide_nothing(void **state)
{
    (void)state;
    void (*const harm[])(int, const char *) = {NULL, remove_it, spoil, cut};
    fill_varied();
    for (size_t i = 0; i < sizeof harm / sizeof harm[0]; i++) {
        unsigned before = each_index(harm[i]);
        indexes_free(&indexes);
        indexes = indexes_new();
        struct files files = ledger_files_of(ledger);
        if (i % 2 == 1) { /* made by the tidying, or by the questions */
            while (indexes_tidy(indexes, &files)) {
            }
        }
        compare_all();
        assert_int_equal(each_index(NULL), ledger_files(ledger) - 1);
        assert_true(i == 0 || before == ledger_files(ledger) - 1);
    }
}

static void a_bad_status_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"4x", "xxx", "0xx", "40", "4000", "4xy", "-40"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buffer records = BUFFER_EMPTY;
        uint64_t next;
        struct files files = ledger_files_of(ledger);
        struct audit_query query = {.tenant = VIEW("t_1"), .status = view_text(bad[i])};
        assert_int_equal(query_run(indexes, &files, &query, &records, &next), STATUS_INVALID);
        buffer_free(&records);
    }
}

/* ---- the doors ---- */

struct client {
    struct loop *loop;
    struct channel *channel;
    struct audit_ack acks[8];
    size_t ack_count, wanted;
    uint64_t page_next, page_status;
    bool paged, asks, spoiled;
    unsigned heads;
};

static void on_record(void *arg, struct channel_peer *peer, struct view bytes)
{
    struct client *client = arg;
    struct audit_page answer;
    (void)peer;
    if (proto_id(bytes) == AUDIT_ACK) {
        assert_true(client->ack_count < 8);
        assert_int_equal(proto_decode(&audit_ack_schema, bytes, &client->acks[client->ack_count]),
                         STATUS_OK);
        client->ack_count++;
    } else if (proto_id(bytes) == AUDIT_HEAD) {
        client->heads++;
    } else {
        assert_int_equal(proto_decode(&audit_page_schema, bytes, &answer), STATUS_OK);
        client->page_next = answer.next;
        client->page_status = answer.status;
        client->paged = true;
    }
    if (client->ack_count == client->wanted && client->paged == client->asks) {
        loop_stop(client->loop);
    }
}

static void send_message(struct channel_peer *peer, const struct schema *schema, const void *message)
{
    struct buffer out = BUFFER_EMPTY;
    assert_int_equal(proto_encode(schema, message, &out), STATUS_OK);
    assert_int_equal(channel_send(peer, buffer_view(&out)), STATUS_OK);
    buffer_free(&out);
}

static void send_all(void *arg, struct channel_peer *peer)
{
    struct client *client = arg;
    struct audit_record record = {
        .call = 1, .kind = AUDIT_INTENT, .request = VIEW("req_z"), .tenant = VIEW("acc_a"),
        .status = AUDIT_NONE};
    send_message(peer, &audit_record_schema, &record);
    send_message(peer, &audit_record_schema, &record); /* again */
    record.call = 2;
    send_message(peer, &audit_record_schema, &record); /* asked for twice */
    record.call = 3;
    record.path = VIEW("/other");
    send_message(peer, &audit_record_schema, &record);
    record.call = 4;
    record.kind = AUDIT_OUTCOME;
    send_message(peer, &audit_record_schema, &record);
    if (client->asks) {
        struct audit_query query = {.call = 9, .tenant = VIEW("acc_a"), .limit = 2};
        send_message(peer, &audit_query_schema, &query);
    }
}

static void give_up(void *arg)
{
    (void)arg;
    fail_msg("no answer within 10 s");
}

static const struct audit_ack *ack_of(const struct client *client, uint64_t call)
{
    for (size_t i = 0; i < client->ack_count; i++) {
        if (client->acks[i].call == call) {
            return &client->acks[i];
        }
    }
    fail_msg("no acknowledgement of %d", (int)call);
    return NULL;
}

static void talk(struct client *client, const char *name)
{
    static const struct channel_events events = {on_record, send_all, NULL};
    char vault[96], proxy[96];
    struct desk *desk = NULL;
    snprintf(vault, sizeof vault, "ipc://%s/vault", dir);
    snprintf(proxy, sizeof proxy, "ipc://%s/proxy", dir);
    client->loop = loop_new();
    client->wanted = 5;
    assert_int_equal(desk_open(client->loop, ledger, vault, proxy, &desk), STATUS_OK);
    assert_int_equal(channel_connect(client->loop, strcmp(name, "vault") == 0 ? vault : proxy,
                                     "audit", &events, client, &client->channel), STATUS_OK);
    assert_true(loop_once(client->loop, 10000, give_up, NULL) >= 0);
    loop_run(client->loop);
    struct buffer text = BUFFER_EMPTY;
    desk_metrics(desk, &text);
    buffer_append_byte(&text, 0);
    assert_non_null(strstr((const char *)text.data, "seks_audit_seq 300"));
    buffer_free(&text);
    channel_close(&client->channel);
    desk_close(&desk);
    desk_close(&desk);
    loop_free(&client->loop);
    (void)unlink(vault + strlen("ipc://"));
    (void)unlink(proxy + strlen("ipc://"));
}

static void the_vault_may_send_intents_and_ask(void **state)
{
    (void)state;
    struct client client = {.asks = true};
    talk(&client, "vault");
    assert_int_equal(ack_of(&client, 1)->status, STATUS_NUMBER_OK);
    assert_int_equal(ack_of(&client, 1)->seq, RECORDS + 1);
    size_t again = 0;
    for (size_t i = 0; i < client.ack_count; i++) {
        again += client.acks[i].call == 1 && client.acks[i].seq == RECORDS + 1;
    }
    assert_int_equal(again, 2);
    assert_int_equal(ack_of(&client, 2)->status, STATUS_NUMBER_CONFLICT);
    assert_int_equal(ack_of(&client, 3)->status, STATUS_NUMBER_CONFLICT);
    assert_int_equal(ack_of(&client, 4)->status, STATUS_NUMBER_DENIED);
    assert_int_equal(client.page_status, STATUS_NUMBER_OK);
    assert_int_equal(client.page_next, RECORDS - 2);
    assert_int_equal(client.heads, 1);
}

static void a_proxy_may_send_outcomes_only(void **state)
{
    (void)state;
    struct client client = {.asks = false};
    talk(&client, "proxy");
    for (uint64_t call = 1; call <= 3; call++) {
        assert_int_equal(ack_of(&client, call)->status, STATUS_NUMBER_DENIED);
    }
    assert_int_equal(ack_of(&client, 4)->status, STATUS_NUMBER_OK);
    assert_int_equal(ack_of(&client, 4)->seq, RECORDS + 2);
}

/* The disk is full when the daemon's own work commits, in the turn in which a record came and before
 * its acknowledgement; then there is room again, and another record has that number. */
static void spoil_once(void *arg)
{
    struct client *client = arg;
    struct rlimit old, full;
    if (client->spoiled || ledger_staged(ledger) == 0) {
        return;
    }
    client->spoiled = true;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    full = old;
    full.rlim_cur = ledger_files_of(ledger).size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    (void)ledger_give_up(ledger, UINT32_MAX);
    assert_true(ledger_failing(ledger));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(ledger_note(ledger, "audit.test", "", AUDIT_NONE), STATUS_OK);
}

static void send_one(void *arg, struct channel_peer *peer)
{
    struct audit_record record = {
        .call = 1, .kind = AUDIT_INTENT, .request = VIEW("req_spoiled"), .tenant = VIEW("acc_a"),
        .status = AUDIT_NONE};
    (void)arg;
    send_message(peer, &audit_record_schema, &record);
}

static void what_was_taken_back_is_never_acknowledged(void **state)
{
    static const struct channel_events events = {on_record, send_one, NULL};
    struct client client = {.wanted = 1};
    char vault[96], proxy[96];
    struct desk *desk = NULL;
    (void)state;
    snprintf(vault, sizeof vault, "ipc://%s/vault", dir);
    snprintf(proxy, sizeof proxy, "ipc://%s/proxy", dir);
    client.loop = loop_new();
    assert_int_equal(loop_turn_end(client.loop, spoil_once, &client), STATUS_OK);
    assert_int_equal(desk_open(client.loop, ledger, vault, proxy, &desk), STATUS_OK);
    assert_int_equal(channel_connect(client.loop, vault, "audit", &events, &client, &client.channel),
                     STATUS_OK);
    assert_true(loop_once(client.loop, 10000, give_up, NULL) >= 0);
    loop_run(client.loop);
    assert_true(client.spoiled);
    assert_int_equal(ack_of(&client, 1)->status, STATUS_NUMBER_STORAGE_FULL);
    channel_close(&client.channel);
    desk_close(&desk);
    loop_free(&client.loop);
    (void)unlink(vault + strlen("ipc://"));
    (void)unlink(proxy + strlen("ipc://"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_follow_each_other),
        cmocka_unit_test(filters_hold),
        cmocka_unit_test(every_before_starts_below_it),
        cmocka_unit_test(the_vault_may_send_intents_and_ask),
        cmocka_unit_test(a_proxy_may_send_outcomes_only),
    };
    const struct CMUnitTest varied[] = {
        cmocka_unit_test(indexes_decide_nothing),
        cmocka_unit_test(a_bad_status_is_refused),
        cmocka_unit_test(what_was_taken_back_is_never_acknowledged),
    };
    return cmocka_run_group_tests(tests, open_log, close_log) +
           cmocka_run_group_tests(varied, open_log, close_log);
}
