/* test_vault_store.c - what lies on the vault's disk: sealed secrets, rows under MACs, the schema,
 * and a start with the wrong master key. */
#include <sqlite3.h>

#include "tests/unit/vault_database.h"

static void a_moved_blob_does_not_open(void **state)
{
    struct open_store *it = *state;
    CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
    CLEANUP(secret_free) struct secret *value = NULL;
    struct secret_row row = {"sec_1", "acc_1", "KEY", "", 1, "", 1, 1, 0};
    assert_int_equal(seal_secret(it->keys, &row, VIEW("hunter2"), &blob), STATUS_OK);
    assert_int_equal(blob.data[0], 1);
    assert_int_equal(blob.data[1], 1);
    assert_int_equal(blob.size, CRYPTO_BLOB_OVERHEAD_BYTES + 7);
    assert_int_equal(open_secret(it->keys, &row, buffer_view(&blob), &value), STATUS_OK);
    assert_true(view_is(secret_view(value), "hunter2"));
    secret_free(&value);
    struct secret_row other[4] = {row, row, row, row};
    (void)snprintf(other[0].id, sizeof other[0].id, "sec_2");
    (void)snprintf(other[1].account, sizeof other[1].account, "acc_2");
    (void)snprintf(other[2].name, sizeof other[2].name, "KEZ");
    other[3].version = 2;
    for (size_t i = 0; i < 4; i++) {
        assert_int_not_equal(open_secret(it->keys, &other[i], buffer_view(&blob), &value),
                             STATUS_OK);
        assert_null(value);
    }
    blob.data[20] ^= 1;
    assert_int_not_equal(open_secret(it->keys, &row, buffer_view(&blob), &value), STATUS_OK);
}

static void a_key_is_renewed_before_its_limit(void **state)
{
    struct open_store *it = *state;
    struct view key;
    row_id first, second, third;
    assert_int_equal(keys_for_seal(it->keys, "acc_1", first, &key), STATUS_OK);
    assert_int_equal(keys_for_seal(it->keys, "acc_1", second, &key), STATUS_OK);
    assert_string_equal(first, second);
    sql(it, "UPDATE data_keys SET seals = 1048575 WHERE tenant = 'acc_1'");
    assert_int_equal(keys_for_seal(it->keys, "acc_1", third, &key), STATUS_OK);
    assert_string_not_equal(first, third);
    assert_int_equal(keys_for_open(it->keys, "acc_1", first, &key), STATUS_OK);
    assert_int_equal(keys_for_open(it->keys, "acc_2", first, &key), STATUS_NOT_FOUND);
    assert_int_equal(keys_erase(it->keys, "acc_1"), STATUS_OK);
    assert_int_equal(keys_for_open(it->keys, "acc_1", first, &key), STATUS_NOT_FOUND);
}

static void fill_rows(struct open_store *it)
{
    struct account account = {"acc_1", "a@b.c", "$x", 5};
    struct account other = {"acc_2", "d@e.f", "$x", 5};
    struct agent agent = {"agt_1", "acc_1", "one", DIRECT_FALSE, BUFFER_EMPTY, {1}, 5, 0};
    struct token token = {.id = "tok_1", .account = "acc_1", .agent = "agt_1",
                          .provider = "openai", .hash = {2}, .created_ms = 5, .expires_ms = 9};
    struct session session = {{3}, "acc_1", 5, 5};
    struct account_key key = {"key_1", "acc_1", "k", {4}, "abcd", 5, 0};
    assert_int_equal(account_insert(it->store, &account), STATUS_OK);
    assert_int_equal(account_insert(it->store, &other), STATUS_OK);
    assert_int_equal(account_insert(it->store, &account), STATUS_CONFLICT);
    assert_int_equal(agent_insert(it->store, &agent), STATUS_OK);
    assert_int_equal(token_insert(it->store, &token), STATUS_OK);
    assert_int_equal(session_insert(it->store, &session), STATUS_OK);
    assert_int_equal(key_insert(it->store, &key), STATUS_OK);
}

