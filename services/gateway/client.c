/* client.c - who sent a request.
 *
 * Each proxy on the way adds, at the end of the header, the address that it was called from.  So what
 * a trusted one added is true, and what stands before the first address that is not trusted was
 * written by anybody: the header is read backwards and no further than that. */
#include "services/gateway/client.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/log.h"
#include "proto/vault_messages.h"

enum { NETWORKS_MAX = 64, TEXT_SIZE = 64 };

struct network {
    struct client_address address;
    unsigned bits;
};

static struct {
    struct network networks[NETWORKS_MAX];
    size_t count;
    bool rfc7239;
} trust;

static struct client_address from_bytes(int family, const void *bytes)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    struct client_address address = {.family = family};
    if (family == AF_INET6 && memcmp(bytes, mapped, sizeof mapped) == 0) {
        address.family = AF_INET;
        memcpy(address.bytes, (const uint8_t *)bytes + sizeof mapped, 4);
    } else {
        memcpy(address.bytes, bytes, family == AF_INET6 ? 16 : 4);
    }
    return address;
}

static struct client_address from_socket(const struct sockaddr *peer)
{
    if (peer && peer->sa_family == AF_INET) {
        return from_bytes(AF_INET, &((const struct sockaddr_in *)(const void *)peer)->sin_addr);
    }
    if (peer && peer->sa_family == AF_INET6) {
        return from_bytes(AF_INET6, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr);
    }
    return (struct client_address){.family = 0};
}

/* Exactly an address, without port, zone or brackets. */
static bool from_text(struct view view, struct client_address *ret_address)
{
    char text[TEXT_SIZE];
    uint8_t bytes[16];
    if (!view_copy(view, text, sizeof text)) {
        return false;
    }
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(family, text, bytes) != 1) {
        return false;
    }
    *ret_address = from_bytes(family, bytes);
    return true;
}

static bool is_in(const struct client_address *address, const struct network *network)
{
    unsigned whole = network->bits / 8, rest = network->bits % 8;
    const uint8_t *left = address->bytes, *right = network->address.bytes;
    return address->family == network->address.family && memcmp(left, right, whole) == 0 &&
           (rest == 0 || (left[whole] ^ right[whole]) >> (8 - rest) == 0);
}

static bool is_trusted(const struct client_address *address)
{
    for (size_t i = 0; i < trust.count; i++) {
        if (is_in(address, &trust.networks[i])) {
            return true;
        }
    }
    return false;
}

/* ---- the networks ---- */

static bool read_network(struct view text, struct network *ret_network)
{
    const uint8_t *slash = text.size ? memchr(text.data, '/', text.size) : NULL;
    struct view address = slash ? view_of(text.data, (size_t)(slash - text.data)) : text;
    if (!from_text(address, &ret_network->address)) {
        return false;
    }
    unsigned max = ret_network->address.family == AF_INET ? 32 : 128, bits = 0;
    size_t digits = slash ? text.size - address.size - 1 : 0;
    for (size_t i = 0; i < digits; i++) {
        if (slash[1 + i] < '0' || slash[1 + i] > '9' || i > 2) {
            return false;
        }
        bits = bits * 10 + (unsigned)(slash[1 + i] - '0');
    }
    ret_network->bits = slash ? bits : max;
    return bits <= max && (!slash || digits > 0);
}

/* The next piece of TEXT up to BYTE, with the blanks around it gone; false at the end. */
static bool take_piece(struct view *text, char byte, struct view *ret_piece)
{
    if (text->size == 0) {
        return false;
    }
    const uint8_t *end = memchr(text->data, byte, text->size);
    size_t size = end ? (size_t)(end - text->data) : text->size;
    struct view piece = view_of(text->data, size);
    size += end != NULL;
    *text = view_of(text->data + size, text->size - size);
    while (piece.size > 0 && strchr(" \t", piece.data[0])) {
        piece = view_of(piece.data + 1, piece.size - 1);
    }
    while (piece.size > 0 && strchr(" \t", piece.data[piece.size - 1])) {
        piece.size--;
    }
    *ret_piece = piece;
    return true;
}

