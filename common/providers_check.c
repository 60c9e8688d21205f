/* providers_check.c - says what is wrong with a row, in one sentence that names row and field.
 *
 * Only looks; building the table from rows that passed is providers_load.c's work. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/providers_table.h"

enum {
    NAME_MAX_CHARS = 32,
    SECRET_NAME_MAX = 128,
    LIST_MAX = 256,              /* rows of a list; the longest built-in one has 32 */
    TIMEOUT_MAX_MS = 86400000,   /* a day */
};

static char why_text[512];

enum status providers_refuse(const char **ret_why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why_text, sizeof why_text, format, args); /* a cut sentence still tells */
    va_end(args);
    *ret_why = why_text;
    return STATUS_INVALID;
}

static bool all_of(const char *text, const char *more)
{
    for (const char *c = text; *c; c++) {
        if (!(isascii(*c) && (isalnum((unsigned char)*c) || strchr(more, *c)))) {
            return false;
        }
    }
    return *text != '\0';
}

static bool printable(const char *text)
{
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7E) {
            return false;
        }
    }
    return true;
}

static const char *text_of(const json_t *value)
{
    return json_is_string(value) ? json_string_value(value) : NULL;
}

/* "agent" and "account" are the labels of the broker's own tokens. */
static bool good_name(const json_t *value)
{
    const char *text = text_of(value);
    if (!text || strlen(text) > NAME_MAX_CHARS || strcmp(text, "agent") == 0 ||
        strcmp(text, "account") == 0 || !all_of(text, "-")) {
        return false;
    }
    for (const char *c = text; *c; c++) {
        if (isupper((unsigned char)*c)) {
            return false;
        }
    }
    return true;
}

static bool good_secret_name(const json_t *value)
{
    const char *text = text_of(value);
    return text && strlen(text) <= SECRET_NAME_MAX && all_of(text, "_.-/");
}

static bool good_header_name(const json_t *value)
{
    const char *text = text_of(value);
    return text && strlen(text) <= 256 && all_of(text, "!#$%&'*+-.^_`|~"); /* RFC 9110 5.6.2 */
}

static bool good_header_value(const json_t *value)
{
    const char *text = text_of(value);
    return text && strlen(text) <= 4096 && printable(text);
}

static bool good_word(const json_t *value)
{
    const char *text = text_of(value);
    return text && strlen(text) <= 64 && all_of(text, "-_");
}

static bool good_method(const json_t *value)
{
    const char *text = text_of(value);
    return text && (strcmp(text, "*") == 0 || good_word(value));
}

static bool good_pattern(const json_t *value)
{
    const char *text = text_of(value);
    return text && (*text == '/' || *text == '*') && strlen(text) <= 1024 && printable(text) &&
           !strpbrk(text, "?# ");
}

static bool good_prefix(const json_t *value)
{
    const char *text = text_of(value);
    return text && *text == '/' && text[1] != '\0' && text[strlen(text) - 1] != '/' &&
           strlen(text) <= 256 && all_of(text + 1, "/-_.~");
}

static bool good_suffix(const json_t *value)
{
    const char *text = text_of(value);
    return text && (*text == '\0' || good_prefix(value));
}

static bool good_text(const json_t *value)
{
    const char *text = text_of(value);
    return text && strlen(text) <= 1024 && printable(text);
}

static bool good_title(const json_t *value)
{
    const char *text = text_of(value);
    return text && *text && strlen(text) <= 64 && printable(text);
}

/* "/path" or "/path?query" of a request target, RFC 9112 section 3.2.1. */
static bool good_target(const json_t *value)
{
    const char *text = text_of(value);
    return text && (*text == '\0' || *text == '/') && strlen(text) <= 1024 &&
           strspn(text, "/?&=-._~%:@!$'()*+,;0123456789abcdefghijklmnopqrstuvwxyz"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(text);
}

static bool good_file(const json_t *value)
{
    const char *text = text_of(value);
    return text && *text && strlen(text) < 4096;
}

static bool good_port(const char *text)
{
    unsigned port = 0;
    size_t size = strlen(text);
    if (size == 0 || size > 5) {
        return false;
    }
    for (; *text; text++) {
        if (!isdigit((unsigned char)*text)) {
            return false;
        }
        port = port * 10 + (unsigned)(*text - '0');
    }
    return port >= 1 && port <= 65535;
}

/* "https://host", "https://host:port" or the same with http; a host may be an address in brackets
 * or hold {service} and {region}.  Nothing before the host and nothing after the port. */
static bool good_origin(const json_t *value)
{
    const char *text = text_of(value);
    char host[256];
    if (!text) {
        return false;
    }
    size_t scheme = strncmp(text, "https://", 8) == 0 ? 8 : strncmp(text, "http://", 7) == 0 ? 7 : 0;
    if (scheme == 0 || !view_copy(view_text(text + scheme), host, sizeof host)) {
        return false;
    }
    bool bracket = host[0] == '[';
    char *end = bracket ? strchr(host, ']') : host + strcspn(host, ":");
    if (!end || (bracket && (end[1] != '\0' && end[1] != ':'))) {
        return false;
    }
    char *port = bracket ? end + 1 : end;
    if (*port == ':' && !good_port(port + 1)) {
        return false;
    }
    *end = '\0';
    return bracket ? strspn(host + 1, "0123456789abcdefABCDEF:.") == strlen(host + 1) && host[1]
                   : all_of(host, ".-_{}");
}

static bool good_flag(const json_t *value)
{
    return json_is_boolean(value);
}

static bool list_of(const json_t *value, bool (*good)(const json_t *))
{
    if (!json_is_array(value) || json_array_size(value) > LIST_MAX) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!good(json_array_get(value, i))) {
            return false;
        }
    }
    return true;
}

