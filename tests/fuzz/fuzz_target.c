/* Any bytes as a request target: what may go on has, however often it is decoded, no segment of dots and
 * no control byte, and the provider's name is a part of it that stands by itself. */
#include <stdlib.h>
#include <string.h>

#include "services/gateway/gateway.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool right)
{
    if (!right) {
        abort();
    }
}

static bool is_hex(uint8_t byte)
{
    return byte && strchr("0123456789abcdefABCDEF", byte) != NULL;
}

static size_t decode(uint8_t *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '%' && i + 2 < size && is_hex(text[i + 1]) && is_hex(text[i + 2])) {
            const char digits[] = {(char)text[i + 1], (char)text[i + 2], 0};
            text[used++] = (uint8_t)strtol(digits, NULL, 16);
            i += 2;
        } else {
            text[used++] = text[i];
        }
    }
    return used;
}

/* Segments end at '/', '\' and ';'; none is "." or "..", unless ';' stands before it. */
static void demand_plain(const uint8_t *text, size_t size)
{
    size_t start = 0;
    for (size_t i = 0; i <= size; i++) {
        demand(i == size || (text[i] >= 0x20 && text[i] != 0x7f));
        if (i == size || text[i] == '/' || text[i] == '\\' || text[i] == ';') {
            size_t length = i - start;
            bool parameter = start > 0 && text[start - 1] == ';';
            demand(parameter || length == 0 || length > 2 || text[start] != '.' ||
                   text[i - 1] != '.');
            start = i + 1;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view target = view_of(data, size), provider, rest;
    if (target_check(target) != STATUS_OK) {
        return 0;
    }
    uint8_t text[TARGET_MAX];
    const uint8_t *query = memchr(data, '?', size);
    size_t path = query ? (size_t)(query - data) : size;
    demand(size > 0 && size <= TARGET_MAX && data[0] == '/');
    memcpy(text, data, path);
    for (int round = 0; round < 3; round++) {
        demand_plain(text, path);
        path = decode(text, path);
    }
    if (target_provider(target, &provider, &rest)) {
        demand(provider.size > 0 && !memchr(provider.data, '/', provider.size));
        demand(provider.data == data + 5 && provider.size + rest.size + 5 == size);
        demand(rest.size == 0 || rest.data[0] == '/' || rest.data[0] == '?');
    }
    return 0;
}
