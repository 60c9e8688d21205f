/* database.c - opens the database and its data keys together, in the one order that can refuse
 * without having changed anything: the master key, a look, whose keys they are, and only then use. */
#include "vault.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum status database_directory(const char *path)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        log_error("vault", "cannot make %s: %s", path, strerror(errno));
        return STATUS_UNAVAILABLE;
    }
    return STATUS_OK;
}

enum { OPEN_TRIES = 20 }; /* ten seconds, in which a server may be started, or take over */

static enum status wait_to_open(const char *where, struct store **ret_store)
{
    static const struct timespec pause = {0, 500 * 1000 * 1000};
    enum status status = store_open(where, ret_store);
    for (int i = 0; i < OPEN_TRIES && status == STATUS_UNAVAILABLE && store_is_remote(where); i++) {
        (void)nanosleep(&pause, NULL); /* a signal only makes the next try earlier */
        status = store_open(where, ret_store);
    }
    return status;
}

static enum status check_store(const char *where, const struct masters *masters,
                               struct store **ret_store)
{
    CLEANUP(store_close) struct store *store = NULL;
    enum status status = wait_to_open(where, &store);
    if (status == STATUS_OK) {
        status = keys_check(store, masters);
    }
    if (status == STATUS_OK) {
        status = store_begin_use(store);
    }
    if (status == STATUS_OK) {
        *ret_store = TAKE(store);
    }
    return status;
}

/* DATA: where a new one may be made if there never was one; NULL for nowhere. */
static enum status open_at(const char *where, const char *data, const struct masters *masters,
                           struct store **ret_store, struct keys **ret_keys)
{
    CLEANUP(store_close) struct store *store = NULL;
    enum status status = check_store(where, masters, &store);
    if (status == STATUS_NOT_FOUND && data) {
        status = mark_absent(data, where);
        if (status == STATUS_OK) {
            status = store_create(where, &store);
        }
    }
    if (status == STATUS_NOT_FOUND) {
        log_error("store", "there is no database in %s", store_title(where));
    }
    if (status == STATUS_OK) {
        status = keys_open(store, masters, ret_keys);
    }
    if (status == STATUS_OK) {
        *ret_store = TAKE(store);
    }
    return status;
}

enum status database_open_there(const char *where, const char *keys_dir, struct store **ret_store,
                                struct keys **ret_keys)
{
    CLEANUP(master_free) struct master master = {0};
    enum status status = master_read(keys_dir, &master);
    const struct masters masters = master_views(&master);
    return status == STATUS_OK ? open_at(where, NULL, &masters, ret_store, ret_keys) : status;
}

enum status database_open(const char *data, const char *where, const struct masters *masters,
                          struct store **ret_store, struct keys **ret_keys)
{
    CLEANUP(store_close) struct store *store = NULL;
    CLEANUP(keys_free) struct keys *keys = NULL;
    enum status status = database_directory(data);
    if (status == STATUS_OK) {
        status = open_at(where, data, masters, &store, &keys);
    }
    if (status == STATUS_OK) {
        status = mark_make(data, keys_install_id(keys));
    }
    if (status == STATUS_OK) {
        *ret_store = TAKE(store);
        *ret_keys = TAKE(keys);
    }
    return status;
}
