/* parked.c - epoll_ctl() and epoll_wait() of this program.  Registrations are edge-triggered
 * (libmicrohttpd's are), so an event that was dropped is made again by EPOLL_CTL_MOD. */
#include "services/gateway/parked.h"

#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

/* libzmq's thread comes by here too, with a descriptor of its own: hence atomic. */
static _Atomic int watched_fd = -1;
static const struct MHD_Daemon *watched;

int parked_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event) __asm__("epoll_ctl");
int parked_wait(int epoll_fd, struct epoll_event *events, int max, int timeout_ms)
    __asm__("epoll_wait");

static int really(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
    return (int)syscall(SYS_epoll_ctl, epoll_fd, operation, fd, event);
}

static bool is_watched(int epoll_fd)
{
    return epoll_fd >= 0 && epoll_fd == atomic_load_explicit(&watched_fd, memory_order_relaxed);
}

void parked_watch(const struct MHD_Daemon *daemon, int epoll_fd)
{
    watched = daemon;
    atomic_store_explicit(&watched_fd, epoll_fd, memory_order_relaxed);
}

void parked_suspend(struct reads *reads)
{
    reads->away = true;
    reads->missed = reads->missed || !reads->drained; /* what is there already makes no event */
}

void parked_resume(struct reads *reads)
{
    reads->away = false;
}

void parked_closing(struct reads *reads)
{
    if (reads->parked) {
        reads->parked = false;
        (void)really(watched_fd, EPOLL_CTL_DEL, reads->fd, NULL); /* it is there */
    }
}

int parked_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
    struct reads *reads = is_watched(epoll_fd) ? reads_find(fd) : NULL;
    if (reads && operation == EPOLL_CTL_DEL && !reads->parked) {
        reads->parked = true;
        return 0;
    }
    if (reads && operation == EPOLL_CTL_ADD && reads->parked) {
        reads->parked = false;
        return reads->missed ? really(epoll_fd, EPOLL_CTL_MOD, fd, event) : 0;
    }
    return really(epoll_fd, operation, fd, event);
}

/* The reads of the connection that an event is about; NULL for one of the daemon's own. */
static struct reads *reads_of(void *pointer)
{
    if (!pointer || pointer == watched) {
        return NULL;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(pointer, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

int parked_wait(int epoll_fd, struct epoll_event *events, int max, int timeout_ms)
{
    int count = epoll_pwait(epoll_fd, events, max, timeout_ms, NULL);
    for (int i = 0; i < count && is_watched(epoll_fd); i++) {
        struct reads *reads = reads_of(events[i].data.ptr);
        if (reads && reads->away) {
            reads->missed = true;
            events[i].data.ptr = NULL; /* libmicrohttpd passes over such an event */
        } else if (reads) {
            reads->drained = false;
        }
    }
    return count;
}
