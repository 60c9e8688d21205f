/* upstream.c - the options of every upstream connection, and which addresses it may go to.
 *
 * Defaults of libcurl that could send a key elsewhere (redirects, proxies from the environment,
 * netrc, other protocols) are all set to off by name. */
#include "services/proxy/upstream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { CA_CACHE_MAX_S = 3600 };

/* libcurl keeps the certificates that it has read for so many seconds: no longer than since the file was
 * changed or replaced, so what it read before that is read again. */
static long cache_seconds(const char *ca_file)
{
    struct stat info;
    time_t now = time(NULL);
    if (stat(ca_file, &info) != 0 || info.st_ctime >= now) {
        return 0;
    }
    return now - info.st_ctime < CA_CACHE_MAX_S ? (long)(now - info.st_ctime) : CA_CACHE_MAX_S;
}

enum status upstream_configure(CURL *easy, const struct provider *provider, const char *ca_file)
{
    const struct {
        CURLoption option;
        long value;
    } numbers[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_FOLLOWLOCATION, 0},
        {CURLOPT_PATH_AS_IS, 1},
        {CURLOPT_NETRC, CURL_NETRC_IGNORED},
        {CURLOPT_SSL_VERIFYPEER, 1},
        {CURLOPT_SSL_VERIFYHOST, 2},
        {CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS},
        {CURLOPT_TCP_NODELAY, 1},
        {CURLOPT_TCP_KEEPALIVE, 1},
        {CURLOPT_BUFFERSIZE, STREAM_WINDOW_BYTES},
        {CURLOPT_UPLOAD_BUFFERSIZE, STREAM_WINDOW_BYTES},
        {CURLOPT_CONNECTTIMEOUT_MS, (long)provider->connect_ms},
        {CURLOPT_TIMEOUT_MS, 0},
        {CURLOPT_EXPECT_100_TIMEOUT_MS, 1},
        {CURLOPT_DNS_CACHE_TIMEOUT, 60},
        {CURLOPT_CA_CACHE_TIMEOUT, cache_seconds(provider->ca_file ? provider->ca_file : ca_file)},
    };
    const struct {
        CURLoption option;
        const char *value;
    } texts[] = {
        {CURLOPT_PROXY, ""},
        {CURLOPT_NOPROXY, "*"},
        {CURLOPT_PROTOCOLS_STR, provider->allow_insecure ? "http,https" : "https"},
        {CURLOPT_CAINFO, provider->ca_file ? provider->ca_file : ca_file},
        {CURLOPT_CAPATH, NULL},
        /* libcurl asks for identity and decodes what comes encoded all the same. */
        {CURLOPT_ACCEPT_ENCODING, "identity"},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (curl_easy_setopt(easy, numbers[i].option, numbers[i].value) != CURLE_OK) {
            return STATUS_INTERNAL;
        }
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (curl_easy_setopt(easy, texts[i].option, texts[i].value) != CURLE_OK) {
            return STATUS_INTERNAL;
        }
    }
    return STATUS_OK;
}

/* The IANA special-purpose address registries (RFC 6890), those that a provider cannot have. */
static const struct {
    uint32_t network;
    unsigned bits;
} special_v4[] = {
    {0x00000000, 8},  /* this network */
    {0x0a000000, 8},  /* private */
    {0x64400000, 10}, /* shared address space */
    {0x7f000000, 8},  /* loopback */
    {0xa9fe0000, 16}, /* link-local, cloud metadata */
    {0xac100000, 12}, /* private */
    {0xc0000000, 24}, /* IETF protocol assignments */
    {0xc0000200, 24}, /* documentation */
    {0xc0586300, 24}, /* 6to4 relays, once */
    {0xc0a80000, 16}, /* private */
    {0xc6120000, 15}, /* benchmarking */
    {0xc6336400, 24}, /* documentation */
    {0xcb007100, 24}, /* documentation */
    {0xe0000000, 3},  /* multicast, reserved, broadcast */
};

static bool public_v4(uint32_t address)
{
    for (size_t i = 0; i < sizeof special_v4 / sizeof special_v4[0]; i++) {
        if ((address ^ special_v4[i].network) >> (32 - special_v4[i].bits) == 0) {
            return false;
        }
    }
    return true;
}

static uint32_t word_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Of 2000::/3: protocol assignments with Teredo in them, documentation. */
static const struct {
    uint32_t network;
    unsigned bits;
} special_v6[] = {
    {0x20010000, 23},
    {0x20010db8, 32},
    {0x3fff0000, 20},
};

static bool public_v6(const uint8_t *at)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0};
    if (memcmp(at, mapped, sizeof mapped) == 0 || memcmp(at, nat64, sizeof nat64) == 0) {
        return public_v4(word_at(at + 12));
    }
    if (at[0] == 0x20 && at[1] == 0x02) { /* 6to4 holds an IPv4 address */
        return public_v4(word_at(at + 2));
    }
    for (size_t i = 0; i < sizeof special_v6 / sizeof special_v6[0]; i++) {
        if ((word_at(at) ^ special_v6[i].network) >> (32 - special_v6[i].bits) == 0) {
            return false;
        }
    }
    return (at[0] & 0xe0) == 0x20; /* global unicast is 2000::/3 */
}

bool upstream_is_public(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        return public_v4(ntohl(v4.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        return public_v6(v6.sin6_addr.s6_addr);
    }
    return false;
}
