/* page.h - the web page's files, which are part of the binary. */
#ifndef GATEWAY_PAGE_H
#define GATEWAY_PAGE_H

#include "common/bytes.h"

struct page_file {
    const char *path; /* "/", "/assets/app.js" */
    const char *type; /* the Content-Type */
    const char *etag; /* changes with the content */
    const uint8_t *data;
    size_t size;
    const uint8_t *gzip; /* the same, compressed */
    size_t gzip_size;
};

/* All of them, ended by a NULL path; made by the build (page.cmake). */
extern const struct page_file page_files[];

/* The file at PATH (exact, without a query), or NULL when it is none of the page's. */
const struct page_file *page_find(struct view path);

/* Whether a request with IF_NONE_MATCH has FILE's content already (RFC 9110 section 13.1.2). */
bool page_is_known(const struct page_file *file, struct view if_none_match);
/* Whether ACCEPT_ENCODING names gzip without refusing it (RFC 9110 section 12.5.3). */
bool page_takes_gzip(struct view accept_encoding);

struct page_header {
    const char *name;
    const char *value;
};

/* The headers that go with each of them, besides Content-Type; ended by a NULL name. */
extern const struct page_header page_headers[];

#endif
