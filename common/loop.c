/* loop.c - CZMQ's zloop behind loop.h.
 *
 * zloop gives each handler its own arguments; a watch carries them, and after every handler the
 * turn-end functions run. */
#include "common/loop.h"

#include <czmq.h>
#include <stdlib.h>

enum { TURN_END_MAX = 16 };

struct watch {
    struct loop *loop;
    loop_fn *fn;
    void *arg;
    void *socket;      /* a ZeroMQ socket, or */
    zmq_pollitem_t fd; /* a descriptor */
    int timer;         /* or a timer's id */
    bool once;
    struct watch *next;
};

struct turn_end {
    loop_fn *fn;
    void *arg;
};

struct loop {
    zloop_t *zloop;
    struct watch *watches;
    struct turn_end ends[TURN_END_MAX];
    size_t end_count;
    bool stopping;
};

struct loop *loop_new(void)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop) {
        return NULL;
    }
    loop->zloop = zloop_new();
    if (!loop->zloop) {
        free(loop);
        return NULL;
    }
    zloop_set_nonstop(loop->zloop, true); /* signals come through a descriptor, see daemon.c */
    return loop;
}

void loop_free(struct loop **loop)
{
    if (!*loop) {
        return;
    }
    while ((*loop)->watches) {
        struct watch *watch = (*loop)->watches;
        (*loop)->watches = watch->next;
        free(watch);
    }
    zloop_destroy(&(*loop)->zloop);
    free(*loop);
    *loop = NULL;
}

static int turn(struct watch *watch)
{
    struct loop *loop = watch->loop;
    watch->fn(watch->arg); /* may free the watch */
    for (size_t i = 0; i < loop->end_count; i++) {
        loop->ends[i].fn(loop->ends[i].arg);
    }
    return loop->stopping ? -1 : 0;
}

static int on_poll(zloop_t *zloop, zmq_pollitem_t *item, void *watch)
{
    (void)zloop;
    (void)item;
    return turn(watch);
}

static struct watch *watch_new(struct loop *loop, loop_fn *fn, void *arg)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch) {
        *watch = (struct watch){.loop = loop, .fn = fn, .arg = arg, .timer = -1,
                                .next = loop->watches};
        watch->fd.fd = -1;
        loop->watches = watch;
    }
    return watch;
}

static void watch_free(struct loop *loop, struct watch *watch)
{
    for (struct watch **at = &loop->watches; *at; at = &(*at)->next) {
        if (*at == watch) {
            *at = watch->next;
            free(watch);
            return;
        }
    }
}

static enum status watch_poll(struct loop *loop, int fd, void *socket, loop_fn *fn, void *arg)
{
    struct watch *watch = watch_new(loop, fn, arg);
    if (!watch) {
        return STATUS_INTERNAL;
    }
    watch->socket = socket;
    watch->fd = (zmq_pollitem_t){socket, socket ? 0 : fd, ZMQ_POLLIN, 0};
    if (zloop_poller(loop->zloop, &watch->fd, on_poll, watch) != 0) {
        watch_free(loop, watch);
        return STATUS_INTERNAL;
    }
    zloop_poller_set_tolerant(loop->zloop, &watch->fd);
    return STATUS_OK;
}

enum status loop_watch(struct loop *loop, int fd, loop_fn *fn, void *arg)
{
    return watch_poll(loop, fd, NULL, fn, arg);
}

enum status loop_watch_zmq(struct loop *loop, void *socket, loop_fn *fn, void *arg)
{
    return watch_poll(loop, -1, zsock_resolve(socket), fn, arg);
}

static void unwatch(struct loop *loop, int fd, void *socket)
{
    for (struct watch *watch = loop->watches; watch; watch = watch->next) {
        bool same = socket ? watch->socket == socket
                           : !watch->socket && watch->timer < 0 && watch->fd.fd == fd;
        if (same) {
            zloop_poller_end(loop->zloop, &watch->fd);
            watch_free(loop, watch);
            return;
        }
    }
}

void loop_unwatch(struct loop *loop, int fd)
{
    unwatch(loop, fd, NULL);
}

void loop_unwatch_zmq(struct loop *loop, void *socket)
{
    unwatch(loop, -1, zsock_resolve(socket));
}

static int on_timer(zloop_t *zloop, int id, void *arg)
{
    struct watch *watch = arg;
    struct watch copy = *watch;
    (void)zloop;
    (void)id;
    if (watch->once) { /* zloop drops the timer itself */
        watch_free(watch->loop, watch);
    }
    return turn(&copy);
}

static int add_timer(struct loop *loop, uint32_t delay_ms, bool once, loop_fn *fn, void *arg)
{
    struct watch *watch = watch_new(loop, fn, arg);
    if (!watch) {
        return -1;
    }
    watch->once = once;
    watch->timer = zloop_timer(loop->zloop, delay_ms, once ? 1 : 0, on_timer, watch);
    int id = watch->timer;
    if (id < 0) {
        watch_free(loop, watch);
    }
    return id;
}

int loop_every(struct loop *loop, uint32_t every_ms, loop_fn *fn, void *arg)
{
    return add_timer(loop, every_ms, false, fn, arg);
}

int loop_once(struct loop *loop, uint32_t delay_ms, loop_fn *fn, void *arg)
{
    return add_timer(loop, delay_ms, true, fn, arg);
}

void loop_unevery(struct loop *loop, int id)
{
    for (struct watch *watch = loop->watches; watch && id >= 0; watch = watch->next) {
        if (watch->timer == id) {
            zloop_timer_end(loop->zloop, id);
            watch_free(loop, watch);
            return;
        }
    }
}

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

void loop_run(struct loop *loop)
{
    loop->stopping = false;
    while (!loop->stopping) {
        /* zloop comes back by itself only on an interrupted poll. */
        zloop_start(loop->zloop);
    }
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}
