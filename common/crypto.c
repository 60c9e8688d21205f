/* crypto.c - the one file that calls the ciphers.
 *
 * Every result of OpenSSL and libsodium is checked; no plaintext is handed out before its tag was
 * verified.  Never logs and never keeps a key between calls.
 */
#include "common/crypto.h"

#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t blob_head[CRYPTO_BLOB_HEAD_BYTES] = {0x01, 0x01};

/* Room for any size OpenSSL's int can take. */
enum { GCM_SIZE_MAX = 1 << 30 };

/* ---- what is fetched and made once ---- */

/* OpenSSL 3 looks an algorithm up by its name, under locks, whenever it is given one that was not
 * fetched, and makes a context with several allocations: together most of a short operation. */
static struct {
    EVP_CIPHER *gcm;
    EVP_MD *sha256;
    EVP_MAC *hmac;
} fetched;

/* A context between two uses; whoever takes it puts it back.  A second thread makes one of its own. */
static _Atomic(EVP_CIPHER_CTX *) spare_cipher;
static _Atomic(EVP_MD_CTX *) spare_digest;
static _Atomic(EVP_MAC_CTX *) spare_mac;

static void free_fetched(void)
{
    EVP_CIPHER_CTX_free(atomic_exchange(&spare_cipher, NULL));
    EVP_MD_CTX_free(atomic_exchange(&spare_digest, NULL));
    EVP_MAC_CTX_free(atomic_exchange(&spare_mac, NULL));
    EVP_CIPHER_free(fetched.gcm);
    EVP_MD_free(fetched.sha256);
    EVP_MAC_free(fetched.hmac);
}

static void fetch(void)
{
    fetched.gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    fetched.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    fetched.hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (!fetched.gcm || !fetched.sha256 || !fetched.hmac || atexit(free_fetched) != 0) {
        abort(); /* without them nothing can be done */
    }
}

static void fetch_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, fetch); /* cannot fail with these arguments */
}

static EVP_CIPHER_CTX *take_cipher(void)
{
    fetch_once();
    EVP_CIPHER_CTX *ctx = atomic_exchange(&spare_cipher, NULL);
    return ctx ? ctx : EVP_CIPHER_CTX_new();
}

/* Puts another key into the context first: the last one's schedule does not stay in memory. */
static void ctx_free(EVP_CIPHER_CTX **ctx)
{
    static const uint8_t nothing[CRYPTO_KEY_BYTES];
    if (*ctx && EVP_CipherInit_ex2(*ctx, fetched.gcm, nothing, nothing, 1, NULL) == 1) {
        *ctx = atomic_exchange(&spare_cipher, *ctx);
    }
    EVP_CIPHER_CTX_free(*ctx);
}

static void digest_free(EVP_MD_CTX **ctx)
{
    EVP_MD_CTX_free(atomic_exchange(&spare_digest, *ctx));
}

static void mac_free(EVP_MAC_CTX **ctx)
{
    static const uint8_t nothing[CRYPTO_KEY_BYTES];
    if (*ctx && EVP_MAC_init(*ctx, nothing, sizeof nothing, NULL) == 1) {
        *ctx = atomic_exchange(&spare_mac, *ctx);
    }
    EVP_MAC_CTX_free(*ctx);
}

/* ---- AES-256-GCM ---- */

void crypto_random(void *data, size_t size)
{
    if (sodium_init() < 0) {
        abort();
    }
    randombytes_buf(data, size);
}

/* Starts an AES-256-GCM operation with key, nonce and associated data taken in. */
static EVP_CIPHER_CTX *gcm_start(struct view key, const uint8_t *nonce, struct view aad,
                                 struct view data, int encrypt)
{
    int written;
    if (key.size != CRYPTO_KEY_BYTES || aad.size > GCM_SIZE_MAX || data.size > GCM_SIZE_MAX) {
        return NULL;
    }
    EVP_CIPHER_CTX *ctx = take_cipher();
    if (ctx && EVP_CipherInit_ex2(ctx, fetched.gcm, key.data, nonce, encrypt, NULL) == 1 &&
        (aad.size == 0 ||
         EVP_CipherUpdate(ctx, NULL, &written, aad.data, (int)aad.size) == 1)) {
        return ctx;
    }
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

enum status crypto_gcm_encrypt(struct view key, const uint8_t *nonce, struct view aad,
                               struct view plain, uint8_t *ciphertext, uint8_t *tag)
{
    CLEANUP(ctx_free) EVP_CIPHER_CTX *ctx = gcm_start(key, nonce, aad, plain, 1);
    uint8_t rest[16];
    int written = 0;
    if (!ctx) {
        return STATUS_INTERNAL;
    }
    if (plain.size > 0 &&
        EVP_CipherUpdate(ctx, ciphertext, &written, plain.data, (int)plain.size) != 1) {
        return STATUS_INTERNAL;
    }
    if (EVP_CipherFinal_ex(ctx, rest, &written) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, CRYPTO_TAG_BYTES, tag) != 1) {
        return STATUS_INTERNAL;
    }
    return STATUS_OK;
}

