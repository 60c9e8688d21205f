/* crypto_pbkdf2.c - checks passwords that came in from elsewhere as PBKDF2; none is made here. */
#include "common/crypto.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>

enum { ROUNDS = 100000, SALT_MAX = 64 };

static const char prefix[] = "pbkdf2-sha256$";

bool crypto_pbkdf2_is(const char *hash)
{
    return strncmp(hash, prefix, sizeof prefix - 1) == 0;
}

static bool decode(const char *text, size_t text_size, uint8_t *bytes, size_t bytes_max,
                   size_t *ret_size)
{
    const char *end = NULL;
    return sodium_base642bin(bytes, bytes_max, text, text_size, NULL, ret_size, &end,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           end == text + text_size;
}

/* Splits "SALT$HASH". */
static bool parse(const char *text, uint8_t *salt, size_t *ret_salt_size, uint8_t *hash)
{
    const char *dollar = strchr(text, '$');
    size_t hash_size = 0;
    return dollar && decode(text, (size_t)(dollar - text), salt, SALT_MAX, ret_salt_size) &&
           decode(dollar + 1, strlen(dollar + 1), hash, CRYPTO_HASH_BYTES, &hash_size) &&
           hash_size == CRYPTO_HASH_BYTES && *ret_salt_size >= 8;
}

enum status crypto_pbkdf2_take(const char *salt_and_hash, char *ret_hash)
{
    uint8_t salt[SALT_MAX], hash[CRYPTO_HASH_BYTES];
    size_t salt_size;
    size_t size = strlen(salt_and_hash);
    if (!parse(salt_and_hash, salt, &salt_size, hash) ||
        sizeof prefix + size > CRYPTO_PASSWORD_SIZE) {
        return STATUS_INVALID;
    }
    memcpy(ret_hash, prefix, sizeof prefix - 1);
    memcpy(ret_hash + sizeof prefix - 1, salt_and_hash, size + 1);
    return STATUS_OK;
}

bool crypto_pbkdf2_check(struct view password, const char *hash)
{
    uint8_t salt[SALT_MAX], wanted[CRYPTO_HASH_BYTES], made[CRYPTO_HASH_BYTES];
    size_t salt_size;
    if (!crypto_pbkdf2_is(hash) || !parse(hash + sizeof prefix - 1, salt, &salt_size, wanted) ||
        password.size > 1 << 20) {
        return false;
    }
    bool good = PKCS5_PBKDF2_HMAC((const char *)password.data, (int)password.size, salt,
                                  (int)salt_size, ROUNDS, EVP_sha256(), sizeof made, made) == 1 &&
                sodium_memcmp(made, wanted, sizeof made) == 0;
    explicit_bzero(made, sizeof made);
    return good;
}
