/* credentials.c - from what a caller sent to what rows are found by, and the rules of its words. */
#include "vault.h"

#include <string.h>

/* An export may hold only the SHA-256 of a token, so that is what stands for it. */
enum status credential_hash_imported(const struct keys *keys, struct view sha256,
                                     uint8_t *ret_hash)
{
    CLEANUP(buffer_free) struct buffer fields = BUFFER_EMPTY;
    crypto_aad_field(&fields, VIEW("seks imported token 1"));
    crypto_aad_field(&fields, sha256);
    return fields.failed ? STATUS_INTERNAL
                         : crypto_hmac(keys_install(keys, INSTALL_TOKEN), buffer_view(&fields),
                                       ret_hash);
}

enum status credential_hash(struct vault *vault, struct view credential, uint8_t *ret_hash)
{
    uint8_t digest[CRYPTO_HASH_BYTES];
    if (!token_is_imported(credential)) {
        return crypto_hmac(keys_install(vault->keys, INSTALL_TOKEN), credential, ret_hash);
    }
    enum status status = crypto_sha256(credential, digest);
    return status == STATUS_OK ? credential_hash_imported(vault->keys,
                                                          view_of(digest, sizeof digest), ret_hash)
                               : status;
}

enum status session_csrf(struct vault *vault, struct view session, char *ret_csrf)
{
    uint8_t mac[CRYPTO_HASH_BYTES];
    enum status status = crypto_hmac(keys_install(vault->keys, INSTALL_CSRF), session, mac);
    if (status == STATUS_OK) {
        hex_encode(view_of(mac, sizeof mac), ret_csrf);
    }
    return status;
}

enum status intake_open(struct vault *vault, struct view box, struct secret **ret_plain)
{
    return crypto_sealed_open(vault->intake_public, secret_data(vault->intake_private), box,
                              ret_plain);
}

enum status password_pepper(struct vault *vault, struct view password, uint8_t *ret)
{
    return crypto_hmac(keys_install(vault->keys, INSTALL_PEPPER), password, ret);
}

bool agent_may_read(const struct agent *agent, struct view name)
{
    struct view rest = buffer_view(&agent->names);
    if (agent->direct != DIRECT_LIST) {
        return agent->direct == DIRECT_TRUE;
    }
    while (rest.size) {
        const uint8_t *end = memchr(rest.data, '\n', rest.size);
        size_t size = end ? (size_t)(end - rest.data) : rest.size;
        if (view_equal(view_of(rest.data, size), name)) {
            return true;
        }
        size_t used = end ? size + 1 : size;
        rest = view_of(rest.data + used, rest.size - used);
    }
    return false;
}

static bool alnum(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z');
}

bool secret_name_valid(struct view name)
{
    for (size_t i = 0; i < name.size; i++) {
        if (!alnum(name.data[i]) && (name.data[i] == 0 || !strchr("_.-/", name.data[i]))) {
            return false;
        }
    }
    return name.size >= 1 && name.size <= NAME_MAX_BYTES;
}

/* The bytes of the UTF-8 character at TEXT (RFC 3629), 0 when there is none. */
static size_t utf8_size(struct view text)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text.data[0];
    size_t size = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (size == 1) {
        return 1;
    }
    if (first < 0xc2 || first > 0xf4 || text.size < size) {
        return 0;
    }
    uint32_t code = first & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((text.data[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (text.data[i] & 0x3f);
    }
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    bool control = code < 0xa0;
    return code < least[size] || code > 0x10ffff || surrogate || control ? 0 : size;
}

bool label_valid(struct view text)
{
    if (text.size < 1 || text.size > NAME_MAX_BYTES) {
        return false;
    }
    while (text.size) {
        size_t size = utf8_size(text);
        if (size == 0 || text.data[0] < 0x20 || text.data[0] == 0x7f) {
            return false;
        }
        text = view_of(text.data + size, text.size - size);
    }
    return true;
}

static bool space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

bool email_normal(struct view email, char *ret_email)
{
    while (email.size && space(email.data[0])) {
        email = view_of(email.data + 1, email.size - 1);
    }
    while (email.size && space(email.data[email.size - 1])) {
        email.size--;
    }
    if (email.size < 3 || email.size > EMAIL_MAX) {
        return false;
    }
    size_t at = 0, ats = 0;
    for (size_t i = 0; i < email.size; i++) {
        uint8_t byte = email.data[i];
        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '\\' || byte == '<') {
            return false;
        }
        if (byte == '@') {
            at = i;
            ats++;
        }
        ret_email[i] = (char)(byte >= 'A' && byte <= 'Z' ? byte + 32 : byte);
    }
    ret_email[email.size] = 0;
    return ats == 1 && at > 0 && at + 1 < email.size;
}

void last_chars(const char *token, char *ret_last4)
{
    size_t size = strlen(token);
    memcpy(ret_last4, token + size - LAST_CHARS, LAST_CHARS + 1);
}
