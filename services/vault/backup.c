/* backup.c - a copy of the database while it is in use, some pages a turn.
 *
 * The copy is made through the vault's own connection, so there is never a second one on the
 * database, and what is written meanwhile is in it.  It lies beside the database until the command
 * that asked has taken it.  It holds what the database holds: sealed secrets and no master key.
 */
#include "vault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TURN_MS = 1, TURN_PAGES = 256 }; /* 1 MiB, a few milliseconds */

struct backup_job {
    struct pending pending; /* first: the list's */
    struct vault *vault;
    uint64_t call;
    struct store_copy *copy;
    char path[VAULT_PATH_SIZE];
    uint64_t pages;
    int timer;
};

static void job_free(struct pending *pending)
{
    struct backup_job *job = (struct backup_job *)pending;
    pending_remove(job->vault, &job->pending);
    loop_unevery(job->vault->loop, job->timer);
    store_copy_end(&job->copy);
    job->vault->backup = NULL;
    free(job);
}

static void finish(struct backup_job *job, enum status status)
{
    if (status == STATUS_OK) {
        control_reply(job->vault, job->pending.peer, job->call, status, job->pages, job->path);
    } else {
        log_error("backup", "the copy failed: %s", status_name(status));
        (void)unlink(job->path); /* of no use */
        control_reply(job->vault, job->pending.peer, job->call, status, 0,
                      status == STATUS_STORAGE_FULL ? "there is no room beside the database"
                                                    : "the copy failed");
    }
    job_free(&job->pending);
}

static void step(void *arg)
{
    struct backup_job *job = arg;
    bool done = false;
    if (!job->pending.peer) { /* who asked has gone */
        finish(job, STATUS_CANCELLED);
        return;
    }
    enum status status = store_copy_step(job->copy, TURN_PAGES, &done, &job->pages);
    if (status != STATUS_OK || done) {
        finish(job, status);
    }
}

enum status backup_start(const struct control_call *call)
{
    struct vault *vault = call->vault;
    if (vault->backup) {
        return STATUS_BUSY;
    }
    struct backup_job *job = calloc(1, sizeof *job);
    if (!job) {
        return STATUS_INTERNAL;
    }
    job->vault = vault;
    job->call = call->call;
    enum status status = vault_path(vault->options.data, "backup.copy", job->path);
    if (status == STATUS_OK && unlink(job->path) != 0 && errno != ENOENT) {
        status = STATUS_UNAVAILABLE;
    }
    if (status == STATUS_OK) {
        status = store_copy_begin(vault->store, job->path, &job->copy);
    }
    job->timer = status == STATUS_OK ? loop_every(vault->loop, TURN_MS, step, job) : -1;
    if (job->timer < 0) {
        store_copy_end(&job->copy);
        free(job);
        return status != STATUS_OK ? status : STATUS_INTERNAL;
    }
    job->pending.free = job_free;
    pending_add(vault, &job->pending, call->peer);
    vault->backup = job;
    return STATUS_OK;
}
