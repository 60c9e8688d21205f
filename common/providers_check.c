/* providers_check.c - says what is wrong with a row, in one sentence that names row and field.
 *
 * Only looks; building the table from rows that passed is providers_load.c's work. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/providers_table.h"
#include "common/providers_values.h"

enum { TIMEOUT_MAX_MS = 86400000 /* a day */ };

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

static bool good_variable_text(const json_t *value)
{
    const char *name = text_of(value);
    return name && *name && good_variable(name);
}

static bool good_variables(const json_t *value)
{
    return list_of(value, good_variable_text) && json_array_size(value) <= 64;
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

static bool good_words(const json_t *value)
{
    return list_of(value, good_word);
}

/* A name, or {"name", "sign_as"} where the signature's scope has another. */
static bool good_service(const json_t *value)
{
    static const struct member members[] = {
        {"name", good_word}, {"sign_as", good_word}, {NULL, NULL}};
    return good_word(value) || (json_object_size(value) == 2 && has_only(value, members));
}

static bool good_services(const json_t *value)
{
    return list_of(value, good_service);
}

static bool good_pattern_or_null(const json_t *value)
{
    return json_is_null(value) || good_pattern(value);
}

/* What each type of rule needs beside its path, what it may have, and nothing else. */
static bool good_auth(const json_t *value)
{
    static const struct {
        const char *type;
        const char *needs;
        struct member members[4];
    } types[] = {
        {"bearer", NULL, {{NULL, NULL}}},
        {"header", "name", {{"name", good_header_name}, {NULL, NULL}}},
        {"basic", "user", {{"user", good_text}, {NULL, NULL}}},
        {"query", "name", {{"name", good_word}, {NULL, NULL}}},
        {"sigv4", "services", {{"services", good_services}, {"regions", good_words}, {NULL, NULL}}},
    };
    const char *type = text_of(json_object_get(value, "type"));
    for (size_t i = 0; type && i < sizeof types / sizeof types[0]; i++) {
        struct member members[6] = {{"type", good_word}, {"path", good_pattern_or_null}};
        memcpy(members + 2, types[i].members, sizeof types[i].members);
        if (strcmp(type, types[i].type) == 0) {
            return has_only(value, members) &&
                   (!types[i].needs || json_object_get(value, types[i].needs));
        }
    }
    return false;
}

static bool good_auths(const json_t *value)
{
    return list_of(value, good_auth);
}

static bool good_texts(const json_t *value)
{
    return good_header_value(value) || list_of(value, good_header_value);
}

static bool good_deny(const json_t *value)
{
    static const struct member members[] = {
        {"method", good_methods}, {"path", good_pattern}, {"query", good_texts},
        {"header", good_header_name}, {"value", good_header_value}, {"unless", good_texts},
        {NULL, NULL}};
    bool of_value = json_object_get(value, "value") || json_object_get(value, "unless");
    bool of_name = json_object_get(value, "query") || json_object_get(value, "header");
    return json_object_get(value, "method") && json_object_get(value, "path") &&
           (of_name || !of_value) && has_only(value, members);
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
    {"region_origins", good_origins, false,
     "must be an object of region patterns and origins"},
    {"aliases", good_names, false, "must be a list of names (1 to 32 of a-z, 0-9 and -)"},
    {"secrets", good_secret_names, false,
     "must be a list of at most 8 secret names (letters, digits, _ . - /)"},
    {"optional_secrets", good_secret_names, false,
     "must be a list of at most 8 secret names (letters, digits, _ . - /)"},
    {"old_secrets", good_secret_names, false,
     "must be a list of at most 8 secret names (letters, digits, _ . - /)"},
    {"auth", good_auths, false,
     "must be a list of {\"type\", \"path\"?}, type being bearer, header (with \"name\"), basic "
     "(\"user\"), query (\"name\") or sigv4 (\"services\")"},
    {"path_prefix", good_prefix, false, "must begin with / and not end with it"},
    {"default_headers", good_headers, false, "must be an object of header names and values"},
    {"rewrite_headers", good_header_names, false, "must be a list of header names"},
    {"deny", good_denies, false,
     "must be a list of {\"method\", \"path\"} with maybe \"query\", \"header\", \"value\", "
     "\"unless\", the path beginning with / or *"},
    {"target_headers", good_header_names, false,
     "must be a list of header names, and only with auth of type sigv4"},
    {"timeouts_ms", good_timeouts, false,
     "must be an object with connect, first_byte and idle in milliseconds, at most a day"},
    {"ca_file", good_file, false, "must be the name of a file"},
    {"allow_insecure", good_flag, false, "must be true or false"},
    {"base_url_suffix", good_suffix, false, "must be empty, or begin with / and not end with it"},
    {"title", good_title, false, "must be 1 to 64 ASCII characters"},
    {"example", good_text, false, "must be one line of at most 1024 ASCII characters"},
    {"env", good_env, false,
     "must be an object of at most 64 environment variables and their values (ASCII, one line)"},
    {"hidden_env", good_variables, false,
     "must be a list of at most 64 names of environment variables"},
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

static enum status check_origin(const json_t *row, const char *field, const char *origin,
                                const char **ret_why)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    if (strncmp(origin, "http://", 7) == 0 && !json_is_true(json_object_get(row, "allow_insecure"))) {
        return providers_refuse(ret_why,
                                "row '%s': field '%s' is plain http, which only "
                                "\"allow_insecure\": true permits", name, field);
    }
    if (!good_template(origin, uses_sigv4(row))) {
        return providers_refuse(ret_why,
                                "row '%s': field '%s' may hold {service} and {region} only, "
                                "and only with auth of type sigv4", name, field);
    }
    return STATUS_OK;
}

enum status providers_check_merged(const json_t *row, const char **ret_why)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    const char *origin = text_of(json_object_get(row, "origin"));
    const char *region;
    json_t *other;
    if (!origin) {
        return providers_refuse(ret_why, "row '%s': field 'origin' is missing", name);
    }
    if (json_array_size(json_object_get(row, "target_headers")) > 0 && !uses_sigv4(row)) {
        return providers_refuse(ret_why, "row '%s': field 'target_headers' %s", name,
                                rule_for("target_headers")->must);
    }
    enum status status = check_origin(row, "origin", origin, ret_why);
    json_object_foreach(json_object_get(row, "region_origins"), region, other)
    {
        if (status == STATUS_OK) {
            status = check_origin(row, "region_origins", json_string_value(other), ret_why);
        }
    }
    return status;
}