static void a_changed_row_is_refused(void **state)
{
    struct open_store *it = *state;
    struct account account;
    CLEANUP(agent_free) struct agent agent = {0};
    struct token token;
    struct session session;
    struct account_key key;
    const uint8_t hashes[5][32] = {{0}, {1}, {2}, {3}, {4}};
    struct store *store = it->store;
    fill_rows(it);
    assert_int_equal(account_by_id(store, "acc_1", &account), STATUS_OK);
    assert_int_equal(agent_by_hash(store, view_of(hashes[1], 32), &agent), STATUS_OK);
    assert_int_equal(token_by_hash(store, view_of(hashes[2], 32), &token), STATUS_OK);
    assert_int_equal(session_by_hash(store, view_of(hashes[3], 32), &session), STATUS_OK);
    assert_int_equal(key_by_hash(store, view_of(hashes[4], 32), &key), STATUS_OK);

    sql(it, "UPDATE accounts SET password = '$y' WHERE id = 'acc_1'");
    sql(it, "UPDATE agents SET direct = 2");
    sql(it, "UPDATE tokens SET expires_ms = 0");
    sql(it, "UPDATE sessions SET account = 'acc_2'");
    sql(it, "UPDATE account_keys SET account = 'acc_2'");
    assert_int_equal(account_by_id(store, "acc_1", &account), STATUS_DENIED);
    assert_int_equal(agent_by_hash(store, view_of(hashes[1], 32), &agent), STATUS_DENIED);
    assert_int_equal(token_by_hash(store, view_of(hashes[2], 32), &token), STATUS_DENIED);
    assert_int_equal(session_by_hash(store, view_of(hashes[3], 32), &session), STATUS_DENIED);
    assert_int_equal(key_by_hash(store, view_of(hashes[4], 32), &key), STATUS_DENIED);

    sql(it, "UPDATE tokens SET expires_ms = 9, account = 'acc_2'");
    assert_int_equal(token_by_hash(store, view_of(hashes[2], 32), &token), STATUS_DENIED);
    sql(it, "UPDATE tokens SET account = 'acc_1'");
    assert_int_equal(token_by_hash(store, view_of(hashes[2], 32), &token), STATUS_OK);
}

/* What hot.c keeps must be what the database says, after every kind of change. */
static void hot_rows_are_the_rows(void **state)
{
    struct open_store *it = *state;
    struct store *store = it->store;
    struct token token;
    struct secret_row row = {.id = "sec_1", .account = "acc_1", .name = "KEY", .version = 1};
    const uint8_t hash[32] = {2};
    fill_rows(it);
    assert_int_equal(secret_row_insert(store, &row, VIEW("blob")), STATUS_OK);
    look(it);
    for (int i = 0; i < 2; i++) {
        CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
        assert_int_equal(hot_token(store, view_of(hash, 32), &token), STATUS_OK);
        assert_string_equal(token.id, "tok_1");
        assert_int_equal(hot_agent(store, "acc_1", "agt_1"), STATUS_OK);
        assert_int_equal(hot_agent(store, "acc_2", "agt_1"), STATUS_NOT_FOUND);
        assert_int_equal(hot_secret(store, "acc_1", VIEW("KEY"), &row, &blob), STATUS_OK);
        assert_true(view_is(buffer_view(&blob), "blob"));
        assert_int_equal(hot_secret(store, "acc_2", VIEW("KEY"), &row, &blob), STATUS_NOT_FOUND);
    }
    CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
    sql_either(it, "UPDATE secrets SET blob = x'6e6577'", "UPDATE secrets SET blob = '\\x6e6577'");
    assert_int_equal(hot_secret(store, "acc_1", VIEW("KEY"), &row, &blob), STATUS_OK);
    assert_true(view_is(buffer_view(&blob), "new"));
    sql(it, "UPDATE tokens SET expires_ms = 0");
    assert_int_equal(hot_token(store, view_of(hash, 32), &token), STATUS_DENIED);
    sql(it, "UPDATE tokens SET expires_ms = 9");
    assert_int_equal(hot_token(store, view_of(hash, 32), &token), STATUS_OK);

    assert_int_equal(store_begin(store), STATUS_OK); /* seen inside, and taken back */
    sql(it, "DELETE FROM agents");
    assert_int_equal(hot_token(store, view_of(hash, 32), &token), STATUS_NOT_FOUND);
    assert_int_equal(hot_agent(store, "acc_1", "agt_1"), STATUS_NOT_FOUND);
    sql_either(it, "UPDATE secrets SET blob = x'6c6f7374'", "UPDATE secrets SET blob = '\\x6c6f7374'");
    buffer_clear(&blob);
    assert_int_equal(hot_secret(store, "acc_1", VIEW("KEY"), &row, &blob), STATUS_OK);
    assert_true(view_is(buffer_view(&blob), "lost"));
    assert_int_equal(store_end(store, STATUS_INTERNAL), STATUS_INTERNAL);
    look(it);
    buffer_clear(&blob);
    assert_int_equal(hot_secret(store, "acc_1", VIEW("KEY"), &row, &blob), STATUS_OK);
    assert_true(view_is(buffer_view(&blob), "new"));
    assert_int_equal(hot_token(store, view_of(hash, 32), &token), STATUS_OK);
    assert_int_equal(hot_agent(store, "acc_1", "agt_1"), STATUS_OK);
    sql(it, "DELETE FROM agents"); /* the tokens go with them */
    assert_int_equal(hot_token(store, view_of(hash, 32), &token), STATUS_NOT_FOUND);
    assert_int_equal(hot_agent(store, "acc_1", "agt_1"), STATUS_NOT_FOUND);
}

