/* What a lost gateway may put into a call, as a request to a provider: whatever it says, the request goes to
 * the provider's own origin, one line is one header, and the key is where the row wants it and once.
 *
 * The input is lines: the method, the target, then NAME, a NUL, VALUE for each header; a last line may
 * lack its end.  The first byte chooses the provider. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "services/proxy/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char key[] = "sk-fuzz-0123456789";

static const struct providers *table(void)
{
    static struct providers *providers;
    const char *why;
    if (!providers && providers_load(NULL, &providers, &why) != STATUS_OK) {
        abort();
    }
    return providers;
}

/* Takes what comes before END off REST; all of it when there is none. */
static struct view take(struct view *rest, uint8_t end)
{
    const uint8_t *at = rest->size ? memchr(rest->data, end, rest->size) : NULL;
    struct view got = view_of(rest->data, at ? (size_t)(at - rest->data) : rest->size);
    *rest = view_of(at ? at + 1 : NULL, at ? rest->size - got.size - 1 : 0);
    return got;
}

static void check_headers(const struct request *request)
{
    static const char basic[] = "Authorization: Basic "; /* the key is in its base64 */
    size_t keys = 0;
    for (const struct curl_slist *line = request->headers; line; line = line->next) {
        size_t name = strcspn(line->data, ":;");
        for (const char *at = line->data; *at; at++) {
            if (((unsigned char)*at < 0x20 && *at != '\t') || *at == 0x7f) {
                abort();
            }
        }
        if (name == 0 || strncasecmp(line->data, "host:", 5) == 0 ||
            strncasecmp(line->data, "transfer-encoding:", 18) == 0) {
            abort();
        }
        keys += strstr(line->data, key) || strncmp(line->data, basic, sizeof basic - 1) == 0;
    }
    if (keys != 1) {
        abort();
    }
}

static void check_url(const struct provider *provider, const struct request *request)
{
    const char *url = (const char *)request->url.data;
    size_t origin = strlen(provider->origin);
    if (strlen(url) + 1 != request->url.size || strncmp(url, provider->origin, origin) != 0 ||
        url[origin] != '/') {
        abort();
    }
}

static enum status build(const struct provider *provider, const struct proxy_call *call,
                         struct request *request)
{
    CLEANUP(buffer_wipe) struct buffer rows = BUFFER_EMPTY;
    struct list credentials = {0};
    const struct grant_row row = {VIEW("K"), view_text(key)};
    const char *why;
    if (proto_list_add(&grant_row_schema, &row, &rows, &credentials) != STATUS_OK) {
        abort();
    }
    return request_build(provider, call, credentials, view_of(NULL, 0), NULL, request, &why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buffer_free) struct buffer rows = BUFFER_EMPTY;
    struct request request;
    if (size == 0 || memmem(data, size, key, sizeof key - 1)) {
        return 0; /* it is looked for in the outcome */
    }
    struct view rest = view_of(data + 1, size - 1);
    const struct provider *provider = providers_at(table(), data[0] % providers_count(table()));
    struct proxy_call call = {.method = take(&rest, '\n'), .target = take(&rest, '\n'), .end = true};
    while (rest.size > 0) {
        struct view value = take(&rest, '\n');
        struct header_row row = {.name = take(&value, 0)};
        row.value = value;
        if (proto_list_add(&header_row_schema, &row, &rows, &call.headers) != STATUS_OK) {
            return 0;
        }
    }
    if (provider->auth[0].type == AUTH_SIGV4 || build(provider, &call, &request) != STATUS_OK) {
        return 0;
    }
    check_headers(&request);
    check_url(provider, &request);
    request_wipe(&request);
    return 0;
}
