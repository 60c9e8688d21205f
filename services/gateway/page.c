/* page.c - finds a file of the web page and says which headers go with it.
 *
 * The bytes are put into the binary by the build (page.cmake), so the gateway opens no file to serve
 * them.  Knows nothing of a session: the page asks the /v1 calls like any other client. */
#include "services/gateway/page.h"

#include <string.h>

/* Everything from this origin alone, nothing inline, no frame around it, forms go nowhere (the
 * script sends them), and no text becomes HTML or script (Trusted Types, without any policy). */
const struct page_header page_headers[] = {
    {"Content-Security-Policy",
     "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
     "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cache-Control", "no-cache"}, /* kept, but asked for again: the entity tag answers with 304 */
    {"Vary", "Accept-Encoding"},
    {NULL, NULL},
};

const struct page_file *page_find(struct view path)
{
    for (const struct page_file *file = page_files; file->path; file++) {
        if (view_is(path, file->path)) {
            return file;
        }
    }
    return NULL;
}

static bool holds(struct view text, const char *part)
{
    return text.size > 0 && memmem(text.data, text.size, part, strlen(part)) != NULL;
}

bool page_is_known(const struct page_file *file, struct view if_none_match)
{
    return holds(if_none_match, file->etag);
}

bool page_takes_gzip(struct view accept_encoding)
{
    return holds(accept_encoding, "gzip") && !holds(accept_encoding, "gzip;q=0");
}
