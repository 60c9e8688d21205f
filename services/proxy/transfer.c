/* transfer.c - one libcurl transfer per call, driven by the daemon's loop.
 *
 * libcurl's sockets and its timer sit in one epoll set, which is the one descriptor that the loop
 * watches.  Nothing is followed, nothing taken from the environment, nothing unverified. */
#include "services/proxy/proxy.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "services/proxy/answer.h"
#include "services/proxy/request.h"
#include "services/proxy/upstream.h"

#define DUE_NEVER UINT64_MAX
enum { EVENTS_MAX = 64, SWEEP_MS = 250, DUE_RUNS_MAX = 8, CONNECTIONS_MAX = 1024 };

struct transfer {
    struct call *call;
    struct transfer *next;
    CURL *easy;
    struct request request;
    struct answer *answer;
    size_t up_sent;      /* of call->up, while it is kept for a repetition */
    bool keep_up;        /* the whole body is here: it can be sent again on a stale connection */
    bool reading_paused, writing_paused;
    bool finished;       /* libcurl is done; what is held back still goes out */
    CURLcode result;
    enum status failure; /* why a callback stopped the transfer */
    uint64_t active_ms;
    char error[CURL_ERROR_SIZE];
};

static struct {
    struct loop *loop;
    CURLM *multi;
    const char *ca_file;
    int epoll_fd, timer_fd, sweep_timer;
    uint64_t due_ms;   /* when libcurl wants to be called; DUE_NEVER for not */
    uint64_t armed_ms; /* when the timer fires, at the latest then */
    struct transfer *first;
} transfers = {.due_ms = DUE_NEVER, .armed_ms = DUE_NEVER, .epoll_fd = -1, .timer_fd = -1, .sweep_timer = -1};

/* ---- the end ---- */

static enum status outcome_of(const struct transfer *transfer)
{
    if (transfer->failure != STATUS_OK) {
        return transfer->failure;
    }
    switch (transfer->result) {
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

/* Ends the call once all that came has gone out. */
static void finish_if_done(struct transfer *transfer)
{
    if (!transfer->finished || (transfer->result == CURLE_OK && answer_held(transfer->answer) > 0)) {
        return;
    }
    enum status status = outcome_of(transfer);
    if (status == STATUS_OK && transfer->call->http == 0) {
        status = STATUS_UPSTREAM; /* it ended without a head */
    }
    call_end(transfer->call, status,
             status == STATUS_UPSTREAM ? curl_easy_strerror(transfer->result) : status_text(status));
}

static void take_finished(void)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(transfers.multi, &left))) {
        struct transfer *transfer = NULL;
        CURLcode result = message->data.result;
        if (message->msg != CURLMSG_DONE ||
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer) !=
                CURLE_OK) {
            continue;
        }
        transfer->finished = true;
        transfer->result = result;
        if (result == CURLE_OK && answer_end(transfer->answer) != STATUS_OK) {
            transfer->failure = STATUS_UPSTREAM;
        }
        finish_if_done(transfer);
    }
}

static void drive(curl_socket_t socket, int events)
{
    int running;
    curl_multi_socket_action(transfers.multi, socket, events, &running);
    take_finished();
}

/* ---- libcurl's callbacks ---- */

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    transfer->active_ms = clock_mono_ms();
    transfer->failure = answer_header(transfer->answer, view_of(line, size * count));
    return transfer->failure == STATUS_OK ? size * count : 0;
}

