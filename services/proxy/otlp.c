/* otlp.c - posts batches of spans (OTLP/HTTP) and never blocks: it is one more transfer of the loop.
 *
 * A collector that is away (no connection, 429, 502, 503, 504: the OTLP specification, "Failures") is
 * tried again after a pause that doubles; the batch that it did not take stays, and the next one waits.
 * What it refuses in any other way is dropped. */
#include "services/proxy/otlp.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "services/proxy/curl_loop.h"
#include "services/proxy/upstream.h"

enum {
    TICK_MS = 250,
    PAUSE_MS = 1000,
    PAUSE_MS_MAX = 30000,
    ANSWER_BYTES = 65536,    /* bytes of an answer; they are not looked at */
    CONNECT_MS = 3000,
    WHOLE_MS = 10000,      /* of one export */
    HURRY_MS = 2000,       /* of the last ones, when the daemon stops */
};

static struct {
    struct loop *loop;
    void (*ready)(void);
    struct curl_member *member;
    CURL *easy;
    struct curl_slist *headers;
    struct buffer url, body;
    struct provider collector; /* what upstream_configure() wants to know */
    int timer;
    bool running;              /* the body is on its way */
    uint64_t spans;            /* in the body; 0: it is free */
    uint64_t retry_ms, pause_ms, give_up_ms;
    size_t answered;
    uint64_t exported, refused;
    struct log_limit limit;
} otlp = {.timer = -1};

/* ---- one export ---- */

static void start(void)
{
    otlp.answered = 0;
    curl_easy_setopt(otlp.easy, CURLOPT_POSTFIELDS, (const char *)otlp.body.data);
    curl_easy_setopt(otlp.easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)otlp.body.size);
    otlp.running = curl_multi_add_handle(curl_loop_multi(otlp.member), otlp.easy) == CURLM_OK;
}

static void forget_body(void)
{
    otlp.spans = 0;
    buffer_clear(&otlp.body);
}

static void complain(const char *what, long http)
{
    uint64_t count;
    if (log_due(&otlp.limit, &count)) {
        log_warn("spans", "the collector does not take spans: %s, status %ld (%llu times)", what, http,
                 (unsigned long long)count);
    }
}

/* An answer that is too long is the collector's own fault, not a pause of it. */
static bool is_away(CURLcode result, long http)
{
    return result == CURLE_OK ? http == 429 || http == 502 || http == 503 || http == 504
                              : result != CURLE_WRITE_ERROR;
}

static void on_done(CURL *easy, CURLcode result)
{
    long http = 0;
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &http); /* 0 when there was none */
    curl_multi_remove_handle(curl_loop_multi(otlp.member), easy);
    otlp.running = false;
    if (result == CURLE_OK && http >= 200 && http < 300) {
        otlp.exported += otlp.spans;
        otlp.pause_ms = PAUSE_MS;
        forget_body();
        otlp.ready();
        return;
    }
    complain(curl_easy_strerror(result), http);
    if (is_away(result, http)) {
        otlp.retry_ms = clock_mono_ms() + otlp.pause_ms;
        otlp.pause_ms = 2 * otlp.pause_ms < PAUSE_MS_MAX ? 2 * otlp.pause_ms : PAUSE_MS_MAX;
        return;
    }
    otlp.refused += otlp.spans;
    forget_body();
}

static size_t on_write(char *data, size_t size, size_t count, void *arg)
{
    (void)data;
    (void)arg;
    otlp.answered += size * count;
    return otlp.answered <= ANSWER_BYTES ? size * count : 0;
}

static void tick(void *arg)
{
    (void)arg;
    if (otlp.spans == 0) {
        otlp.ready();
    } else if (!otlp.running && (otlp.give_up_ms || clock_mono_ms() >= otlp.retry_ms)) {
        start();
    }
}

/* ---- for spans.c ---- */

struct buffer *otlp_body(void)
{
    return otlp.spans == 0 ? &otlp.body : NULL;
}

