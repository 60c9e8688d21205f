/* A grant with any of its bytes changed, or any bytes instead of one: it opens as it was made and in no
 * other way.  The first byte chooses: even, the rest is laid over a good grant by exclusive or; odd, the
 * rest is the grant. */
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "proto/grant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW_MS = 1000000 };
static const uint8_t grant_key[CRYPTO_KEY_BYTES] = {1, 2, 3};

static const struct grant_binding *binding(void)
{
    static struct grant_binding same;
    same = (struct grant_binding){.request = VIEW("req_1"),
                                  .tenant = VIEW("acc_1"),
                                  .token_id = VIEW("tok_1"),
                                  .agent = VIEW("agt_1"),
                                  .provider = VIEW("openai"),
                                  .proxy = VIEW("0123456789abcdef"),
                                  .method = VIEW("GET"),
                                  .target = VIEW("/v1/models"),
                                  .headers = VIEW("rows"),
                                  .expires_ms = NOW_MS + 1000};
    return &same;
}

static struct buffer good_grant(void)
{
    struct buffer rows = BUFFER_EMPTY, grant = BUFFER_EMPTY;
    struct list credentials = {0};
    const struct grant_row row = {VIEW("OPENAI_API_KEY"), VIEW("sk-fuzz")};
    if (proto_list_add(&grant_row_schema, &row, &rows, &credentials) != STATUS_OK ||
        grant_seal(view_of(grant_key, sizeof grant_key), binding(), credentials, &grant) != STATUS_OK) {
        abort();
    }
    buffer_free(&rows);
    return grant;
}

static bool opens(struct view grant)
{
    struct secret *content = NULL;
    struct list credentials;
    struct grant_row row;
    if (grant_open(view_of(grant_key, sizeof grant_key), binding(), grant, NOW_MS, &content,
                   &credentials) != STATUS_OK) {
        return false;
    }
    if (!proto_list_next(&grant_row_schema, &credentials, &row) || !view_is(row.value, "sk-fuzz")) {
        abort();
    }
    secret_free(&content);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (data[0] & 1) {
        if (opens(view_of(data + 1, size - 1))) {
            abort();
        }
        return 0;
    }
    struct buffer grant = good_grant();
    bool same = true;
    for (size_t i = 0; i < grant.size && i + 1 < size; i++) {
        grant.data[i] ^= data[i + 1];
        same = same && data[i + 1] == 0;
    }
    if (opens(buffer_view(&grant)) != same) {
        abort();
    }
    buffer_free(&grant);
    return 0;
}
