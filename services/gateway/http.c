/* http.c - libmicrohttpd inside the daemon's loop.
 *
 * Its epoll descriptor is one of the loop's; what was resumed during a turn runs at the turn's end,
 * all at once.  A suspended connection does not see its client leave, so every connection is also
 * watched for a hang-up in an epoll set of our own. */
#include "services/gateway/gateway.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "services/gateway/client.h"
#include "services/gateway/entry.h"
#include "services/gateway/pace.h"
#include "services/gateway/parked.h"
#include "services/gateway/pools.h"
#include "services/gateway/reads.h"

enum {
    POOL_BYTES = 49152,      /* 32 KiB of headers, 8 KiB of target, and MHD's own records */
    CONNECTIONS_MAX = 10000,
    RUNS_PER_TURN = 16, AGAIN_MS = 0 /* the next turn */, TICK_MS = 250,
    IDLE_MS = 75000,         /* a kept-alive connection without a request */
    CROWDED = CONNECTIONS_MAX / 16 * 15, /* from here on who sends nothing has to go sooner */
    CROWDED_MS = 2000,
    PACE_TICKS = 4 /* rates are looked at once a second */, EVENTS_MAX = 64,
};

struct connection {
    struct reads reads; /* first: for parked.c */
    int fd;
    struct MHD_Connection *mhd;
    struct visit *visit;
    struct pace up, down;
    uint64_t since_ms; /* of waiting for the next request */
    struct pool pool;
    LIST_ENTRY(connection) list;
};

static struct {
    struct loop *loop;
    struct MHD_Daemon *daemon;
    int mhd_fd, hangup_fd, listen_fd, tick;
    bool resumed, again, draining;
    LIST_HEAD(, connection) connections;
    size_t visits, connection_count, ticks;
} http = {.mhd_fd = -1, .hangup_fd = -1, .listen_fd = -1, .tick = -1};

/* ---- driving ---- */

static void stop_if_drained(void)
{
    if (http.draining && http.visits == 0) {
        loop_stop(http.loop);
    }
}

static bool has_more(void)
{
    MHD_UNSIGNED_LONG_LONG timeout;
    return http.resumed ||
           (MHD_get_timeout(http.daemon, &timeout) == MHD_YES && timeout == 0);
}

/* Pipelined requests that are left in memory make no descriptor ready: a timer comes back, with AGAIN. */
static void run(void *again)
{
    bool more = true;
    http.again = http.again && !again;
    for (int i = 0; more && i < RUNS_PER_TURN; i++) {
        http.resumed = false;
        MHD_run(http.daemon);
        more = has_more();
    }
    if (more && !http.again) {
        http.again = loop_once(http.loop, AGAIN_MS, run, &http) >= 0;
    }
    stop_if_drained();
}

static void run_resumed(void *arg)
{
    if (http.resumed) {
        run(arg);
    }
}

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

void visit_suspend(struct visit *visit)
{
    if (!visit->suspended) {
        visit->suspended = true;
        parked_suspend(&connection_of(visit->connection)->reads);
        MHD_suspend_connection(visit->connection);
    }
}

void visit_resume(struct visit *visit)
{
    if (visit->suspended) {
        visit->suspended = false;
        http.resumed = true;
        parked_resume(&connection_of(visit->connection)->reads);
        MHD_resume_connection(visit->connection);
    }
}

/* ---- connections ---- */

static const struct sockaddr *address_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info ? info->client_addr : NULL;
}