void otlp_send(uint64_t spans)
{
    if (otlp.body.failed) { /* no memory */
        otlp.refused += spans;
        forget_body();
        return;
    }
    otlp.spans = spans;
    start();
}

bool otlp_idle(void)
{
    return otlp.spans == 0;
}

void otlp_hurry(void)
{
    otlp.give_up_ms = clock_mono_ms() + HURRY_MS;
}

bool otlp_given_up(void)
{
    return otlp.give_up_ms && clock_mono_ms() >= otlp.give_up_ms;
}

uint64_t otlp_exported(void)
{
    return otlp.exported;
}

uint64_t otlp_refused(void)
{
    return otlp.refused;
}

/* ---- opening and closing ---- */

static bool make_url(const char *endpoint)
{
    struct view base = view_text(endpoint);
    bool known = view_starts(base, "http://") || view_starts(base, "https://");
    while (base.size > 0 && base.data[base.size - 1] == '/') {
        base.size--;
    }
    if (!known || strpbrk(endpoint, " \t\r\n?#@")) {
        log_error("spans", "--otlp-endpoint takes http[s]://HOST[:PORT], without user, query or fragment");
        return false;
    }
    buffer_append_view(&otlp.url, base);
    buffer_append_text(&otlp.url, "/v1/traces");
    buffer_append_byte(&otlp.url, 0);
    return !otlp.url.failed;
}

/* The same rules as to providers: no redirect, no proxy, a verified certificate.  The operator names the
 * collector, so it may be on any address, and without TLS. */
static enum status configure(const char *ca_file)
{
    otlp.collector = (struct provider){.name = "otlp", .connect_ms = CONNECT_MS, .allow_insecure = true};
    if (upstream_configure(otlp.easy, &otlp.collector, ca_file) != STATUS_OK) {
        return STATUS_INTERNAL;
    }
    otlp.headers = curl_slist_append(otlp.headers, "Content-Type: application/json");
    otlp.headers = otlp.headers ? curl_slist_append(otlp.headers, "Expect:") : NULL;
    if (!otlp.headers) {
        return STATUS_INTERNAL;
    }
    curl_easy_setopt(otlp.easy, CURLOPT_TIMEOUT_MS, (long)WHOLE_MS);
    curl_easy_setopt(otlp.easy, CURLOPT_USERAGENT, "seks-broker/" SEKS_VERSION);
    curl_easy_setopt(otlp.easy, CURLOPT_HTTPHEADER, otlp.headers);
    curl_easy_setopt(otlp.easy, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(otlp.easy, CURLOPT_POST, 1L);
    return curl_easy_setopt(otlp.easy, CURLOPT_URL, (const char *)otlp.url.data) == CURLE_OK
               ? STATUS_OK
               : STATUS_INVALID;
}

enum status otlp_open(struct loop *loop, const char *endpoint, const char *ca_file,
                      void (*ready)(void))
{
    otlp.loop = loop;
    otlp.ready = ready;
    otlp.pause_ms = PAUSE_MS;
    if (!make_url(endpoint)) {
        return STATUS_INVALID;
    }
    otlp.member = curl_loop_add(on_done);
    otlp.easy = curl_easy_init();
    otlp.timer = loop_every(loop, TICK_MS, tick, NULL);
    return otlp.member && otlp.easy && otlp.timer >= 0 ? configure(ca_file) : STATUS_INTERNAL;
}

/* Before curl_loop_close(). */
void otlp_close(void)
{
    if (otlp.timer >= 0) {
        loop_unevery(otlp.loop, otlp.timer);
        otlp.timer = -1;
    }
    if (otlp.running) {
        curl_multi_remove_handle(curl_loop_multi(otlp.member), otlp.easy);
        otlp.running = false;
    }
    if (otlp.easy) {
        curl_easy_cleanup(otlp.easy);
        otlp.easy = NULL;
    }
    curl_slist_free_all(otlp.headers);
    otlp.headers = NULL;
    buffer_free(&otlp.url);
    buffer_free(&otlp.body);
}