static bool good_names(const json_t *value)
{
    return list_of(value, good_name);
}

static bool good_secret_names(const json_t *value)
{
    return list_of(value, good_secret_name) && json_array_size(value) <= 8; /* grant_content */
}

static bool good_header_names(const json_t *value)
{
    return list_of(value, good_header_name);
}

static bool good_headers(const json_t *value)
{
    const char *name;
    json_t *text;
    if (!json_is_object(value)) {
        return false;
    }
    json_object_foreach((json_t *)value, name, text)
    {
        json_t *key = json_string(name);
        bool good = key && good_header_name(key) && good_header_value(text);
        json_decref(key);
        if (!good) {
            return false;
        }
    }
    return true;
}

/* A name of POSIX: letters, digits and `_`, no digit first. */
static bool good_variable(const char *name)
{
    return !isdigit((unsigned char)*name) && strlen(name) <= 128 && all_of(name, "_");
}

static bool good_env(const json_t *value)
{
    const char *name;
    json_t *text;
    if (!json_is_object(value) || json_object_size(value) > 64) {
        return false;
    }
    json_object_foreach((json_t *)value, name, text)
    {
        if (!good_variable(name) || !good_text(text)) {
            return false;
        }
    }
    return true;
}

/* Printable lines; \n is the one control character. */
static bool good_lines(const char *text)
{
    for (; *text; text++) {
        if (*text != '\n' && ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7E)) {
            return false;
        }
    }
    return true;
}

static bool good_snippets(const json_t *value)
{
    const char *name;
    json_t *text;
    if (!json_is_object(value) || json_object_size(value) > 16) {
        return false;
    }
    json_object_foreach((json_t *)value, name, text)
    {
        const char *lines = text_of(text);
        if (!*name || strlen(name) > 32 || !printable(name) || !lines || strlen(lines) > 4096 ||
            !good_lines(lines)) {
            return false;
        }
    }
    return true;
}

/* The members that OBJECT may have, each once looked at by `good`. */
struct member {
    const char *name;
    bool (*good)(const json_t *);
};

static bool has_only(const json_t *object, const struct member *members)
{
    const char *name;
    json_t *value;
    if (!json_is_object(object)) {
        return false;
    }
    json_object_foreach((json_t *)object, name, value)
    {
        const struct member *member = members;
        while (member->name && strcmp(member->name, name) != 0) {
            member++;
        }
        if (!member->name || !member->good(value)) {
            return false;
        }
    }
    return true;
}

static bool good_services(const json_t *value)
{
    return list_of(value, good_word);
}

/* What each type of rule needs beside its path, and nothing else. */
static bool good_auth(const json_t *value)
{
    static const struct {
        const char *type;
        const char *needs;
        bool (*good)(const json_t *);
    } types[] = {{"bearer", NULL, NULL},
                 {"header", "name", good_header_name},
                 {"basic", "user", good_text},
                 {"query", "name", good_word},
                 {"sigv4", "services", good_services}};
    const char *type = text_of(json_object_get(value, "type"));
    const json_t *path = json_object_get(value, "path");
    if (!json_is_object(value) || !type || (path && !json_is_null(path) && !good_pattern(path))) {
        return false;
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(type, types[i].type) == 0) {
            size_t known = 1 + (path ? 1u : 0u) + (types[i].needs ? 1u : 0u);
            return json_object_size(value) == known &&
                   (!types[i].needs || types[i].good(json_object_get(value, types[i].needs)));
        }
    }
    return false;
}

static bool good_auths(const json_t *value)
{
    return list_of(value, good_auth);
}

static bool good_deny(const json_t *value)
{
    static const struct member members[] = {
        {"method", good_method}, {"path", good_pattern}, {NULL, NULL}};
    return json_object_size(value) == 2 && has_only(value, members);
}

static bool good_denies(const json_t *value)
{
    return list_of(value, good_deny);
}

static bool good_timeout(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) > 0 &&
           json_integer_value(value) <= TIMEOUT_MAX_MS;
}

static bool good_timeouts(const json_t *value)
{
    static const struct member members[] = {{"connect", good_timeout},
                                            {"first_byte", good_timeout},
                                            {"idle", good_timeout},
                                            {NULL, NULL}};
    return has_only(value, members);
}