enum status client_trust(const char *list, const char *header)
{
    struct view rest = view_text(list), piece;
    trust.count = 0;
    trust.rfc7239 = strcasecmp(header, "forwarded") == 0;
    if (!trust.rfc7239 && strcasecmp(header, "x-forwarded-for") != 0) {
        log_error("client", "--forwarded-header takes x-forwarded-for or forwarded");
        return STATUS_INVALID;
    }
    while (take_piece(&rest, ',', &piece)) {
        if (trust.count == NETWORKS_MAX || !read_network(piece, &trust.networks[trust.count])) {
            log_error("client", "--trusted-proxies: %.*s is no network such as 10.0.0.0/8",
                      (int)piece.size, (const char *)piece.data);
            return STATUS_INVALID;
        }
        trust.count++;
    }
    return STATUS_OK;
}

const char *client_header(void)
{
    return trust.count == 0 ? NULL : trust.rfc7239 ? "Forwarded" : "X-Forwarded-For";
}

bool client_is_trusted(const struct sockaddr *peer)
{
    struct client_address address = from_socket(peer);
    return is_trusted(&address);
}

/* ---- the header ---- */

/* An address, with a port or without: 1.2.3.4, 1.2.3.4:567, [::1], [::1]:567, ::1. */
static bool read_node(struct view node, struct client_address *ret_address)
{
    if (node.size > 0 && node.data[0] == '[') {
        const uint8_t *end = memchr(node.data, ']', node.size);
        return end && from_text(view_of(node.data + 1, (size_t)(end - node.data) - 1), ret_address);
    }
    const uint8_t *colon = node.size ? memchr(node.data, ':', node.size) : NULL;
    bool port = colon && !memchr(colon + 1, ':', node.size - (size_t)(colon + 1 - node.data));
    return from_text(port ? view_of(node.data, (size_t)(colon - node.data)) : node, ret_address);
}

/* RFC 7239 section 4: the for= of one hop; the value may be in quotes. */
static bool read_hop(struct view hop, struct client_address *ret_address)
{
    struct view pair;
    while (take_piece(&hop, ';', &pair)) {
        if (pair.size < 4 || strncasecmp((const char *)pair.data, "for=", 4) != 0) {
            continue;
        }
        struct view node = view_of(pair.data + 4, pair.size - 4);
        if (node.size >= 2 && node.data[0] == '"' && node.data[node.size - 1] == '"') {
            node = view_of(node.data + 1, node.size - 2);
        }
        return read_node(node, ret_address);
    }
    return false;
}

/* inet_ntop() does the same through printf, for every request. */
static void write_ipv4(const uint8_t *bytes, char *ret_client)
{
    for (int i = 0; i < 4; i++) {
        unsigned byte = bytes[i];
        if (byte >= 100) {
            *ret_client++ = (char)('0' + byte / 100);
        }
        if (byte >= 10) {
            *ret_client++ = (char)('0' + byte / 10 % 10);
        }
        *ret_client++ = (char)('0' + byte % 10);
        *ret_client++ = i < 3 ? '.' : '\0';
    }
}

static void write_address(const struct client_address *address, char *ret_client)
{
    if (address->family == AF_INET) {
        write_ipv4(address->bytes, ret_client);
    } else if (address->family == 0 ||
        !inet_ntop(address->family, address->bytes, ret_client, CLIENT_MAX + 1)) {
        memcpy(ret_client, "unknown", sizeof "unknown");
    }
}

void client_find(const struct sockaddr *peer, struct view forwarded, char *ret_client)
{
    struct client_address client = from_socket(peer), before;
    while (forwarded.size > 0 && is_trusted(&client)) {
        const uint8_t *comma = memrchr(forwarded.data, ',', forwarded.size);
        size_t begin = comma ? (size_t)(comma - forwarded.data) + 1 : 0;
        struct view last = view_of(forwarded.data + begin, forwarded.size - begin), hop;
        forwarded.size = comma ? begin - 1 : 0;
        if (!take_piece(&last, ',', &hop) || hop.size == 0) {
            continue; /* an empty piece of a list is nothing, RFC 9110 section 5.6.1 */
        }
        if (!(trust.rfc7239 ? read_hop(hop, &before) : read_node(hop, &before))) {
            break; /* it hides who that was: the last that is known */
        }
        client = before;
    }
    write_address(&client, ret_client);
}
