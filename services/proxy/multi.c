/* multi.c - the carrier that leaves all to libcurl's multi interface, driven by the daemon's loop.
 *
 * libcurl's sockets and its timer sit in one epoll set, which is the one descriptor that the loop
 * watches.  Nothing is followed, nothing taken from the environment, nothing unverified. */
#include "services/proxy/transfer_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "services/proxy/upstream.h"

#define DUE_NEVER UINT64_MAX
enum { EVENTS_MAX = 64, DUE_RUNS_MAX = 8, CONNECTIONS_MAX = 1024 };

/* The carrier's state of one transfer. */
struct ride {
    struct transfer *transfer;
    CURL *easy;
    enum status failure; /* why a callback stopped the transfer */
    char error[CURL_ERROR_SIZE];
};

static struct {
    struct loop *loop;
    CURLM *multi;
    const char *ca_file;
    int epoll_fd, timer_fd;
    uint64_t due_ms;   /* when libcurl wants to be called; DUE_NEVER for not */
    uint64_t armed_ms; /* when the timer fires, at the latest then */
} multi = {.due_ms = DUE_NEVER, .armed_ms = DUE_NEVER, .epoll_fd = -1, .timer_fd = -1};

/* ---- the end ---- */

static enum status outcome_of(const struct ride *ride, CURLcode result)
{
    if (ride->failure != STATUS_OK) {
        return ride->failure;
    }
    switch (result) {
    case CURLE_OK:
        return STATUS_OK;
    case CURLE_OPERATION_TIMEDOUT:
        return STATUS_TIMEOUT;
    case CURLE_OUT_OF_MEMORY:
        return STATUS_INTERNAL;
    default:
        return STATUS_UPSTREAM;
    }
}

static void take_finished(void)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(multi.multi, &left))) {
        struct ride *ride = NULL;
        CURLcode result = message->data.result;
        if (message->msg != CURLMSG_DONE ||
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&ride) != CURLE_OK) {
            continue;
        }
        enum status status = outcome_of(ride, result);
        transfer_finish(ride->transfer, status,
                        status == STATUS_UPSTREAM ? curl_easy_strerror(result)
                                                  : status_text(status));
    }
}

static void drive(curl_socket_t socket, int events)
{
    int running;
    curl_multi_socket_action(multi.multi, socket, events, &running);
    take_finished();
}

/* ---- libcurl's callbacks ---- */

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct ride *ride = arg;
    ride->failure = transfer_header(ride->transfer, view_of(line, size * count));
    return ride->failure == STATUS_OK ? size * count : 0;
}

static size_t on_write(char *data, size_t size, size_t count, void *arg)
{
    struct ride *ride = arg;
    switch (transfer_take(ride->transfer, view_of(data, size * count))) {
    case TAKEN:
        return size * count;
    case TAKEN_NOT:
        return CURL_WRITEFUNC_PAUSE;
    case TAKEN_FAILED:
        break;
    }
    ride->failure = STATUS_UPSTREAM;
    return 0;
}

static size_t on_read(char *room, size_t size, size_t count, void *arg)
{
    ssize_t got = transfer_pull(((struct ride *)arg)->transfer, (uint8_t *)room, size * count);
    return got < 0 ? CURL_READFUNC_PAUSE : (size_t)got;
}

/* libcurl rewinds when a kept-alive connection turned out to be dead. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    bool first = origin == SEEK_SET && offset == 0;
    return first && transfer_rewind(((struct ride *)arg)->transfer) ? CURL_SEEKFUNC_OK
                                                                    : CURL_SEEKFUNC_FAIL;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct ride *ride = arg;
    (void)purpose;
    if (!ride->transfer->call->provider->allow_insecure && !upstream_is_public(&address->addr)) {
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int on_socket(CURL *easy, curl_socket_t socket, int what, void *arg, void *known)
{
    struct epoll_event event = {.data.fd = socket};
    (void)easy;
    (void)arg;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(multi.epoll_fd, EPOLL_CTL_DEL, socket, NULL);
        return 0;
    }
    event.events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
                   (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    epoll_ctl(multi.epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event);
    curl_multi_assign(multi.multi, socket, &multi);
    return 0;
}

/* Arming a timer is the dearest system call of a short transfer, and libcurl moves its timer several
 * times in each: it is armed only for what is earlier, and looks again when it fires too soon. */
static void arm(uint64_t at_ms)
{
    uint64_t now = clock_mono_ms(), wait_ms = at_ms > now ? at_ms - now : 0;
    const struct itimerspec when = {{0, 0},
                                    {(time_t)(wait_ms / 1000),
                                     (long)(wait_ms % 1000 * 1000000 + (wait_ms == 0))}};
    multi.armed_ms = at_ms;
    (void)timerfd_settime(multi.timer_fd, 0, &when, NULL); /* fails for bad arguments only */
}

static int on_timer(CURLM *handle, long timeout_ms, void *arg)
{
    (void)handle;
    (void)arg;
    multi.due_ms = timeout_ms < 0 ? DUE_NEVER : clock_mono_ms() + (uint64_t)timeout_ms;
    if (timeout_ms > 0 && multi.due_ms < multi.armed_ms) {
        arm(multi.due_ms);
    }
    return 0; /* what is due at once is done at the end of this turn */
}

