/* sigv4.h - AWS Signature Version 4: from a request to its signature, as pure functions.
 *
 * Source: "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference and
 * "Create a signed AWS API request" of the IAM user guide.  S3 takes the encoded path as it is; all
 * other services normalise it and encode it once more. */
#ifndef SERVICES_PROXY_SIGV4_H
#define SERVICES_PROXY_SIGV4_H

#include "common/bytes.h"

enum {
    SIGV4_TIME_SIZE = 17, /* "20150830T123600Z" and its NUL */
    SIGV4_HEX_SIZE = 65,  /* a SHA-256 in hex and its NUL */
    SIGV4_HEADERS_MAX = 128,
};

#define SIGV4_EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* What a signature is valid for.  KEY is the derived key of day, region and service (32 bytes). */
struct sigv4_scope {
    struct view key, access_key_id, region, service;
    char time[SIGV4_TIME_SIZE];
};

struct sigv4_header {
    struct view name, value;
};

struct sigv4_request {
    struct view method;
    struct view path;    /* as it is sent */
    struct view query;   /* as sigv4_query() makes it */
    const struct sigv4_header *headers;
    size_t header_count; /* at most SIGV4_HEADERS_MAX */
    struct view payload; /* hex SHA-256 of the body, or the literal that stands for it */
    bool normalise;      /* fold `//`, `.` and `..` away (all services but S3) */
    bool encode_again;   /* escape the path as it is sent once more (all services but S3) */
};

/* Appends PATH with each byte escaped once: decodes what is escaped, escapes all but unreserved
 * bytes and `/`.  Decoded bytes are never judged: the caller has refused what must not pass. */
void sigv4_path(struct view path, struct buffer *ret_path);

/* Appends the canonical query (without `?`): parameters decoded (`+` is a space), escaped, sorted
 * by name, then value; a bare name gets `=`. */
MUST_USE enum status sigv4_query(struct view query, struct buffer *ret_query);

/* Appends the canonical request, and to RET_NAMES the signed headers' names joined by `;`. */
MUST_USE enum status sigv4_canonical(const struct sigv4_request *request,
                                     struct buffer *ret_canonical, struct buffer *ret_names);

/* Appends the string to sign for a canonical request. */
MUST_USE enum status sigv4_string(const struct sigv4_scope *scope, struct view canonical,
                                  struct buffer *ret_string);

/* The signature of STRING in hex. */
MUST_USE enum status sigv4_sign(const struct sigv4_scope *scope, struct view string,
                                char ret_hex[SIGV4_HEX_SIZE]);

/* Appends "YYYYMMDD/region/service/aws4_request". */
void sigv4_scope_text(const struct sigv4_scope *scope, struct buffer *ret_text);

/* SHA-256 of DATA in hex. */
MUST_USE enum status sigv4_hash(struct view data, char ret_hex[SIGV4_HEX_SIZE]);

#endif
