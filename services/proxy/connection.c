/* connection.c - connections made by libcurl (CURLOPT_CONNECT_ONLY), used without it.
 *
 * A plain connection's socket is taken over once it is connected.  A TLS one stays libcurl's, which
 * looks a connection up among all of its multi handle's at each send and receive: so a handle gets a
 * few dozen, and all share names resolved and TLS sessions.  Every option that could have libcurl
 * close or use an idle connection by itself is off; should it close one, on_close() sees it. */
#include "services/proxy/connection.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "services/proxy/curl_loop.h"
#include "services/proxy/upstream.h"

enum {
    EVENTS_MAX = 64,
    SHARD_MAX = 64,      /* connections of one multi handle */
    SHARDS_MAX = 128,
    IDLE_MS = 90000,     /* servers commonly close after 60 to 120 s */
    IDLE_MAX = 1024,     /* connections kept, over all origins */
    SWEEP_MS = 5000,
};

struct shard {
    struct curl_member *member;
    size_t count;
};

struct connection {
    const struct provider *provider;
    char *origin;
    struct connection_user *user; /* NULL while idle */
    struct connection *next, **at; /* among the idle, or among the dropped */
    CURL *easy;                    /* NULL once a plain socket was taken over */
    struct shard *shard;
    int fd;                        /* -1 until it is connected, and when libcurl closed it */
    bool tls, used, ended;
    uint64_t idle_ms;
};

static struct {
    struct loop *loop;
    const char *ca_file;
    int epoll_fd, timer;
    struct shard shards[SHARDS_MAX];
    size_t shard_count;
    CURLSH *share;
    struct connection *idle; /* the last used first */
    struct connection *dropped; /* freed when no event can name them any more */
    size_t idle_count;
} self = {.epoll_fd = -1, .timer = -1};

/* ---- ending ---- */

static void unlink_idle(struct connection *connection)
{
    if (connection->at) {
        *connection->at = connection->next;
        if (connection->next) {
            connection->next->at = connection->at;
        }
        connection->at = NULL;
        self.idle_count--;
    }
}

static void leave_curl(struct connection *connection)
{
    if (connection->easy) {
        curl_multi_remove_handle(curl_loop_multi(connection->shard->member), connection->easy);
        curl_easy_cleanup(connection->easy);
        connection->easy = NULL;
        connection->shard->count--;
    }
}

void connection_drop(struct connection *connection)
{
    if (!connection) {
        return;
    }
    unlink_idle(connection);
    bool ours = !connection->easy;
    connection->user = NULL;
    connection->ended = true;
    leave_curl(connection);
    if (ours && connection->fd >= 0) {
        close(connection->fd);
    }
    connection->fd = -1;
    connection->next = self.dropped;
    self.dropped = connection;
}

static void free_dropped(void *arg)
{
    (void)arg;
    while (self.dropped) {
        struct connection *connection = self.dropped;
        self.dropped = connection->next;
        free(connection->origin);
        free(connection);
    }
}

/* ---- connecting ---- */

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct connection *connection = arg;
    (void)purpose;
    if (!connection->provider->allow_insecure && !upstream_is_public(&address->addr)) {
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Of the sockets tried while connecting, and of the one in use. */
static int on_close(void *arg, curl_socket_t socket)
{
    struct connection *connection = arg;
    if (socket == connection->fd && !connection->tls && !connection->ended) {
        return 0; /* taken over */
    }
    if (socket == connection->fd) {
        connection->fd = -1;
        connection->ended = true;
    }
    return close(socket);
}

static bool watch(struct connection *connection)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = connection};
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (curl_easy_getinfo(connection->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
        fd == CURL_SOCKET_BAD) {
        return false;
    }
    connection->fd = fd;
    if (!connection->tls) {
        leave_curl(connection);
    }
    return epoll_ctl(self.epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static enum status status_of(CURLcode result)
{
    return result == CURLE_OPERATION_TIMEDOUT ? STATUS_TIMEOUT
           : result == CURLE_OUT_OF_MEMORY    ? STATUS_INTERNAL
                                              : STATUS_UPSTREAM;
}

static void on_done(CURL *easy, CURLcode result)
{
    struct connection *connection = NULL;
    if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&connection) != CURLE_OK) {
        return;
    }
    struct connection_user *user = connection->user;
    if (result == CURLE_OK && watch(connection)) {
        user->connected(user, STATUS_OK, NULL);
        return;
    }
    enum status status = result == CURLE_OK ? STATUS_INTERNAL : status_of(result);
    connection_drop(connection);
    user->connected(user, status,
                    status == STATUS_UPSTREAM ? curl_easy_strerror(result) : status_text(status));
}

