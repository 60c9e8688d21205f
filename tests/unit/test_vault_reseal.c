/* test_vault_reseal.c - new versions of data keys, and secrets on their way to them. */
#include "tests/unit/vault_database.h"

enum { SECRETS = 70 }; /* more than two batches */

static void fill(struct open_store *it)
{
    const struct account account = {"acc_1", "a@b.c", "$x", 5};
    assert_int_equal(account_insert(it->store, &account), STATUS_OK);
    for (int i = 0; i < SECRETS; i++) {
        CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
        struct secret_row row = {.account = "acc_1", .version = 3, .created_ms = 5, .updated_ms = 6};
        (void)snprintf(row.id, sizeof row.id, "sec_%d", i);
        (void)snprintf(row.name, sizeof row.name, "NAME_%d", i);
        assert_int_equal(seal_secret(it->keys, &row, view_text(row.name), &blob), STATUS_OK);
        assert_int_equal(secret_row_insert(it->store, &row, buffer_view(&blob)), STATUS_OK);
    }
}

static void all_open(struct open_store *it, int but)
{
    for (int i = 0; i < SECRETS; i++) {
        CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
        CLEANUP(secret_free) struct secret *value = NULL;
        struct secret_row row;
        char name[16];
        (void)snprintf(name, sizeof name, "NAME_%d", i);
        assert_int_equal(secret_row_by_name(it->store, "acc_1", view_text(name), &row, &blob),
                         STATUS_OK);
        enum status status = open_secret(it->keys, &row, buffer_view(&blob), &value);
        assert_int_equal(status == STATUS_OK, i != but);
        if (status == STATUS_OK) {
            assert_true(view_is(secret_view(value), name));
        }
        assert_int_equal(row.version, 3);
        assert_int_equal(row.updated_ms, 6);
    }
}

static int64_t number(struct open_store *it, const char *text)
{
    CLEANUP(query_end) struct query query = query_new(it->store, text);
    assert_true(query_row(&query));
    return (int64_t)query_get_number(&query);
}

#define VERSIONS "SELECT count(*) FROM data_keys WHERE tenant = 'acc_1'"
#define UNDER_NEWEST                                                                             \
    "SELECT count(*) FROM secrets WHERE data_key = (SELECT id FROM data_keys WHERE tenant ="     \
    " 'acc_1' ORDER BY version DESC LIMIT 1)"

static enum status pass_on(struct open_store *it, struct reseal *pass)
{
    enum status status = STATUS_OK;
    for (int i = 0; i < 100 && status == STATUS_OK; i++) {
        status = reseal_step(pass, it->store, it->keys);
    }
    return status;
}

static void renew(struct open_store *it)
{
    assert_int_equal(store_begin(it->store), STATUS_OK);
    assert_int_equal(store_end(it->store, keys_renew(it->keys, "acc_1")), STATUS_OK);
}

static void secrets_move_and_the_older_key_goes(void **state)
{
    struct open_store *it = *state;
    struct reseal pass = {0};
    fill(it);
    renew(it);
    assert_int_equal(number(it, UNDER_NEWEST), 0);
    assert_int_equal(pass_on(it, &pass), STATUS_NOT_FOUND);
    assert_int_equal(pass.sealed, SECRETS);
    assert_int_equal(number(it, UNDER_NEWEST), SECRETS);
    assert_int_equal(number(it, VERSIONS), 1);
    all_open(it, -1);
    close_all(it);
    open_all(it);
    all_open(it, -1);
}

static void one_cut_short_goes_on(void **state)
{
    struct open_store *it = *state;
    struct reseal pass = {0}, next = {0};
    fill(it);
    renew(it);
    for (int i = 0; i < 3; i++) { /* worn keys, the tenant, one batch */
        assert_int_equal(reseal_step(&pass, it->store, it->keys), STATUS_OK);
    }
    int64_t moved = number(it, UNDER_NEWEST);
    assert_in_range(moved, 1, SECRETS - 1);
    assert_int_equal(number(it, VERSIONS), 2);
    all_open(it, -1);
    close_all(it);
    open_all(it);
    assert_int_equal(pass_on(it, &next), STATUS_NOT_FOUND);
    assert_int_equal(next.sealed, SECRETS - moved);
    assert_int_equal(number(it, VERSIONS), 1);
    all_open(it, -1);
}

/* Another vault, or the operator, makes a version while a pass is under way: it is the newest then. */
static void a_version_made_meanwhile_stays(void **state)
{
    struct open_store *it = *state;
    struct reseal pass = {0};
    fill(it);
    renew(it);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(reseal_step(&pass, it->store, it->keys), STATUS_OK);
    }
    renew(it);
    assert_int_equal(number(it, VERSIONS), 3);
    assert_int_equal(pass_on(it, &pass), STATUS_NOT_FOUND);
    assert_int_equal(number(it, UNDER_NEWEST), SECRETS);
    assert_int_equal(number(it, VERSIONS), 1);
    keys_forget(it->keys);
    all_open(it, -1);
}

static void a_damaged_secret_keeps_the_older_key(void **state)
{
    struct open_store *it = *state;
    struct reseal pass = {0};
    fill(it);
    renew(it);
    sql_either(it, "UPDATE secrets SET blob = zeroblob(60) WHERE name = 'NAME_5'",
               "UPDATE secrets SET blob = decode(repeat('00', 60), 'hex') WHERE name = 'NAME_5'");
    assert_int_equal(pass_on(it, &pass), STATUS_NOT_FOUND);
    assert_int_equal(number(it, UNDER_NEWEST), SECRETS - 1);
    assert_int_equal(number(it, VERSIONS), 2);
    all_open(it, 5);
}

static void keys_that_are_worn_are_renewed(void **state)
{
    struct open_store *it = *state;
    static const char *const wear[] = {"UPDATE data_keys SET created_ms = 5 WHERE tenant = 'acc_1'",
                                       "UPDATE data_keys SET seals = 1048575 WHERE tenant = 'acc_1'"};
    fill(it);
    for (int i = 0; i < 2; i++) {
        struct reseal pass = {0};
        row_id id, before;
        struct view key;
        assert_int_equal(keys_for_seal(it->keys, "acc_1", before, &key), STATUS_OK);
        sql(it, wear[i]);
        assert_int_equal(pass_on(it, &pass), STATUS_NOT_FOUND);
        assert_int_equal(pass.sealed, SECRETS);
        assert_int_equal(number(it, VERSIONS), 1);
        assert_int_equal(keys_for_seal(it->keys, "acc_1", id, &key), STATUS_OK);
        assert_string_not_equal(id, before);
        all_open(it, -1);
    }
    struct reseal idle = {0};
    assert_int_equal(pass_on(it, &idle), STATUS_NOT_FOUND);
    assert_int_equal(idle.sealed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(secrets_move_and_the_older_key_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_cut_short_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_version_made_meanwhile_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_secret_keeps_the_older_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_that_are_worn_are_renewed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
