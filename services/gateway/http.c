/* http.c - libmicrohttpd inside the daemon's loop.
 *
 * Its epoll descriptor is one of the loop's; what was resumed during a turn runs at the turn's end,
 * all at once.  A suspended connection does not see its client leave, so every connection is also
 * watched for a hang-up in an epoll set of our own. */
#include "services/gateway/gateway.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/admin.h"
#include "common/clock.h"
#include "common/log.h"
#include "services/gateway/entry.h"

enum {
    POOL_BYTES = 49152,      /* 32 KiB of headers, 8 KiB of target, and MHD's own records */
    CONNECTIONS_MAX = 10000,
    RUNS_PER_TURN = 16,
    TICK_MS = 250,
    IDLE_MS = 75000,         /* a kept-alive connection without a request */
    EVENTS_MAX = 64,
};

struct connection {
    int fd;
    struct visit *visit;
    uint64_t since_ms; /* of waiting for a whole head */
    struct connection *next, **at;
};

static struct {
    struct loop *loop;
    struct MHD_Daemon *daemon;
    int mhd_fd, hangup_fd, listen_fd, tick;
    bool resumed, draining;
    struct connection *connections;
    size_t visits;
} http = {.mhd_fd = -1, .hangup_fd = -1, .listen_fd = -1, .tick = -1};

/* ---- driving ---- */

static void stop_if_drained(void)
{
    if (http.draining && http.visits == 0) {
        loop_stop(http.loop);
    }
}

static void run(void *arg)
{
    MHD_UNSIGNED_LONG_LONG timeout;
    (void)arg;
    for (int i = 0; i < RUNS_PER_TURN; i++) {
        http.resumed = false;
        MHD_run(http.daemon);
        if (!http.resumed &&
            (MHD_get_timeout(http.daemon, &timeout) != MHD_YES || timeout > 0)) {
            break;
        }
    }
    stop_if_drained();
}

static void run_resumed(void *arg)
{
    if (http.resumed) {
        run(arg);
    }
}

void visit_suspend(struct visit *visit)
{
    if (!visit->suspended) {
        visit->suspended = true;
        MHD_suspend_connection(visit->connection);
    }
}

void visit_resume(struct visit *visit)
{
    if (visit->suspended) {
        visit->suspended = false;
        http.resumed = true;
        MHD_resume_connection(visit->connection);
    }
}

struct view visit_header(const struct visit *visit, const char *name)
{
    return view_text(MHD_lookup_connection_value(visit->connection, MHD_HEADER_KIND, name));
}

/* ---- connections ---- */

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void connection_open(struct MHD_Connection *mhd, void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection || !info) {
        free(connection);
        return;
    }
    connection->fd = info->connect_fd;
    connection->since_ms = clock_mono_ms();
    connection->next = http.connections;
    connection->at = &http.connections;
    if (connection->next) {
        connection->next->at = &connection->next;
    }
    http.connections = connection;
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    epoll_ctl(http.hangup_fd, EPOLL_CTL_ADD, connection->fd, &event);
    *context = connection;
}

static void connection_close(void **context)
{
    struct connection *connection = *context;
    if (!connection) {
        return;
    }
    epoll_ctl(http.hangup_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    *connection->at = connection->next;
    if (connection->next) {
        connection->next->at = connection->at;
    }
    free(connection);
    *context = NULL;
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    (void)arg;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        connection_open(mhd, context);
    } else {
        connection_close(context);
    }
}

static void on_hang_up(void *arg)
{
    struct epoll_event events[EVENTS_MAX];
    (void)arg;
    int count = epoll_wait(http.hangup_fd, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        struct visit *visit = connection->visit;
        if (visit && visit->exchange && !visit->gone) {
            visit->gone = true;
            exchange_hang_up(visit);
        }
    }
}

/* A head has a deadline as a whole: one byte now and then does not keep a connection. */
static void tick(void *arg)
{
    uint64_t now = clock_mono_ms();
    for (struct connection *connection = http.connections; connection;
         connection = connection->next) {
        bool reading = connection->visit && !connection->visit->begun;
        uint64_t limit = reading ? config.header_deadline_ms : IDLE_MS;
        if ((!connection->visit || reading) &&
            (now - connection->since_ms > limit || (http.draining && !connection->visit))) {
            shutdown(connection->fd, SHUT_RDWR);
        }
    }
    run(arg);
}

/* ---- requests ---- */

static void *on_target(void *arg, const char *target, struct MHD_Connection *mhd)
{
    struct visit *visit = calloc(1, sizeof *visit);
    struct connection *connection = connection_of(mhd);
    (void)arg;
    if (!visit || !connection) {
        free(visit);
        return NULL;
    }
    visit->connection = mhd;
    visit->target = strdup(target);
    id_new("req", visit->request);
    connection->visit = visit;
    connection->since_ms = clock_mono_ms();
    http.visits++;
    return visit;
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct visit *visit = *state;
    struct connection *connection = connection_of(mhd);
    (void)arg;
    (void)code;
    if (!visit) {
        return;
    }
    exchange_free(&visit->exchange);
    api_free(&visit->api);
    if (connection) {
        connection->visit = NULL;
        connection->since_ms = clock_mono_ms();
    }
    free(visit->target);
    free(visit);
    *state = NULL;
    http.visits--;
}

