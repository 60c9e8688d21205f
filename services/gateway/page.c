/* page.c - finds a file of the web page and says which headers go with it.
 *
 * The bytes are put into the binary by the build (page.cmake), so the gateway opens no file to serve
 * them.  Knows nothing of a session: the page asks the /v1 calls like any other client. */
#include "services/gateway/page.h"

extern const unsigned char page_index_html[], page_app_js[], page_style_css[];
extern const size_t page_index_html_size, page_app_js_size, page_style_css_size;

/* Everything from this origin alone, nothing inline, no frame around it, forms go nowhere (the
 * script sends them); data: is the empty icon. */
const struct page_header page_headers[] = {
    {"Content-Security-Policy",
     "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
     "form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cache-Control", "no-cache"},
    {NULL, NULL},
};

enum { PAGE_FILES = 3 };

/* The sizes are another object's, so the table cannot be constant at compile time. */
const struct page_file *page_find(struct view path)
{
    static struct page_file files[PAGE_FILES] = {
        {"/", "text/html; charset=utf-8", page_index_html, 0},
        {"/assets/app.js", "text/javascript; charset=utf-8", page_app_js, 0},
        {"/assets/style.css", "text/css; charset=utf-8", page_style_css, 0},
    };
    const size_t sizes[PAGE_FILES] = {page_index_html_size, page_app_js_size, page_style_css_size};

    for (size_t i = 0; i < PAGE_FILES; i++) {
        if (view_is(path, files[i].path)) {
            files[i].size = sizes[i];
            return &files[i];
        }
    }
    return NULL;
}