static struct shard *shard_with_room(void)
{
    for (size_t i = 0; i < self.shard_count; i++) {
        if (self.shards[i].count < SHARD_MAX) {
            return &self.shards[i];
        }
    }
    struct curl_member *member = self.shard_count < SHARDS_MAX ? curl_loop_add(on_done) : NULL;
    if (!member) {
        return NULL;
    }
    curl_multi_setopt(curl_loop_multi(member), CURLMOPT_MAXCONNECTS, 4L * SHARD_MAX);
    self.shards[self.shard_count] = (struct shard){member, 0};
    return &self.shards[self.shard_count++];
}

static enum status configure(struct connection *connection)
{
    CURL *easy = connection->easy;
    enum status status = upstream_configure(easy, connection->provider, self.ca_file);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, connection);
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)INT_MAX);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_SHARE, self.share);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, connection);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, connection);
    if (status != STATUS_OK || curl_easy_setopt(easy, CURLOPT_URL, connection->origin) != CURLE_OK ||
        curl_multi_add_handle(curl_loop_multi(connection->shard->member), easy) != CURLM_OK) {
        return STATUS_INTERNAL;
    }
    return STATUS_OK;
}

struct connection *connection_start(const struct provider *provider, const struct origin *origin,
                                    struct connection_user *user)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        return NULL;
    }
    *connection = (struct connection){.provider = provider,
                                      .origin = view_dup(origin->whole),
                                      .user = user,
                                      .shard = shard_with_room(),
                                      .fd = -1,
                                      .tls = origin->tls};
    connection->easy = connection->shard ? curl_easy_init() : NULL;
    if (connection->easy) {
        connection->shard->count++;
    }
    if (!connection->origin || !connection->easy || configure(connection) != STATUS_OK) {
        connection_drop(connection);
        return NULL;
    }
    return connection;
}

/* ---- keeping ---- */

/* Whether the connection is as silent as an idle one is.  Its event may still wait in this turn: then
 * it has ended, or holds bytes of an answer that was longer than it said. */
