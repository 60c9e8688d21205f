/* hasher.c - the helper thread that hashes passwords, so that the loop never waits 50 ms for one.
 *
 * One thread, one hash at a time, a bounded queue; done jobs come back by an eventfd and their
 * callbacks run in the loop.  Sees peppered passwords, and raw ones only to check what was imported;
 * never a database or a socket.
 */
#include "vault.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/cores.h"

enum { QUEUE_MAX = 32 }; /* two seconds of hashing: longer than that nobody should wait */

/* An all-zero salt and hash: well-formed, with the same costs, and right for no password. */
const char hasher_nobody[] = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
                             "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

struct hasher {
    struct loop *loop;
    pthread_t thread;
    bool started;
    int event_fd;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* under the lock: */
    struct hash_job *queue, **queue_end;
    struct hash_job *finished, **finished_end;
    size_t waiting; /* submitted and not yet called back */
    bool stop;
};

static void work(struct hash_job *job)
{
    job->status = STATUS_OK;
    if (job->check && job->raw) {
        job->right = crypto_pbkdf2_check(secret_view(job->raw), job->stored);
    } else if (job->check) {
        job->right = crypto_password_check(view_of(job->old, sizeof job->old), job->stored);
    }
    if (job->make && (!job->check || job->right)) {
        job->status = crypto_password_hash(view_of(job->new, sizeof job->new), job->made);
    }
    explicit_bzero(job->old, sizeof job->old);
    explicit_bzero(job->new, sizeof job->new);
}

static void finish(struct hasher *hasher, struct hash_job *job)
{
    uint64_t one = 1;
    job->next = NULL;
    *hasher->finished_end = job;
    hasher->finished_end = &job->next;
    (void)!write(hasher->event_fd, &one, sizeof one); /* fails only when it is readable anyway */
}

static void *thread_main(void *arg)
{
    struct hasher *hasher = arg;
    cores_leave();
    pthread_mutex_lock(&hasher->lock);
    while (!hasher->stop) {
        struct hash_job *job = hasher->queue;
        if (!job) {
            pthread_cond_wait(&hasher->wake, &hasher->lock);
            continue;
        }
        hasher->queue = job->next;
        if (!hasher->queue) {
            hasher->queue_end = &hasher->queue;
        }
        pthread_mutex_unlock(&hasher->lock);
        work(job);
        pthread_mutex_lock(&hasher->lock);
        finish(hasher, job);
    }
    pthread_mutex_unlock(&hasher->lock);
    return NULL;
}

static void call_back(void *arg)
{
    struct hasher *hasher = arg;
    uint64_t count;
    (void)!read(hasher->event_fd, &count, sizeof count); /* only clears it */
    pthread_mutex_lock(&hasher->lock);
    struct hash_job *job = hasher->finished;
    hasher->finished = NULL;
    hasher->finished_end = &hasher->finished;
    pthread_mutex_unlock(&hasher->lock);
    while (job) {
        struct hash_job *next = job->next;
        pthread_mutex_lock(&hasher->lock);
        hasher->waiting--;
        pthread_mutex_unlock(&hasher->lock);
        job->done(job->arg); /* may free the job */
        job = next;
    }
}

enum status hasher_new(struct loop *loop, struct hasher **ret_hasher)
{
    struct hasher *hasher = calloc(1, sizeof *hasher);
    if (!hasher) {
        return STATUS_INTERNAL;
    }
    hasher->loop = loop;
    hasher->queue_end = &hasher->queue;
    hasher->finished_end = &hasher->finished;
    pthread_mutex_init(&hasher->lock, NULL);
    pthread_cond_init(&hasher->wake, NULL);
    hasher->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (hasher->event_fd < 0 ||
        loop_watch(loop, hasher->event_fd, call_back, hasher) != STATUS_OK) {
        hasher_free(&hasher);
        return STATUS_INTERNAL;
    }
    hasher->started = pthread_create(&hasher->thread, NULL, thread_main, hasher) == 0;
    if (!hasher->started) {
        hasher_free(&hasher);
        return STATUS_INTERNAL;
    }
    *ret_hasher = hasher;
    return STATUS_OK;
}

void hasher_free(struct hasher **hasher_ref)
{
    struct hasher *hasher = *hasher_ref;
    if (!hasher) {
        return;
    }
    if (hasher->started) {
        pthread_mutex_lock(&hasher->lock);
        hasher->stop = true;
        pthread_cond_signal(&hasher->wake);
        pthread_mutex_unlock(&hasher->lock);
        pthread_join(hasher->thread, NULL);
    }
    if (hasher->event_fd >= 0) {
        loop_unwatch(hasher->loop, hasher->event_fd);
        close(hasher->event_fd);
    }
    pthread_cond_destroy(&hasher->wake);
    pthread_mutex_destroy(&hasher->lock);
    free(hasher);
    *hasher_ref = NULL;
}

size_t hasher_waiting(struct hasher *hasher)
{
    pthread_mutex_lock(&hasher->lock);
    size_t waiting = hasher->waiting;
    pthread_mutex_unlock(&hasher->lock);
    return waiting;
}

enum status hasher_submit(struct hasher *hasher, struct hash_job *job)
{
    enum status status = STATUS_BUSY;
    pthread_mutex_lock(&hasher->lock);
    if (hasher->waiting < QUEUE_MAX) {
        status = STATUS_OK;
        hasher->waiting++;
        job->next = NULL;
        *hasher->queue_end = job;
        hasher->queue_end = &job->next;
        pthread_cond_signal(&hasher->wake);
    }
    pthread_mutex_unlock(&hasher->lock);
    return status;
}
