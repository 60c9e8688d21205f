/* crypto_sign.c - Ed25519 (RFC 8032), by libsodium. */
#include "common/crypto.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void crypto_sign_pair(uint8_t *ret_public, uint8_t *ret_seed)
{
    crypto_random(ret_seed, CRYPTO_KEY_BYTES);
    if (crypto_sign_public(ret_seed, ret_public) != STATUS_OK) {
        abort(); /* no randomness and no memory of its own: it cannot fail */
    }
}

enum status crypto_sign_public(const uint8_t *seed, uint8_t *ret_public)
{
    uint8_t expanded[crypto_sign_SECRETKEYBYTES];
    bool good = sodium_init() >= 0 &&
                crypto_sign_seed_keypair(ret_public, expanded, seed) == 0;
    sodium_memzero(expanded, sizeof expanded);
    return good ? STATUS_OK : STATUS_INTERNAL;
}

enum status crypto_sign_make(const uint8_t *seed, struct view data, uint8_t *ret_signature)
{
    uint8_t expanded[crypto_sign_SECRETKEYBYTES], public_key[CRYPTO_KEY_BYTES];
    bool good = sodium_init() >= 0 &&
                crypto_sign_seed_keypair(public_key, expanded, seed) == 0 &&
                crypto_sign_detached(ret_signature, NULL, data.data, data.size, expanded) == 0;
    sodium_memzero(expanded, sizeof expanded);
    return good ? STATUS_OK : STATUS_INTERNAL;
}

bool crypto_sign_good(const uint8_t *public_key, struct view data, const uint8_t *signature)
{
    return sodium_init() >= 0 &&
           crypto_sign_verify_detached(signature, data.data, data.size, public_key) == 0;
}
