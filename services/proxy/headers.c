/* headers.c - which headers cross the broker, as tables; never adds a credential. */
#include "services/proxy/proxy.h"

#include <string.h>
#include <strings.h>

/* Hop-by-hop (RFC 9110 section 7.6.1), what the broker writes itself, what would name the client's
 * way here, and every place where a credential travels.  A `*` ends a prefix. */
static const char *const never_up[] = {
    "host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
    "content-length", "proxy-*", "cookie", "cookie2", "forwarded", "x-forwarded-*", "x-real-ip",
    "cf-*", "origin", "referer", "expect", "accept-encoding", "via", "http2-settings",
    "authorization", "x-api-key", "x-goog-api-key", "x-subscription-token", "x-auth-key",
    "x-auth-email", "x-auth-user-service-key", "api-key",
    /* another method or path than the one that was authorized */
    "x-http-method*", "x-method-override", "x-original-url", "x-rewrite-url", NULL,
};

static const char *const never_down[] = {
    "connection", "keep-alive", "proxy-*", "te", "trailer", "transfer-encoding", "upgrade",
    "content-length", "set-cookie", "set-cookie2", "alt-svc", "strict-transport-security",
    "access-control-*", "clear-site-data", "public-key-pins*", "x-accel-*",
    /* what a browser would do on the broker's origin, or tell others of its addresses */
    "content-security-policy*", "referrer-policy", "x-content-type-options", "refresh",
    "service-worker-allowed", "nel", "report-to", "reporting-endpoints", "expect-ct", "accept-ch",
    "critical-ch", "origin-trial", "speculation-rules", NULL,
};

static bool is_listed(const char *const *list, struct view name)
{
    for (; *list; list++) {
        size_t size = strlen(*list);
        bool prefix = (*list)[size - 1] == '*';
        size -= prefix;
        if ((prefix ? name.size >= size : name.size == size) &&
            strncasecmp((const char *)name.data, *list, size) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether NAME is an element of the comma-separated LIST. */
static bool names(struct view list, struct view name)
{
    size_t start = 0;
    for (size_t i = 0; i <= list.size; i++) {
        if (i < list.size && list.data[i] != ',') {
            continue;
        }
        size_t from = start, to = i;
        while (from < to && (list.data[from] == ' ' || list.data[from] == '\t')) {
            from++;
        }
        while (to > from && (list.data[to - 1] == ' ' || list.data[to - 1] == '\t')) {
            to--;
        }
        if (to - from == name.size &&
            strncasecmp((const char *)list.data + from, (const char *)name.data, name.size) == 0) {
            return name.size > 0;
        }
        start = i + 1;
    }
    return false;
}

bool header_goes_up(struct view name, struct view connection)
{
    return !is_listed(never_up, name) && !names(connection, name);
}

bool header_comes_down(struct view name)
{
    return !is_listed(never_down, name);
}

bool header_name_safe(struct view name)
{
    static const char extra[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < name.size; i++) {
        uint8_t byte = name.data[i];
        bool plain = (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
        if (!plain && !memchr(extra, byte, sizeof extra - 1)) {
            return false;
        }
    }
    return name.size > 0;
}

bool header_value_safe(struct view value)
{
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] == '\r' || value.data[i] == '\n' || value.data[i] == 0) {
            return false;
        }
    }
    return true;
}

bool header_value_plain(struct view value)
{
    for (size_t i = 0; i < value.size; i++) {
        if ((value.data[i] < 0x20 && value.data[i] != '\t') || value.data[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

bool header_is_rewritten(const struct provider *provider, struct view name)
{
    if (view_is_nocase(name, "link") || view_is_nocase(name, "location")) {
        return true;
    }
    for (const char **at = provider->rewrite_headers; at && *at; at++) {
        if (view_is_nocase(name, *at)) {
            return true;
        }
    }
    return false;
}

/* The origin counts only when what follows ends an authority: "https://api.example.com.evil" is
 * another host. */
static bool origin_at(const char *origin, struct view rest)
{
    size_t size = strlen(origin);
    if (rest.size < size || strncasecmp((const char *)rest.data, origin, size) != 0) {
        return false;
    }
    return rest.size == size || memchr("/?#>\"; ,", rest.data[size], 8) != NULL;
}

void header_rewrite(const struct call *call, struct view value, struct buffer *ret_value)
{
    const char *origin = call->provider->origin;
    for (size_t i = 0; i < value.size;) {
        struct view rest = view_of(value.data + i, value.size - i);
        bool begins = i == 0 || value.data[i - 1] == '<' || value.data[i - 1] == ' ';
        if (begins && origin_at(origin, rest)) {
            buffer_append_text(ret_value, call->public_url);
            buffer_append_text(ret_value, "/api/");
            buffer_append_text(ret_value, call->provider->name);
            i += strlen(origin);
            continue;
        }
        buffer_append_byte(ret_value, value.data[i++]);
    }
}

bool method_is_idempotent(const char *method)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (strcmp(method, methods[i]) == 0) {
            return true;
        }
    }
    return false;
}
