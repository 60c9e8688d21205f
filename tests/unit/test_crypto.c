/* test_crypto.c - sealing refuses every changed bit; published cases pass through our functions. */
#include "tests/unit/unit.h"

#include "common/crypto.h"
#include "common/keyfile.h"

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

static void gcm_gives_the_published_answer(void **state)
{
    (void)state;
    uint8_t key[32], nonce[12], aad[20], plain[60], wanted[60], wanted_tag[16], got[60], tag[16];
    assert_true(hex_decode(VIEW("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"), key, 32));
    assert_true(hex_decode(VIEW("cafebabefacedbaddecaf888"), nonce, 12));
    assert_true(hex_decode(VIEW("feedfacedeadbeeffeedfacedeadbeefabaddad2"), aad, 20));
    assert_true(hex_decode(VIEW("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c959568"
                                "09532fcf0e2449a6b525b16aedf5aa0de657ba637b39"), plain, 60));
    assert_true(hex_decode(VIEW("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590d"
                                "bb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"), wanted, 60));
    assert_true(hex_decode(VIEW("76fc6ece0f4e1768cddf8853bb2d551b"), wanted_tag, 16));
    assert_int_equal(crypto_gcm_encrypt(view_of(key, 32), nonce, view_of(aad, 20), view_of(plain, 60), got, tag), STATUS_OK);
    assert_memory_equal(got, wanted, 60);
    assert_memory_equal(tag, wanted_tag, 16);
    assert_int_equal(crypto_gcm_decrypt(view_of(key, 32), nonce, view_of(aad, 20), view_of(wanted, 60), tag, got), STATUS_OK);
    assert_memory_equal(got, plain, 60);
    tag[15] ^= 1;
    assert_int_equal(crypto_gcm_decrypt(view_of(key, 32), nonce, view_of(aad, 20), view_of(wanted, 60), tag, got), STATUS_DENIED);
}

/* Long messages go another way than short ones; in counter mode both begin alike. */
static void long_and_short_messages_agree(void **state)
{
    enum { LONG = 40000, SHORT = 1000 };
    static uint8_t plain[LONG], once[LONG], again[SHORT], back[LONG];
    uint8_t key[32] = {1}, nonce[12] = {2}, tag[16], short_tag[16];
    (void)state;
    assert_int_equal(crypto_gcm_encrypt(view_of(key, 32), nonce, VIEW("a"), view_of(plain, LONG), once, tag), STATUS_OK);
    assert_int_equal(crypto_gcm_encrypt(view_of(key, 32), nonce, VIEW("a"), view_of(plain, SHORT), again, short_tag),
                     STATUS_OK);
    assert_memory_equal(once, again, SHORT);
    assert_int_equal(crypto_gcm_decrypt(view_of(key, 32), nonce, VIEW("a"), view_of(once, LONG), tag, back), STATUS_OK);
    assert_memory_equal(back, plain, LONG);
    once[LONG - 1] ^= 1;
    assert_int_equal(crypto_gcm_decrypt(view_of(key, 32), nonce, VIEW("a"), view_of(once, LONG), tag, back), STATUS_DENIED);
}

static void hmac_gives_the_rfc_4231_answers(void **state)
{
    uint8_t mac[32], wanted[32], key[131];
    (void)state;
    assert_int_equal(crypto_hmac(VIEW("Jefe"), VIEW("what do ya want for nothing?"), mac), STATUS_OK);
    assert_true(hex_decode(VIEW("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"), wanted, 32));
    assert_memory_equal(mac, wanted, 32);
    memset(key, 0xaa, sizeof key);
    assert_int_equal(crypto_hmac(view_of(key, sizeof key), VIEW("Test Using Larger Than Block-Size Key - Hash Key First"), mac),
                     STATUS_OK);
    assert_true(hex_decode(VIEW("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"), wanted, 32));
    assert_memory_equal(mac, wanted, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imported_passwords_are_checked),
        cmocka_unit_test(a_sealed_blob_opens_only_as_it_was),
        cmocka_unit_test(a_box_opens_with_its_key),
        cmocka_unit_test(hkdf_gives_the_rfc_5869_answer),
        cmocka_unit_test(gcm_gives_the_published_answer),
        cmocka_unit_test(long_and_short_messages_agree),
        cmocka_unit_test(hmac_gives_the_rfc_4231_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
