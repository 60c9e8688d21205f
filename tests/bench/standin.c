/* standin.c - the provider behind bench.py where it has to be quicker than what is measured.
 *
 * usage: standin PORT       (plain HTTP/1.1 on loopback, one thread, Linux; cc -O2 standin.c)
 * By the path's end: /events sends an event every 20 ms that says when it was sent, the second at a moment of
 * the first 20 ms that is drawn, so that streams are not in step (they are with ?instep), /silent one event and
 * then nothing, /large?mib=N so many MiB, /upload answers once it has read the whole body, /later answers
 * after 20 ms; all else is 1 KiB of JSON at once. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 16384, EVENTS_MAX = 256, BLOCK = 256 << 10 };
static const uint64_t every_ns = 20000000;

enum kind { QUICK, EVENTS, SILENT, LARGE, UPLOAD, LATER };

struct one {
    int fd;
    enum kind kind;
    char head[HEAD_MAX];
    size_t head_size;
    bool in_body, chunked, in_chunk, want_out, in_step;
    uint64_t body_left;    /* of the request, or of its chunk */
    uint64_t large_left;   /* of the answer */
    uint64_t due_ns;
    bool is_due;
    struct one *next, *before; /* among those that are due, the first due first */
};

static struct one *first, *last;
static char block[BLOCK], json[1024 + 128];
static int epoll_fd;

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void undue(struct one *one)
{
    if (one->is_due) {
        *(one->before ? &one->before->next : &first) = one->next;
        *(one->next ? &one->next->before : &last) = one->before;
        one->is_due = false;
    }
}

/* Most wait equally long, so their place is at the end or close to it. */
static void set_due(struct one *one, uint64_t due_ns)
{
    struct one *before = last;
    while (before && before->due_ns > due_ns) {
        before = before->before;
    }
    one->due_ns = due_ns;
    one->is_due = true;
    one->before = before;
    one->next = before ? before->next : first;
    *(before ? &before->next : &first) = one;
    *(one->next ? &one->next->before : &last) = one;
}

/* Nanoseconds of the first 20 ms, from a fixed seed: splitmix64. */
static uint64_t phase(void)
{
    static uint64_t state = 20260101;
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % every_ns;
}

static void end(struct one *one)
{
    undue(one);
    close(one->fd);
    free(one);
}

static bool say(struct one *one, const char *text, size_t size)
{
    return send(one->fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size;
}

static bool say_event(struct one *one, bool head)
{
    char event[64], all[512];
    int size = snprintf(event, sizeof event, "data: {\"t\": %llu}\n\n", (unsigned long long)now_ns());
    int whole = snprintf(all, sizeof all, "%s%x\r\n%s\r\n",
                         head ? "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" : "",
                         (unsigned)size, event);
    return say(one, all, (size_t)whole);
}

static void want_out(struct one *one, bool want)
{
    struct epoll_event event = {.events = EPOLLIN | (want ? EPOLLOUT : 0), .data.ptr = one};
    if (want != one->want_out) {
        one->want_out = want;
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, one->fd, &event);
    }
}

static bool pour(struct one *one)
{
    while (one->large_left > 0) {
        size_t size = one->large_left > BLOCK ? BLOCK : (size_t)one->large_left;
        ssize_t sent = send(one->fd, block, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN) {
            return false;
        }
        if (sent < 0) {
            break;
        }
        one->large_left -= (uint64_t)sent;
    }
    want_out(one, one->large_left > 0);
    return true;
}

/* The request is whole. */
static bool answer(struct one *one)
{
    char head[256];
    one->in_body = false;
    switch (one->kind) {
    case EVENTS: /* in step: all at the same multiple of 20 ms */
        set_due(one, one->in_step ? (now_ns() / every_ns + 1) * every_ns : now_ns() + phase());
        return say_event(one, true);
    case SILENT:
        return say_event(one, true);
    case LARGE:
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %llu\r\n\r\n",
                 (unsigned long long)one->large_left);
        return say(one, head, strlen(head)) && pour(one);
    case LATER:
        set_due(one, now_ns() + every_ns);
        return true;
    default:
        return say(one, json, strlen(json));
    }
}

static enum kind kind_of(const char *head)
{
    static const char *const names[] = {"", "/events", "/silent", "/large", "/upload", "/later"};
    const char *target = strchr(head, ' ') + 1;
    size_t size = strcspn(target, " ?");
    for (enum kind kind = EVENTS; kind <= LATER; kind++) {
        size_t name = strlen(names[kind]);
        if (size >= name && strncmp(target + size - name, names[kind], name) == 0) {
            return kind;
        }
    }
    return QUICK;
}