static void an_account_takes_all_with_it(void **state)
{
    struct open_store *it = *state;
    struct token token;
    const uint8_t hash[32] = {2};
    fill_rows(it);
    assert_int_equal(account_delete(it->store, "acc_1"), STATUS_OK);
    assert_int_equal(token_by_hash(it->store, view_of(hash, 32), &token), STATUS_NOT_FOUND);
    assert_int_equal(account_delete(it->store, "acc_1"), STATUS_NOT_FOUND);
}

static void it_opens_again_and_rolls_back(void **state)
{
    struct open_store *it = *state;
    struct account account;
    fill_rows(it);
    assert_int_equal(store_begin(it->store), STATUS_OK);
    assert_int_equal(account_delete(it->store, "acc_1"), STATUS_OK);
    assert_int_equal(store_end(it->store, STATUS_INVALID), STATUS_INVALID);
    close_all(it);
    open_all(it);
    assert_int_equal(account_by_email(it->store, "a@b.c", &account), STATUS_OK);
    sql_either(it, "PRAGMA user_version = 99", "UPDATE seks_store SET form = 99");
    close_all(it);
    assert_int_equal(store_open(it->path, &it->store), STATUS_INVALID);
    it->store = NULL;
}

static void a_wrong_master_key_touches_nothing(void **state)
{
    struct open_store *it = *state;
    uint8_t before[32], after[32];
    struct stat info[2];
    char wal[336];
    FILES_ALONE(it);
    fill_rows(it);
    close_all(it);
    hash_file(it->path, before);
    assert_int_equal(stat(it->path, &info[0]), 0);
    assert_int_equal(info[0].st_mode & 0777, 0600);
    assert_int_equal(try_open(it, 8), STATUS_DENIED);
    close_all(it);
    struct loop *loop = loop_new();
    struct vault vault = {.options = {.data = it->world.data, .keys = it->world.keys,
                                      .listen = it->world.listen, .audit = {{it->world.audit}, 1},
                                      .providers = it->world.providers, .signup = "open"}};
    assert_int_equal(vault_open(&vault, loop), STATUS_DENIED); /* keys/master.key is another */
    vault_close(&vault);
    loop_free(&loop);
    hash_file(it->path, after);
    assert_memory_equal(before, after, 32);
    assert_int_equal(stat(it->path, &info[1]), 0);
    assert_int_equal(info[0].st_mtim.tv_nsec, info[1].st_mtim.tv_nsec);
    (void)snprintf(wal, sizeof wal, "%s-wal", it->path);
    assert_int_not_equal(access(wal, F_OK), 0);
    open_all(it);
}

/* ---- the master key is changed ---- */

static void assert_opens(struct open_store *it, struct secret_row *row, struct buffer *blob)
{
    CLEANUP(secret_free) struct secret *value = NULL;
    assert_int_equal(open_secret(it->keys, row, buffer_view(blob), &value), STATUS_OK);
    assert_true(view_is(secret_view(value), "hunter2"));
}

static void the_master_key_changes_while_it_runs(void **state)
{
    struct open_store *it = *state;
    CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
    struct secret_row row;
    uint64_t count = 0;
    const uint8_t next[32] = {9};
    seal_one(it, &row, "acc_1", &blob);
    assert_int_equal(keys_rotate(it->keys, view_of(next, 32), &count), STATUS_OK);
    assert_int_equal(count, 1 + INSTALL_KEYS);
    assert_true(keys_under(it->keys, view_of(next, 32)));
    keys_forget(it->keys);
    assert_opens(it, &row, &blob);
    close_all(it);
    assert_int_equal(try_open(it, 7), STATUS_DENIED);
    close_all(it);
    assert_int_equal(try_open(it, 9), STATUS_OK);
    assert_opens(it, &row, &blob);
}

static void the_master_key_changes_by_files(void **state)
{
    struct open_store *it = *state;
    CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
    struct secret_row row;
    seal_one(it, &row, "acc_1", &blob);
    close_all(it);
    assert_int_equal(try_open_with(it, 9, 8), STATUS_DENIED); /* neither is the one */
    close_all(it);
    assert_int_equal(try_open_with(it, 9, 7), STATUS_OK);
    assert_opens(it, &row, &blob);
    close_all(it);
    assert_int_equal(try_open_with(it, 9, 7), STATUS_OK); /* again: nothing left to do */
    close_all(it);
    assert_int_equal(try_open(it, 9), STATUS_OK);
    assert_opens(it, &row, &blob);
}

