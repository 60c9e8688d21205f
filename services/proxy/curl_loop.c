/* curl_loop.c - sockets and timers of all multi handles in one epoll set.
 *
 * Arming a timer is the dearest system call of a short transfer, and libcurl moves its timer several
 * times in each: it is armed only for what is earlier, and looks again when it fires too soon. */
#include "services/proxy/curl_loop.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define DUE_NEVER UINT64_MAX
enum { EVENTS_MAX = 64, DUE_RUNS_MAX = 8, MEMBERS_MAX = 256, TIMER_INDEX = MEMBERS_MAX };

struct curl_member {
    CURLM *multi;
    curl_done_fn *done;
    uint64_t due_ms; /* when libcurl wants to be called; DUE_NEVER for not */
    uint32_t index;
};

static struct {
    struct loop *loop;
    int epoll_fd, timer_fd;
    uint64_t armed_ms; /* when the timer fires, at the latest then */
    bool due_now;      /* some member is due at once */
    struct curl_member *members[MEMBERS_MAX];
    uint32_t count;
} self = {.armed_ms = DUE_NEVER, .epoll_fd = -1, .timer_fd = -1};

static void drive(struct curl_member *member, curl_socket_t socket, int events)
{
    CURLMsg *message;
    int number;
    curl_multi_socket_action(member->multi, socket, events, &number);
    while ((message = curl_multi_info_read(member->multi, &number))) {
        if (message->msg == CURLMSG_DONE) {
            member->done(message->easy_handle, message->data.result);
        }
    }
}

void curl_loop_drive(struct curl_member *member)
{
    drive(member, CURL_SOCKET_TIMEOUT, 0);
}

CURLM *curl_loop_multi(const struct curl_member *member)
{
    return member->multi;
}

/* ---- sockets ---- */

static int on_socket(CURL *easy, curl_socket_t socket, int what, void *arg, void *known)
{
    struct curl_member *member = arg;
    struct epoll_event event = {.data.u64 = (uint64_t)member->index << 32 | (uint32_t)socket};
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(self.epoll_fd, EPOLL_CTL_DEL, socket, NULL);
        curl_multi_assign(member->multi, socket, NULL);
        return 0;
    }
    event.events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
                   (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    epoll_ctl(self.epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event);
    curl_multi_assign(member->multi, socket, member);
    return 0;
}

/* ---- timers ---- */

static void arm(uint64_t at_ms)
{
    uint64_t now = clock_mono_ms(), wait_ms = at_ms > now ? at_ms - now : 0;
    const struct itimerspec when = {{0, 0},
                                    {(time_t)(wait_ms / 1000),
                                     (long)(wait_ms % 1000 * 1000000 + (wait_ms == 0))}};
    self.armed_ms = at_ms;
    (void)timerfd_settime(self.timer_fd, 0, &when, NULL); /* fails for bad arguments only */
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct curl_member *member = arg;
    (void)multi;
    member->due_ms = timeout_ms < 0 ? DUE_NEVER : clock_mono_ms() + (uint64_t)timeout_ms;
    if (timeout_ms == 0) {
        self.due_now = true; /* done at the end of this turn */
    } else if (member->due_ms < self.armed_ms) {
        arm(member->due_ms);
    }
    return 0;
}

static uint64_t run_members(void)
{
    uint64_t next = DUE_NEVER;
    for (uint32_t i = 0; i < self.count; i++) {
        struct curl_member *member = self.members[i];
        for (int run = 0; run < DUE_RUNS_MAX && member->due_ms <= clock_mono_ms(); run++) {
            member->due_ms = DUE_NEVER;
            curl_loop_drive(member);
        }
        next = member->due_ms < next ? member->due_ms : next;
    }
    return next;
}

static void run_due(void *arg)
{
    (void)arg;
    if (!self.due_now) {
        return;
    }
    self.due_now = false;
    uint64_t next = run_members();
    if (next < self.armed_ms) {
        arm(next);
    }
}

static void on_expired(void)
{
    uint64_t expired;
    if (read(self.timer_fd, &expired, sizeof expired) == (ssize_t)sizeof expired) {
        self.armed_ms = DUE_NEVER;
        self.due_now = true;
        run_due(NULL);
    }
}

static void on_ready(void *arg)
{
    struct epoll_event events[EVENTS_MAX];
    (void)arg;
    int count = epoll_wait(self.epoll_fd, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) {
        uint32_t index = (uint32_t)(events[i].data.u64 >> 32);
        if (index == TIMER_INDEX) {
            on_expired();
            continue;
        }
        int what = (events[i].events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (events[i].events & EPOLLERR ? CURL_CSELECT_ERR : 0);
        drive(self.members[index], (curl_socket_t)(uint32_t)events[i].data.u64, what);
    }
}

/* ---- opening and closing ---- */

struct curl_member *curl_loop_add(curl_done_fn *done)
{
    struct curl_member *member = self.count < MEMBERS_MAX ? calloc(1, sizeof *member) : NULL;
    if (!member) {
        return NULL;
    }
    *member = (struct curl_member){curl_multi_init(), done, DUE_NEVER, self.count};
    if (!member->multi) {
        free(member);
        return NULL;
    }
    curl_multi_setopt(member->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(member->multi, CURLMOPT_SOCKETDATA, member);
    curl_multi_setopt(member->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(member->multi, CURLMOPT_TIMERDATA, member);
    self.members[self.count++] = member;
    return member;
}

enum status curl_loop_open(struct loop *loop)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)TIMER_INDEX << 32};
    self.loop = loop;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return STATUS_INTERNAL;
    }
    self.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    self.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (self.epoll_fd < 0 || self.timer_fd < 0 ||
        epoll_ctl(self.epoll_fd, EPOLL_CTL_ADD, self.timer_fd, &event) != 0 ||
        loop_turn_end(loop, run_due, NULL) != STATUS_OK) {
        log_error("upstream", "cannot set up the upstream side");
        return STATUS_INTERNAL;
    }
    return loop_watch(loop, self.epoll_fd, on_ready, NULL);
}

void curl_loop_close(void)
{
    if (!self.loop) {
        return;
    }
    loop_unturn_end(self.loop, run_due, NULL);
    loop_unwatch(self.loop, self.epoll_fd);
    for (uint32_t i = 0; i < self.count; i++) {
        curl_multi_cleanup(self.members[i]->multi);
        free(self.members[i]);
    }
    self.count = 0;
    curl_global_cleanup();
    if (self.epoll_fd >= 0) {
        close(self.epoll_fd);
    }
    if (self.timer_fd >= 0) {
        close(self.timer_fd);
    }
    self.loop = NULL;
}
