/* providers.h - the table of providers: what each is called, where it is, how it wants its
 * credential.  Data only (config/providers.json and the operator's file); no provider is named in C.
 *
 * Immutable once loaded; all text is owned by the table. */
#ifndef COMMON_PROVIDERS_H
#define COMMON_PROVIDERS_H

#include "common/bytes.h"

enum auth_type { AUTH_BEARER, AUTH_HEADER, AUTH_BASIC, AUTH_QUERY, AUTH_SIGV4 };

/* sigv4: an AWS service that may be called. */
struct auth_service {
    const char *name;    /* in the path and the host */
    const char *sign_as; /* in the signature's scope; the same unless the row says otherwise */
};

struct auth_rule {
    const char *path;      /* pattern for the upstream path, NULL for any; `*` takes any bytes */
    enum auth_type type;
    const char *name;      /* header or query parameter; for basic the user */
    const struct auth_service *services; /* service_count rows */
    size_t service_count;
    const char **regions;  /* sigv4: accepted besides what AWS's regions look like */
};

/* A rule holds when all that it has holds. */
struct deny_rule {
    const char *method;   /* "*" for any, or names with commas between */
    const char *path;     /* pattern */
    const char **queries; /* patterns, one of which a query parameter's name matches, or NULL */
    const char *header;   /* pattern for a header's name, or NULL */
    const char *value;    /* pattern for the value of that parameter or header, NULL for any */
    const char **unless;  /* patterns for values to which the rule does not apply */
};

struct provider_header {
    const char *name;
    const char *value;
};

struct provider_text {
    const char *name;
    const char *text;
};

struct provider {
    const char *name;
    const char *title;              /* as people write it; the name when the row has none */
    const char **aliases;           /* NULL-ended, as all lists here */
    const char *origin;             /* "https://api.example.com", no trailing slash; sigv4: template
                                     * with {service} and {region} */
    const char **secrets;           /* names of the secrets that it needs */
    const char **optional_secrets;
    const char **old_secrets;       /* what an import may hold instead of the first of `secrets` */
    const struct auth_rule *auth;   /* auth_count rows, the first whose path matches applies */
    size_t auth_count;
    const char *path_prefix;        /* NULL for none */
    const struct provider_header *default_headers; /* added when the client sent none */
    size_t default_header_count;
    const char **rewrite_headers;   /* besides Link and Location */
    const struct deny_rule *deny;
    size_t deny_count;
    const char **target_headers;    /* sigv4: headers that name a second object to be read */
    bool judges_headers;            /* some header has a part in whether a call is denied */
    const struct provider_header *region_origins; /* sigv4: region pattern, origin for those */
    size_t region_origin_count;
    uint32_t connect_ms, first_byte_ms, idle_ms;
    const char *ca_file;            /* NULL for the system's */
    bool allow_insecure;            /* plain http and private addresses are permitted */
    const char *base_url_suffix;    /* what an SDK's base_url adds after /api/<name>, or "" */
    const char *example;            /* one line of code or a command, for the page; holds {base_url}
                                     * and {token} where those go */
    /* The same two places stand in all texts here; test_path has none. */
    const struct provider_text *env; /* environment variables that the SDKs and tools read */
    size_t env_count;
    const char **hidden_env;        /* variables that would hold or find a real credential, beside the
                                     * secrets' own names; `seks run` removes them */
    const struct provider_text *snippets; /* named by language or tool; lines end with \n */
    size_t snippet_count;
    const char *test_path;          /* path and query after the base URL of a GET that changes
                                     * nothing and shows that the key works, or "" */
};

struct providers;

/* The built-in table, with the rows of the operator's FILE (may be NULL) laid over it field by
 * field.  STATUS_INVALID with a sentence in RET_WHY (a static or table-lifetime buffer of the
 * module, valid until the next call) naming row and field for a malformed file. */
MUST_USE enum status providers_load(const char *file, struct providers **ret_providers,
                                    const char **ret_why);
void providers_free(struct providers **providers);

/* By name or alias (exact, lower case); NULL when there is none. */
const struct provider *providers_find(const struct providers *providers, struct view name);
/* The table in order: index 0 up to providers_count(). */
size_t providers_count(const struct providers *providers);
const struct provider *providers_at(const struct providers *providers, size_t index);

/* Appends the upstream's path and query for TARGET (what follows /api/<provider>): the prefix goes
 * in front when the path does not already begin with it. */
MUST_USE enum status provider_target(const struct provider *provider, struct view target,
                                     struct buffer *ret_target);

/* A call as deny rules see it: HEADERS are at least those that provider_judges_header(). */
struct call_header {
    struct view name, value;
};
struct provider_call {
    struct view method, target; /* TARGET with its query */
    const struct call_header *headers;
    size_t header_count;
};

/* Whether the call is on the deny list: judged on the decoded upstream path (percent-decoded up to
 * three times, repeated slashes folded, a trailing slash dropped, letters of either case), so that
 * another spelling does not get by, and on decoded names of query parameters.  TARGET may be what
 * follows /api/<provider> or the upstream's.  Bodies are not judged: a call that does its harm there
 * (GraphQL, SNS's Action) is for the provider's own permissions on the key. */
bool provider_denies(const struct provider *provider, const struct provider_call *call);

/* Whether the value of the header NAME has a part in provider_judge(). */
bool provider_judges_header(const struct provider *provider, struct view name);

/* provider_denies(), and the objects that the row's target_headers name, each as a GET of its own:
 * STATUS_DENIED, or STATUS_INVALID for one that is malformed, with a sentence in RET_WHY. */
MUST_USE enum status provider_judge(const struct provider *provider,
                                    const struct provider_call *call, const char **ret_why);

/* The auth rule for TARGET (upstream path); NULL when none matches. */
const struct auth_rule *provider_auth(const struct provider *provider, struct view target);

/* What the target of a sigv4 rule names: "/<service>/<region><rest>". */
struct signing_scope {
    struct view service, region;
    struct view rest;    /* path and query for the service; empty, or begins with / or ? */
    const char *sign_as; /* of the row */
    bool objects;        /* the rules of S3 hold: path as it is, bucket and key in it */
};

/* Reads TARGET, whose views RET_SCOPE holds.  STATUS_DENIED for a service that RULE does not list,
 * STATUS_INVALID for a malformed region or bucket, each with a sentence in RET_WHY. */
MUST_USE enum status signing_scope(const struct auth_rule *rule, struct view target,
                                   struct signing_scope *ret_scope, const char **ret_why);

/* Appends the origin for SCOPE: the row's (or its region's), with {service} and {region} filled in. */
MUST_USE enum status signing_origin(const struct provider *provider,
                                    const struct signing_scope *scope, struct buffer *ret_origin);

/* Whether TEXT matches PATTERN, in which `*` stands for any bytes, none included. */
bool pattern_match(const char *pattern, struct view text);
bool pattern_match_as(const char *pattern, struct view text, bool fold); /* letters of either case */

#endif
