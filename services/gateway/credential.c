/* credential.c - finds the fake token wherever an SDK puts it.
 *
 * Places are a table; every one of them is stripped from what is forwarded, whatever it holds, so
 * that neither the fake token nor a key of the caller's own reaches the provider. */
#include "services/gateway/gateway.h"

#include <ctype.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CREDENTIAL_MAX = 1024 };

static const char *const places[] = {
    "authorization",       "x-api-key",    "x-goog-api-key", "x-subscription-token",
    "x-auth-key",          "x-auth-email", "api-key",        "x-auth-user-service-key",
    "x-amz-security-token",
};

static const char *const parameters[] = {"key", "X-Amz-Credential", "AWSAccessKeyId"};

struct search {
    char token[TOKEN_SIZE_MAX + 1];
    bool found, conflict, malformed, aws4;
    bool presigned, carrier; /* a query signed in advance; one whose credential is a token */
};

bool credential_header(const char *name)
{
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (strcasecmp(name, places[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Takes CANDIDATE when it begins like a token of ours. */
static void consider(struct search *search, struct view candidate)
{
    if (!view_starts(candidate, "seks_")) {
        return;
    }
    if (!token_check(candidate, NULL)) {
        search->malformed = true;
        return;
    }
    if (search->found && !view_is(candidate, search->token)) {
        search->conflict = true;
        return;
    }
    search->found = view_copy(candidate, search->token, sizeof search->token);
}

static struct view until(struct view text, const char *stops)
{
    size_t size = 0;
    while (size < text.size && !strchr(stops, text.data[size])) {
        size++;
    }
    return view_of(text.data, size);
}

/* RFC 7617: base64 of user:password; either may be the token. */
static void consider_basic(struct search *search, struct view encoded)
{
    uint8_t plain[CREDENTIAL_MAX];
    size_t size = 0;
    if (sodium_base642bin(plain, sizeof plain, (const char *)encoded.data, encoded.size, NULL,
                          &size, NULL, sodium_base64_VARIANT_ORIGINAL) != 0 &&
        sodium_base642bin(plain, sizeof plain, (const char *)encoded.data, encoded.size, NULL,
                          &size, NULL, sodium_base64_VARIANT_ORIGINAL_NO_PADDING) != 0) {
        return;
    }
    struct view user = until(view_of(plain, size), ":");
    consider(search, user);
    if (user.size < size) {
        consider(search, view_of(plain + user.size + 1, size - user.size - 1));
    }
    explicit_bzero(plain, sizeof plain);
}

static struct view find_text(struct view text, const char *needle)
{
    const uint8_t *at = memmem(text.data, text.size, needle, strlen(needle));
    return at ? view_of(at + strlen(needle), text.size - (size_t)(at - text.data) - strlen(needle))
              : (struct view){NULL, 0};
}

static void consider_authorization(struct search *search, struct view value)
{
    struct view scheme = until(value, " ");
    struct view rest = view_of(value.data + scheme.size, value.size - scheme.size);
    while (rest.size && rest.data[0] == ' ') {
        rest = view_of(rest.data + 1, rest.size - 1);
    }
    if (rest.size == 0) {
        consider(search, value);
    } else if (view_is_nocase(scheme, "bearer") || view_is_nocase(scheme, "token")) {
        consider(search, rest);
    } else if (view_is_nocase(scheme, "basic")) {
        consider_basic(search, rest);
    } else if (view_is_nocase(scheme, "aws")) {
        search->aws4 = true; /* the older signature, but the same SDKs */
        consider(search, until(rest, ":"));
    } else if (view_is_nocase(scheme, "aws4-hmac-sha256")) {
        search->aws4 = true;
        struct view credential = find_text(rest, "Credential=");
        if (credential.size) {
            consider(search, until(credential, "/, "));
        }
    }
}

static enum MHD_Result on_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    struct search *search = arg;
    (void)kind;
    if (value && credential_header(name)) {
        if (strcasecmp(name, "authorization") == 0) {
            consider_authorization(search, view_text(value));
        } else {
            consider(search, view_text(value));
        }
    }
    return MHD_YES;
}

/* The name as the provider reads it, so that `%6bey` is `key`; a longer one than any here is cut. */
static struct view decoded_name(struct view parameter, char *room, size_t size)
{
    struct view name = until(parameter, "=");
    size_t used = 0;
    for (size_t i = 0; i < name.size && used < size; i++) {
        unsigned code = name.data[i];
        char digits[3] = {0};
        if (code == '%' && i + 2 < name.size && isxdigit(name.data[i + 1]) &&
            isxdigit(name.data[i + 2])) {
            memcpy(digits, name.data + i + 1, 2);
            code = (unsigned)strtoul(digits, NULL, 16);
            i += 2;
        }
        room[used++] = (char)code;
    }
    return view_of(room, used);
}

static bool has_prefix_nocase(struct view text, const char *prefix)
{
    size_t size = strlen(prefix);
    return text.size >= size && view_is_nocase(view_of(text.data, size), prefix);
}

/* Whether the parameter carries a credential, and what it holds. */
static bool is_credential_parameter(struct view parameter, struct search *search)
{
    char room[32];
    struct view name = decoded_name(parameter, room, sizeof room);
    size_t before = until(parameter, "=").size;
    struct view value = view_of(parameter.data + before, parameter.size - before);
    bool presigned = has_prefix_nocase(name, "x-amz-");
    search->presigned = search->presigned || presigned;
    for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++) {
        if (view_is(name, parameters[i])) {
            if (value.size > 1) {
                struct view held = until(view_of(value.data + 1, value.size - 1), "%/");
                search->aws4 = search->aws4 || i > 0;
                search->carrier = search->carrier || (presigned && view_starts(held, "seks_"));
                consider(search, held);
            }
            return true;
        }
    }
    return presigned || view_is_nocase(name, "api_key") || view_is_nocase(name, "access_token") ||
           (search->aws4 && (view_is(name, "Signature") || view_is(name, "Expires")));
}

static enum status copy_query(struct view rest, struct search *search, struct buffer *ret_rest)
{
    struct view path = until(rest, "?");
    struct view query = view_of(rest.data + path.size, rest.size - path.size);
    char separator = '?';
    buffer_append_view(ret_rest, path);
    if (path.size == 0) {
        buffer_append_byte(ret_rest, '/');
    }
    if (query.size == 1) {
        buffer_append_byte(ret_rest, '?');
    }
    while (query.size > 1) {
        struct view parameter = until(view_of(query.data + 1, query.size - 1), "&");
        if (!is_credential_parameter(parameter, search)) {
            buffer_append_byte(ret_rest, (uint8_t)separator);
            buffer_append_view(ret_rest, parameter);
            separator = '&';
        }
        query = view_of(query.data + 1 + parameter.size, query.size - 1 - parameter.size);
    }
    return ret_rest->failed ? STATUS_INTERNAL : STATUS_OK;
}

enum status credential_strip(struct view rest, struct buffer *ret_rest)
{
    struct search search = {.found = false};
    enum status status = copy_query(rest, &search, ret_rest);
    explicit_bzero(search.token, sizeof search.token);
    return status == STATUS_OK && search.presigned ? STATUS_DENIED : status;
}

enum status credential_find(struct visit *visit, struct view rest, struct buffer *ret_rest,
                            char *ret_token, bool *ret_aws4)
{
    struct search search = {.found = false};
    MHD_get_connection_values(visit->connection, MHD_HEADER_KIND, on_header, &search);
    enum status status = copy_query(rest, &search, ret_rest);
    *ret_aws4 = search.aws4;
    if (status != STATUS_OK) {
        return status;
    }
    if (search.conflict) {
        return STATUS_INVALID;
    }
    if (search.presigned && !search.carrier) {
        return STATUS_DENIED;
    }
    if (!search.found) {
        return STATUS_UNAUTHENTICATED;
    }
    memcpy(ret_token, search.token, sizeof search.token);
    return STATUS_OK;
}
