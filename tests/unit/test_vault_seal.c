/* test_vault_seal.c - sealed secrets against a writer of the database: every bit flipped, every pair of
 * rows and columns swapped; and that nonces do not repeat. */
#include "tests/unit/vault_database.h"

enum { SEALS = 100000, TENANTS = 2, NAMES = 3, ROWS = TENANTS * NAMES };

struct sealed_row {
    struct secret_row row;
    struct buffer blob;
};

static void make_row(struct open_store *it, int tenant, int name, struct sealed_row *ret)
{
    char value[32];
    *ret = (struct sealed_row){.row = {.version = (uint64_t)name + 1}, .blob = BUFFER_EMPTY};
    (void)snprintf(ret->row.id, sizeof ret->row.id, "sec_%d%d", tenant, name);
    (void)snprintf(ret->row.account, sizeof ret->row.account, "acc_%d", tenant);
    (void)snprintf(ret->row.name, sizeof ret->row.name, "NAME_%d", name);
    (void)snprintf(value, sizeof value, "value of %d %d", tenant, name);
    assert_int_equal(seal_secret(it->keys, &ret->row, view_text(value), &ret->blob), STATUS_OK);
}

static bool opens(struct open_store *it, const struct secret_row *row, const struct buffer *blob)
{
    CLEANUP(secret_free) struct secret *value = NULL;
    return open_secret(it->keys, row, buffer_view(blob), &value) == STATUS_OK;
}

static size_t flip_bytes(struct open_store *it, const struct sealed_row *sealed,
                         struct secret_row *row, uint8_t *bytes, size_t size)
{
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(opens(it, row, &sealed->blob));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    return 8 * size;
}

static void every_flipped_bit_is_refused(void **state)
{
    struct open_store *it = *state;
    struct sealed_row sealed;
    make_row(it, 1, 1, &sealed);
    struct secret_row row = sealed.row;
    size_t bits = flip_bytes(it, &sealed, &row, sealed.blob.data, sealed.blob.size);
    bits += flip_bytes(it, &sealed, &row, (uint8_t *)row.id, strlen(row.id));
    bits += flip_bytes(it, &sealed, &row, (uint8_t *)row.account, strlen(row.account));
    bits += flip_bytes(it, &sealed, &row, (uint8_t *)row.name, strlen(row.name));
    bits += flip_bytes(it, &sealed, &row, (uint8_t *)&row.version, sizeof row.version);
    bits += flip_bytes(it, &sealed, &row, (uint8_t *)row.data_key, strlen(row.data_key));
    assert_true(opens(it, &row, &sealed.blob));
    print_message("%zu bits flipped, each refused\n", bits);
    buffer_free(&sealed.blob);
}

/* One column of a row, or its blob, exchanged for another row's. */
enum column { ID, ACCOUNT, NAME, AT_VERSION, DATA_KEY, BLOB, ALL_BUT_BLOB, COLUMNS };

static bool swap(enum column column, struct sealed_row *to, const struct sealed_row *from)
{
    const struct secret_row before = to->row;
    switch (column) {
    case ID:
        memcpy(to->row.id, from->row.id, sizeof to->row.id);
        break;
    case ACCOUNT:
        memcpy(to->row.account, from->row.account, sizeof to->row.account);
        break;
    case NAME:
        memcpy(to->row.name, from->row.name, sizeof to->row.name);
        break;
    case AT_VERSION:
        to->row.version = from->row.version;
        break;
    case DATA_KEY:
        memcpy(to->row.data_key, from->row.data_key, sizeof to->row.data_key);
        break;
    case BLOB:
        to->blob = from->blob;
        return true;
    case ALL_BUT_BLOB:
        to->row = from->row;
        break;
    case COLUMNS:
        break;
    }
    const struct secret_row *now = &to->row;
    return strcmp(before.id, now->id) != 0 || strcmp(before.account, now->account) != 0 ||
           strcmp(before.name, now->name) != 0 || before.version != now->version ||
           strcmp(before.data_key, now->data_key) != 0;
}

static void every_swap_is_refused(void **state)
{
    struct open_store *it = *state;
    struct sealed_row rows[ROWS];
    size_t swaps = 0;
    for (int i = 0; i < ROWS; i++) {
        make_row(it, i / NAMES, i % NAMES, &rows[i]);
        assert_true(opens(it, &rows[i].row, &rows[i].blob));
    }
    for (size_t pair = 0; pair < ROWS * ROWS * COLUMNS; pair++) {
        size_t to = pair / COLUMNS / ROWS, from = pair / COLUMNS % ROWS;
        struct sealed_row changed = rows[to];
        if (to != from && swap((enum column)(pair % COLUMNS), &changed, &rows[from])) {
            swaps++;
            assert_false(opens(it, &changed.row, &changed.blob));
        }
    }
    print_message("%zu swaps, each refused\n", swaps);
    for (int i = 0; i < ROWS; i++) {
        buffer_free(&rows[i].blob);
    }
}

static int compare_nonces(const void *a, const void *b)
{
    return memcmp(a, b, CRYPTO_NONCE_BYTES);
}

static void nonces_do_not_repeat(void **state)
{
    struct open_store *it = *state;
    /* PostgreSQL keeps each version of the row that counts them until the end. */
    size_t seals = store_is_shared(it->store) ? SEALS / 100 : SEALS;
    uint8_t(*nonces)[CRYPTO_NONCE_BYTES] = calloc(seals, sizeof *nonces);
    struct secret_row row = {.id = "sec_1", .account = "acc_1", .name = "KEY", .version = 1};
    CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
    assert_non_null(nonces);
    assert_int_equal(store_begin(it->store), STATUS_OK);
    for (size_t i = 0; i < seals; i++) {
        buffer_clear(&blob);
        assert_int_equal(seal_secret(it->keys, &row, VIEW("value"), &blob), STATUS_OK);
        memcpy(nonces[i], blob.data + CRYPTO_BLOB_HEAD_BYTES, CRYPTO_NONCE_BYTES);
    }
    assert_int_equal(store_end(it->store, STATUS_OK), STATUS_OK);
    qsort(nonces, seals, sizeof *nonces, compare_nonces);
    for (size_t i = 1; i < seals; i++) {
        assert_memory_not_equal(nonces[i - 1], nonces[i], CRYPTO_NONCE_BYTES);
    }
    free(nonces);
}

int main(void)
{
    log_open("test", LEVEL_ERROR + 1); /* each refusal would be a line */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_flipped_bit_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_swap_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nonces_do_not_repeat, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
