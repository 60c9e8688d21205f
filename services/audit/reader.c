/* reader.c - the one thread that reads the log, so that its writing never waits for a question.
 *
 * It has the files as they were when it was asked, with a descriptor of its own for the open one,
 * which may be renamed meanwhile.  Answers come back by an eventfd and are given out in the loop. */
#include "services/audit/reading.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/cores.h"

enum {
    WAITING_MAX = 32,   /* at QUERY_MS each longer than anybody waits */
    WAITING_PER_TENANT = 4,
    STALE_MS = 1500,    /* the vault has given up by then */
};

struct job {
    struct job *next;
    struct files_copy *files;
    struct buffer bytes; /* what QUERY views */
    struct audit_query query;
    uint64_t asked_ms;
    struct buffer records;
    struct reader_page page;
    reader_done *done;
    void *arg;
};

struct reader {
    struct loop *loop;
    pthread_t thread;
    bool started;
    int event_fd;
    struct indexes *indexes; /* the thread's alone */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* under the lock: */
    struct job *asked, **asked_end;
    struct job *answered, **answered_end;
    struct files_copy *follow; /* the newest state of the files, to tidy up to */
    size_t waiting;
    bool stop;
};

static void job_free(struct job *job)
{
    if (!job) {
        return;
    }
    files_copy_free(&job->files);
    buffer_free(&job->bytes);
    buffer_free(&job->records);
    free(job);
}

static void free_list(struct job *job)
{
    while (job) {
        struct job *next = job->next;
        job_free(job);
        job = next;
    }
}

/* ---- the thread ---- */

static void answer(struct reader *reader, struct job *job)
{
    if (clock_mono_ms() - job->asked_ms > STALE_MS) {
        job->page.status = STATUS_BUSY;
        return;
    }
    job->page.status =
        query_run(reader->indexes, &job->files->files, &job->query, &job->records, &job->page.next);
    if (job->page.status == STATUS_OK) {
        job->page.records = buffer_view(&job->records);
    }
}

/* Under the lock. */
static void give_back(struct reader *reader, struct job *job)
{
    uint64_t one = 1;
    job->next = NULL;
    *reader->answered_end = job;
    reader->answered_end = &job->next;
    (void)!write(reader->event_fd, &one, sizeof one); /* fails only when it is readable anyway */
}

/* One question; false when there is none.  The lock is held before and after. */
static bool take_question(struct reader *reader)
{
    struct job *job = reader->asked;
    if (!job) {
        return false;
    }
    reader->asked = job->next;
    if (!reader->asked) {
        reader->asked_end = &reader->asked;
    }
    pthread_mutex_unlock(&reader->lock);
    answer(reader, job);
    pthread_mutex_lock(&reader->lock);
    give_back(reader, job);
    return true;
}

/* One step of the tidying; false when there is nothing to do. */
static bool take_follow(struct reader *reader)
{
    struct files_copy *copy = TAKE(reader->follow);
    if (!copy) {
        return false;
    }
    pthread_mutex_unlock(&reader->lock);
    bool more = indexes_tidy(reader->indexes, &copy->files);
    pthread_mutex_lock(&reader->lock);
    if (more && !reader->follow) {
        reader->follow = TAKE(copy);
    }
    files_copy_free(&copy);
    return true;
}

static void *thread_main(void *arg)
{
    struct reader *reader = arg;
    cores_leave();
    pthread_mutex_lock(&reader->lock);
    while (!reader->stop) {
        if (!take_question(reader) && !take_follow(reader)) {
            pthread_cond_wait(&reader->wake, &reader->lock);
        }
    }
    pthread_mutex_unlock(&reader->lock);
    return NULL;
}

/* ---- the loop ---- */

static void call_back(void *arg)
{
    struct reader *reader = arg;
    uint64_t count;
    (void)!read(reader->event_fd, &count, sizeof count); /* only clears it */
    pthread_mutex_lock(&reader->lock);
    struct job *job = reader->answered;
    reader->answered = NULL;
    reader->answered_end = &reader->answered;
    pthread_mutex_unlock(&reader->lock);
    while (job) {
        struct job *next = job->next;
        reader->waiting--;
        job->done(job->arg, &job->page);
        job_free(job);
        job = next;
    }
}

