/* store_copy.c - copies the database page by page through its one connection. */
#include "store_engine.h"

#include <sqlite3.h>
#include <stdlib.h>

#include "common/log.h"

struct store_copy {
    sqlite3 *to;
    sqlite3_backup *backup;
};

enum status store_copy_begin(struct store *store, const char *path, struct store_copy **ret_copy)
{
    sqlite3 *from = store_sqlite_db(store);
    if (!from) {
        log_error("store", "this store is PostgreSQL: its own tools copy it, see docs/postgres.md");
        return STATUS_INVALID;
    }
    CLEANUP(store_copy_end) struct store_copy *copy = calloc(1, sizeof *copy);
    if (!copy) {
        return STATUS_INTERNAL;
    }
    if (sqlite3_open_v2(path, &copy->to,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                            SQLITE_OPEN_NOFOLLOW, NULL) == SQLITE_OK) {
        copy->backup = sqlite3_backup_init(copy->to, "main", from, "main");
    }
    if (!copy->backup) {
        log_error("store", "cannot copy to %s: %s", path,
                  copy->to ? sqlite3_errmsg(copy->to) : "no memory");
        return STATUS_UNAVAILABLE;
    }
    *ret_copy = TAKE(copy);
    return STATUS_OK;
}

/* One file that needs no other: the copied header says "write-ahead log". */
static enum status complete(struct store_copy *copy)
{
    int code = sqlite3_backup_finish(copy->backup);
    copy->backup = NULL;
    if (code == SQLITE_OK) {
        code = sqlite3_exec(copy->to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
    }
    return code == SQLITE_OK ? STATUS_OK
           : (code & 0xff) == SQLITE_FULL ? STATUS_STORAGE_FULL : STATUS_UNAVAILABLE;
}

enum status store_copy_step(struct store_copy *copy, int pages, bool *ret_done,
                            uint64_t *ret_pages)
{
    int code = sqlite3_backup_step(copy->backup, pages);
    *ret_pages = (uint64_t)sqlite3_backup_pagecount(copy->backup);
    *ret_done = code == SQLITE_DONE;
    if (code == SQLITE_DONE) {
        return complete(copy);
    }
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return STATUS_OK; /* the next turn goes on */
    case SQLITE_FULL:
        return STATUS_STORAGE_FULL;
    }
    return STATUS_UNAVAILABLE;
}

void store_copy_end(struct store_copy **copy)
{
    if (!*copy) {
        return;
    }
    if ((*copy)->backup) {
        (void)sqlite3_backup_finish((*copy)->backup); /* repeats the failure that step reported */
    }
    (void)sqlite3_close((*copy)->to); /* what was committed is on disk */
    free(*copy);
    *copy = NULL;
}
