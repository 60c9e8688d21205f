/* main.c - the proxy: opens grants, calls providers, streams answers. */
#include "services/proxy/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/metrics.h"
#include "services/proxy/spans.h"

static const char *key_dir, *listen_gateway, *providers_file;
static struct option_list audits;
static const char *otlp_endpoint, *otlp_ca_file;
static const char *ca_file = "/etc/ssl/certs/ca-certificates.crt";
static struct providers *providers;

static const struct option options[] = {
    {"keys", OPTION_TEXT, &key_dir, "DIR with grant.key (and the CURVE keys for tcp)", true},
    {"listen-gateway", OPTION_TEXT, &listen_gateway, "ENDPOINT for gateways", true},
    {"audit", OPTION_LIST, &audits,
     "ENDPOINT of the audit daemon; of several in the order of their numbers, given again", true},
    {"providers", OPTION_TEXT, &providers_file, "FILE with more providers", false},
    {"ca-file", OPTION_TEXT, &ca_file, "FILE with the certificates to trust", false},
    {"otlp-endpoint", OPTION_TEXT, &otlp_endpoint,
     "URL of an OpenTelemetry collector (OTLP/HTTP) for spans of all four daemons", false},
    {"otlp-ca-file", OPTION_TEXT, &otlp_ca_file,
     "FILE with the certificates to trust for it (those of --ca-file)", false},
    {NULL, OPTION_TEXT, NULL, NULL, false},
};

enum { DRAIN_LOOK_MS = 20 };
static struct loop *draining_loop;
static int drain_timer = -1;

static bool on_tcp(void)
{
    return view_starts(view_text(listen_gateway), "tcp:") || view_starts(view_text(audits.values[0]), "tcp:");
}

/* The TCP port of "https://HOST[:PORT]". */
static uint16_t port_of(const char *origin)
{
    const char *host = strstr(origin, "://"), *colon = host ? strrchr(host + 3, ':') : NULL;
    if (colon && !strchr(colon, ']')) {
        return (uint16_t)strtoul(colon + 1, NULL, 10);
    }
    return strncmp(origin, "http:", 5) == 0 ? 80 : 443;
}

/* Its providers' ports and no others; the authorities to trust are replaced as files now and then. */
static enum status proxy_confine(struct confinement *confinement)
{
    const char *why = "";
    enum status status = providers_load(providers_file, &providers, &why);
    if (status != STATUS_OK) {
        log_error("providers", "%s", why);
        return status;
    }
    for (size_t i = 0; i < providers_count(providers); i++) {
        const struct provider *provider = providers_at(providers, i);
        confine_connect_tcp(confinement, port_of(provider->origin));
        confine_read_replaced(confinement, provider->ca_file);
    }
    confine_read_replaced(confinement, ca_file);
    confine_read_replaced(confinement, otlp_ca_file);
    if (otlp_endpoint) {
        confine_connect_tcp(confinement, port_of(otlp_endpoint));
    }
    confine_read(confinement, "/etc/ssl/openssl.cnf");
    confine_read_in(confinement, key_dir, "grant.key");
    confine_read_in(confinement, key_dir, "proxy.curve");
    confine_read_public_keys(confinement, key_dir);
    confine_resolve(confinement);
    confine_listen(confinement, listen_gateway);
    for (size_t i = 0; i < audits.count; i++) {
        confine_connect(confinement, audits.values[i]);
    }
    return STATUS_OK;
}

static enum status proxy_open(struct loop *loop)
{
    enum status status = STATUS_OK;
    if (on_tcp()) {
        status = channel_keys(key_dir, "proxy");
    }
    if (status == STATUS_OK) {
        status = transfers_open(loop, ca_file);
    }
    if (status == STATUS_OK) {
        status = spans_open(loop, otlp_endpoint, otlp_ca_file ? otlp_ca_file : ca_file);
    }
    if (status == STATUS_OK) {
        status = outcomes_open(loop, &audits);
    }
    if (status == STATUS_OK) {
        status = calls_open(loop, listen_gateway, key_dir, providers);
    }
    return status;
}

static void stop_if_drained(void *arg)
{
    if (calls_drained() && outcomes_waiting() == 0 && spans_drained()) {
        loop_stop(arg);
    }
}

/* Running calls end, and their outcomes reach audit, before the loop stops. */
static void proxy_drain(struct loop *loop)
{
    calls_drain();
    spans_drain();
    drain_timer = loop_every(loop, DRAIN_LOOK_MS, stop_if_drained, loop);
    draining_loop = loop;
    if (drain_timer < 0) {
        loop_stop(loop);
    }
}

static void proxy_close(void)
{
    if (draining_loop && drain_timer >= 0) {
        loop_unevery(draining_loop, drain_timer);
    }
    calls_close();
    spans_close();
    transfers_close();
    outcomes_close();
    providers_free(&providers);
}

static void proxy_metrics(struct buffer *text)
{
    const struct metric rows[] = {{"seks_calls_in_flight", "gauge", calls_in_flight()},
                                  {"seks_streams_open", "gauge", call_answers_begun()},
                                  {"seks_outcomes_waiting", "gauge", outcomes_waiting()}};
    metrics_rows(text, rows, sizeof rows / sizeof rows[0]);
    outcomes_metrics(text);
    spans_metrics(text);
}

int main(int argc, char **argv)
{
    static const struct daemon daemon = {
        .name = "proxy",
        .options = options,
        .confine = proxy_confine,
        .open = proxy_open,
        .drain = proxy_drain,
        .metrics = proxy_metrics,
        .ready = calls_ready,
        .close = proxy_close,
    };
    return daemon_run(&daemon, argc, argv);
}
