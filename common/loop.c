/* loop.c - one epoll set and a list of timers behind loop.h.
 *
 * ZeroMQ's descriptor says only that something changed: its commands are taken in by any send or
 * receive, after which it stays silent about messages that are there.  So a handler drains its
 * socket, and a send has it run again (loop_soon) before the loop sleeps.  Polling sockets by
 * zmq_poll instead costs several system calls per socket and turn. */
#include "common/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

#include "common/clock.h"

enum { TURN_END_MAX = 16, EVENTS_MAX = 32, ROUNDS_MAX = 8 };

struct watch {
    loop_fn *fn;
    void *arg;
    int fd;       /* of an epoll set, an event, or a ZeroMQ socket; or -1 for */
    void *socket; /* a ZeroMQ socket, when it is one */
    int timer;    /* a timer's id */
    bool once, soon, dead;
    uint64_t due_ms, every_ms;
    struct watch *next;
};

struct turn_end {
    loop_fn *fn;
    void *arg;
};

struct loop {
    int epoll_fd, last_timer;
    struct watch *watches;
    struct turn_end ends[TURN_END_MAX];
    size_t end_count;
    bool stopping, any_soon, any_dead;
};

struct loop *loop_new(void)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop) {
        return NULL;
    }
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        free(loop);
        return NULL;
    }
    return loop;
}

/* Handlers may end any watch while others of the same turn are still to be called, so the memory is
 * kept until the turn is over. */
static void bury(struct loop *loop)
{
    for (struct watch **at = &loop->watches; *at && loop->any_dead;) {
        struct watch *watch = *at;
        if (!watch->dead) {
            at = &watch->next;
            continue;
        }
        *at = watch->next;
        free(watch);
    }
    loop->any_dead = false;
}

void loop_free(struct loop **loop)
{
    if (!*loop) {
        return;
    }
    for (struct watch *watch = (*loop)->watches; watch; watch = watch->next) {
        watch->dead = (*loop)->any_dead = true;
    }
    bury(*loop);
    (void)close((*loop)->epoll_fd); /* nothing in it is written */
    free(*loop);
    *loop = NULL;
}

/* ---- what is watched ---- */

static struct watch *watch_new(struct loop *loop, loop_fn *fn, void *arg)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch) {
        *watch = (struct watch){.fn = fn, .arg = arg, .fd = -1, .timer = -1, .next = loop->watches};
        loop->watches = watch;
    }
    return watch;
}

static void watch_end(struct loop *loop, struct watch *watch)
{
    watch->dead = loop->any_dead = true;
    if (watch->fd >= 0) { /* fails when its owner has closed it already, which ended it too */
        (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    }
}

static enum status watch_fd(struct loop *loop, int fd, void *socket, loop_fn *fn, void *arg)
{
    struct watch *watch = watch_new(loop, fn, arg);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = watch};
    if (!watch) {
        return STATUS_INTERNAL;
    }
    watch->socket = socket;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        watch_end(loop, watch);
        return STATUS_INTERNAL;
    }
    watch->fd = fd;
    return STATUS_OK;
}

enum status loop_watch(struct loop *loop, int fd, loop_fn *fn, void *arg)
{
    return watch_fd(loop, fd, NULL, fn, arg);
}

enum status loop_watch_zmq(struct loop *loop, void *socket, loop_fn *fn, void *arg)
{
    int fd = -1;
    size_t size = sizeof fd;
    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size) != 0) {
        return STATUS_INTERNAL;
    }
    enum status status = watch_fd(loop, fd, socket, fn, arg);
    if (status == STATUS_OK) {
        loop_soon(loop, socket); /* something may have come before the descriptor was watched */
    }
    return status;
}

static struct watch *find(struct loop *loop, int fd, const void *socket)
{
    for (struct watch *watch = loop->watches; watch; watch = watch->next) {
        bool same = socket ? watch->socket == socket
                           : !watch->socket && watch->timer < 0 && watch->fd == fd;
        if (same && !watch->dead) {
            return watch;
        }
    }
    return NULL;
}

void loop_soon(struct loop *loop, void *socket)
{
    struct watch *watch = find(loop, -1, socket);
    if (watch) {
        watch->soon = loop->any_soon = true;
    }
}

static void unwatch(struct loop *loop, int fd, const void *socket)
{
    struct watch *watch = find(loop, fd, socket);
    if (watch) {
        watch_end(loop, watch);
    }
}

void loop_unwatch(struct loop *loop, int fd)
{
    unwatch(loop, fd, NULL);
}