/* Takes SIZE bytes of chunks; true when the last of them has come. */
static bool take_chunks(struct one *one, const char *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        if (one->in_chunk) { /* its data and the CRLF behind it */
            uint64_t step = size - at < one->body_left ? size - at : one->body_left;
            at += step;
            one->body_left -= step;
            one->in_chunk = one->body_left > 0;
            continue;
        }
        if (one->head_size == sizeof one->head - 1) {
            exit(2);
        }
        one->head[one->head_size++] = data[at++];
        if (one->head[one->head_size - 1] == '\n') {
            one->head[one->head_size] = 0;
            uint64_t chunk = strtoull(one->head, NULL, 16);
            one->head_size = 0;
            one->body_left = chunk + 2;
            one->in_chunk = true;
            if (chunk == 0) { /* no trailers here; the CRLF is ignored before the next head */
                one->in_chunk = false;
                return true;
            }
        }
    }
    return false;
}

static bool take_body(struct one *one, const char *data, size_t size)
{
    if (one->chunked) {
        return !take_chunks(one, data, size) || answer(one);
    }
    one->body_left -= size < one->body_left ? size : one->body_left;
    return one->body_left > 0 || answer(one);
}

static bool take_head(struct one *one, const char *data, size_t size)
{
    if (one->head_size == 0) {
        while (size > 0 && (*data == '\r' || *data == '\n')) {
            data++;
            size--;
        }
    }
    size_t before = one->head_size, room = sizeof one->head - 1 - before;
    memcpy(one->head + before, data, size < room ? size : room);
    one->head_size += size < room ? size : room;
    one->head[one->head_size] = 0;
    char *over = strstr(one->head, "\r\n\r\n");
    if (!over) {
        return size < room;
    }
    size_t used = (size_t)(over + 4 - one->head) - before;
    over[2] = 0;
    const char *length = strcasestr(one->head, "\r\ncontent-length:");
    one->chunked = strcasestr(one->head, "\r\ntransfer-encoding: chunked") != NULL;
    one->body_left = length ? strtoull(length + 17, NULL, 10) : 0;
    one->kind = kind_of(one->head);
    const char *mib = strstr(one->head, "?mib=");
    one->in_step = strstr(one->head, "?instep") != NULL;
    one->large_left = one->kind == LARGE && mib ? strtoull(mib + 5, NULL, 10) << 20 : 0;
    one->head_size = 0;
    if (!one->chunked && one->body_left == 0) {
        return answer(one);
    }
    one->in_body = true;
    one->in_chunk = false;
    if (strcasestr(one->head, "\r\nexpect: 100-continue") && !say(one, "HTTP/1.1 100 Continue\r\n\r\n", 25)) {
        return false;
    }
    return used == size || take_body(one, data + used, size - used);
}

static bool take(struct one *one)
{
    static char room[BLOCK];
    ssize_t got = recv(one->fd, room, sizeof room, MSG_DONTWAIT);
    if (got <= 0) {
        return got < 0 && errno == EAGAIN;
    }
    return one->in_body ? take_body(one, room, (size_t)got) : take_head(one, room, (size_t)got);
}

static void greet(int listener)
{
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct one *one = fd < 0 ? NULL : calloc(1, sizeof *one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    if (one) {
        one->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

/* Serves who is due; the time until the next one is, or an hour. */
static struct timespec serve_due(void)
{
    uint64_t wait = 3600 * 1000000000ull;
    while (first) {
        struct one *one = first;
        uint64_t now = now_ns(), due = one->due_ns;
        if (due > now) {
            wait = due - now;
            break;
        }
        undue(one);
        if (one->kind == EVENTS) {
            set_due(one, due + every_ns);
        }
        if (!(one->kind == EVENTS ? say_event(one, false) : say(one, json, strlen(json)))) {
            end(one);
        }
    }
    return (struct timespec){(time_t)(wait / 1000000000), (long)(wait % 1000000000)};
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS_MAX];
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (argc != 2) {
        fprintf(stderr, "usage: standin PORT\n");
        return 2;
    }
    address.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    prctl(PR_SET_TIMERSLACK, 1); /* or all is 50 us late */
    memset(block, 'x', sizeof block);
    int size = snprintf(json, sizeof json, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n");
    memset(json + size, ' ', 1024);
    memcpy(json + size, "{}", 2);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4096) != 0) {
        perror("standin");
        return 1;
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        struct timespec wait = serve_due();
        int count = epoll_pwait2(epoll_fd, events, EVENTS_MAX, &wait, NULL);
        for (int i = 0; i < count; i++) {
            struct one *one = events[i].data.ptr;
            if (!one) {
                greet(listener);
            } else if (((events[i].events & EPOLLOUT) && !pour(one)) || ((events[i].events & ~(unsigned)EPOLLOUT) && !take(one))) {
                end(one);
            }
        }
    }
}