static void run_due(void *arg)
{
    (void)arg;
    for (int i = 0; i < DUE_RUNS_MAX && multi.due_ms <= clock_mono_ms(); i++) {
        multi.due_ms = DUE_NEVER;
        drive(CURL_SOCKET_TIMEOUT, 0);
    }
    if (multi.due_ms < multi.armed_ms) {
        arm(multi.due_ms);
    }
}

static void on_expired(void)
{
    uint64_t expired;
    if (read(multi.timer_fd, &expired, sizeof expired) != (ssize_t)sizeof expired) {
        return;
    }
    multi.armed_ms = DUE_NEVER;
    run_due(NULL);
}

static void on_ready(void *arg)
{
    struct epoll_event events[EVENTS_MAX];
    (void)arg;
    int count = epoll_wait(multi.epoll_fd, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == multi.timer_fd) {
            on_expired();
            continue;
        }
        int what = (events[i].events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (events[i].events & EPOLLERR ? CURL_CSELECT_ERR : 0);
        drive(events[i].data.fd, what);
    }
}

/* ---- starting and feeding ---- */

static void set_body(const struct ride *ride, const struct proxy_call *message)
{
    CURL *easy = ride->easy;
    if (view_is(message->method, "HEAD")) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (message->body_size != 0) {
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
                         message->body_size == BODY_SIZE_UNKNOWN ? (curl_off_t)-1
                                                                 : (curl_off_t)message->body_size);
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, ride->transfer->call->method);
}

static enum status configure(struct ride *ride, const struct proxy_call *message)
{
    CURL *easy = ride->easy;
    const struct request *request = &ride->transfer->request;
    const struct provider *provider = ride->transfer->call->provider;
    if (upstream_configure(easy, provider, multi.ca_file) != STATUS_OK) {
        return STATUS_INTERNAL;
    }
    if (request->untouched) {
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, NULL); /* its bytes pass as they are */
    }
    curl_easy_setopt(easy, CURLOPT_PRIVATE, ride);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, ride->error);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->headers);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, ride);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, ride);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, ride);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, ride);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, ride);
    set_body(ride, message);
    return curl_easy_setopt(easy, CURLOPT_URL, (const char *)request->url.data) == CURLE_OK
               ? STATUS_OK
               : STATUS_INTERNAL;
}

static enum status start(struct transfer *transfer, const struct proxy_call *message)
{
    struct ride *ride = calloc(1, sizeof *ride);
    if (!ride) {
        return STATUS_INTERNAL;
    }
    transfer->state = ride;
    ride->transfer = transfer;
    ride->easy = curl_easy_init();
    enum status status = ride->easy ? configure(ride, message) : STATUS_INTERNAL;
    if (status == STATUS_OK && curl_multi_add_handle(multi.multi, ride->easy) != CURLM_OK) {
        status = STATUS_INTERNAL;
    }
    return status;
}

static void resume(struct transfer *transfer)
{
    struct ride *ride = transfer->state;
    curl_easy_pause(ride->easy, (transfer->writing_paused ? CURLPAUSE_RECV : 0) |
                                    (transfer->reading_paused ? CURLPAUSE_SEND : 0));
    drive(CURL_SOCKET_TIMEOUT, 0);
}

static void drop(struct transfer *transfer)
{
    struct ride *ride = transfer->state;
    if (ride->easy) {
        curl_multi_remove_handle(multi.multi, ride->easy);
        curl_easy_cleanup(ride->easy);
    }
    free(ride);
    transfer->state = NULL;
}

const struct carrier multi_carrier = {start, resume, resume, drop};

/* ---- opening and closing ---- */

enum status multi_open(struct loop *loop, const char *ca_file)
{
    struct epoll_event event = {.events = EPOLLIN};
    multi.loop = loop;
    multi.ca_file = ca_file;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return STATUS_INTERNAL;
    }
    multi.multi = curl_multi_init();
    multi.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    multi.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    event.data.fd = multi.timer_fd;
    if (!multi.multi || multi.epoll_fd < 0 || multi.timer_fd < 0 ||
        epoll_ctl(multi.epoll_fd, EPOLL_CTL_ADD, multi.timer_fd, &event) != 0) {
        log_error("upstream", "cannot set up the upstream side");
        return STATUS_INTERNAL;
    }
    curl_multi_setopt(multi.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi.multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi.multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    curl_multi_setopt(multi.multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
    if (loop_turn_end(loop, run_due, NULL) != STATUS_OK) {
        return STATUS_INTERNAL;
    }
    return loop_watch(loop, multi.epoll_fd, on_ready, NULL);
}

void multi_close(void)
{
    if (!multi.loop) {
        return;
    }
    loop_unturn_end(multi.loop, run_due, NULL);
    loop_unwatch(multi.loop, multi.epoll_fd);
    curl_multi_cleanup(multi.multi);
    curl_global_cleanup();
    if (multi.epoll_fd >= 0) {
        close(multi.epoll_fd);
    }
    if (multi.timer_fd >= 0) {
        close(multi.timer_fd);
    }
    multi.loop = NULL;
}