static void a_data_key_that_does_not_open_stops_the_change(void **state)
{
    struct open_store *it = *state;
    CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
    struct secret_row row;
    struct view key;
    row_id id;
    uint64_t count = 0;
    const uint8_t next[32] = {9};
    seal_one(it, &row, "acc_1", &blob);
    sql_either(it, "UPDATE data_keys SET wrapped = zeroblob(62) WHERE tenant = 'acc_1'",
               "UPDATE data_keys SET wrapped = decode(repeat('00', 62), 'hex')"
               " WHERE tenant = 'acc_1'");
    assert_int_equal(keys_rotate(it->keys, view_of(next, 32), &count), STATUS_DENIED);
    assert_false(keys_under(it->keys, view_of(next, 32)));
    keys_forget(it->keys);
    assert_int_equal(keys_for_seal(it->keys, "acc_1", id, &key), STATUS_DENIED); /* and no other */
    close_all(it);
    assert_int_equal(try_open_with(it, 9, 7), STATUS_DENIED);
    close_all(it);
    assert_int_equal(try_open(it, 7), STATUS_OK); /* all as before */
}

static void one_row_under_a_lost_key_refuses_the_start(void **state)
{
    struct open_store *it = *state;
    uint8_t before[32], after[32];
    FILES_ALONE(it);
    sql(it, "UPDATE data_keys SET kek = 'kek_0000000000000000' WHERE purpose = 'csrf'");
    close_all(it);
    hash_file(it->path, before);
    assert_int_equal(try_open(it, 7), STATUS_DENIED);
    close_all(it);
    hash_file(it->path, after);
    assert_memory_equal(before, after, 32);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(it->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE data_keys SET kek = (SELECT kek FROM install)", NULL,
                                  NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    open_all(it);
}

/* As a program before data keys named their master key left it. */
static void an_older_database_is_taken_over(void **state)
{
    struct open_store *it = *state;
    CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
    struct secret_row row;
    FILES_ALONE(it);
    seal_one(it, &row, "acc_1", &blob);
    sql(it, "ALTER TABLE install DROP COLUMN kek; ALTER TABLE data_keys DROP COLUMN kek;"
            "ALTER TABLE install DROP COLUMN epoch; ALTER TABLE install DROP COLUMN restored_ms;"
            "ALTER TABLE install DROP COLUMN epoch_mac; ALTER TABLE install DROP COLUMN moved;"
            "PRAGMA user_version = 2");
    close_all(it);
    assert_int_equal(try_open(it, 8), STATUS_DENIED);
    close_all(it);
    assert_int_equal(try_open_with(it, 9, 7), STATUS_OK);
    assert_opens(it, &row, &blob);
    close_all(it);
    assert_int_equal(try_open(it, 9), STATUS_OK);
}

static void the_signing_key_is_the_published_one(void **state)
{
    (void)state;
    uint8_t key[32];
    char hex[65];
    assert_int_equal(sigv4_key(VIEW("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), VIEW("20150830"),
                               VIEW("us-east-1"), VIEW("iam"), key), STATUS_OK);
    hex_encode(view_of(key, 32), hex);
    assert_string_equal(hex, "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
}

static void words_are_checked(void **state)
{
    (void)state;
    char email[EMAIL_MAX + 1];
    assert_true(email_normal(VIEW("  Ann@Example.ORG\n"), email));
    assert_string_equal(email, "ann@example.org");
    assert_false(email_normal(VIEW("a@b@c"), email));
    assert_false(email_normal(VIEW("@b"), email));
    assert_false(email_normal(VIEW("a b@c"), email));
    assert_true(secret_name_valid(VIEW("team/OPENAI_API-KEY.1")));
    assert_false(secret_name_valid(VIEW("")));
    assert_false(secret_name_valid(view_of("a\0b", 3)));
    assert_false(secret_name_valid(VIEW("a b")));
    assert_true(label_valid(VIEW("Zo\xc3\xab")));
    assert_false(label_valid(VIEW("a\xc3")));
    assert_false(label_valid(VIEW("\xed\xa0\x80")));
    assert_false(label_valid(VIEW("\xc0\xaf")));
    assert_false(label_valid(VIEW("a\nb")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_moved_blob_does_not_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_is_renewed_before_its_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_row_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_account_takes_all_with_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hot_rows_are_the_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_opens_again_and_rolls_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_master_key_touches_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_master_key_changes_while_it_runs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_master_key_changes_by_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_data_key_that_does_not_open_stops_the_change, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_row_under_a_lost_key_refuses_the_start, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_older_database_is_taken_over, set_up, tear_down),
        cmocka_unit_test(the_signing_key_is_the_published_one),
        cmocka_unit_test(words_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
