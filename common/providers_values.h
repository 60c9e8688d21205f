/* providers_values.h - whether one value of a row is well formed; the rows' rules are made of these. */
#ifndef COMMON_PROVIDERS_VALUES_H
#define COMMON_PROVIDERS_VALUES_H

#include <jansson.h>
#include <stdbool.h>

/* NULL unless it is a string. */
const char *text_of(const json_t *value);
/* Whether TEXT is not empty and all letters, digits and bytes of MORE. */
bool all_of(const char *text, const char *more);
/* ASCII without control characters. */
bool printable(const char *text);
bool good_name(const json_t *value);
bool good_secret_name(const json_t *value);
bool good_header_name(const json_t *value);
bool good_header_value(const json_t *value);
bool good_word(const json_t *value);
bool good_methods(const json_t *value);
bool good_pattern(const json_t *value);
bool good_prefix(const json_t *value);
bool good_suffix(const json_t *value);
bool good_text(const json_t *value);
bool good_title(const json_t *value);
bool good_target(const json_t *value);
bool good_file(const json_t *value);
/* "https://host[:port]", or http, maybe with {service} and {region} in the host. */
bool good_origin(const json_t *value);
bool good_origins(const json_t *value);
bool good_flag(const json_t *value);
/* A list, not too long, of which each is GOOD. */
bool list_of(const json_t *value, bool (*good)(const json_t *));

/* The members that OBJECT may have, each once looked at by `good`. */
struct member {
    const char *name;
    bool (*good)(const json_t *);
};

/* An object without members that MEMBERS does not name. */
bool has_only(const json_t *object, const struct member *members);

#endif
