/* The published cases of Project Wycheproof through the project's own functions.  SEKS_VECTORS
 * names the folder that holds wycheproof/; without it there is nothing to run. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"

static json_t *load(const char *name)
{
    char path[4096];
    const char *folder = getenv("SEKS_VECTORS");
    if (!folder) {
        skip();
    }
    (void)snprintf(path, sizeof path, "%s/wycheproof/%s", folder, name);
    json_t *root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    return root;
}

static struct view hex(const json_t *test, const char *name, struct buffer *room)
{
    const char *text = json_string_value(json_object_get(test, name));
    assert_non_null(text);
    buffer_clear(room);
    buffer_append_byte(room, 0); /* never a NULL pointer, even when empty */
    room->size = 0;
    for (; *text; text += 2) {
        char pair[3] = {text[0], text[1], 0};
        buffer_append_byte(room, (uint8_t)strtoul(pair, NULL, 16));
    }
    return buffer_view(room);
}

static bool valid(const json_t *test)
{
    return strcmp(json_string_value(json_object_get(test, "result")), "valid") == 0;
}

static json_int_t number(const json_t *of, const char *name)
{
    return json_integer_value(json_object_get(of, name));
}

/* Calls RUN for every test of every group that FITS takes; RUN must have run at least LEAST times. */
static void each(const char *file, bool (*fits)(const json_t *group),
                 void (*run)(const json_t *group, const json_t *test), size_t least)
{
    json_t *root = load(file), *group, *test;
    size_t i, j, count = 0;
    json_array_foreach(json_object_get(root, "testGroups"), i, group) {
        if (!fits(group)) {
            continue;
        }
        json_array_foreach(json_object_get(group, "tests"), j, test) {
            run(group, test);
            count++;
        }
    }
    print_message("%s: %zu cases\n", file, count);
    assert_true(count >= least);
    json_decref(root);
}

static bool any_group(const json_t *group)
{
    return group != NULL;
}

static bool gcm_group(const json_t *group)
{
    return number(group, "keySize") == 256 && number(group, "ivSize") == 96 &&
           number(group, "tagSize") == 128;
}

static void gcm_case(const json_t *group, const json_t *test)
{
    struct buffer key = {0}, nonce = {0}, aad = {0}, plain = {0}, sealed = {0}, tag = {0};
    uint8_t made[8192], made_tag[CRYPTO_TAG_BYTES];
    (void)group;
    hex(test, "key", &key);
    hex(test, "iv", &nonce);
    hex(test, "aad", &aad);
    hex(test, "msg", &plain);
    hex(test, "ct", &sealed);
    hex(test, "tag", &tag);
    assert_true(plain.size <= sizeof made);
    enum status opened = crypto_gcm_decrypt(buffer_view(&key), nonce.data, buffer_view(&aad),
                                            buffer_view(&sealed), tag.data, made);
    assert_int_equal(opened, valid(test) ? STATUS_OK : STATUS_DENIED);
    if (valid(test)) {
        assert_memory_equal(made, plain.data, plain.size);
        assert_int_equal(crypto_gcm_encrypt(buffer_view(&key), nonce.data, buffer_view(&aad),
                                            buffer_view(&plain), made, made_tag), STATUS_OK);
        assert_memory_equal(made, sealed.data, sealed.size);
        assert_memory_equal(made_tag, tag.data, sizeof made_tag);
    }
    struct buffer *all[] = {&key, &nonce, &aad, &plain, &sealed, &tag};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        buffer_free(all[i]);
    }
}

static void hmac_case(const json_t *group, const json_t *test)
{
    struct buffer key = {0}, message = {0}, tag = {0};
    uint8_t made[CRYPTO_HASH_BYTES];
    hex(test, "key", &key);
    hex(test, "msg", &message);
    hex(test, "tag", &tag);
    assert_int_equal(tag.size * 8, number(group, "tagSize"));
    assert_int_equal(crypto_hmac(buffer_view(&key), buffer_view(&message), made), STATUS_OK);
    assert_int_equal(memcmp(made, tag.data, tag.size) == 0, valid(test));
    buffer_free(&key);
    buffer_free(&message);
    buffer_free(&tag);
}

static void hkdf_case(const json_t *group, const json_t *test)
{
    struct buffer key = {0}, salt = {0}, info = {0}, okm = {0};
    uint8_t made[255 * CRYPTO_HASH_BYTES + 1];
    size_t size = (size_t)number(test, "size");
    (void)group;
    hex(test, "ikm", &key);
    hex(test, "salt", &salt);
    hex(test, "info", &info);
    hex(test, "okm", &okm);
    assert_true(size <= sizeof made);
    enum status status = crypto_hkdf(buffer_view(&key), buffer_view(&salt), buffer_view(&info),
                                     made, size);
    assert_int_equal(status == STATUS_OK, valid(test));
    if (status == STATUS_OK) {
        assert_int_equal(okm.size, size);
        assert_memory_equal(made, okm.data, size);
    }
    buffer_free(&key);
    buffer_free(&salt);
    buffer_free(&info);
    buffer_free(&okm);
}

static void test_aes_gcm(void **state)
{
    (void)state;
    each("aes_gcm_test.json", gcm_group, gcm_case, 60);
}

static void test_hmac(void **state)
{
    (void)state;
    each("hmac_sha256_test.json", any_group, hmac_case, 100);
}

static void test_hkdf(void **state)
{
    (void)state;
    each("hkdf_sha256_test.json", any_group, hkdf_case, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aes_gcm),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_hkdf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
