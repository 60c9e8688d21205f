/* listener.c - the socket that the gateway listens on, and what each connection has from it. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/admin.h"
#include "common/log.h"
#include "services/gateway/gateway.h"

enum { UNSENT_BYTES_MAX = 65536 }; /* in the kernel for one connection, besides what is on its way */

/* Accepted connections have these from the listener. */
static void set_options(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX},
        {SOL_SOCKET, SO_KEEPALIVE, 1}, /* a client that vanished while it waits is noticed */
        {IPPROTO_TCP, TCP_KEEPIDLE, 60},
        {IPPROTO_TCP, TCP_KEEPINTVL, 15},
        {IPPROTO_TCP, TCP_KEEPCNT, 4},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                         sizeof options[i].value); /* it serves without them too */
    }
}

enum status listener_open(int *ret_fd)
{
    struct sockaddr_storage address;
    int on = 1;
    if (address_parse(config.listen, &address) != STATUS_OK) {
        log_error("listen", "%s is not an address to listen on", config.listen);
        return STATUS_INVALID;
    }
    socklen_t size = address.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                   : sizeof(struct sockaddr_in);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&address, size) != 0 ||
        listen(fd, SOMAXCONN) != 0) {
        log_error("listen", "cannot listen on %s", config.listen);
        if (fd >= 0) {
            close(fd);
        }
        return STATUS_UNAVAILABLE;
    }
    set_options(fd);
    *ret_fd = fd;
    return STATUS_OK;
}
