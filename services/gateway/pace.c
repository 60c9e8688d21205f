/* pace.c - what a single client may cost: time while a body moves, and connections.
 *
 * A rate counts only while the client is what is waited for, so an event stream that says little,
 * or an upload that a slow provider holds up, is never too slow. */
#include "services/gateway/pace.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/tcp.h>

#include "services/gateway/gateway.h"

enum { BUCKETS = 1024, KEY_BYTES = 8 };

struct address {
    uint8_t key[KEY_BYTES];
    uint64_t count;
    struct address *next;
};

static struct address *buckets[BUCKETS];

bool pace_too_slow(struct pace *pace, bool waiting, uint64_t bytes, uint64_t now_ms)
{
    if (!waiting) {
        pace->since_ms = 0;
        return false;
    }
    if (pace->since_ms == 0 || bytes < pace->bytes) {
        *pace = (struct pace){now_ms, bytes};
        return false;
    }
    uint64_t window_ms = now_ms - pace->since_ms;
    if (window_ms < config.pace_window_ms) {
        return false;
    }
    bool slow = (bytes - pace->bytes) * 1000 < config.rate_min * window_ms;
    *pace = (struct pace){now_ms, bytes};
    return slow;
}

bool pace_unsent(int fd, uint64_t *ret_acked)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    int queued = 0;
    if (ioctl(fd, SIOCOUTQ, &queued) != 0 || queued <= 0) {
        return false;
    }
    memset(&info, 0, sizeof info);
    bool known = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0;
    *ret_acked = known ? info.tcpi_bytes_acked : 0;
    return true;
}

/* An IPv4 address (mapped ones too) or an IPv6 network; false for what is not counted. */
static bool key_of(const struct sockaddr *address, uint8_t *ret_key)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    memset(ret_key, 0, KEY_BYTES);
    if (address && address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        memcpy(ret_key, &v4.sin_addr, sizeof v4.sin_addr);
        return v4.sin_addr.s_addr != htonl(INADDR_LOOPBACK);
    }
    if (!address || address->sa_family != AF_INET6) {
        return false;
    }
    memcpy(&v6, address, sizeof v6);
    const uint8_t *bytes = v6.sin6_addr.s6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
        uint32_t mapped;
        memcpy(&mapped, bytes + 12, sizeof mapped);
        memcpy(ret_key, &mapped, sizeof mapped);
        return mapped != htonl(INADDR_LOOPBACK);
    }
    memcpy(ret_key, bytes, KEY_BYTES);
    return !IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

static struct address **find(const uint8_t *key)
{
    uint32_t hash = 2166136261u; /* FNV-1a: no chain is longer than there are connections */
    for (size_t i = 0; i < KEY_BYTES; i++) {
        hash = (hash ^ key[i]) * 16777619u;
    }
    struct address **at = &buckets[hash % BUCKETS];
    while (*at && memcmp((*at)->key, key, KEY_BYTES) != 0) {
        at = &(*at)->next;
    }
    return at;
}

bool pace_admits(const struct sockaddr *address)
{
    uint8_t key[KEY_BYTES];
    if (config.connections_per_address == 0 || !key_of(address, key)) {
        return true;
    }
    struct address **at = find(key);
    return !*at || (*at)->count < config.connections_per_address;
}

void pace_enter(const struct sockaddr *address)
{
    uint8_t key[KEY_BYTES];
    if (!key_of(address, key)) {
        return;
    }
    struct address **at = find(key);
    if (!*at) {
        *at = calloc(1, sizeof **at);
        if (!*at) {
            return; /* not counted */
        }
        memcpy((*at)->key, key, KEY_BYTES);
    }
    (*at)->count++;
}

void pace_leave(const struct sockaddr *address)
{
    uint8_t key[KEY_BYTES];
    struct address **at = key_of(address, key) ? find(key) : NULL;
    if (!at || !*at || --(*at)->count > 0) {
        return;
    }
    struct address *gone = *at;
    *at = gone->next;
    free(gone);
}

void pace_close(void)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        while (buckets[i]) {
            struct address *gone = buckets[i];
            buckets[i] = gone->next;
            free(gone);
        }
    }
}