enum status reader_new(struct loop *loop, struct reader **ret_reader)
{
    CLEANUP(reader_free) struct reader *reader = calloc(1, sizeof *reader);
    if (!reader) {
        return STATUS_INTERNAL;
    }
    reader->loop = loop;
    reader->asked_end = &reader->asked;
    reader->answered_end = &reader->answered;
    pthread_mutex_init(&reader->lock, NULL);
    pthread_cond_init(&reader->wake, NULL);
    reader->indexes = indexes_new();
    reader->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!reader->indexes || reader->event_fd < 0 ||
        loop_watch(loop, reader->event_fd, call_back, reader) != STATUS_OK) {
        return STATUS_INTERNAL;
    }
    reader->started = pthread_create(&reader->thread, NULL, thread_main, reader) == 0;
    if (!reader->started) {
        return STATUS_INTERNAL;
    }
    *ret_reader = TAKE(reader);
    return STATUS_OK;
}

void reader_free(struct reader **reader_at)
{
    struct reader *reader = *reader_at;
    if (!reader) {
        return;
    }
    if (reader->started) {
        pthread_mutex_lock(&reader->lock);
        reader->stop = true;
        pthread_cond_signal(&reader->wake);
        pthread_mutex_unlock(&reader->lock);
        pthread_join(reader->thread, NULL);
    }
    if (reader->event_fd >= 0) {
        loop_unwatch(reader->loop, reader->event_fd);
        (void)close(reader->event_fd); /* an eventfd */
    }
    free_list(reader->asked);
    free_list(reader->answered);
    files_copy_free(&reader->follow);
    indexes_free(&reader->indexes);
    pthread_cond_destroy(&reader->wake);
    pthread_mutex_destroy(&reader->lock);
    free(reader);
    *reader_at = NULL;
}

/* How many questions of TENANT wait; under the lock. */
static size_t count_of(const struct reader *reader, struct view tenant)
{
    size_t count = 0;
    for (const struct job *job = reader->asked; job; job = job->next) {
        count += view_equal(job->query.tenant, tenant);
    }
    return count;
}

enum status reader_ask(struct reader *reader, const struct files *files, struct view bytes,
                       reader_done *done, void *arg)
{
    struct job *job = reader->waiting < WAITING_MAX ? calloc(1, sizeof *job) : NULL;
    if (!job) {
        return STATUS_BUSY;
    }
    job->files = files_copy_new(files);
    buffer_append_view(&job->bytes, bytes);
    enum status status = !job->files || job->bytes.failed
                             ? STATUS_INTERNAL
                             : proto_decode(&audit_query_schema, buffer_view(&job->bytes),
                                            &job->query);
    if (status != STATUS_OK) {
        job_free(job);
        return status;
    }
    job->asked_ms = clock_mono_ms();
    job->done = done;
    job->arg = arg;
    pthread_mutex_lock(&reader->lock);
    if (count_of(reader, job->query.tenant) < WAITING_PER_TENANT) {
        *reader->asked_end = job;
        reader->asked_end = &job->next;
        pthread_cond_signal(&reader->wake);
    } else {
        status = STATUS_BUSY; /* the others want to be heard too */
    }
    pthread_mutex_unlock(&reader->lock);
    if (status == STATUS_OK) {
        reader->waiting++;
    } else {
        job_free(job);
    }
    return status;
}

void reader_follow(struct reader *reader, const struct files *files)
{
    struct files_copy *copy = files_copy_new(files), *old;
    if (!copy) {
        return; /* a second later again */
    }
    pthread_mutex_lock(&reader->lock);
    old = reader->follow;
    reader->follow = copy;
    pthread_cond_signal(&reader->wake);
    pthread_mutex_unlock(&reader->lock);
    files_copy_free(&old);
}
