/* reads.c - recv() and gnutls_record_recv() of this program, and what a refusal does.
 *
 * A connection that is refused gets its error here, since libmicrohttpd knows of no request yet.
 * Its socket is kept for a moment longer than libmicrohttpd's own descriptor: to close it with
 * bytes unread would have the client see a reset instead of the error (RFC 9112 section 9.6). */
#include "services/gateway/reads.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "services/gateway/gateway.h"

enum {
    TABLE_MAX = 1 << 20,
    ENDING_MAX = 256,  /* at once; those beyond are closed as they are */
    ENDING_MS = 2000,
    ENDING_BYTES_MAX = 16 << 20, /* of what still comes */
    DISCARD_BYTES = 65536,
};

/* libzmq's thread looks here too, for descriptors of its own: hence atomic. */
static _Atomic(struct reads *) *table;
static size_t table_size;

static struct {
    struct loop *loop;
    int epoll_fd;
    struct ending {
        int fd;
        uint64_t until_ms;
        size_t bytes;
    } all[ENDING_MAX];
    size_t count;
} endings = {.epoll_fd = -1};

/* The program's own; the labels make them the functions that libraries call. */
ssize_t reads_recv(int fd, void *room, size_t size, int flags) __asm__("recv");
ssize_t reads_tls_recv(void *session, void *room, size_t size) __asm__("gnutls_record_recv");

/* ---- connections that end ---- */

static void ending_close(size_t i)
{
    close(endings.all[i].fd); /* leaves the epoll set with it: there is no other descriptor now */
    endings.all[i] = endings.all[--endings.count];
}

