/* secret.c - the type that holds a key.  Never logs, never copies out on its own. */
#include "common/secret.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct secret {
    size_t size;
    uint8_t *data;
};

struct secret *secret_new(const void *data, size_t size)
{
    if (sodium_init() < 0) {
        return NULL;
    }
    struct secret *secret = malloc(sizeof *secret);
    if (!secret) {
        return NULL;
    }
    secret->size = size;
    secret->data = sodium_malloc(size ? size : 1);
    if (!secret->data) {
        free(secret);
        return NULL;
    }
    if (data && size > 0) {
        memcpy(secret->data, data, size);
    } else {
        memset(secret->data, 0, size ? size : 1);
    }
    return secret;
}

void secret_free(struct secret **secret)
{
    if (!*secret) {
        return;
    }
    sodium_free((*secret)->data); /* zeroes first */
    free(*secret);
    *secret = NULL;
}

uint8_t *secret_data(struct secret *secret)
{
    return secret->data;
}

size_t secret_size(const struct secret *secret)
{
    return secret->size;
}

struct view secret_view(const struct secret *secret)
{
    return view_of(secret->data, secret->size);
}

bool secret_equal(struct view a, struct view b)
{
    return a.size == b.size && (a.size == 0 || sodium_memcmp(a.data, b.data, a.size) == 0);
}
