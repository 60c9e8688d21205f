/* rewrap.c - changes the master key: every data key wrapped anew, all or none.
 *
 * One transaction, so a process that is killed anywhere leaves the old state or the new one.  The
 * secrets themselves are not touched.
 */
#include "kek.h"

#include <string.h>

struct rewrap {
    struct store *store;
    struct install install;
    const struct kek *from, *to;
    uint64_t count;
};

/* What is about to be written must open to the very key that was there. */
static enum status compare(const struct rewrap *rewrap, const struct data_key_row *key,
                           struct view plain)
{
    CLEANUP(secret_free) struct secret *again = NULL;
    enum status status = kek_unwrap(rewrap->to, rewrap->install.id, key, &again);
    if (status == STATUS_OK && !secret_equal(secret_view(again), plain)) {
        return STATUS_INTERNAL;
    }
    return status;
}

static enum status rewrap_key(struct rewrap *rewrap, struct data_key_row *key)
{
    CLEANUP(secret_free) struct secret *plain = NULL;
    const char *install = rewrap->install.id;
    if (strcmp(key->kek, rewrap->to->id) == 0) {
        return STATUS_OK;
    }
    enum status status = strcmp(key->kek, rewrap->from->id) == 0
                             ? kek_unwrap(rewrap->from, install, key, &plain)
                             : STATUS_DENIED;
    if (status == STATUS_OK) {
        status = kek_wrap(rewrap->to, install, secret_view(plain), key);
    }
    if (status == STATUS_OK) {
        status = compare(rewrap, key, secret_view(plain));
    }
    if (status != STATUS_OK) {
        log_error("keys", "data key %s could not be wrapped anew: %s", key->id,
                  status_name(status));
        return status;
    }
    rewrap->count++;
    return data_key_set_wrapped(rewrap->store, key);
}

static enum status rewrap_check(struct rewrap *rewrap)
{
    if (strcmp(rewrap->install.kek, rewrap->to->id) == 0) {
        return STATUS_OK;
    }
    enum status status = kek_make_check(rewrap->to, &rewrap->install);
    if (status == STATUS_OK) {
        status = kek_opens(rewrap->to, &rewrap->install);
    }
    return status == STATUS_OK ? install_set_check(rewrap->store, &rewrap->install) : status;
}

static enum status rewrap_keys(void *arg)
{
    struct rewrap *rewrap = arg;
    rewrap->count = 0;
    struct data_key_row key = {.id = ""};
    enum status status = install_read(rewrap->store, &rewrap->install);
    while (status == STATUS_OK) {
        status = data_key_after(rewrap->store, key.id, &key);
        if (status == STATUS_NOT_FOUND) {
            return rewrap_check(rewrap);
        }
        if (status == STATUS_OK) {
            status = rewrap_key(rewrap, &key);
        }
    }
    return status;
}

enum status rewrap_all(struct store *store, const struct kek *from, const struct kek *to,
                       uint64_t *ret_count)
{
    struct rewrap rewrap = {.store = store, .from = from, .to = to};
    enum status status = store_transact(store, rewrap_keys, &rewrap);
    if (status == STATUS_OK) {
        *ret_count = rewrap.count;
        store_checkpoint(store); /* what is wrapped under the old key goes from disk */
    }
    return status;
}
