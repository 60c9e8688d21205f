/* crypto.h - every cipher, MAC and key derivation that the broker uses; no other file calls one. */
#ifndef COMMON_CRYPTO_H
#define COMMON_CRYPTO_H

#include "common/bytes.h"
#include "common/secret.h"

enum {
    CRYPTO_KEY_BYTES = 32,   /* AES-256, HMAC-SHA256 and X25519 keys */
    CRYPTO_NONCE_BYTES = 12, /* NIST SP 800-38D section 8.2.2: random 96-bit IV */
    CRYPTO_TAG_BYTES = 16,
    CRYPTO_HASH_BYTES = 32,
    CRYPTO_BLOB_HEAD_BYTES = 2, /* 0x01 format, 0x01 algorithm (AES-256-GCM) */
    CRYPTO_BLOB_OVERHEAD_BYTES = CRYPTO_BLOB_HEAD_BYTES + CRYPTO_NONCE_BYTES + CRYPTO_TAG_BYTES,
    CRYPTO_BOX_OVERHEAD_BYTES = 48, /* X25519 public key 32, Poly1305 tag 16 */
    CRYPTO_SIGNATURE_BYTES = 64,
};

/* Cryptographically secure random bytes; ends the process when the kernel has none to give. */
void crypto_random(void *data, size_t size);

/* AES-256-GCM with the caller's nonce; KEY must have 32 bytes.  CIPHERTEXT takes plain.size bytes,
 * TAG 16.  For the published test cases and for crypto_seal(); use that one. */
MUST_USE enum status crypto_gcm_encrypt(struct view key, const uint8_t *nonce, struct view aad,
                                        struct view plain, uint8_t *ciphertext, uint8_t *tag);

/* The inverse.  PLAIN takes ciphertext.size bytes and is zeroed unless the tag is right:
 * STATUS_DENIED when it is not. */
MUST_USE enum status crypto_gcm_decrypt(struct view key, const uint8_t *nonce, struct view aad,
                                        struct view ciphertext, const uint8_t *tag,
                                        uint8_t *plain);

/* Appends a sealed blob (head 2, random nonce 12, ciphertext, tag 16) to RET_BLOB. */
MUST_USE enum status crypto_seal(struct view key, struct view aad, struct view plain,
                                 struct buffer *ret_blob);

/* Opens a blob.  STATUS_DENIED for a wrong key, AAD, head, size or any changed bit. */
MUST_USE enum status crypto_open(struct view key, struct view aad, struct view blob,
                                 struct secret **ret_plain);

/* HMAC-SHA256 (RFC 2104) with a key of any size; RET_MAC takes 32 bytes. */
MUST_USE enum status crypto_hmac(struct view key, struct view data, uint8_t *ret_mac);

/* HKDF-SHA256 (RFC 5869), size up to 255 * 32 bytes. */
MUST_USE enum status crypto_hkdf(struct view key, struct view salt, struct view info,
                                 uint8_t *ret_key, size_t size);

/* SHA-256; RET_HASH takes 32 bytes. */
MUST_USE enum status crypto_sha256(struct view data, uint8_t *ret_hash);

/* An anonymous box to a public key (libsodium's crypto_box_seal): what has to cross a socket raw
 * crosses in one, because the transport keeps copies that nobody can wipe. */
void crypto_sealed_keypair(uint8_t *ret_public, uint8_t *ret_private);
/* The public key that belongs to PRIVATE_KEY. */
MUST_USE enum status crypto_sealed_public(const uint8_t *private_key, uint8_t *ret_public);
MUST_USE enum status crypto_sealed_make(const uint8_t *public_key, struct view plain,
                                     struct buffer *ret_box);
MUST_USE enum status crypto_sealed_open(const uint8_t *public_key, const uint8_t *private_key,
                                     struct view box, struct secret **ret_plain);

/* Ed25519 signatures (RFC 8032).  A seed and a public key have CRYPTO_KEY_BYTES, a signature
 * CRYPTO_SIGNATURE_BYTES. */
void crypto_sign_pair(uint8_t *ret_public, uint8_t *ret_seed);
MUST_USE enum status crypto_sign_public(const uint8_t *seed, uint8_t *ret_public);
MUST_USE enum status crypto_sign_make(const uint8_t *seed, struct view data,
                                      uint8_t *ret_signature);
bool crypto_sign_good(const uint8_t *public_key, struct view data, const uint8_t *signature);

enum { CRYPTO_PASSWORD_SIZE = 128 }; /* a password hash as text, with its NUL */

/* Argon2id (RFC 9106) with 19 MiB and two passes, about 50 ms: never in an event loop.  RET_HASH
 * takes CRYPTO_PASSWORD_SIZE bytes. */
MUST_USE enum status crypto_password_hash(struct view password, char *ret_hash);
/* Whether HASH was made of PASSWORD; one that is malformed was not. */
bool crypto_password_check(struct view password, const char *hash);

enum { CRYPTO_SALT_BYTES = 16 };
/* A key from a passphrase: Argon2id with 64 MiB and three passes (RFC 9106 section 4, the second choice),
 * some 150 ms.  SALT has CRYPTO_SALT_BYTES, RET_KEY takes CRYPTO_KEY_BYTES. */
MUST_USE enum status crypto_passphrase_key(struct view passphrase, const uint8_t *salt,
                                           uint8_t *ret_key);

/* Passwords of an import: PBKDF2-HMAC-SHA256 (RFC 8018), 100,000 rounds, about 30 ms to check; never
 * made here.  TAKE turns "SALT$HASH", both base64, into what is kept (CRYPTO_PASSWORD_SIZE bytes):
 * STATUS_INVALID unless it is that, with at least 8 bytes of salt. */
bool crypto_pbkdf2_is(const char *hash);
MUST_USE enum status crypto_pbkdf2_take(const char *salt_and_hash, char *ret_hash);
bool crypto_pbkdf2_check(struct view password, const char *hash);

/* Appends one field of associated data, 4 bytes of size (big-endian) and the bytes, so that no two
 * lists of fields make the same bytes. */
void crypto_aad_field(struct buffer *aad, struct view field);

#endif