/* libmicrohttpd asks before it takes a connection. */
static enum MHD_Result on_address(void *arg, const struct sockaddr *address, socklen_t size)
{
    (void)arg;
    (void)size;
    return client_is_trusted(address) || pace_admits(address) ? MHD_YES : MHD_NO;
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
    connection->mhd = mhd;
    connection->pool = pools_take_last(); /* made just before */
    reads_arm(&connection->reads, connection->fd, config.tls_cert != NULL);
    pace_enter(address_of(mhd));
    http.connection_count++;
    connection->since_ms = clock_mono_ms();
    LIST_INSERT_HEAD(&http.connections, connection, list);
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
    reads_closing(&connection->reads);
    parked_closing(&connection->reads);
    reads_disarm(&connection->reads);
    pace_leave(address_of(connection->mhd));
    http.connection_count--;
    LIST_REMOVE(connection, list);
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

/* Ends the call that nobody waits for, also one that began after its client had left. */
static void see_hang_up(const struct connection *connection)
{
    struct visit *visit = connection->visit;
    if (connection->reads.hung_up && visit && visit->exchange && !visit->gone) {
        visit->gone = true;
        exchange_hang_up(visit);
    }
}

static void on_hang_up(void *arg)
{
    struct epoll_event events[EVENTS_MAX];
    (void)arg;
    int count = epoll_wait(http.hangup_fd, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        connection->reads.hung_up = true;
        see_hang_up(connection);
    }
}

/* Has libmicrohttpd read again now, and so learn that the connection is refused: a resumed
 * connection counts as readable. */
static void poke(struct connection *connection)
{
    parked_suspend(&connection->reads);
    MHD_suspend_connection(connection->mhd);
    parked_resume(&connection->reads);
    MHD_resume_connection(connection->mhd);
}

/* Between requests: a head has a deadline as a whole, so one byte now and then does not keep a
 * connection; one that says nothing just ends. */
static void judge_silence(struct connection *connection, uint64_t now)
{
    struct reads *reads = &connection->reads;
    bool crowded = http.connection_count >= CROWDED;
    uint64_t head_ms = crowded ? CROWDED_MS : config.header_deadline_ms;
    uint64_t idle_ms = reads->vet.messages == 0 ? head_ms : crowded ? CROWDED_MS : IDLE_MS;
    if (reads->head_since_ms) {
        if (now - reads->head_since_ms > head_ms) {
            reads_fail(reads, 408, "the request's head did not come in time");
        }
    } else if (now - connection->since_ms > idle_ms || http.draining) {
        shutdown(connection->fd, SHUT_RDWR);
    }
}

/* Within one: whose turn it is must move enough. */
static void judge_pace(struct connection *connection, uint64_t now)
{
    const struct visit *visit = connection->visit;
    struct reads *reads = &connection->reads;
    uint64_t acked = 0;
    bool uploads = visit->begun && !visit->suspended && !visit->answered &&
                   vet_in_body(&reads->vet);
    if (pace_too_slow(&connection->up, uploads, reads->vet.body_bytes, now)) {
        reads_fail(reads, 408, "the request's body came too slowly");
    }
    bool downloads = visit->answered && pace_unsent(connection->fd, &acked);
    if (pace_too_slow(&connection->down, downloads, acked, now)) {
        const struct linger at_once = {1, 0}; /* what it has not taken is dropped, not kept */
        log_debug("slow", "a client takes its answer too slowly");
        (void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        shutdown(connection->fd, SHUT_RDWR);
    }
}

static void judge(struct connection *connection, uint64_t now, bool paced)
{
    struct reads *reads = &connection->reads;
    const struct visit *visit = connection->visit;
    if (!visit || (!visit->begun && !visit->answered)) {
        judge_silence(connection, now);
    } else if (paced) {
        LOG_ABOUT(log_id(visit->request), VIEW(""));
        judge_pace(connection, now);
    }
    if (reads_due(reads) && (!visit || !(visit->suspended || visit->answered))) {
        poke(connection);
    }
    pools_tend(&connection->pool, visit ? visit->began_us / 1000 : connection->since_ms, now);
}

static void tick(void *arg)
{
    uint64_t now = clock_mono_ms();
    bool paced = http.ticks++ % PACE_TICKS == 0;
    for (struct connection *connection = LIST_FIRST(&http.connections), *next; connection; connection = next) {
        next = LIST_NEXT(connection, list);
        judge(connection, now, paced);
    }
    reads_tick(now);
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
    visit->began_us = clock_mono_us();
    connection->visit = visit;
    connection->reads.visit = visit;
    connection->pool.trimmed = false;
    connection->up = connection->down = (struct pace){0, 0};
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
    metrics_visit(visit);
    exchange_free(&visit->exchange);
    api_free(&visit->api);
    if (connection) {
        connection->visit = NULL;
        connection->reads.visit = NULL;
        reads_finish(&connection->reads);
        connection->since_ms = clock_mono_ms();
        connection->pool.trimmed = false;
    }
    free(visit->target);
    free(visit);
    *state = NULL;
    http.visits--;
}

size_t http_connections(void)
{
    return http.connection_count;
}

size_t http_visits(void)
{
    return http.visits;
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

/* The guard: what did not come through the vetting is not looked at. */
static bool is_vetted(struct visit *visit)
{
    struct connection *connection = connection_of(visit->connection);
    if (!visit->vetted) {
        visit->vetted = connection && reads_take_head(&connection->reads, strlen(visit->target));
    }
    if (!visit->vetted) {
        LOG_ABOUT(log_id(visit->request), VIEW(""));
        log_error("vetting", "a request came around the vetting, and was refused");
    }
    return visit->vetted;
}

static enum MHD_Result serve(struct visit *visit, const char *method, const char *version,
                             const char *data, size_t *size)
{
    if (!visit || !visit->target || visit->gone || !is_vetted(visit)) {
        return MHD_NO;
    }
    LOG_ABOUT(log_id(visit->request), VIEW(""));
    if (!visit->seen && !may_have_body(visit)) {
        visit->seen = true;
        return MHD_YES;
    }
    if (!visit->begun && !visit->answered) {
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

static enum MHD_Result on_request(void *arg, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
    (void)arg;
    (void)url;
    enum MHD_Result result = serve(*state, method, version, data, size);
    struct connection *connection = connection_of(mhd);
    if (connection) {
        see_hang_up(connection);
    }
    return result;
}

/* ---- opening and closing ---- */

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
        flags | (cert ? MHD_USE_TLS : 0), 0, on_address, NULL, on_request, NULL,
        MHD_OPTION_LISTEN_SOCKET, http.listen_fd, MHD_OPTION_URI_LOG_CALLBACK, on_target, NULL, MHD_OPTION_NOTIFY_COMPLETED,
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
    pools_open(POOL_BYTES, CONNECTIONS_MAX);
    enum status status = listener_open(&http.listen_fd);
    if (status == STATUS_OK) {
        status = reads_open(loop);
    }
    if (status == STATUS_OK) {
        status = start_daemon();
    }
    if (status != STATUS_OK) {
        return status;
    }
    http.mhd_fd = MHD_get_daemon_info(http.daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    parked_watch(http.daemon, http.mhd_fd);
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
        struct connection *c;
        LIST_FOREACH(c, &http.connections, list) {
            if (c->visit) {
                visit_resume(c->visit); /* MHD does not close what is suspended */
            }
        }
        MHD_stop_daemon(http.daemon);
        parked_watch(NULL, -1);
        http.daemon = NULL;
    }
    pools_close();
    reads_close();
    pace_close();
    if (http.hangup_fd >= 0) {
        close(http.hangup_fd);
    }
}
