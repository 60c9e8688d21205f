/* page.h - the web page's files, which are part of the binary. */
#ifndef GATEWAY_PAGE_H
#define GATEWAY_PAGE_H

#include "common/bytes.h"

struct page_file {
    const char *path; /* "/", "/assets/app.js" */
    const char *type; /* the Content-Type */
    const uint8_t *data;
    size_t size;
};

/* The file at PATH (exact, without a query), or NULL when it is none of the page's. */
const struct page_file *page_find(struct view path);

struct page_header {
    const char *name;
    const char *value;
};

/* The headers that go with each of them, besides Content-Type; ended by a NULL name. */
extern const struct page_header page_headers[];

#endif