static size_t on_write(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    transfer->active_ms = clock_mono_ms();
    if (answer_held(transfer->answer) > 0 || transfer->call->credit == 0) {
        transfer->writing_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    transfer->failure = answer_body(transfer->answer, view_of(data, size * count));
    return transfer->failure == STATUS_OK ? size * count : 0;
}

static size_t on_read(char *room, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    struct call *call = transfer->call;
    size_t left = call->up.size - transfer->up_sent;
    transfer->active_ms = clock_mono_ms();
    if (left == 0 && !call->up_end) {
        transfer->reading_paused = true;
        return CURL_READFUNC_PAUSE;
    }
    left = left > size * count ? size * count : left;
    if (left == 0) {
        return 0;
    }
    memcpy(room, call->up.data + transfer->up_sent, left);
    if (transfer->keep_up) {
        transfer->up_sent += left;
        return left;
    }
    buffer_consume(&call->up, left);
    call_want(call, left);
    return left;
}

/* libcurl rewinds when a kept-alive connection turned out to be dead. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct transfer *transfer = arg;
    if (!transfer->keep_up || origin != SEEK_SET || offset != 0) {
        return CURL_SEEKFUNC_FAIL;
    }
    transfer->up_sent = 0;
    return CURL_SEEKFUNC_OK;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct transfer *transfer = arg;
    (void)purpose;
    if (!transfer->call->provider->allow_insecure && !upstream_is_public(&address->addr)) {
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
        epoll_ctl(transfers.epoll_fd, EPOLL_CTL_DEL, socket, NULL);
        return 0;
    }
    event.events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
                   (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    epoll_ctl(transfers.epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event);
    curl_multi_assign(transfers.multi, socket, &transfers);
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
    transfers.armed_ms = at_ms;
    (void)timerfd_settime(transfers.timer_fd, 0, &when, NULL); /* fails for bad arguments only */
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    (void)arg;
    transfers.due_ms = timeout_ms < 0 ? DUE_NEVER : clock_mono_ms() + (uint64_t)timeout_ms;
    if (timeout_ms > 0 && transfers.due_ms < transfers.armed_ms) {
        arm(transfers.due_ms);
    }
    return 0; /* what is due at once is done at the end of this turn */
}

static void run_due(void *arg)
{
    (void)arg;
    for (int i = 0; i < DUE_RUNS_MAX && transfers.due_ms <= clock_mono_ms(); i++) {
        transfers.due_ms = DUE_NEVER;
        drive(CURL_SOCKET_TIMEOUT, 0);
    }
    if (transfers.due_ms < transfers.armed_ms) {
        arm(transfers.due_ms);
    }
}

static void on_expired(void)
{
    uint64_t expired;
    if (read(transfers.timer_fd, &expired, sizeof expired) != (ssize_t)sizeof expired) {
        return;
    }
    transfers.armed_ms = DUE_NEVER;
    run_due(NULL);
}

static void on_ready(void *arg)
{
    struct epoll_event events[EVENTS_MAX];
    (void)arg;
    int count = epoll_wait(transfers.epoll_fd, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == transfers.timer_fd) {
            on_expired();
            continue;
        }
        int what = (events[i].events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (events[i].events & EPOLLERR ? CURL_CSELECT_ERR : 0);
        drive(events[i].data.fd, what);
    }
}

/* ---- deadlines ---- */

/* Before the head the row's first_byte_ms counts, after it idle_ms; a client that does not take
 * what is there is not the provider's silence. */
static void sweep(void *arg)
{
    uint64_t now = clock_mono_ms();
    (void)arg;
    for (struct transfer *transfer = transfers.first, *next; transfer; transfer = next) {
        const struct provider *provider = transfer->call->provider;
        uint64_t limit = transfer->call->http ? provider->idle_ms : provider->first_byte_ms;
        next = transfer->next;
        if (!transfer->writing_paused && !transfer->reading_paused &&
            now - transfer->active_ms > limit) {
            call_end(transfer->call, STATUS_TIMEOUT, "the provider did not answer in time");
        }
    }
}

/* ---- starting and feeding ---- */

static void set_body(struct transfer *transfer, const struct proxy_call *message)
{
    CURL *easy = transfer->easy;
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
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, transfer->call->method);
}

static enum status configure(struct transfer *transfer, const struct proxy_call *message)
{
    CURL *easy = transfer->easy;
    const struct provider *provider = transfer->call->provider;
    if (upstream_configure(easy, provider, transfers.ca_file) != STATUS_OK) {
        return STATUS_INTERNAL;
    }
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->request.headers);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
    set_body(transfer, message);
    return curl_easy_setopt(easy, CURLOPT_URL, (const char *)transfer->request.url.data) == CURLE_OK
               ? STATUS_OK
               : STATUS_INTERNAL;
}