enum status crypto_gcm_decrypt(struct view key, const uint8_t *nonce, struct view aad,
                               struct view ciphertext, const uint8_t *tag, uint8_t *plain)
{
    CLEANUP(ctx_free) EVP_CIPHER_CTX *ctx = gcm_start(key, nonce, aad, ciphertext, 0);
    uint8_t tag_copy[CRYPTO_TAG_BYTES];
    uint8_t rest[16];
    int written = 0;
    if (!ctx) {
        return STATUS_INTERNAL;
    }
    memcpy(tag_copy, tag, sizeof tag_copy);
    if ((ciphertext.size == 0 || EVP_CipherUpdate(ctx, plain, &written, ciphertext.data,
                                                  (int)ciphertext.size) == 1) &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, CRYPTO_TAG_BYTES, tag_copy) == 1 &&
        EVP_CipherFinal_ex(ctx, rest, &written) == 1) {
        return STATUS_OK;
    }
    if (ciphertext.size > 0) {
        explicit_bzero(plain, ciphertext.size);
    }
    return STATUS_DENIED;
}

enum status crypto_seal(struct view key, struct view aad, struct view plain,
                        struct buffer *ret_blob)
{
    if (plain.size > GCM_SIZE_MAX) {
        return STATUS_TOO_LARGE;
    }
    uint8_t *blob = buffer_room(ret_blob, plain.size + CRYPTO_BLOB_OVERHEAD_BYTES);
    if (!blob) {
        return STATUS_INTERNAL;
    }
    uint8_t *nonce = blob + CRYPTO_BLOB_HEAD_BYTES;
    uint8_t *ciphertext = nonce + CRYPTO_NONCE_BYTES;
    memcpy(blob, blob_head, sizeof blob_head);
    crypto_random(nonce, CRYPTO_NONCE_BYTES);
    enum status status =
        crypto_gcm_encrypt(key, nonce, aad, plain, ciphertext, ciphertext + plain.size);
    if (status == STATUS_OK) {
        ret_blob->size += plain.size + CRYPTO_BLOB_OVERHEAD_BYTES;
    }
    return status;
}

enum status crypto_open(struct view key, struct view aad, struct view blob,
                        struct secret **ret_plain)
{
    if (blob.size < CRYPTO_BLOB_OVERHEAD_BYTES || blob.size > GCM_SIZE_MAX ||
        memcmp(blob.data, blob_head, sizeof blob_head) != 0) {
        return STATUS_DENIED;
    }
    const uint8_t *nonce = blob.data + CRYPTO_BLOB_HEAD_BYTES;
    struct view ciphertext =
        view_of(nonce + CRYPTO_NONCE_BYTES, blob.size - CRYPTO_BLOB_OVERHEAD_BYTES);
    CLEANUP(secret_free) struct secret *plain = secret_new(NULL, ciphertext.size);
    if (!plain) {
        return STATUS_INTERNAL;
    }
    enum status status = crypto_gcm_decrypt(key, nonce, aad, ciphertext,
                                            ciphertext.data + ciphertext.size, secret_data(plain));
    if (status != STATUS_OK) {
        return status;
    }
    *ret_plain = TAKE(plain);
    return STATUS_OK;
}

enum status crypto_hmac(struct view key, struct view data, uint8_t *ret_mac)
{
    static const uint8_t empty_key[1];
    char name[] = "SHA256";
    OSSL_PARAM digest[] = {OSSL_PARAM_construct_utf8_string("digest", name, 0),
                           OSSL_PARAM_construct_end()};
    size_t size = 0;
    fetch_once();
    CLEANUP(mac_free) EVP_MAC_CTX *ctx = atomic_exchange(&spare_mac, NULL);
    bool made = !ctx;
    ctx = ctx ? ctx : EVP_MAC_CTX_new(fetched.hmac);
    return ctx && (!made || EVP_MAC_CTX_set_params(ctx, digest) == 1) &&
                   EVP_MAC_init(ctx, key.size ? key.data : empty_key, key.size, NULL) == 1 &&
                   EVP_MAC_update(ctx, data.data, data.size) == 1 &&
                   EVP_MAC_final(ctx, ret_mac, &size, CRYPTO_HASH_BYTES) == 1 &&
                   size == CRYPTO_HASH_BYTES
               ? STATUS_OK
               : STATUS_INTERNAL;
}

static void pkey_free(EVP_PKEY_CTX **ctx)
{
    EVP_PKEY_CTX_free(*ctx);
}