void loop_unwatch_zmq(struct loop *loop, void *socket)
{
    unwatch(loop, -1, socket);
}

/* ---- timers ---- */

static int add_timer(struct loop *loop, uint32_t delay_ms, bool once, loop_fn *fn, void *arg)
{
    struct watch *watch = watch_new(loop, fn, arg);
    if (!watch) {
        return -1;
    }
    loop->last_timer = loop->last_timer == INT_MAX ? 1 : loop->last_timer + 1;
    watch->timer = loop->last_timer;
    watch->once = once;
    watch->every_ms = delay_ms;
    watch->due_ms = clock_mono_ms() + delay_ms;
    return watch->timer;
}

int loop_every(struct loop *loop, uint32_t every_ms, loop_fn *fn, void *arg)
{
    return add_timer(loop, every_ms ? every_ms : 1, false, fn, arg);
}

int loop_once(struct loop *loop, uint32_t delay_ms, loop_fn *fn, void *arg)
{
    return add_timer(loop, delay_ms, true, fn, arg);
}

void loop_unevery(struct loop *loop, int id)
{
    for (struct watch *watch = loop->watches; watch && id >= 0; watch = watch->next) {
        if (watch->timer == id && !watch->dead) {
            watch_end(loop, watch);
            return;
        }
    }
}

/* A dozen timers at most, so they are looked through. */
static int wait_ms(const struct loop *loop)
{
    uint64_t now = clock_mono_ms(), first = UINT64_MAX;
    for (const struct watch *watch = loop->watches; watch; watch = watch->next) {
        if (watch->timer >= 0 && !watch->dead && watch->due_ms < first) {
            first = watch->due_ms;
        }
    }
    if (first == UINT64_MAX) {
        return -1;
    }
    return first <= now ? 0 : first - now > INT_MAX ? INT_MAX : (int)(first - now);
}

static bool run_timers(struct loop *loop)
{
    uint64_t now = clock_mono_ms();
    bool any = false;
    for (struct watch *watch = loop->watches; watch; watch = watch->next) {
        if (watch->timer < 0 || watch->dead || watch->due_ms > now) {
            continue;
        }
        if (watch->once) {
            watch_end(loop, watch);
        }
        watch->due_ms = now + watch->every_ms;
        watch->fn(watch->arg);
        any = true;
    }
    return any;
}

/* ---- turns ---- */

enum status loop_turn_end(struct loop *loop, loop_fn *fn, void *arg)
{
    if (loop->end_count == TURN_END_MAX) {
        return STATUS_INTERNAL;
    }
    loop->ends[loop->end_count++] = (struct turn_end){fn, arg};
    return STATUS_OK;
}

void loop_unturn_end(struct loop *loop, loop_fn *fn, void *arg)
{
    for (size_t i = 0; i < loop->end_count; i++) {
        if (loop->ends[i].fn == fn && loop->ends[i].arg == arg) {
            loop->end_count--;
            memmove(loop->ends + i, loop->ends + i + 1,
                    (loop->end_count - i) * sizeof *loop->ends);
            return;
        }
    }
}

static void run_soon(struct loop *loop)
{
    loop->any_soon = false;
    for (struct watch *watch = loop->watches; watch; watch = watch->next) {
        if (watch->soon && !watch->dead) {
            watch->soon = false;
            watch->fn(watch->arg);
        }
    }
}

/* What is sent at the end of a turn can find an answer there already: a few rounds save the wait in
 * between, more would keep the other descriptors waiting. */
static void end_turn(struct loop *loop)
{
    for (int round = 0; round == 0 || (loop->any_soon && round < ROUNDS_MAX); round++) {
        if (loop->any_soon) {
            run_soon(loop);
        }
        for (size_t i = 0; i < loop->end_count; i++) {
            loop->ends[i].fn(loop->ends[i].arg);
        }
    }
    bury(loop);
}

void loop_run(struct loop *loop)
{
    struct epoll_event events[EVENTS_MAX];
    loop->stopping = false;
    while (!loop->stopping) {
        int count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX,
                               loop->any_soon ? 0 : wait_ms(loop));
        if (count < 0 && errno != EINTR) {
            return; /* the set itself is gone */
        }
        bool any = loop->any_soon;
        for (int i = 0; i < count; i++) {
            struct watch *watch = events[i].data.ptr;
            if (!watch->dead) {
                watch->soon = false;
                watch->fn(watch->arg);
                any = true;
            }
        }
        if (run_timers(loop) || any) {
            end_turn(loop);
        }
    }
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}
