/* Any bytes as X-Forwarded-For or Forwarded (the first byte chooses): who is named is an address, and what a
 * client wrote changes nothing of what the trusted proxy added behind it. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "proto/vault_messages.h"
#include "services/gateway/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool right)
{
    if (!right) {
        abort();
    }
}

static bool is_address(const char *text)
{
    uint8_t bytes[16];
    return strcmp(text, "unknown") == 0 ||
           inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, bytes) == 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buffer_free) struct buffer header = BUFFER_EMPTY;
    const struct sockaddr_in peer = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001)};
    const struct sockaddr *address = (const struct sockaddr *)(const void *)&peer;
    char client[CLIENT_MAX + 1];
    bool rfc7239 = size > 0 && data[0] & 1;
    if (size == 0 || client_trust("10.0.0.0/8,fd00::/8", rfc7239 ? "forwarded" : "x-forwarded-for") != STATUS_OK) {
        return 0;
    }
    client_find(address, view_of(data + 1, size - 1), client);
    demand(is_address(client));
    buffer_append(&header, data + 1, size - 1);
    buffer_append_text(&header, rfc7239 ? ", for=203.0.113.9;proto=https" : ", 203.0.113.9");
    client_find(address, buffer_view(&header), client);
    demand(strcmp(client, "203.0.113.9") == 0);
    return 0;
}
