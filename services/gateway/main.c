/* main.c - the gateway: HTTP from outside, and the web page. */
#include "services/gateway/gateway.h"

#include <stdio.h>

#include "services/gateway/client.h"
#include "services/gateway/refusals.h"
#include "services/gateway/tracing.h"

#include "common/daemon.h"
#include "common/log.h"

static struct option_list vaults, proxies, allow_hosts;
static struct providers *providers;
static const char *trace_sampler = "parentbased_always_on", *trace_ratio = "1";
static const char *trusted_proxies = "", *forwarded_header = "x-forwarded-for";

struct config config = {.listen = "127.0.0.1:8787",
                        .vaults = &vaults,
                        .proxies = &proxies,
                        .allow_hosts = &allow_hosts,
                        .body_max = UINT64_C(6) << 30, /* S3 takes 5 GiB at once */
                        .header_deadline_ms = 15000,
                        .rate_min = 500,
                        .pace_window_ms = 20000,
                        .connections_per_address = 512};

static const struct option options[] = {
    {"listen", OPTION_TEXT, &config.listen, "HOST:PORT to serve on (127.0.0.1:8787)", false},
    {"public-url", OPTION_TEXT, &config.public_url, "URL under which clients reach the broker",
     false},
    {"keys", OPTION_TEXT, &config.key_dir, "DIR with intake.pub (and the CURVE keys for tcp)", true},
    {"vault", OPTION_LIST, &vaults, "ENDPOINT of the vault, or of one of several; may be given again", true},
    {"proxy", OPTION_LIST, &proxies, "ENDPOINT of a proxy; may be given again", true},
    {"providers", OPTION_TEXT, &config.providers_file, "FILE with more providers", false},
    {"tls-cert", OPTION_TEXT, &config.tls_cert, "FILE with the certificate chain (PEM)", false},
    {"tls-key", OPTION_TEXT, &config.tls_key, "FILE with its private key (PEM)", false},
    {"body-max", OPTION_NUMBER, &config.body_max, "BYTES a request body may have (6g)", false},
    {"header-deadline-ms", OPTION_NUMBER, &config.header_deadline_ms,
     "MS for a whole request head (15000)", false},
    {"rate-min", OPTION_NUMBER, &config.rate_min,
     "BYTES a second that a client must send or take of a body (500)", false},
    {"pace-window-ms", OPTION_NUMBER, &config.pace_window_ms,
     "MS over which that is measured (20000)", false},
    {"allow-host", OPTION_LIST, &allow_hosts,
     "NAME besides the public URL's under which the page is served; may be given again", false},
    {"connections-per-address", OPTION_NUMBER, &config.connections_per_address,
     "N connections of one client address, 0 for any number (512)", false},
    {"trusted-proxies", OPTION_TEXT, &trusted_proxies,
     "NETWORKS whose forwarding header is believed: 10.0.0.0/8,2001:db8::1 (none)", false},
    {"forwarded-header", OPTION_TEXT, &forwarded_header,
     "NAME of that header: x-forwarded-for or forwarded (x-forwarded-for)", false},
    {"trace", OPTION_FLAG, &config.trace,
     "tell the proxies of requests, which export spans (their --otlp-endpoint)", false},
    {"trace-sampler", OPTION_TEXT, &trace_sampler,
     "NAME of OpenTelemetry's sampler that says which (parentbased_always_on)", false},
    {"trace-ratio", OPTION_TEXT, &trace_ratio, "RATIO for traceidratio, 0 to 1 (1)", false},
    {NULL, OPTION_TEXT, NULL, NULL, false},
};

static bool on_tcp(void)
{
    const char *any[] = {vaults.values[0], proxies.values[0]};
    return view_starts(view_text(any[0]), "tcp:") || view_starts(view_text(any[1]), "tcp:");
}

static void default_public_url(void)
{
    static char url[URL_MAX];
    if (!config.public_url) {
        snprintf(url, sizeof url, "%s://%s", config.tls_cert ? "https" : "http", config.listen);
        config.public_url = url;
    }
}

static enum status gateway_confine(struct confinement *confinement)
{
    confine_read_in(confinement, config.key_dir, "gateway.curve");
    confine_read_public_keys(confinement, config.key_dir);
    confine_read(confinement, config.providers_file);
    confine_read(confinement, config.tls_cert);
    confine_read(confinement, config.tls_key);
    confine_listen_tcp(confinement, config.listen);
    for (size_t i = 0; i < vaults.count; i++) {
        confine_connect(confinement, vaults.values[i]);
    }
    for (size_t i = 0; i < proxies.count; i++) {
        confine_connect(confinement, proxies.values[i]);
    }
    return STATUS_OK;
}

static enum status gateway_open(struct loop *loop)
{
    const char *why = "";
    enum status status = client_trust(trusted_proxies, forwarded_header);
    if (status == STATUS_OK) {
        status = tracing_open(trace_sampler, trace_ratio);
    }
    if (status == STATUS_OK) {
        status = api_open(config.key_dir); /* before the first use of jansson */
    }
    if (status == STATUS_OK) {
        status = providers_load(config.providers_file, &providers, &why);
    }
    if (status != STATUS_OK) {
        if (*why) {
            log_error("providers", "%s", why);
        }
        return status;
    }
    config.providers = providers;
    default_public_url();
    if (on_tcp()) {
        status = channel_keys(config.key_dir, "gateway");
    }
    if (status == STATUS_OK) {
        status = http_open(loop);
    }
    if (status == STATUS_OK) {
        status = links_open(loop);
    }
    return status == STATUS_OK ? refusals_open(loop) : status;
}

static void gateway_close(void)
{
    http_close();
    refusals_close();
    links_close();
    providers_free(&providers);
}

int main(int argc, char **argv)
{
    static const struct daemon daemon = {
        .name = "gateway",
        .options = options,
        .confine = gateway_confine,
        .open = gateway_open,
        .drain = http_drain,
        .metrics = gateway_metrics,
        .ready = links_ready,
        .close = gateway_close,
    };
    return daemon_run(&daemon, argc, argv);
}