static void find_client(struct visit *visit)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(visit->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (!info || !info->client_addr ||
        getnameinfo(info->client_addr, sizeof(struct sockaddr_in6), visit->client,
                    sizeof visit->client, NULL, 0, NI_NUMERICHOST) != 0) {
        memcpy(visit->client, "unknown", sizeof "unknown");
    }
}

/* libmicrohttpd closes a connection that is answered before it took the request as a whole, which
 * one without a body is at the handler's second call. */
static bool may_have_body(const struct visit *visit)
{
    struct view size = visit_header(visit, "Content-Length");
    return visit_header(visit, "Transfer-Encoding").size > 0 ||
           (size.size > 0 && !view_is(size, "0"));
}

static enum MHD_Result go_on(struct visit *visit, const char *data, size_t *size)
{
    return visit->exchange ? exchange_continue(visit, data, size)
                           : api_continue(visit, data, size);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
    struct visit *visit = *state;
    (void)arg;
    (void)mhd;
    (void)url;
    if (!visit || !visit->target || visit->gone) {
        return MHD_NO;
    }
    if (!visit->seen && !may_have_body(visit)) {
        visit->seen = true;
        return MHD_YES;
    }
    if (!visit->begun && !visit->answered) {
        find_client(visit);
        enum MHD_Result result = entry_begin(visit, method, version);
        bool whole = !visit->has_body && result == MHD_YES && visit->begun && !visit->suspended;
        return whole && !visit->answered ? go_on(visit, data, size) : result;
    }
    if (visit->answered) {
        *size = 0;
        return MHD_YES;
    }
    return go_on(visit, data, size);
}

/* ---- opening and closing ---- */

static enum status open_listener(void)
{
    struct sockaddr_storage address;
    int on = 1;
    if (address_parse(config.listen, &address) != STATUS_OK) {
        log_error("listen", "%s is not an address to listen on", config.listen);
        return STATUS_INVALID;
    }
    socklen_t size = address.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                   : sizeof(struct sockaddr_in);
    http.listen_fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (http.listen_fd < 0 ||
        setsockopt(http.listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(http.listen_fd, (struct sockaddr *)&address, size) != 0 ||
        listen(http.listen_fd, SOMAXCONN) != 0) {
        log_error("listen", "cannot listen on %s", config.listen);
        return STATUS_UNAVAILABLE;
    }
    return STATUS_OK;
}

static enum status start_daemon(void)
{
    char *cert = NULL, *key = NULL;
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;
    enum status status = entry_read_tls(&cert, &key);
    if (status != STATUS_OK) {
        return status;
    }
    struct MHD_OptionItem tls[] = {
        {cert ? MHD_OPTION_HTTPS_MEM_CERT : MHD_OPTION_END, 0, cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, key},
        {MHD_OPTION_END, 0, NULL},
    };
    http.daemon = MHD_start_daemon(
        flags | (cert ? MHD_USE_TLS : 0), 0, NULL, NULL, on_request, NULL, MHD_OPTION_LISTEN_SOCKET,
        http.listen_fd, MHD_OPTION_URI_LOG_CALLBACK, on_target, NULL, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection, NULL,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, tls,
        MHD_OPTION_END);
    free(cert);
    if (key) {
        explicit_bzero(key, strlen(key));
        free(key);
    }
    if (!http.daemon) {
        log_error("listen", "cannot start the HTTP server");
        return STATUS_INTERNAL;
    }
    return STATUS_OK;
}

enum status http_open(struct loop *loop)
{
    http.loop = loop;
    http.hangup_fd = epoll_create1(EPOLL_CLOEXEC);
    enum status status = open_listener();
    if (status == STATUS_OK) {
        status = start_daemon();
    }
    if (status != STATUS_OK) {
        return status;
    }
    http.mhd_fd = MHD_get_daemon_info(http.daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    http.tick = loop_every(loop, TICK_MS, tick, NULL);
    status = http.tick < 0 ? STATUS_INTERNAL : loop_watch(loop, http.mhd_fd, run, NULL);
    if (status == STATUS_OK) {
        status = loop_watch(loop, http.hangup_fd, on_hang_up, NULL);
    }
    return status == STATUS_OK ? loop_turn_end(loop, run_resumed, NULL) : status;
}

void http_drain(struct loop *loop)
{
    (void)loop;
    http.draining = true;
    MHD_quiesce_daemon(http.daemon);
    close(http.listen_fd); /* quiescing handed it back; open it would still take connections in */
    http.listen_fd = -1;
    stop_if_drained();
}

void http_close(void)
{
    if (http.daemon) {
        loop_unwatch(http.loop, http.mhd_fd);
        loop_unwatch(http.loop, http.hangup_fd);
        loop_unevery(http.loop, http.tick);
        loop_unturn_end(http.loop, run_resumed, NULL);
        for (struct connection *c = http.connections; c; c = c->next) {
            if (c->visit) {
                visit_resume(c->visit); /* MHD does not close what is suspended */
            }
        }
        MHD_stop_daemon(http.daemon);
        http.daemon = NULL;
    }
    if (http.hangup_fd >= 0) {
        close(http.hangup_fd);
    }
}