static const struct rule {
    const char *field;
    bool (*good)(const json_t *);
    bool required; /* and so never null */
    const char *must;
} rules[] = {
    {"name", good_name, true,
     "must be 1 to 32 of a-z, 0-9 and -, and not \"agent\" or \"account\""},
    {"origin", good_origin, true,
     "must be https://host or https://host:port, without user, path or query"},
    {"aliases", good_names, false, "must be a list of names (1 to 32 of a-z, 0-9 and -)"},
    {"secrets", good_secret_names, false,
     "must be a list of at most 8 secret names (letters, digits, _ . - /)"},
    {"optional_secrets", good_secret_names, false,
     "must be a list of at most 8 secret names (letters, digits, _ . - /)"},
    {"auth", good_auths, false,
     "must be a list of {\"type\", \"path\"?}, type being bearer, header (with \"name\"), basic "
     "(\"user\"), query (\"name\") or sigv4 (\"services\")"},
    {"path_prefix", good_prefix, false, "must begin with / and not end with it"},
    {"default_headers", good_headers, false, "must be an object of header names and values"},
    {"rewrite_headers", good_header_names, false, "must be a list of header names"},
    {"deny", good_denies, false,
     "must be a list of {\"method\", \"path\"}, the path beginning with / or *"},
    {"timeouts_ms", good_timeouts, false,
     "must be an object with connect, first_byte and idle in milliseconds, at most a day"},
    {"ca_file", good_file, false, "must be the name of a file"},
    {"allow_insecure", good_flag, false, "must be true or false"},
    {"base_url_suffix", good_suffix, false, "must be empty, or begin with / and not end with it"},
    {"title", good_title, false, "must be 1 to 64 ASCII characters"},
    {"example", good_text, false, "must be one line of at most 1024 ASCII characters"},
    {"env", good_env, false,
     "must be an object of at most 64 environment variables and their values (ASCII, one line)"},
    {"snippets", good_snippets, false,
     "must be an object of at most 16 names and texts (ASCII, at most 4096 characters)"},
    {"test_path", good_target, false, "must be a path with or without a query, beginning with /"},
};
enum { RULE_COUNT = sizeof rules / sizeof rules[0] };

static const struct rule *rule_for(const char *field)
{
    for (size_t i = 0; i < RULE_COUNT; i++) {
        if (strcmp(rules[i].field, field) == 0) {
            return &rules[i];
        }
    }
    return NULL;
}

enum status providers_check_row(const json_t *row, size_t index, const char **ret_why)
{
    const char *field;
    json_t *value;
    if (!json_is_object(row)) {
        return providers_refuse(ret_why, "row %zu must be an object", index + 1);
    }
    const char *name = text_of(json_object_get(row, "name"));
    if (!name) {
        return providers_refuse(ret_why, "row %zu: field 'name' is missing or no text", index + 1);
    }
    json_object_foreach((json_t *)row, field, value)
    {
        const struct rule *rule = rule_for(field);
        if (!rule) {
            return providers_refuse(ret_why, "row '%s': field '%s' is unknown", name, field);
        }
        if (!(json_is_null(value) && !rule->required) && !rule->good(value)) {
            return providers_refuse(ret_why, "row '%s': field '%s' %s", name, field, rule->must);
        }
    }
    return STATUS_OK;
}

static bool uses_sigv4(const json_t *row)
{
    const json_t *auth = json_object_get(row, "auth");
    for (size_t i = 0; i < json_array_size(auth); i++) {
        const char *type = text_of(json_object_get(json_array_get(auth, i), "type"));
        if (type && strcmp(type, "sigv4") == 0) {
            return true;
        }
    }
    return false;
}

/* Braces only as the two places that the table knows, and only where a signer fills them in. */
static bool good_template(const char *origin, bool sigv4)
{
    for (const char *at = strpbrk(origin, "{}"); at; at = strpbrk(at + 1, "{}")) {
        size_t size = strncmp(at, "{service}", 9) == 0 ? 9 : strncmp(at, "{region}", 8) == 0 ? 8 : 0;
        if (size == 0 || !sigv4) {
            return false;
        }
        at += size - 1;
    }
    return true;
}

enum status providers_check_merged(const json_t *row, const char **ret_why)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    const char *origin = text_of(json_object_get(row, "origin"));
    if (!origin) {
        return providers_refuse(ret_why, "row '%s': field 'origin' is missing", name);
    }
    if (strncmp(origin, "http://", 7) == 0 && !json_is_true(json_object_get(row, "allow_insecure"))) {
        return providers_refuse(ret_why,
                                "row '%s': field 'origin' is plain http, which only "
                                "\"allow_insecure\": true permits", name);
    }
    if (!good_template(origin, uses_sigv4(row))) {
        return providers_refuse(ret_why,
                                "row '%s': field 'origin' may hold {service} and {region} only, "
                                "and only with auth of type sigv4", name);
    }
    return STATUS_OK;
}
