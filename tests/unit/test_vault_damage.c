/* test_vault_damage.c - databases that are not as the vault left them: each is refused, with every file
 * as it was, and none is ever made anew over what was. */
#include <sqlite3.h>

#include "tests/unit/vault_database.h"

/* Opens by the same door as the daemon, which alone would make a database. */
static enum status start(struct open_store *it)
{
    uint8_t master[32] = {7};
    const struct masters masters = {view_of(master, 32), {NULL, 0}};
    return database_open(it->world.data, it->path, &masters, &it->store, &it->keys);
}

/* With the mark that a started vault leaves, and some rows. */
static int set_up_used(void **state)
{
    assert_int_equal(set_up(state), 0);
    struct open_store *it = *state;
    const struct account account = {"acc_1", "a@b.c", "$x", 5};
    assert_int_equal(account_insert(it->store, &account), STATUS_OK);
    close_all(it);
    assert_int_equal(start(it), STATUS_OK);
    close_all(it);
    return 0;
}

static off_t size_of(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? info.st_size : -1;
}

static void patch(const char *path, off_t at, const void *bytes, size_t size)
{
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, size, at), size);
    close(fd);
}

static void assert_refused(struct open_store *it, enum status want)
{
    uint8_t before[32], after[32];
    off_t size = size_of(it->path);
    if (size >= 0) {
        hash_file(it->path, before);
    }
    assert_int_equal(start(it), want);
    assert_null(it->store);
    assert_int_equal(size_of(it->path), size);
    if (size >= 0) {
        hash_file(it->path, after);
        assert_memory_equal(before, after, 32);
    }
}

static void a_truncated_one_is_refused(void **state)
{
    struct open_store *it = *state;
    off_t whole = size_of(it->path);
    assert_true(whole > 3 * 4096);
    for (off_t size = whole - 4096; size > 0; size -= 4096) {
        assert_int_equal(truncate(it->path, size), 0);
        assert_refused(it, STATUS_INVALID);
        assert_int_equal(truncate(it->path, size - 1000), 0); /* not even a page's end */
        assert_refused(it, STATUS_INVALID);
    }
}

static void an_empty_or_missing_one_is_not_made_again(void **state)
{
    struct open_store *it = *state;
    assert_int_equal(truncate(it->path, 0), 0);
    assert_refused(it, STATUS_INVALID);
    assert_int_equal(unlink(it->path), 0);
    assert_refused(it, STATUS_INVALID);
    assert_int_equal(size_of(it->path), -1);
}

static void a_log_without_its_database_is_one_lost(void **state)
{
    struct open_store *it = *state;
    char mark[200];
    (void)snprintf(mark, sizeof mark, "%s/vault.install", it->world.data);
    assert_int_equal(unlink(mark), 0);
    assert_int_equal(unlink(it->path), 0);
    write_file(it->world.data, "vault.db-wal", "a log");
    assert_refused(it, STATUS_INVALID);
}

static void a_damaged_header_is_refused(void **state)
{
    struct open_store *it = *state;
    patch(it->path, 0, "SQLite fomrat 3", 16);
    assert_refused(it, STATUS_INVALID);
    patch(it->path, 0, "SQLite format 3", 16);
    patch(it->path, 16, "\x03\x07", 2); /* the size of its pages */
    assert_refused(it, STATUS_INVALID);
}

static void a_damaged_page_is_refused(void **state)
{
    struct open_store *it = *state;
    uint8_t noise[512];
    crypto_random(noise, sizeof noise);
    patch(it->path, 4096, noise, sizeof noise);
    assert_refused(it, STATUS_INVALID);
}

static void another_program_s_is_refused(void **state)
{
    struct open_store *it = *state;
    sqlite3 *db;
    assert_int_equal(unlink(it->path), 0);
    assert_int_equal(sqlite3_open(it->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE notes (text TEXT)", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_refused(it, STATUS_INVALID);
}

static void a_newer_one_is_refused(void **state)
{
    struct open_store *it = *state;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(it->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_refused(it, STATUS_INVALID);
}

static void one_in_use_is_refused(void **state)
{
    struct open_store *it = *state;
    assert_int_equal(start(it), STATUS_OK);
    struct open_store second = {.world = it->world};
    memcpy(second.path, it->path, sizeof second.path);
    assert_int_equal(start(&second), STATUS_UNAVAILABLE);
    assert_null(second.store);
    close_all(it);
}

/* A first start that was cut short has nothing to lose. */
static void an_unfinished_one_is_begun_again(void **state)
{
    struct open_store *it = *state;
    char mark[200];
    (void)snprintf(mark, sizeof mark, "%s/vault.install", it->world.data);
    assert_int_equal(unlink(mark), 0);
    assert_int_equal(truncate(it->path, 0), 0);
    assert_int_equal(start(it), STATUS_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_used, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_truncated_one_is_refused),
        TEST(an_empty_or_missing_one_is_not_made_again),
        TEST(a_log_without_its_database_is_one_lost),
        TEST(a_damaged_header_is_refused),
        TEST(a_damaged_page_is_refused),
        TEST(another_program_s_is_refused),
        TEST(a_newer_one_is_refused),
        TEST(one_in_use_is_refused),
        TEST(an_unfinished_one_is_begun_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