/* Takes what still comes, without copying it (tcp(7), MSG_TRUNC); false at its end. */
static bool discard(struct ending *ending)
{
    ssize_t got;
    const int flags = MSG_TRUNC | MSG_DONTWAIT;
    while ((got = recvfrom(ending->fd, NULL, DISCARD_BYTES, flags, NULL, NULL)) > 0) {
        ending->bytes += (size_t)got;
        if (ending->bytes > ENDING_BYTES_MAX) {
            return false;
        }
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

static void end_ready(void *arg)
{
    struct epoll_event event;
    (void)arg;
    while (epoll_wait(endings.epoll_fd, &event, 1, 0) == 1) {
        for (size_t i = 0; i < endings.count; i++) {
            if (endings.all[i].fd == event.data.fd && !discard(&endings.all[i])) {
                ending_close(i);
            }
        }
    }
}

void reads_tick(uint64_t now_ms)
{
    for (size_t i = endings.count; i-- > 0;) {
        if (now_ms >= endings.all[i].until_ms) {
            ending_close(i);
        }
    }
}

/* Ends the sending side, and keeps the socket until the client has closed, or for ENDING_MS. */
static void end_in_order(int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
    int own = endings.count < ENDING_MAX ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    shutdown(fd, SHUT_WR);
    if (own < 0) {
        return;
    }
    event.data.fd = own;
    endings.all[endings.count] = (struct ending){own, clock_mono_ms() + ENDING_MS, 0};
    if (!discard(&endings.all[endings.count]) ||
        epoll_ctl(endings.epoll_fd, EPOLL_CTL_ADD, own, &event) != 0) {
        close(own);
        return;
    }
    endings.count++;
}

/* ---- refusing ---- */

static void send_error(const struct reads *reads, struct view text, void *session)
{
    if (!reads->tls) {
        /* Whether all of it goes does not matter: the connection ends. */
        (void)send(reads->fd, text.data, text.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        return;
    }
    ssize_t (*tls_send)(void *, const void *, size_t) =
        (ssize_t(*)(void *, const void *, size_t))dlsym(RTLD_DEFAULT, "gnutls_record_send");
    if (tls_send && session) {
        (void)tls_send(session, text.data, text.size); /* the same */
    }
}

static void refuse(struct reads *reads, void *session)
{
    CLEANUP(buffer_free) struct buffer text = BUFFER_EMPTY;
    const struct vet *vet = &reads->vet;
    char request[ID_SIZE_MAX + 1];
    reads->refused = true;
    metrics_refusal(vet->why);
    id_new("req", request);
    if (!reads->visit || !reads->visit->answered) { /* else it would come into an answer's middle */
        answer_raw(&text, vet->http, view_text(vet->why), vet->api, request);
        send_error(reads, buffer_view(&text), session);
    }
    end_in_order(reads->fd);
    LOG_ABOUT(log_id(request), VIEW(""));
    log_debug("refused", "%u: %s", vet->http, vet->why);
}

void reads_fail(struct reads *reads, unsigned http, const char *why)
{
    if (reads->vet.http == 0) {
        reads->vet.http = http;
        reads->vet.why = why;
    }
}

bool reads_due(const struct reads *reads)
{
    return reads->vet.http != 0 && !reads->refused && reads->finished >= reads->vet.messages;
}

/* ---- reading ---- */

static void time_head(struct reads *reads, uint64_t messages_before)
{
    if (vet_between(&reads->vet) || vet_in_body(&reads->vet)) {
        reads->head_since_ms = 0;
    } else if (reads->head_since_ms == 0 || reads->vet.messages != messages_before) {
        reads->head_since_ms = clock_mono_ms();
    }
}

/* Good requests before a bad one are answered first: until then there is nothing more to read. */
enum turn { GO_ON, WAIT, OVER_NOW };
static enum turn turn_of(struct reads *reads, void *session)
{
    if (reads_due(reads)) {
        refuse(reads, session);
    }
    return reads->refused ? OVER_NOW : reads->vet.http ? WAIT : GO_ON;
}

/* What libmicrohttpd may have of the SIZE bytes that were read. */
static size_t take(struct reads *reads, const void *bytes, size_t size)
{
    uint64_t messages = reads->vet.messages;
    size_t good = vet(&reads->vet, bytes, size);
    time_head(reads, messages);
    return good;
}

struct reads *reads_find(int fd)
{
    return fd >= 0 && (size_t)fd < table_size
               ? atomic_load_explicit(&table[fd], memory_order_relaxed) : NULL;
}

ssize_t reads_recv(int fd, void *room, size_t size, int flags)
{
    struct reads *reads = reads_find(fd);
    if (!reads || reads->tls) {
        return recvfrom(fd, room, size, flags, NULL, NULL);
    }
    /* A resumed connection counts as readable, but this one would have been heard of. */
    bool nothing = reads->parked && reads->drained && !reads->missed && !reads->hung_up;
    if (turn_of(reads, NULL) == GO_ON && !nothing) {
        ssize_t got = recvfrom(fd, room, size, flags, NULL, NULL);
        reads->drained = got < (ssize_t)size;
        reads->missed = reads->missed && !(got > 0 && reads->drained);
        size_t good = got > 0 ? take(reads, room, (size_t)got) : 0;
        if (got <= 0 || good > 0) {
            return got <= 0 ? got : (ssize_t)good;
        }
    }
    errno = turn_of(reads, NULL) == OVER_NOW ? ECONNRESET : EAGAIN;
    return -1;
}

/* A session's descriptor, or -1. */
static int descriptor_of(void *session)
{
    static int (*get)(void *);
    if (!get) {
        get = (int (*)(void *))dlsym(RTLD_DEFAULT, "gnutls_transport_get_int");
    }
    return get ? get(session) : -1;
}

ssize_t reads_tls_recv(void *session, void *room, size_t size)
{
    enum { AGAIN = -28, PUSH_ERROR = -53 }; /* GNUTLS_E_..., the second for a lost connection */
    static ssize_t (*real)(void *, void *, size_t);
    if (!real) {
        real = (ssize_t(*)(void *, void *, size_t))dlsym(RTLD_NEXT, "gnutls_record_recv");
    }
    struct reads *reads = reads_find(descriptor_of(session));
    if (!real || !reads) {
        return real ? real(session, room, size) : PUSH_ERROR;
    }
    if (turn_of(reads, session) == GO_ON) {
        ssize_t got = real(session, room, size);
        size_t good = got > 0 ? take(reads, room, (size_t)got) : 0;
        if (got <= 0 || good > 0) {
            return got <= 0 ? got : (ssize_t)good;
        }
    }
    return turn_of(reads, session) == OVER_NOW ? PUSH_ERROR : AGAIN;
}

bool reads_take_head(struct reads *reads, size_t target_size)
{
    uint64_t handed = reads->vet.http ? reads->vet.messages : reads->vet.heads;
    if (reads->taken >= handed) {
        return false;
    }
    reads->taken++;
    return reads->taken < reads->vet.heads || reads->vet.target_size == target_size;
}

void reads_closing(struct reads *reads)
{
    if (!reads->refused && reads->vet.http == 0 && vet_in_body(&reads->vet)) {
        end_in_order(reads->fd);
    }
}

void reads_finish(struct reads *reads)
{
    reads->finished++;
    if (reads->head_since_ms) {
        reads->head_since_ms = clock_mono_ms(); /* the next head was not waited for until now */
    }
}

/* ---- opening and closing ---- */

/* The table stays for good: other threads may be looking. */
static bool make_table(void)
{
    struct rlimit files;
    if (!table) {
        table_size = TABLE_MAX;
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
            files.rlim_cur = files.rlim_max; /* the usual soft limit is a tenth of what we take */
            (void)setrlimit(RLIMIT_NOFILE, &files);
            table_size = files.rlim_max < TABLE_MAX ? (size_t)files.rlim_max : TABLE_MAX;
        }
        table = calloc(table_size, sizeof *table);
    }
    return table != NULL;
}

enum status reads_open(struct loop *loop)
{
    endings.loop = loop;
    endings.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!make_table() || endings.epoll_fd < 0) {
        return STATUS_INTERNAL;
    }
    return loop_watch(loop, endings.epoll_fd, end_ready, NULL);
}

void reads_close(void)
{
    while (endings.count > 0) {
        ending_close(0);
    }
    if (endings.epoll_fd >= 0) {
        loop_unwatch(endings.loop, endings.epoll_fd);
        close(endings.epoll_fd);
        endings.epoll_fd = -1;
    }
}

void reads_arm(struct reads *reads, int fd, bool tls)
{
    *reads = (struct reads){.fd = fd, .tls = tls};
    if (fd >= 0 && (size_t)fd < table_size) {
        atomic_store_explicit(&table[fd], reads, memory_order_relaxed);
    }
}

void reads_disarm(struct reads *reads)
{
    if (reads_find(reads->fd) == reads) {
        atomic_store_explicit(&table[reads->fd], NULL, memory_order_relaxed);
    }
}
