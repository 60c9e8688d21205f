/* probe.c - one HTTP/1.0 request, so that an image needs no other program for its health check. */
#include "common/probe.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/admin.h"

enum { WAIT_S = 2 };

static int ask(const struct sockaddr_storage *where, char *answer, size_t size)
{
    static const char request[] = "GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n";
    const struct timeval wait = {WAIT_S, 0};
    socklen_t length = where->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                    : sizeof(struct sockaddr_in);
    int fd = socket(where->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t got = -1;
    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) == 0 &&
        connect(fd, (const struct sockaddr *)where, length) == 0 &&
        send(fd, request, sizeof request - 1, MSG_NOSIGNAL) == (ssize_t)sizeof request - 1) {
        got = recv(fd, answer, size - 1, MSG_WAITALL);
    }
    close(fd);
    answer[got > 0 ? got : 0] = 0;
    return got > 0 ? 0 : -1;
}

int probe(const char *address)
{
    struct sockaddr_storage where;
    char answer[sizeof "HTTP/1.1 200"];
    if (address_parse(address, &where) != STATUS_OK) {
        fprintf(stderr, "--probe takes HOST:PORT, not %s\n", address);
        return 1;
    }
    if (ask(&where, answer, sizeof answer) != 0) {
        fprintf(stderr, "no answer from %s\n", address);
        return 1;
    }
    bool ready = strncmp(answer, "HTTP/1.", 7) == 0 && strcmp(answer + 8, " 200") == 0;
    if (!ready) {
        fprintf(stderr, "not ready\n");
    }
    return ready ? 0 : 1;
}