static bool is_quiet(const struct connection *connection)
{
    uint8_t byte;
    return !connection->ended && connection->fd >= 0 &&
           recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

struct connection *connection_take(const struct provider *provider, const struct origin *origin,
                                   struct connection_user *user)
{
    for (struct connection *connection = self.idle, *next; connection; connection = next) {
        next = connection->next;
        if (connection->provider != provider || !view_is(origin->whole, connection->origin)) {
            continue;
        }
        if (!is_quiet(connection)) {
            connection_drop(connection);
            continue;
        }
        unlink_idle(connection);
        connection->user = user;
        return connection;
    }
    return NULL;
}

void connection_give(struct connection *connection)
{
    if (connection->ended || self.idle_count >= IDLE_MAX) {
        connection_drop(connection);
        return;
    }
    connection->user = NULL;
    connection->used = true;
    connection->idle_ms = clock_mono_ms();
    connection->next = self.idle;
    connection->at = &self.idle;
    if (self.idle) {
        self.idle->at = &connection->next;
    }
    self.idle = connection;
    self.idle_count++;
}

bool connection_used(const struct connection *connection)
{
    return connection->used;
}

bool connection_is_tls(const struct connection *connection)
{
    return connection->tls;
}

static void sweep(void *arg)
{
    uint64_t now = clock_mono_ms();
    (void)arg;
    for (struct connection *connection = self.idle, *next; connection; connection = next) {
        next = connection->next;
        if (connection->ended || now - connection->idle_ms > IDLE_MS) {
            connection_drop(connection);
        }
    }
}

/* ---- bytes ---- */

ssize_t connection_send(struct connection *connection, struct view data)
{
    size_t sent = 0;
    if (connection->fd < 0) {
        return CONNECTION_FAILED;
    }
    if (connection->tls) {
        CURLcode result = curl_easy_send(connection->easy, data.data, data.size, &sent);
        return result == CURLE_OK      ? (ssize_t)sent
               : result == CURLE_AGAIN ? CONNECTION_AGAIN
                                       : CONNECTION_FAILED;
    }
    ssize_t count = send(connection->fd, data.data, data.size, MSG_NOSIGNAL | MSG_DONTWAIT);
    return count >= 0 ? count : errno == EAGAIN || errno == EINTR ? CONNECTION_AGAIN
                                                                  : CONNECTION_FAILED;
}

ssize_t connection_receive(struct connection *connection, uint8_t *room, size_t size)
{
    size_t got = 0;
    if (connection->fd < 0) {
        return CONNECTION_FAILED;
    }
    if (connection->tls) {
        CURLcode result = curl_easy_recv(connection->easy, room, size, &got);
        return result == CURLE_OK      ? (ssize_t)got
               : result == CURLE_AGAIN ? CONNECTION_AGAIN
                                       : CONNECTION_FAILED;
    }
    ssize_t count = recv(connection->fd, room, size, MSG_DONTWAIT);
    return count >= 0 ? count : errno == EAGAIN || errno == EINTR ? CONNECTION_AGAIN
                                                                  : CONNECTION_FAILED;
}

bool connection_drained(const struct connection *connection, size_t got, size_t size)
{
    return got < size && !connection->tls && !connection->ended;
}

static void on_ready(void *arg)
{
    struct epoll_event events[EVENTS_MAX];
    (void)arg;
    int count = epoll_wait(self.epoll_fd, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        bool over = (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
        connection->ended = connection->ended || over;
        if (connection->user) {
            connection->user->ready(connection->user);
        } else if (connection->at && (over || events[i].events & EPOLLIN)) {
            connection_drop(connection); /* idle: it ended, or says what nobody asked */
        }
    }
}

/* ---- opening and closing ---- */

enum status connections_open(struct loop *loop, const char *ca_file)
{
    self.loop = loop;
    self.ca_file = ca_file;
    self.share = curl_share_init();
    self.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    self.timer = loop_every(loop, SWEEP_MS, sweep, NULL);
    if (!self.share || self.epoll_fd < 0 || self.timer < 0 ||
        curl_share_setopt(self.share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) != CURLSHE_OK ||
        curl_share_setopt(self.share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) !=
            CURLSHE_OK ||
        loop_turn_end(loop, free_dropped, NULL) != STATUS_OK) {
        log_error("upstream", "cannot set up the upstream connections");
        return STATUS_INTERNAL;
    }
    return loop_watch(loop, self.epoll_fd, on_ready, NULL);
}

/* When all calls are over. */
void connections_close(void)
{
    if (!self.loop) {
        return;
    }
    while (self.idle) {
        connection_drop(self.idle);
    }
    free_dropped(NULL);
    loop_unevery(self.loop, self.timer);
    loop_unturn_end(self.loop, free_dropped, NULL);
    loop_unwatch(self.loop, self.epoll_fd);
    if (self.share) {
        curl_share_cleanup(self.share);
    }
    if (self.epoll_fd >= 0) {
        close(self.epoll_fd);
    }
    self.shard_count = 0;
    self.loop = NULL;
}
