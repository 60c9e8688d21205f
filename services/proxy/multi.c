/* multi.c - the carrier that leaves all to libcurl's multi interface: HTTP/2, and the first call to
 * an https origin, which tells what the origin speaks. */
#include "services/proxy/transfer_private.h"

#include <stdlib.h>
#include "services/proxy/curl_loop.h"
#include "services/proxy/upstream.h"

enum { CONNECTIONS_MAX = 1024 };

/* The carrier's state of one transfer. */
struct ride {
    struct transfer *transfer;
    CURL *easy;
    enum status failure; /* why a callback stopped the transfer */
    char error[CURL_ERROR_SIZE];
};

static struct {
    struct curl_member *member;
    const char *ca_file;
} multi;

/* ---- the end ---- */

static enum status outcome_of(const struct ride *ride, CURLcode result)
{
    if (ride->failure != STATUS_OK) {
        return ride->failure;
    }
    switch (result) {
    case CURLE_OK:
        return STATUS_OK;
    case CURLE_OPERATION_TIMEDOUT:
        return STATUS_TIMEOUT;
    case CURLE_OUT_OF_MEMORY:
        return STATUS_INTERNAL;
    default:
        return STATUS_UPSTREAM;
    }
}

static void on_done(CURL *easy, CURLcode result)
{
    struct ride *ride = NULL;
    if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&ride) != CURLE_OK) {
        return;
    }
    enum status status = outcome_of(ride, result);
    long version = 0;
    if (curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version) == CURLE_OK && version != 0) {
        origin_learn(ride->transfer, version < CURL_HTTP_VERSION_2_0);
    }
    transfer_finish(ride->transfer, status,
                    status == STATUS_UPSTREAM ? curl_easy_strerror(result) : status_text(status));
}

/* ---- libcurl's callbacks ---- */

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct ride *ride = arg;
    ride->failure = transfer_header(ride->transfer, view_of(line, size * count));
    return ride->failure == STATUS_OK ? size * count : 0;
}

static size_t on_write(char *data, size_t size, size_t count, void *arg)
{
    struct ride *ride = arg;
    switch (transfer_take(ride->transfer, view_of(data, size * count))) {
    case TAKEN:
        return size * count;
    case TAKEN_NOT:
        return CURL_WRITEFUNC_PAUSE;
    case TAKEN_FAILED:
        break;
    }
    ride->failure = STATUS_UPSTREAM;
    return 0;
}

static size_t on_read(char *room, size_t size, size_t count, void *arg)
{
    ssize_t got = transfer_pull(((struct ride *)arg)->transfer, (uint8_t *)room, size * count);
    return got < 0 ? CURL_READFUNC_PAUSE : (size_t)got;
}

/* libcurl rewinds when a kept-alive connection turned out to be dead. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    bool first = origin == SEEK_SET && offset == 0;
    return first && transfer_rewind(((struct ride *)arg)->transfer) ? CURL_SEEKFUNC_OK
                                                                    : CURL_SEEKFUNC_FAIL;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct ride *ride = arg;
    (void)purpose;
    if (!ride->transfer->call->provider->allow_insecure && !upstream_is_public(&address->addr)) {
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- starting and feeding ---- */

static void set_body(const struct ride *ride, const struct proxy_call *message)
{
    CURL *easy = ride->easy;
    if (view_is(message->method, "HEAD")) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (message->body_size != 0) {
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
                         message->body_size == BODY_SIZE_UNKNOWN ? (curl_off_t)-1
                                                                 : (curl_off_t)message->body_size);
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, ride->transfer->call->method);
}

static enum status configure(struct ride *ride, const struct proxy_call *message)
{
    CURL *easy = ride->easy;
    const struct request *request = &ride->transfer->request;
    const struct provider *provider = ride->transfer->call->provider;
    if (upstream_configure(easy, provider, multi.ca_file) != STATUS_OK) {
        return STATUS_INTERNAL;
    }
    if (request->untouched) {
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, NULL); /* its bytes pass as they are */
    }
    curl_easy_setopt(easy, CURLOPT_PRIVATE, ride);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, ride->error);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->headers);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, ride);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, ride);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, ride);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, ride);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, ride);
    set_body(ride, message);
    return curl_easy_setopt(easy, CURLOPT_URL, (const char *)request->url.data) == CURLE_OK
               ? STATUS_OK
               : STATUS_INTERNAL;
}

static enum status start(struct transfer *transfer, const struct proxy_call *message)
{
    struct ride *ride = calloc(1, sizeof *ride);
    if (!ride) {
        return STATUS_INTERNAL;
    }
    transfer->state = ride;
    ride->transfer = transfer;
    ride->easy = curl_easy_init();
    enum status status = ride->easy ? configure(ride, message) : STATUS_INTERNAL;
    if (status == STATUS_OK && curl_multi_add_handle(curl_loop_multi(multi.member), ride->easy) != CURLM_OK) {
        status = STATUS_INTERNAL;
    }
    return status;
}

static void resume(struct transfer *transfer)
{
    struct ride *ride = transfer->state;
    curl_easy_pause(ride->easy, (transfer->writing_paused ? CURLPAUSE_RECV : 0) |
                                    (transfer->reading_paused ? CURLPAUSE_SEND : 0));
    curl_loop_drive(multi.member);
}

static void drop(struct transfer *transfer)
{
    struct ride *ride = transfer->state;
    if (ride->easy) {
        curl_multi_remove_handle(curl_loop_multi(multi.member), ride->easy);
        curl_easy_cleanup(ride->easy);
    }
    free(ride);
    transfer->state = NULL;
}

const struct carrier multi_carrier = {start, resume, resume, drop};

enum status multi_open(const char *ca_file)
{
    multi.ca_file = ca_file;
    multi.member = curl_loop_add(on_done);
    if (!multi.member) {
        return STATUS_INTERNAL;
    }
    curl_multi_setopt(curl_loop_multi(multi.member), CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    curl_multi_setopt(curl_loop_multi(multi.member), CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
    return STATUS_OK;
}
