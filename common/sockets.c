/* sockets.c - every ZeroMQ socket of a daemon, and who may connect to it.
 *
 * CURVE alone lets in any client that knows the server's public key, so a ZAP handler (ZeroMQ RFC 27)
 * checks the client's key against the allow-list of the role that the socket serves.  It runs in the
 * daemon's own loop and starts before the first bind. */
#include "common/sockets.h"

#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "common/channel.h"
#include "common/keyfile.h"
#include "common/log.h"

enum {
    CURVE_KEY_BYTES = 32,
    ALLOWED_MAX = 256,   /* keys over all roles: replicas of every daemon, doubled for rotation */
    ROLE_MAX = 32,
    QUEUE_FRAMES = 1000, /* frames in ZeroMQ's own queues, each way; bodies have credit */
};

struct allowed {
    char role[ROLE_MAX];
    uint8_t key[CURVE_KEY_BYTES];
};

static struct {
    void *context;
    void *zap;
    size_t open_count;
    const char *key_dir;
    struct secret *private_key;
    uint8_t public_key[CURVE_KEY_BYTES];
    struct allowed allowed[ALLOWED_MAX];
    size_t allowed_count;
    uint64_t strangers;
    struct log_limit stranger_limit;
} sockets;

enum status sockets_keys(const char *dir, const char *name)
{
    char file[128];
    snprintf(file, sizeof file, "%s.curve", name);
    enum status status = keyfile_read(dir, file, CURVE_KEY_BYTES, &sockets.private_key);
    if (status != STATUS_OK) {
        return STATUS_INVALID;
    }
    snprintf(file, sizeof file, "%s.pub", name);
    status = keyfile_read_public(dir, file, CURVE_KEY_BYTES, sockets.public_key);
    sockets.key_dir = dir;
    return status == STATUS_OK ? STATUS_OK : STATUS_INVALID;
}

/* ---- ZAP ---- */

