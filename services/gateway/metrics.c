/* metrics.c - what the gateway counts and measures, for /metrics. */
#include "services/gateway/gateway.h"

#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"

static struct {
    struct tally requests, calls;
    struct histogram took, vault, upstream;
} metrics;

static const char *kind_of(const struct visit *visit)
{
    const char *target = visit->target ? visit->target : "";
    static const struct {
        const char *prefix, *kind;
    } rows[] = {{"/api/", "passthrough"}, {"/v1/", "api"}, {"/healthz", "health"}, {"/readyz", "health"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strncmp(target, rows[i].prefix, strlen(rows[i].prefix)) == 0) {
            return rows[i].kind;
        }
    }
    return "page";
}

/* Not the target, which may hold what is nobody's business: the audit log has the path. */
static void tell(const struct visit *visit)
{
    LOG_ABOUT(log_id(visit->request), VIEW(""));
    log_debug("request", "%s %s: %u in %llu us", visit->method, visit->provider ? visit->provider : "-",
              visit->http, (unsigned long long)(clock_mono_us() - visit->began_us));
}

void metrics_visit(const struct visit *visit)
{
    tell(visit);
    const char *http = metrics_http(visit->http);
    tally_add(&metrics.requests, kind_of(visit), http);
    if (visit->provider) {
        tally_add(&metrics.calls, visit->provider, http);
    }
    if (visit->began_us > 0) {
        histogram_add(&metrics.took, clock_mono_us() - visit->began_us);
    }
}

void metrics_vault(uint64_t asked_us)
{
    histogram_add(&metrics.vault, clock_mono_us() - asked_us);
}

void metrics_upstream(uint64_t called_us)
{
    histogram_add(&metrics.upstream, clock_mono_us() - called_us);
}

void gateway_metrics(struct buffer *text)
{
    const struct metric rows[] = {
        {"seks_http_connections", "gauge", http_connections()},
        {"seks_http_requests_running", "gauge", http_visits()},
        {"seks_gateway_questions", "gauge", links_questions()},
        {"seks_gateway_calls", "gauge", proxies_calls()},
        {"seks_gateway_proxies", "gauge", proxies_up()},
    };
    metrics_rows(text, rows, sizeof rows / sizeof rows[0]);
    links_metrics(text);
    proxies_metrics(text);
    metrics_tally(text, "seks_http_requests_total", "kind", "code", &metrics.requests);
    metrics_tally(text, "seks_calls_total", "provider", "code", &metrics.calls);
    metrics_histogram(text, "seks_http_request_seconds", &metrics.took);
    metrics_histogram(text, "seks_vault_decision_seconds", &metrics.vault);
    metrics_histogram(text, "seks_upstream_first_byte_seconds", &metrics.upstream);
}
