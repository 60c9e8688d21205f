/* vault_database.h - a vault's database by itself, opened as the vault opens it. */
#ifndef TESTS_VAULT_DATABASE_H
#define TESTS_VAULT_DATABASE_H

#include "tests/unit/vault_world.h"

struct open_store {
    struct world world;
    struct store *store;
    struct keys *keys;
    char path[320];
};

/* As the vault does: look, check, use. */
static inline enum status try_open_with(struct open_store *it, uint8_t first_of_master,
                                 uint8_t first_of_previous)
{
    uint8_t master[32] = {first_of_master}, previous[32] = {first_of_previous};
    const struct masters masters = {view_of(master, 32),
                                    view_of(previous, first_of_previous ? 32 : 0)};
    enum status status = store_open(it->path, &it->store);
    if (status == STATUS_NOT_FOUND) {
        status = store_create(it->path, &it->store);
    } else if (status == STATUS_OK) {
        status = keys_check(it->store, &masters);
        status = status == STATUS_OK ? store_begin_use(it->store) : status;
    }
    return status == STATUS_OK ? keys_open(it->store, &masters, &it->keys) : status;
}

static inline enum status try_open(struct open_store *it, uint8_t first_of_master)
{
    return try_open_with(it, first_of_master, 0);
}

static inline void open_all(struct open_store *it)
{
    assert_int_equal(try_open(it, 7), STATUS_OK);
}

static inline void close_all(struct open_store *it)
{
    keys_free(&it->keys);
    store_close(&it->store);
}

static inline int set_up(void **state)
{
    struct open_store *it = calloc(1, sizeof *it);
    world_make(&it->world);
    assert_int_equal(mkdir(it->world.data, 0700), 0);
    memcpy(it->path, it->world.where, sizeof it->path);
    open_all(it);
    *state = it;
    return 0;
}

static inline int tear_down(void **state)
{
    struct open_store *it = *state;
    close_all(it);
    world_remove(&it->world);
    free(it);
    return 0;
}

/* A new look at how many changes there were, which PostgreSQL is asked for. */
static inline void look(struct open_store *it)
{
    struct store_state state;
    assert_int_equal(store_refresh(it->store, &state), STATUS_OK);
}

/* As another vault would: a change is counted. */
static inline void sql(struct open_store *it, const char *text)
{
    assert_int_equal(store_exec(it->store, text), STATUS_OK);
    if (store_is_shared(it->store) && !it->store->in_transaction) {
        assert_int_equal(store_exec(it->store, "UPDATE seks_store SET changes = changes + 1"),
                         STATUS_OK);
        look(it);
    }
}

/* Where the two write it differently. */
static inline void sql_either(struct open_store *it, const char *sqlite, const char *postgres)
{
    sql(it, store_is_shared(it->store) ? postgres : sqlite);
}

/* What is of a file has no meaning elsewhere. */
#define FILES_ALONE(it)                      \
    do {                                     \
        if (store_is_remote((it)->path)) {   \
            skip();                          \
        }                                    \
    } while (0)

static inline void hash_file(const char *path, uint8_t *ret_hash)
{
    CLEANUP(buffer_free) struct buffer bytes = BUFFER_EMPTY;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    for (int c = fgetc(file); c != EOF; c = fgetc(file)) {
        buffer_append_byte(&bytes, (uint8_t)c);
    }
    fclose(file);
    assert_int_equal(crypto_sha256(buffer_view(&bytes), ret_hash), STATUS_OK);
}

static inline void seal_one(struct open_store *it, struct secret_row *row, const char *tenant,
                            struct buffer *blob)
{
    *row = (struct secret_row){.id = "sec_1", .name = "KEY", .version = 1};
    (void)snprintf(row->account, sizeof row->account, "%s", tenant);
    assert_int_equal(seal_secret(it->keys, row, VIEW("hunter2"), blob), STATUS_OK);
}

#endif
