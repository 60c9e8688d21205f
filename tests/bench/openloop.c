/* openloop.c - sends requests by the clock for bench.py, whether or not those before were answered.
 *
 * usage: openloop PORT TARGET TOKEN RATE SECONDS AT_ONCE     (cc -O2 openloop.c -lm)
 * RATE requests a second.  AT_ONCE 1: the gaps between them are exponential, so that arrivals are a Poisson process as
 * of many clients that know nothing of each other; from a fixed seed, so each run sends at the same times.  More than
 * one: so many at the same instant, evenly spaced.  Each goes out on a kept connection that waits for no answer; while
 * there is none the request waits here.  A latency counts from when the request was to be sent, so that what delays the
 * sending counts, too (no coordinated omission).  What belongs to the first second does not count.  Prints {"count",
 * "p50", "p99"}, times in microseconds; anything but 200 ends it. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
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

enum { CONNECTIONS = 256, EVENTS_MAX = 256, ANSWER_MAX = 16384 };
static const double second_ns = 1e9;

struct one {
    int fd;
    uint64_t meant_ns; /* when the request under way was to be sent */
    size_t size;
    char answer[ANSWER_MAX + 1];
    struct one *next; /* among those that are free */
};

static struct one *spare;
static char request[1024];
static size_t request_size;
static uint64_t *meant; /* of each request */
static size_t total, sent, done, delay_count;
static double *delays; /* microseconds */
static uint64_t count_from;

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "openloop: %s\n", what);
    exit(1);
}

/* splitmix64, in (0, 1]. */
static double random_part(void)
{
    static uint64_t state = 20260101;
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((double)((z ^ (z >> 31)) >> 11) + 1) / 9007199254740992.0;
}

/* The times are drawn beforehand, from 0 on. */
static void plan(double rate, double seconds, size_t at_once)
{
    double at = 0;
    total = (size_t)(rate * (seconds + 1));
    meant = calloc(total, sizeof *meant);
    delays = calloc(total, sizeof *delays);
    for (size_t i = 0; i < total; i++) {
        if (i % at_once == 0) {
            double mean = second_ns * (double)at_once / rate;
            at += at_once > 1 ? mean : -log(random_part()) * mean;
        }
        meant[i] = (uint64_t)at;
    }
}

static void open_connection(int epoll_fd, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)},
                                  .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    struct one *one = calloc(1, sizeof *one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    int on = 1;
    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(one->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        fail("cannot connect");
    }
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, one->fd, &event);
    one->next = spare;
    spare = one;
}

/* Sends what was to be sent by now; the time until the next one, or of 100 ms. */
static struct timespec send_due(void)
{
    uint64_t now = now_ns();
    while (sent < total && meant[sent] <= now && spare) {
        struct one *one = spare;
        spare = one->next;
        one->meant_ns = meant[sent++];
        one->size = 0;
        if (send(one->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size) {
            fail("cannot send");
        }
        now = now_ns();
    }
    uint64_t wait = sent < total && meant[sent] > now && spare ? meant[sent] - now : 100000000;
    return (struct timespec){(time_t)(wait / 1000000000), (long)(wait % 1000000000)};
}

/* Whether the answer is whole; it says its length. */
static bool whole(struct one *one)
{
    one->answer[one->size] = 0;
    const char *end = strstr(one->answer, "\r\n\r\n");
    const char *length = end ? strcasestr(one->answer, "\r\ncontent-length:") : NULL;
    if (end && (strncmp(one->answer, "HTTP/1.1 200", 12) != 0 || !length || length > end)) {
        fail(one->answer);
    }
    return end && one->size >= (size_t)(end + 4 - one->answer) + strtoul(length + 17, NULL, 10);
}

static void take(struct one *one)
{
    ssize_t got = recv(one->fd, one->answer + one->size, ANSWER_MAX - one->size, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        fail("a connection ended");
    }
    one->size += (size_t)got;
    if (!whole(one)) {
        return;
    }
    if (one->meant_ns >= count_from) {
        delays[delay_count++] = (double)(now_ns() - one->meant_ns) / 1000;
    }
    done++;
    one->next = spare;
    spare = one;
}

static int order(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_MAX];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (argc != 7) {
        fail("usage: openloop PORT TARGET TOKEN RATE SECONDS AT_ONCE");
    }
    prctl(PR_SET_TIMERSLACK, 1); /* or it sends 50 us late */
    request_size = (size_t)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nAuthorization: Bearer %s\r\n\r\n",
                                    argv[2], argv[1], argv[3]);
    plan(strtod(argv[4], NULL), strtod(argv[5], NULL), strtoul(argv[6], NULL, 10));
    for (int i = 0; i < CONNECTIONS; i++) {
        open_connection(epoll_fd, argv[1]);
    }
    uint64_t begin = now_ns() + 100000000;
    count_from = begin + 1000000000;
    for (size_t i = 0; i < total; i++) {
        meant[i] += begin;
    }
    while (done < total) {
        struct timespec wait = send_due();
        int count = epoll_pwait2(epoll_fd, events, EVENTS_MAX, &wait, NULL);
        for (int i = 0; i < count; i++) {
            take(events[i].data.ptr);
        }
    }
    qsort(delays, delay_count, sizeof *delays, order);
    printf("{\"count\": %zu, \"p50\": %.1f, \"p99\": %.1f}\n", delay_count, delay_count ? delays[delay_count / 2] : 0,
           delay_count ? delays[delay_count * 99 / 100] : 0);
    return 0;
}