enum status crypto_hkdf(struct view key, struct view salt, struct view info, uint8_t *ret_key,
                        size_t size)
{
    CLEANUP(pkey_free) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    size_t wanted = size;
    if (!ctx || key.size > GCM_SIZE_MAX || salt.size > GCM_SIZE_MAX || info.size > GCM_SIZE_MAX ||
        EVP_PKEY_derive_init(ctx) <= 0 || EVP_PKEY_CTX_set_hkdf_md(ctx, EVP_sha256()) <= 0 ||
        EVP_PKEY_CTX_set1_hkdf_salt(ctx, salt.data, (int)salt.size) <= 0 ||
        EVP_PKEY_CTX_set1_hkdf_key(ctx, key.data, (int)key.size) <= 0 ||
        EVP_PKEY_CTX_add1_hkdf_info(ctx, info.data, (int)info.size) <= 0 ||
        EVP_PKEY_derive(ctx, ret_key, &size) <= 0 || size != wanted) {
        return STATUS_INTERNAL;
    }
    return STATUS_OK;
}

enum status crypto_sha256(struct view data, uint8_t *ret_hash)
{
    fetch_once();
    CLEANUP(digest_free) EVP_MD_CTX *ctx = atomic_exchange(&spare_digest, NULL);
    ctx = ctx ? ctx : EVP_MD_CTX_new();
    return ctx && EVP_DigestInit_ex2(ctx, fetched.sha256, NULL) == 1 &&
                   EVP_DigestUpdate(ctx, data.data, data.size) == 1 &&
                   EVP_DigestFinal_ex(ctx, ret_hash, NULL) == 1
               ? STATUS_OK
               : STATUS_INTERNAL;
}

void crypto_sealed_keypair(uint8_t *ret_public, uint8_t *ret_private)
{
    if (sodium_init() < 0 || crypto_box_curve25519xsalsa20poly1305_keypair(ret_public,
                                                                           ret_private) != 0) {
        abort();
    }
}

enum status crypto_sealed_public(const uint8_t *private_key, uint8_t *ret_public)
{
    return sodium_init() >= 0 && crypto_scalarmult_base(ret_public, private_key) == 0
               ? STATUS_OK
               : STATUS_INTERNAL;
}

enum status crypto_sealed_make(const uint8_t *public_key, struct view plain, struct buffer *ret_box)
{
    uint8_t *room = buffer_room(ret_box, plain.size + CRYPTO_BOX_OVERHEAD_BYTES);
    if (!room || crypto_box_seal(room, plain.data, plain.size, public_key) != 0) {
        return STATUS_INTERNAL;
    }
    ret_box->size += plain.size + CRYPTO_BOX_OVERHEAD_BYTES;
    return STATUS_OK;
}

enum status crypto_sealed_open(const uint8_t *public_key, const uint8_t *private_key, struct view box,
                            struct secret **ret_plain)
{
    if (box.size < CRYPTO_BOX_OVERHEAD_BYTES) {
        return STATUS_DENIED;
    }
    CLEANUP(secret_free)
    struct secret *plain = secret_new(NULL, box.size - CRYPTO_BOX_OVERHEAD_BYTES);
    if (!plain) {
        return STATUS_INTERNAL;
    }
    if (crypto_box_seal_open(secret_data(plain), box.data, box.size, public_key, private_key) !=
        0) {
        return STATUS_DENIED;
    }
    *ret_plain = TAKE(plain);
    return STATUS_OK;
}

void crypto_aad_field(struct buffer *aad, struct view field)
{
    uint32_t size = (uint32_t)field.size;
    const uint8_t head[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                             (uint8_t)size};
    if (field.size > GCM_SIZE_MAX) {
        aad->failed = true;
        return;
    }
    buffer_append(aad, head, sizeof head);
    buffer_append_view(aad, field);
}

/* OWASP's least for Argon2id: 19 MiB, two passes, one lane. */
enum { ARGON2_PASSES = 2, ARGON2_BYTES = 19456 * 1024 };
_Static_assert(crypto_pwhash_STRBYTES <= CRYPTO_PASSWORD_SIZE, "a hash must fit");

enum status crypto_password_hash(struct view password, char *ret_hash)
{
    if (sodium_init() < 0 ||
        crypto_pwhash_str_alg(ret_hash, (const char *)password.data, password.size, ARGON2_PASSES,
                              ARGON2_BYTES, crypto_pwhash_ALG_ARGON2ID13) != 0) {
        return STATUS_INTERNAL;
    }
    return STATUS_OK;
}

bool crypto_password_check(struct view password, const char *hash)
{
    return sodium_init() >= 0 &&
           crypto_pwhash_str_verify(hash, (const char *)password.data, password.size) == 0;
}

enum { PASSPHRASE_PASSES = 3, PASSPHRASE_BYTES = 64 << 20 };
_Static_assert(crypto_pwhash_SALTBYTES == CRYPTO_SALT_BYTES, "libsodium's salt is ours");

enum status crypto_passphrase_key(struct view passphrase, const uint8_t *salt, uint8_t *ret_key)
{
    if (sodium_init() < 0 ||
        crypto_pwhash(ret_key, CRYPTO_KEY_BYTES, (const char *)passphrase.data, passphrase.size,
                      salt, PASSPHRASE_PASSES, PASSPHRASE_BYTES,
                      crypto_pwhash_ALG_ARGON2ID13) != 0) {
        return STATUS_INTERNAL;
    }
    return STATUS_OK;
}
