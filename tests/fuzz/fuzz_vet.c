/* Any bytes as requests: however they are cut, the verdict is the same, and what was handed on as a
 * head has only line ends, characters and framing that RFC 9112 allows. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "services/gateway/vet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool right)
{
    if (!right) {
        abort();
    }
}

/* STEP 0: pieces of 1 to 16 bytes, by the data itself. */
static struct vet feed(const uint8_t *data, size_t size, size_t step, size_t *ret_handed)
{
    struct vet vetted = {0};
    size_t handed = 0;
    for (size_t at = 0; at < size && vetted.http == 0;) {
        size_t piece = step ? step : (size_t)1 + data[at] % 16;
        piece = piece < size - at ? piece : size - at;
        size_t part = vet(&vetted, data + at, piece);
        demand(part <= piece && (part == piece || vetted.http));
        handed += part;
        at += piece;
    }
    *ret_handed = handed;
    return vetted;
}

static void demand_same(const struct vet *a, const struct vet *b)
{
    demand(a->http == b->http && a->heads == b->heads && a->messages == b->messages);
    demand(a->api == b->api && a->length == b->length && a->target_size == b->target_size);
}

static bool line_is(const char *line, size_t size, const char *name)
{
    size_t length = strlen(name);
    return size > length && strncasecmp(line, name, length) == 0;
}

/* A second reading, as naive as can be, of the first head. */
static void check_head(const uint8_t *data, size_t size)
{
    size_t hosts = 0, framings = 0;
    while (size >= 2 && data[0] == '\r') { /* empty lines before it */
        data += 2;
        size -= 2;
    }
    const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
    demand(end != NULL);
    for (const char *line = (const char *)data; line < (const char *)end + 2;) {
        size_t left = (size_t)((const char *)end + 2 - line);
        const char *lf = memchr(line, '\n', left);
        demand(lf && lf > line && lf[-1] == '\r');
        size_t length = (size_t)(lf - line) - 1;
        demand(!memchr(line, 0, length) && !memchr(line, '\r', length) && length > 0);
        demand(line[0] != ' ' && line[0] != '\t');
        hosts += line_is(line, length, "host:");
        framings += line_is(line, length, "content-length:") ||
                    line_is(line, length, "transfer-encoding:");
        line = lf + 1;
    }
    demand(hosts <= 1 && framings <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t handed, handed_bytes, handed_pieces;
    struct vet whole = feed(data, size, size ? size : 1, &handed);
    struct vet bytes = feed(data, size, 1, &handed_bytes);
    struct vet pieces = feed(data, size, 0, &handed_pieces);
    demand_same(&whole, &bytes);
    demand_same(&whole, &pieces);
    demand(handed <= handed_bytes && handed <= handed_pieces);
    demand(whole.messages <= whole.heads && whole.heads <= whole.messages + 1);
    demand(whole.http || handed == size);
    if (whole.heads > 0) {
        check_head(data, handed_bytes);
    }
    return 0;
}
