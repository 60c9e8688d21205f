/* crypto.c - the one file that calls the ciphers.
 *
 * Every result of OpenSSL and libsodium is checked; no plaintext is handed out before its tag was
 * verified.  Never logs and never keeps a key between calls.
 */
#include "common/crypto.h"

#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t blob_head[CRYPTO_BLOB_HEAD_BYTES] = {0x01, 0x01};

/* Room for any size OpenSSL's int can take. */
enum { GCM_SIZE_MAX = 1 << 30, FAST_GCM_MAX = 16 << 10 /* beyond, the time is in the bytes */ };

/* ---- what is fetched and made once ---- */

/* OpenSSL 3 looks an algorithm up by its name, under locks, whenever it is given one that was not
 * fetched, and makes a context with several allocations: together most of a short operation. */
static struct {
    EVP_CIPHER *gcm;
    EVP_MD *sha256;
} fetched;

/* A context between two uses; whoever takes it puts it back.  A second thread makes one of its own. */
static _Atomic(EVP_CIPHER_CTX *) spare_cipher;
static _Atomic(EVP_MD_CTX *) spare_digest;

static void free_fetched(void)
{
    EVP_CIPHER_CTX_free(atomic_exchange(&spare_cipher, NULL));
    EVP_MD_CTX_free(atomic_exchange(&spare_digest, NULL));
    EVP_CIPHER_free(fetched.gcm);
    EVP_MD_free(fetched.sha256);
}

static void fetch(void)
{
    fetched.gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    fetched.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!fetched.gcm || !fetched.sha256 || atexit(free_fetched) != 0) {
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

/* libsodium has AES-256-GCM for processors with instructions for it, and is three times as quick about
 * the hundred bytes of a grant; OpenSSL has it for all. */
static bool has_fast_gcm(void)
{
    static _Atomic int has = -1;
    if (has < 0) {
        has = sodium_init() >= 0 && crypto_aead_aes256gcm_is_available();
    }
    return has > 0;
}

static enum status fast_encrypt(const uint8_t *key, const uint8_t *nonce, struct view aad,
                                struct view plain, uint8_t *ciphertext, uint8_t *tag)
{
    crypto_aead_aes256gcm_state state;
    bool good = crypto_aead_aes256gcm_beforenm(&state, key) == 0 &&
                crypto_aead_aes256gcm_encrypt_detached_afternm(
                    ciphertext, tag, NULL, plain.data, plain.size, aad.data, aad.size, NULL, nonce,
                    (const crypto_aead_aes256gcm_state *)&state) == 0;
    explicit_bzero(&state, sizeof state);
    return good ? STATUS_OK : STATUS_INTERNAL;
}

static enum status fast_decrypt(const uint8_t *key, const uint8_t *nonce, struct view aad,
                                struct view ciphertext, const uint8_t *tag, uint8_t *plain)
{
    crypto_aead_aes256gcm_state state;
    bool good = crypto_aead_aes256gcm_beforenm(&state, key) == 0 &&
                crypto_aead_aes256gcm_decrypt_detached_afternm(
                    plain, NULL, ciphertext.data, ciphertext.size, tag, aad.data, aad.size, nonce,
                    (const crypto_aead_aes256gcm_state *)&state) == 0;
    explicit_bzero(&state, sizeof state);
    if (!good && ciphertext.size > 0) {
        explicit_bzero(plain, ciphertext.size);
    }
    return good ? STATUS_OK : STATUS_DENIED;
}

static bool use_fast(struct view key, struct view aad, struct view data)
{
    return key.size == CRYPTO_KEY_BYTES && aad.size <= FAST_GCM_MAX && data.size <= FAST_GCM_MAX &&
           has_fast_gcm();
}

enum status crypto_gcm_encrypt(struct view key, const uint8_t *nonce, struct view aad,
                               struct view plain, uint8_t *ciphertext, uint8_t *tag)
{
    if (use_fast(key, aad, plain)) {
        return fast_encrypt(key.data, nonce, aad, plain, ciphertext, tag);
    }
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
    if (use_fast(key, aad, ciphertext)) {
        return fast_decrypt(key.data, nonce, aad, ciphertext, tag, plain);
    }
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

static bool digest_two(struct view first, struct view second, uint8_t *ret_hash)
{
    fetch_once();
    CLEANUP(digest_free) EVP_MD_CTX *ctx = atomic_exchange(&spare_digest, NULL);
    ctx = ctx ? ctx : EVP_MD_CTX_new();
    return ctx && EVP_DigestInit_ex2(ctx, fetched.sha256, NULL) == 1 &&
           EVP_DigestUpdate(ctx, first.data, first.size) == 1 &&
           EVP_DigestUpdate(ctx, second.data, second.size) == 1 &&
           EVP_DigestFinal_ex(ctx, ret_hash, NULL) == 1;
}

enum status crypto_sha256(struct view data, uint8_t *ret_hash)
{
    return digest_two(data, view_of(NULL, 0), ret_hash) ? STATUS_OK : STATUS_INTERNAL;
}

/* RFC 2104.  OpenSSL's own takes twice as long: it copies contexts for each. */
enum status crypto_hmac(struct view key, struct view data, uint8_t *ret_mac)
{
    enum { BLOCK_BYTES = 64 };
    uint8_t inner[BLOCK_BYTES] = {0}, outer[BLOCK_BYTES], hash[CRYPTO_HASH_BYTES];
    bool good = true;
    if (key.size > sizeof inner) {
        good = digest_two(key, view_of(NULL, 0), inner);
    } else if (key.size > 0) {
        memcpy(inner, key.data, key.size);
    }
    for (size_t i = 0; i < sizeof inner; i++) {
        outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }
    good = good && digest_two(view_of(inner, sizeof inner), data, hash) &&
           digest_two(view_of(outer, sizeof outer), view_of(hash, sizeof hash), ret_mac);
    explicit_bzero(inner, sizeof inner);
    explicit_bzero(outer, sizeof outer);
    explicit_bzero(hash, sizeof hash);
    return good ? STATUS_OK : STATUS_INTERNAL;
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
