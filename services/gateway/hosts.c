/* hosts.c - which names this broker answers to, and which pages may change something.
 *
 * A page whose name its owner re-points at this address (DNS rebinding) is of the same origin as
 * the broker to a browser, but still sends its own name in Host.  So the web page and what a session
 * can do answer to names that no stranger can own, and to those that the operator gives. */
#include "services/gateway/gateway.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "common/options.h"

enum { HOST_MAX = 255, PORT_DIGITS_MAX = 5 };

/* Top-level names that nobody can register: RFC 6761, RFC 6762, RFC 8375, and ICANN's resolution
 * 2024.07.29.06 for "internal". */
static const char *const reserved[] = {"localhost", "local", "internal", "home.arpa", "test"};

static bool name_byte(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
           byte == '-' || byte == '.' || byte == '_';
}

/* Splits HOST [":" PORT]; false when it is malformed (RFC 3986 section 3.2.2, without what no name
 * that can be looked up has). */
static bool split(struct view authority, struct view *ret_host)
{
    size_t size = 0, digits = 0;
    if (authority.size > 0 && authority.data[0] == '[') {
        const uint8_t *end = memchr(authority.data, ']', authority.size);
        size = end ? (size_t)(end - authority.data) + 1 : 0;
    } else {
        while (size < authority.size && name_byte(authority.data[size])) {
            size++;
        }
    }
    if (size == 0 || size > HOST_MAX) {
        return false;
    }
    if (size < authority.size) {
        while (size + 1 + digits < authority.size && authority.data[size + 1 + digits] >= '0' &&
               authority.data[size + 1 + digits] <= '9') {
            digits++;
        }
        if (authority.data[size] != ':' || digits > PORT_DIGITS_MAX ||
            size + 1 + digits != authority.size) {
            return false;
        }
    }
    *ret_host = view_of(authority.data, size);
    return true;
}

/* The host of a URL, or of HOST:PORT. */
static struct view host_of(const char *url)
{
    const char *authority = url ? strstr(url, "://") : NULL;
    authority = authority ? authority + 3 : url ? url : "";
    struct view host = {NULL, 0};
    bool good = split(view_of(authority, strcspn(authority, "/?#")), &host);
    return good ? host : (struct view){NULL, 0};
}

static bool same_name(struct view a, struct view b)
{
    return a.size > 0 && a.size == b.size &&
           strncasecmp((const char *)a.data, (const char *)b.data, a.size) == 0;
}

/* No name service is asked for these, so they cannot be re-pointed. */
static bool is_address(struct view host)
{
    char text[HOST_MAX + 1];
    struct in6_addr v6;
    struct in_addr v4;
    bool bracket = host.data[0] == '[';
    struct view inner = bracket ? view_of(host.data + 1, host.size - 2) : host;
    return view_copy(inner, text, sizeof text) &&
           (bracket ? inet_pton(AF_INET6, text, &v6) : inet_pton(AF_INET, text, &v4)) == 1;
}

static bool is_reserved(struct view host)
{
    if (!memchr(host.data, '.', host.size)) {
        return host.data[0] != '['; /* a service's name in a cluster or a compose file */
    }
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        size_t size = strlen(reserved[i]);
        if (host.size > size && host.data[host.size - size - 1] == '.' &&
            same_name(view_of(host.data + host.size - size, size), view_text(reserved[i]))) {
            return true;
        }
    }
    return false;
}

static bool is_ours(struct view host)
{
    if (host.size > 1 && host.data[host.size - 1] == '.') {
        host.size--; /* "localhost." is the same name */
    }
    bool ours = is_address(host) || is_reserved(host) ||
                same_name(host, host_of(config.public_url)) ||
                same_name(host, host_of(config.listen));
    for (size_t i = 0; i < config.allow_hosts->count; i++) {
        ours = ours || same_name(host, view_text(config.allow_hosts->values[i]));
    }
    return ours;
}

bool host_well_formed(const struct visit *visit, bool optional)
{
    struct view host = visit_header(visit, "Host"), name;
    return host.size == 0 ? optional : split(host, &name);
}

bool host_is_ours(const struct visit *visit)
{
    struct view name;
    return split(visit_header(visit, "Host"), &name) && is_ours(name);
}

/* RFC 6454: scheme, host and port; "null" for what has no origin of its own. */
static bool origin_is_ours(const struct visit *visit, struct view origin)
{
    if (view_is_nocase(origin, config.public_url)) {
        return true;
    }
    size_t scheme = view_starts(origin, "http://") ? 7 : view_starts(origin, "https://") ? 8 : 0;
    return scheme > 0 && same_name(view_of(origin.data + scheme, origin.size - scheme),
                                   visit_header(visit, "Host"));
}

bool origin_may_change(const struct visit *visit)
{
    struct view origin = visit_header(visit, "Origin");
    struct view site = visit_header(visit, "Sec-Fetch-Site");
    return (origin.size == 0 || origin_is_ours(visit, origin)) &&
           (site.size == 0 || view_is(site, "same-origin") || view_is(site, "none"));
}