static bool is_allowed(struct view role, struct view key)
{
    for (size_t i = 0; i < sockets.allowed_count; i++) {
        if (view_is(role, sockets.allowed[i].role) && key.size == CURVE_KEY_BYTES &&
            memcmp(key.data, sockets.allowed[i].key, CURVE_KEY_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_key_of(const char *file, const char *role)
{
    size_t size = strlen(role), file_size = strlen(file);
    return file_size >= size + 4 && strncmp(file, role, size) == 0 && file[size] == '.' &&
           strcmp(file + file_size - 4, ".pub") == 0;
}

/* Adds DIR/ROLE.pub and DIR/ROLE.*.pub to the list. */
static enum status allow_role(const char *role)
{
    DIR *dir = opendir(sockets.key_dir);
    size_t before = sockets.allowed_count;
    if (!dir || strlen(role) >= ROLE_MAX) {
        log_error("keys", "cannot read the key directory %s", sockets.key_dir);
        return STATUS_INVALID;
    }
    for (struct dirent *entry; (entry = readdir(dir)) && sockets.allowed_count < ALLOWED_MAX;) {
        struct allowed *row = &sockets.allowed[sockets.allowed_count];
        if (is_key_of(entry->d_name, role) &&
            keyfile_read_public(sockets.key_dir, entry->d_name, CURVE_KEY_BYTES, row->key) ==
                STATUS_OK) {
            snprintf(row->role, sizeof row->role, "%s", role);
            sockets.allowed_count++;
        }
    }
    closedir(dir);
    if (sockets.allowed_count == before) {
        log_error("keys", "no public key for %s in %s", role, sockets.key_dir);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

enum { ZAP_VERSION, ZAP_REQUEST, ZAP_DOMAIN, ZAP_ADDRESS, ZAP_IDENTITY, ZAP_MECHANISM, ZAP_KEY,
       ZAP_FRAMES };

static void zap_reply(struct view request, bool good)
{
    zmq_send(sockets.zap, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(sockets.zap, request.data, request.size, ZMQ_SNDMORE);
    zmq_send(sockets.zap, good ? "200" : "400", 3, ZMQ_SNDMORE);
    zmq_send(sockets.zap, "", 0, ZMQ_SNDMORE);
    zmq_send(sockets.zap, "", 0, ZMQ_SNDMORE);
    zmq_send(sockets.zap, "", 0, 0);
}

static void stranger(struct view address)
{
    uint64_t count;
    sockets.strangers++;
    if (log_due(&sockets.stranger_limit, &count)) {
        log_warn("stranger", "refused a key that is not allowed, from %.*s (%llu times)",
                 (int)address.size, (const char *)address.data, (unsigned long long)count);
    }
}

static void on_zap(void *arg)
{
    zmq_msg_t frames[ZAP_FRAMES];
    (void)arg;
    for (;;) {
        size_t count = 0;
        int more = 1;
        while (more) {
            zmq_msg_t extra;
            zmq_msg_t *frame = count < ZAP_FRAMES ? &frames[count] : &extra;
            zmq_msg_init(frame);
            if (zmq_msg_recv(frame, sockets.zap, ZMQ_DONTWAIT) < 0) {
                zmq_msg_close(frame);
                break;
            }
            more = zmq_msg_more(frame);
            count += frame != &extra;
            if (frame == &extra) {
                zmq_msg_close(&extra);
            }
        }
        if (count == 0) {
            return;
        }
        struct view parts[ZAP_FRAMES] = {0};
        for (size_t i = 0; i < count; i++) {
            parts[i] = view_of(zmq_msg_data(&frames[i]), zmq_msg_size(&frames[i]));
        }
        bool good = count == ZAP_FRAMES && view_is(parts[ZAP_MECHANISM], "CURVE") &&
                    is_allowed(parts[ZAP_DOMAIN], parts[ZAP_KEY]);
        if (!good) {
            stranger(parts[ZAP_ADDRESS]);
        }
        zap_reply(parts[ZAP_REQUEST], good);
        for (size_t i = 0; i < count; i++) {
            zmq_msg_close(&frames[i]);
        }
    }
}

static enum status zap_open(struct loop *loop)
{
    int linger = 0;
    if (sockets.zap) {
        return STATUS_OK;
    }
    sockets.zap = zmq_socket(sockets.context, ZMQ_REP);
    if (!sockets.zap) {
        return STATUS_INTERNAL;
    }
    zmq_setsockopt(sockets.zap, ZMQ_LINGER, &linger, sizeof linger);
    if (zmq_bind(sockets.zap, "inproc://zeromq.zap.01") != 0) {
        return STATUS_INTERNAL;
    }
    return loop_watch_zmq(loop, sockets.zap, on_zap, NULL);
}

/* ---- options ---- */

static bool is_tcp(const char *endpoint)
{
    return strncmp(endpoint, "tcp://", 6) == 0;
}

static bool set_common(void *socket)
{
    static const struct {
        int option;
        int value;
    } rows[] = {
        {ZMQ_LINGER, 1000},
        {ZMQ_SNDTIMEO, 0},
        {ZMQ_RCVTIMEO, 0},
        {ZMQ_SNDHWM, QUEUE_FRAMES},
        {ZMQ_RCVHWM, QUEUE_FRAMES},
        {ZMQ_IMMEDIATE, 1},
        {ZMQ_RECONNECT_IVL, 20},
        {ZMQ_RECONNECT_IVL_MAX, 500},
        {ZMQ_HANDSHAKE_IVL, 5000},
        {ZMQ_HEARTBEAT_IVL, 1000},
        {ZMQ_HEARTBEAT_TIMEOUT, 4000},
        {ZMQ_HEARTBEAT_TTL, 6000},
        {ZMQ_BACKLOG, 128},
        {ZMQ_IPV6, 1},
    };
    int64_t size_max = CHANNEL_RECORD_MAX + 4096;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (zmq_setsockopt(socket, rows[i].option, &rows[i].value, sizeof rows[i].value) != 0) {
            return false;
        }
    }
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &size_max, sizeof size_max) == 0;
}

static bool set_keys(void *socket)
{
    return sockets.private_key &&
           zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, sockets.public_key, CURVE_KEY_BYTES) == 0 &&
           zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret_data(sockets.private_key),
                          CURVE_KEY_BYTES) == 0;
}

static void *socket_new(int type)
{
    if (!sockets.context) {
        sockets.context = zmq_ctx_new();
    }
    void *socket = sockets.context ? zmq_socket(sockets.context, type) : NULL;
    if (socket && !set_common(socket)) {
        zmq_close(socket);
        return NULL;
    }
    sockets.open_count += socket != NULL;
    return socket;
}

static enum status fail(void *socket, const char *what, const char *endpoint)
{
    log_error("socket", "%s %s: %s", what, endpoint, zmq_strerror(zmq_errno()));
    sockets_close(&socket);
    return STATUS_UNAVAILABLE;
}

/* Whoever can reach an ipc socket can talk on it, so its directory is this user's alone, or may also
 * be entered by one group: the daemon's at the other end, when each runs as its own user. */
static bool ipc_directory_private(const char *endpoint, bool *ret_shared)
{
    char path[256];
    struct stat info;
    if (snprintf(path, sizeof path, "%s", endpoint + strlen("ipc://")) >= 108) {
        log_error("socket", "%s is longer than a socket's path can be", endpoint);
        return false;
    }
    const char *dir = dirname(path);
    if (stat(dir, &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid() ||
        (info.st_mode & 067) != 0) {
        log_error("socket", "the directory %s must exist, be this user's and have mode 0700, or "
                            "2710 for a group at the other end", dir);
        return false;
    }
    *ret_shared = (info.st_mode & 010) != 0;
    return true;
}

static bool open_to_group(const char *endpoint)
{
    return chmod(endpoint + strlen("ipc://"), 0660) == 0;
}

enum status sockets_listen(struct loop *loop, const char *endpoint, const char *role,
                           void **ret_socket)
{
    int on = 1;
    bool tcp = is_tcp(endpoint), shared = false;
    if (!tcp &&
        (strncmp(endpoint, "ipc://", 6) != 0 || !ipc_directory_private(endpoint, &shared))) {
        log_error("socket", "cannot listen on %s", endpoint);
        return STATUS_INVALID;
    }
    void *socket = socket_new(ZMQ_ROUTER);
    if (!socket) {
        return STATUS_INTERNAL;
    }
    if (zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &on, sizeof on) != 0 ||
        zmq_setsockopt(socket, ZMQ_ROUTER_HANDOVER, &on, sizeof on) != 0) {
        return fail(socket, "options of", endpoint);
    }
    if (tcp && (zap_open(loop) != STATUS_OK || !set_keys(socket) ||
                zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &on, sizeof on) != 0 ||
                zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, role, strlen(role)) != 0 ||
                allow_role(role) != STATUS_OK)) {
        return fail(socket, "keys of", endpoint);
    }
    if (zmq_bind(socket, endpoint) != 0 || (shared && !open_to_group(endpoint))) {
        return fail(socket, "cannot listen on", endpoint);
    }
    *ret_socket = socket;
    return STATUS_OK;
}

enum status sockets_connect(const char *endpoint, const char *server, struct view identity,
                            void **ret_socket)
{
    char file[128];
    uint8_t server_key[CURVE_KEY_BYTES];
    bool tcp = is_tcp(endpoint);
    void *socket = socket_new(ZMQ_DEALER);
    if (!socket) {
        return STATUS_INTERNAL;
    }
    if (zmq_setsockopt(socket, ZMQ_ROUTING_ID, identity.data, identity.size) != 0) {
        return fail(socket, "options of", endpoint);
    }
    snprintf(file, sizeof file, "%s.pub", server);
    if (tcp && (!set_keys(socket) ||
                keyfile_read_public(sockets.key_dir, file, CURVE_KEY_BYTES, server_key) !=
                    STATUS_OK ||
                zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server_key, CURVE_KEY_BYTES) != 0)) {
        return fail(socket, "keys of", endpoint);
    }
    if (zmq_connect(socket, endpoint) != 0) {
        return fail(socket, "cannot connect to", endpoint);
    }
    *ret_socket = socket;
    return STATUS_OK;
}

void sockets_close(void **socket)
{
    if (*socket) {
        zmq_close(*socket);
        *socket = NULL;
        sockets.open_count--;
    }
}

void sockets_end(void)
{
    if (sockets.zap) {
        zmq_close(sockets.zap);
        sockets.zap = NULL;
    }
    if (sockets.context && sockets.open_count == 0) {
        zmq_ctx_term(sockets.context);
        sockets.context = NULL;
    }
    secret_free(&sockets.private_key);
}

uint64_t sockets_strangers(void)
{
    return sockets.strangers;
}
