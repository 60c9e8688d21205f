/* providers_values.c - the words, names, patterns and addresses that rows are made of.  Only looks. */
#include "common/providers_values.h"

#include <ctype.h>
#include <string.h>

#include "common/bytes.h"

enum {
    NAME_MAX_CHARS = 32,
    SECRET_NAME_MAX = 128,
    LIST_MAX = 256, /* rows of a list; the longest built-in one has 32 */
};
bool all_of(const char *text, const char *more)
{
    for (const char *c = text; *c; c++) {
        if (!(isascii(*c) && (isalnum((unsigned char)*c) || strchr(more, *c)))) {
            return false;
        }
    }
    return *text != '\0';
}

bool printable(const char *text)
{
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7E) {
            return false;
        }
    }
    return true;
}

const char *text_of(const json_t *value)
{
    return json_is_string(value) ? json_string_value(value) : NULL;
}

/* "agent" and "account" are the labels of the broker's own tokens. */
bool good_name(const json_t *value)
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

bool good_secret_name(const json_t *value)
{
    const char *text = text_of(value);
    return text && strlen(text) <= SECRET_NAME_MAX && all_of(text, "_.-/");
}

bool good_header_name(const json_t *value)
{
    const char *text = text_of(value);
    return text && strlen(text) <= 256 && all_of(text, "!#$%&'*+-.^_`|~"); /* RFC 9110 5.6.2 */
}

bool good_header_value(const json_t *value)
{
    const char *text = text_of(value);
    return text && strlen(text) <= 4096 && printable(text);
}

bool good_word(const json_t *value)
{
    const char *text = text_of(value);
    return text && strlen(text) <= 64 && all_of(text, "-_");
}

/* "*", or names with commas between. */
bool good_methods(const json_t *value)
{
    const char *text = text_of(value);
    return text && (strcmp(text, "*") == 0 ||
                    (strlen(text) <= 128 && all_of(text, "-_,") && *text != ','));
}

bool good_pattern(const json_t *value)
{
    const char *text = text_of(value);
    return text && (*text == '/' || *text == '*') && strlen(text) <= 1024 && printable(text) &&
           !strpbrk(text, "?# ");
}

bool good_prefix(const json_t *value)
{
    const char *text = text_of(value);
    return text && *text == '/' && text[1] != '\0' && text[strlen(text) - 1] != '/' &&
           strlen(text) <= 256 && all_of(text + 1, "/-_.~");
}

bool good_suffix(const json_t *value)
{
    const char *text = text_of(value);
    return text && (*text == '\0' || good_prefix(value));
}

bool good_text(const json_t *value)
{
    const char *text = text_of(value);
    return text && strlen(text) <= 1024 && printable(text);
}

bool good_title(const json_t *value)
{
    const char *text = text_of(value);
    return text && *text && strlen(text) <= 64 && printable(text);
}

/* "/path" or "/path?query" of a request target, RFC 9112 section 3.2.1. */
bool good_target(const json_t *value)
{
    const char *text = text_of(value);
    return text && (*text == '\0' || *text == '/') && strlen(text) <= 1024 &&
           strspn(text, "/?&=-._~%:@!$'()*+,;0123456789abcdefghijklmnopqrstuvwxyz"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(text);
}

bool good_file(const json_t *value)
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
bool good_origin(const json_t *value)
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

bool good_origins(const json_t *value)
{
    const char *region;
    json_t *origin;
    if (!json_is_object(value)) {
        return false;
    }
    json_object_foreach((json_t *)value, region, origin)
    {
        if (!all_of(region, "-*") || !good_origin(origin)) {
            return false;
        }
    }
    return true;
}

bool good_flag(const json_t *value)
{
    return json_is_boolean(value);
}

bool list_of(const json_t *value, bool (*good)(const json_t *))
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

bool has_only(const json_t *object, const struct member *members)
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
