/* discover.c - one thread that calls getaddrinfo() and hands the addresses to the loop.
 *
 * The thread shares nothing with the loop but what stands under the lock; it touches no socket of
 * ZeroMQ and no exchange. */
#include "services/gateway/discover.h"

#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"

struct discover {
    struct loop *loop;
    discover_fn *fn;
    void *arg;
    const char *const *names;
    size_t count;
    pthread_t thread;
    bool started;
    int event_fd;
    struct discovered looked_up; /* of the thread; too large for its stack */
    struct discovered handed;    /* of the loop */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* under the lock: */
    bool stop;
    bool fresh[DISCOVER_NAMES_MAX];
    struct discovered found[DISCOVER_NAMES_MAX];
};

/* ---- in the thread ---- */

static void add(const struct addrinfo *info, struct discovered *found)
{
    char address[DISCOVER_TEXT - 2]; /* the text has brackets around an IPv6 address */
    bool v6 = info->ai_family == AF_INET6;
    if (getnameinfo(info->ai_addr, info->ai_addrlen, address, sizeof address, NULL, 0,
                    NI_NUMERICHOST) == 0) {
        snprintf(found->address[found->count], DISCOVER_TEXT, v6 ? "[%s]" : "%s", address);
        found->count++;
    }
}

/* False when the name cannot be looked up now. */
static bool look_up(const char *name, struct discovered *found)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *infos = NULL;
    found->count = 0;
    if (getaddrinfo(name, NULL, &hints, &infos) != 0) {
        return false;
    }
    for (struct addrinfo *at = infos; at && found->count < DISCOVER_ADDRESSES_MAX; at = at->ai_next) {
        add(at, found);
    }
    freeaddrinfo(infos);
    return found->count > 0;
}

/* Under the lock. */
static void wait_a_while(struct discover *discover)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += DISCOVER_MS / 1000;
    until.tv_nsec += DISCOVER_MS % 1000 * 1000000L;
    while (!discover->stop &&
           pthread_cond_clockwait(&discover->wake, &discover->lock, CLOCK_MONOTONIC, &until) == 0) {
    }
}

static void *thread_main(void *arg)
{
    struct discover *discover = arg;
    struct discovered *found = &discover->looked_up;
    uint64_t one = 1;
    pthread_mutex_lock(&discover->lock);
    while (!discover->stop) {
        for (size_t i = 0; i < discover->count && !discover->stop; i++) {
            pthread_mutex_unlock(&discover->lock);
            bool good = look_up(discover->names[i], found);
            pthread_mutex_lock(&discover->lock);
            if (good) {
                discover->found[i] = *found;
                discover->fresh[i] = true;
            }
        }
        (void)!write(discover->event_fd, &one, sizeof one); /* fails only when readable anyway */
        wait_a_while(discover);
    }
    pthread_mutex_unlock(&discover->lock);
    return NULL;
}

/* ---- in the loop ---- */

static void on_found(void *arg)
{
    struct discover *discover = arg;
    uint64_t count;
    (void)!read(discover->event_fd, &count, sizeof count); /* only clears it */
    for (size_t i = 0; i < discover->count; i++) {
        pthread_mutex_lock(&discover->lock);
        bool fresh = discover->fresh[i];
        discover->fresh[i] = false;
        discover->handed = discover->found[i];
        pthread_mutex_unlock(&discover->lock);
        if (fresh) {
            discover->fn(discover->arg, i, &discover->handed);
        }
    }
}

enum status discover_open(struct loop *loop, const char *const *names, size_t count,
                          discover_fn *fn, void *arg, struct discover **ret_discover)
{
    struct discover *discover = calloc(1, sizeof *discover);
    if (!discover || count > DISCOVER_NAMES_MAX) {
        free(discover);
        return STATUS_INTERNAL;
    }
    discover->loop = loop;
    discover->fn = fn;
    discover->arg = arg;
    discover->names = names;
    discover->count = count;
    pthread_mutex_init(&discover->lock, NULL);
    pthread_cond_init(&discover->wake, NULL);
    discover->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (discover->event_fd < 0 ||
        loop_watch(loop, discover->event_fd, on_found, discover) != STATUS_OK) {
        discover_close(&discover);
        return STATUS_INTERNAL;
    }
    discover->started = pthread_create(&discover->thread, NULL, thread_main, discover) == 0;
    if (!discover->started) {
        discover_close(&discover);
        return STATUS_INTERNAL;
    }
    *ret_discover = discover;
    return STATUS_OK;
}

void discover_close(struct discover **discover_at)
{
    struct discover *discover = *discover_at;
    if (!discover) {
        return;
    }
    if (discover->started) {
        pthread_mutex_lock(&discover->lock);
        discover->stop = true;
        pthread_cond_signal(&discover->wake);
        pthread_mutex_unlock(&discover->lock);
        pthread_join(discover->thread, NULL);
    }
    if (discover->event_fd >= 0) {
        loop_unwatch(discover->loop, discover->event_fd);
        close(discover->event_fd);
    }
    pthread_cond_destroy(&discover->wake);
    pthread_mutex_destroy(&discover->lock);
    free(discover);
    *discover_at = NULL;
}
