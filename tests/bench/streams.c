/* streams.c - opens event streams for bench.py, and says how old their events came.
 *
 * usage: streams PORT TARGET TOKEN COUNT SECONDS     (cc -O2 streams.c; SECONDS 0: until standard input ends)
 * Reads the time that standin.c wrote into each event by the same clock.  What came in the first second does
 * not count.  Prints {"count", "p50", "p99"} in microseconds; prints "open" as soon as all streams have begun. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { KEEP = 64, EVENTS_MAX = 256, DELAYS_MAX = 4 << 20 };

struct one {
    int fd;
    bool begun;
    size_t kept; /* a cut event's beginning, in `text` */
    char text[KEEP + 65536 + 1];
};

static const char mark[] = "{\"t\": ";
static uint32_t *delays; /* microseconds times 10 */
static size_t delay_count, begun;
static uint64_t count_from = UINT64_MAX;

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "streams: %s\n", what);
    exit(1);
}

static void note(uint64_t sent, uint64_t now)
{
    if (sent >= count_from && delay_count < DELAYS_MAX) {
        delays[delay_count++] = (uint32_t)((now - sent) / 100);
    }
}

/* Of what the descriptor has; an event may be cut anywhere, also by a chunk's frame. */
static void take(struct one *one)
{
    ssize_t got = recv(one->fd, one->text + one->kept, sizeof one->text - 1 - one->kept, MSG_DONTWAIT);
    uint64_t now = now_ns();
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        fail("a stream ended");
    }
    size_t size = one->kept + (size_t)got;
    one->text[size] = 0;
    if (!one->begun) {
        if (strncmp(one->text, "HTTP/1.1 200", 12) != 0) {
            fail(one->text);
        }
        one->begun = true;
        begun++;
    }
    char *at = one->text, *next;
    while ((next = strstr(at, mark)) && strchr(next, '}')) {
        note(strtoull(next + sizeof mark - 1, NULL, 10), now);
        at = strchr(next, '}');
    }
    size_t left = size - (size_t)(at - one->text);
    one->kept = left > KEEP ? KEEP : left;
    memmove(one->text, one->text + size - one->kept, one->kept);
}

static int order(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static struct one *start(char **argv, int epoll_fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)},
                                  .sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10))};
    struct one *one = calloc(1, sizeof *one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    char request[1024];
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nAuthorization: Bearer %s\r\n\r\n",
                        argv[2], argv[1], argv[3]);
    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(one->fd, (struct sockaddr *)&address, sizeof address) != 0 || send(one->fd, request, (size_t)size, 0) != size) {
        fail("cannot connect");
    }
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, one->fd, &event);
    return one;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_MAX], input = {.events = EPOLLIN, .data.ptr = NULL};
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (argc != 6) {
        fail("usage: streams PORT TARGET TOKEN COUNT SECONDS");
    }
    size_t wanted = strtoul(argv[4], NULL, 10), started = 0;
    uint64_t seconds = strtoull(argv[5], NULL, 10), until = UINT64_MAX;
    delays = malloc(DELAYS_MAX * sizeof *delays);
    if (seconds == 0) {
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &input);
    }
    while (now_ns() < until) {
        while (started < wanted && started < begun + 64) { /* not all at once */
            (void)start(argv, epoll_fd);
            started++;
        }
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, 100);
        for (int i = 0; i < count; i++) {
            if (!events[i].data.ptr) {
                return 0;
            }
            take(events[i].data.ptr);
        }
        if (begun == wanted && count_from == UINT64_MAX) {
            count_from = now_ns() + 1000000000u;
            until = seconds ? count_from + seconds * 1000000000u : UINT64_MAX;
            printf("open\n");
            fflush(stdout);
        }
    }
    qsort(delays, delay_count, sizeof *delays, order);
    printf("{\"count\": %zu, \"p50\": %.1f, \"p99\": %.1f}\n", delay_count, delay_count ? delays[delay_count / 2] / 10.0 : 0,
           delay_count ? delays[delay_count * 99 / 100] / 10.0 : 0);
    return 0;
}
