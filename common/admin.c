/* admin.c - health and metrics over libmicrohttpd in the daemon's own loop.
 *
 * Answers three fixed paths and reads nothing of a request but its path; holds no secret. */
#include "common/admin.h"

#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/channel.h"
#include "common/log.h"

enum { CONNECTIONS_MAX = 32, MEMORY_PER_CONNECTION = 8192, IDLE_SECONDS = 10, TICK_MS = 1000 };

struct admin {
    struct loop *loop;
    const struct daemon *daemon;
    struct MHD_Daemon *http;
    int fd;
    int timer;
};

enum status address_parse(const char *text, struct sockaddr_storage *ret_address)
{
    char host[256];
    const char *colon = strrchr(text, ':');
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    size_t size = colon ? (size_t)(colon - text) : 0;
    if (!colon || size >= sizeof host || colon[1] == 0) {
        return STATUS_INVALID;
    }
    if (size >= 2 && text[0] == '[' && colon[-1] == ']') {
        text++;
        size -= 2;
    }
    memcpy(host, text, size);
    host[size] = 0;
    if (getaddrinfo(size ? host : NULL, colon + 1, &hints, &found) != 0) {
        return STATUS_INVALID;
    }
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return STATUS_OK;
}

static void append_metrics(struct admin *admin, struct buffer *text)
{
    buffer_printf(text, "# TYPE seks_build_info gauge\nseks_build_info{daemon=\"%s\",version=\"%s\"} 1\n",
                  admin->daemon->name, SEKS_VERSION);
    buffer_printf(text,
                  "# HELP seks_frames_refused_total Frames between daemons that were malformed or "
                  "came from a key that is not allowed.\n"
                  "# TYPE seks_frames_refused_total counter\n"
                  "seks_frames_refused_total{daemon=\"%s\"} %llu\n",
                  admin->daemon->name, (unsigned long long)channel_refused());
    if (admin->daemon->metrics) {
        admin->daemon->metrics(text);
    }
}

static unsigned answer_for(struct admin *admin, const char *path, struct buffer *text)
{
    if (strcmp(path, "/healthz") == 0) {
        buffer_append_text(text, "ok\n");
        return MHD_HTTP_OK;
    }
    if (strcmp(path, "/readyz") == 0) {
        bool ready = !admin->daemon->ready || admin->daemon->ready();
        const char *why = !ready && admin->daemon->why_not_ready ? admin->daemon->why_not_ready()
                                                                 : "";
        buffer_printf(text, "%s%s%s\n", ready ? "ready" : "not ready", why[0] ? ": " : "", why);
        return ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
    }
    if (strcmp(path, "/metrics") == 0) {
        append_metrics(admin, text);
        return MHD_HTTP_OK;
    }
    buffer_append_text(text, "not found\n");
    return MHD_HTTP_NOT_FOUND;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    CLEANUP(buffer_free) struct buffer text = BUFFER_EMPTY;
    (void)version;
    (void)upload;
    (void)state;
    *upload_size = 0;
    unsigned code = MHD_HTTP_METHOD_NOT_ALLOWED;
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
        code = answer_for(arg, url, &text);
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(text.size, text.data, MHD_RESPMEM_MUST_COPY);
    if (!response || text.failed) {
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", "text/plain; version=0.0.4");
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static void on_ready(void *arg)
{
    struct admin *admin = arg;
    MHD_run(admin->http);
}

enum status admin_open(struct loop *loop, const struct daemon *daemon, const char *address,
                       struct admin **ret_admin)
{
    struct sockaddr_storage where;
    struct admin *admin = calloc(1, sizeof *admin);
    if (!admin || address_parse(address, &where) != STATUS_OK) {
        log_error("admin", "%s is not an address to listen on", address);
        free(admin);
        return STATUS_INVALID;
    }
    *admin = (struct admin){.loop = loop, .daemon = daemon, .fd = -1, .timer = -1};
    unsigned flags = MHD_USE_EPOLL | (where.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0);
    admin->http = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, admin, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&where,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)MEMORY_PER_CONNECTION, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
        MHD_OPTION_END);
    if (!admin->http) {
        log_error("admin", "cannot listen on %s", address);
        free(admin);
        return STATUS_UNAVAILABLE;
    }
    admin->fd = MHD_get_daemon_info(admin->http, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    admin->timer = loop_every(loop, TICK_MS, on_ready, admin);
    enum status status = loop_watch(loop, admin->fd, on_ready, admin);
    if (status != STATUS_OK || admin->timer < 0) {
        admin_close(&admin);
        return STATUS_INTERNAL;
    }
    *ret_admin = admin;
    return STATUS_OK;
}

void admin_close(struct admin **admin)
{
    if (!*admin) {
        return;
    }
    loop_unwatch((*admin)->loop, (*admin)->fd);
    loop_unevery((*admin)->loop, (*admin)->timer);
    MHD_stop_daemon((*admin)->http);
    free(*admin);
    *admin = NULL;
}