enum status transfer_start(struct call *call, const struct proxy_call *message,
                           struct list credentials)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer) {
        return STATUS_INTERNAL;
    }
    call->transfer = transfer;
    *transfer = (struct transfer){.call = call,
                                  .keep_up = message->end,
                                  .active_ms = clock_mono_ms(),
                                  .next = transfers.first};
    transfers.first = transfer;
    enum status status =
        request_build(call->provider, message, credentials, &transfer->request);
    if (status != STATUS_OK) {
        return status;
    }
    transfer->answer = answer_new(call, credentials);
    transfer->easy = curl_easy_init();
    if (!transfer->answer || !transfer->easy) {
        return STATUS_INTERNAL;
    }
    status = configure(transfer, message);
    if (status == STATUS_OK && curl_multi_add_handle(transfers.multi, transfer->easy) != CURLM_OK) {
        status = STATUS_INTERNAL;
    }
    return status;
}

void transfer_body_arrived(struct transfer *transfer)
{
    if (transfer->reading_paused) {
        transfer->reading_paused = false;
        transfer->active_ms = clock_mono_ms();
        curl_easy_pause(transfer->easy, transfer->writing_paused ? CURLPAUSE_RECV : CURLPAUSE_CONT);
        drive(CURL_SOCKET_TIMEOUT, 0);
    }
}

void transfer_credit_arrived(struct transfer *transfer)
{
    answer_flush(transfer->answer);
    if (transfer->finished) {
        finish_if_done(transfer);
        return;
    }
    if (transfer->writing_paused && answer_held(transfer->answer) == 0 &&
        transfer->call->credit > 0) {
        transfer->writing_paused = false;
        transfer->active_ms = clock_mono_ms();
        curl_easy_pause(transfer->easy, transfer->reading_paused ? CURLPAUSE_SEND : CURLPAUSE_CONT);
        drive(CURL_SOCKET_TIMEOUT, 0);
    }
}

void transfer_free(struct transfer **transfer_at)
{
    struct transfer *transfer = *transfer_at;
    if (!transfer) {
        return;
    }
    for (struct transfer **at = &transfers.first; *at; at = &(*at)->next) {
        if (*at == transfer) {
            *at = transfer->next;
            break;
        }
    }
    if (transfer->easy) {
        curl_multi_remove_handle(transfers.multi, transfer->easy);
        curl_easy_cleanup(transfer->easy);
    }
    answer_free(&transfer->answer);
    request_wipe(&transfer->request);
    free(transfer);
    *transfer_at = NULL;
}

/* ---- opening and closing ---- */

enum status transfers_open(struct loop *loop, const char *ca_file)
{
    struct epoll_event event = {.events = EPOLLIN};
    transfers.loop = loop;
    transfers.ca_file = ca_file;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return STATUS_INTERNAL;
    }
    transfers.multi = curl_multi_init();
    transfers.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    transfers.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    event.data.fd = transfers.timer_fd;
    if (!transfers.multi || transfers.epoll_fd < 0 || transfers.timer_fd < 0 ||
        epoll_ctl(transfers.epoll_fd, EPOLL_CTL_ADD, transfers.timer_fd, &event) != 0) {
        log_error("upstream", "cannot set up the upstream side");
        return STATUS_INTERNAL;
    }
    curl_multi_setopt(transfers.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(transfers.multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(transfers.multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    curl_multi_setopt(transfers.multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
    transfers.sweep_timer = loop_every(loop, SWEEP_MS, sweep, NULL);
    if (transfers.sweep_timer < 0 || loop_turn_end(loop, run_due, NULL) != STATUS_OK) {
        return STATUS_INTERNAL;
    }
    return loop_watch(loop, transfers.epoll_fd, on_ready, NULL);
}

void transfers_close(void)
{
    if (!transfers.loop) {
        return;
    }
    loop_unevery(transfers.loop, transfers.sweep_timer);
    loop_unturn_end(transfers.loop, run_due, NULL);
    loop_unwatch(transfers.loop, transfers.epoll_fd);
    curl_multi_cleanup(transfers.multi);
    curl_global_cleanup();
    if (transfers.epoll_fd >= 0) {
        close(transfers.epoll_fd);
    }
    if (transfers.timer_fd >= 0) {
        close(transfers.timer_fd);
    }
    transfers.loop = NULL;
}
