/* test_crypto.c - sealing refuses every changed bit; published cases pass through our functions. */
#include "tests/unit/unit.h"

#include "common/crypto.h"

static void a_sealed_blob_opens_only_as_it_was(void **state)
{
    (void)state;
    static const uint8_t key[32] = {7};
    struct buffer blob = BUFFER_EMPTY;
    struct secret *plain = NULL;
    assert_int_equal(crypto_seal(view_of(key, 32), VIEW("aad"), VIEW("value"), &blob), STATUS_OK);
    assert_int_equal(crypto_open(view_of(key, 32), VIEW("aad"), buffer_view(&blob), &plain),
                     STATUS_OK);
    assert_true(view_is(secret_view(plain), "value"));
    secret_free(&plain);
    for (size_t bit = 0; bit < blob.size * 8; bit++) {
        blob.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(crypto_open(view_of(key, 32), VIEW("aad"), buffer_view(&blob), &plain),
                         STATUS_DENIED);
        blob.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_int_equal(crypto_open(view_of(key, 32), VIEW("aae"), buffer_view(&blob), &plain),
                     STATUS_DENIED);
    assert_null(plain);
    buffer_free(&blob);
}

static void a_box_opens_with_its_key(void **state)
{
    (void)state;
    uint8_t public_key[32], private_key[32];
    struct buffer box = BUFFER_EMPTY;
    struct secret *plain = NULL;
    crypto_sealed_keypair(public_key, private_key);
    assert_int_equal(crypto_sealed_make(public_key, VIEW("secret"), &box), STATUS_OK);
    assert_int_equal(crypto_sealed_open(public_key, private_key, buffer_view(&box), &plain),
                     STATUS_OK);
    assert_true(view_is(secret_view(plain), "secret"));
    secret_free(&plain);
    box.data[40] ^= 1;
    assert_int_equal(crypto_sealed_open(public_key, private_key, buffer_view(&box), &plain),
                     STATUS_DENIED);
    buffer_free(&box);
}

static void hkdf_gives_the_rfc_5869_answer(void **state)
{
    (void)state;
    static const uint8_t salt[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    static const uint8_t info[] = {0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9};
    static const uint8_t want[] = {0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a};
    uint8_t key[22], got[42];
    memset(key, 0x0b, sizeof key);
    assert_int_equal(crypto_hkdf(view_of(key, 22), view_of(salt, 13), view_of(info, 10), got, 42),
                     STATUS_OK);
    assert_memory_equal(got, want, sizeof want);
}

static void imported_passwords_are_checked(void **state)
{
    (void)state;
    static const char vector[] =
        "AAECAwQFBgcICQoLDA0ODw==$V/LC8HOXSNUWQZsGKohGZjI8WD6krhZVBKgfe1PGKgk=";
    char kept[CRYPTO_PASSWORD_SIZE], made[CRYPTO_PASSWORD_SIZE];
    assert_int_equal(crypto_pbkdf2_take(vector, kept), STATUS_OK);
    assert_true(crypto_pbkdf2_is(kept));
    assert_true(crypto_pbkdf2_check(VIEW("correct horse"), kept));
    assert_false(crypto_pbkdf2_check(VIEW("correct horsf"), kept));
    assert_false(crypto_pbkdf2_check(VIEW(""), kept));
    kept[sizeof "pbkdf2-sha256$" - 1] = 'B'; /* another salt */
    assert_false(crypto_pbkdf2_check(VIEW("correct horse"), kept));
    static const char *const bad[] = {"", "$", "AAECAwQFBgcICQoLDA0ODw==", "AAEC$V/LC",
                                      "AAECAwQFBgcICQoLDA0ODw==$V/LC8HOXSNUWQZsGKohGZjI8WD6krhZVBKgfe1PGKg==",
                                      "!AECAwQFBgcICQoLDA0ODw==$V/LC8HOXSNUWQZsGKohGZjI8WD6krhZVBKgfe1PGKgk="};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(crypto_pbkdf2_take(bad[i], kept), STATUS_INVALID);
    }
    assert_int_equal(crypto_password_hash(VIEW("x"), made), STATUS_OK);
    assert_false(crypto_pbkdf2_is(made));
    assert_false(crypto_pbkdf2_check(VIEW("x"), made));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imported_passwords_are_checked),
        cmocka_unit_test(a_sealed_blob_opens_only_as_it_was),
        cmocka_unit_test(a_box_opens_with_its_key),
        cmocka_unit_test(hkdf_gives_the_rfc_5869_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
