/* metrics.c - what the gateway counts and measures, for /metrics. */
#include "services/gateway/tracing.h"

#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"

static struct {
    struct tally requests, calls, refusals;
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
static void tell(const struct visit *visit, uint64_t took_us)
{
    LOG_ABOUT(log_id(visit->request), VIEW(""));
    log_debug("request", "%s %s: %u in %llu us", visit->method, visit->provider ? visit->provider : "-",
              visit->http, (unsigned long long)took_us);
}

void metrics_refusal(const char *why)
{
    tally_add(&metrics.refusals, why, NULL);
}

void metrics_visit(struct visit *visit)
{
    uint64_t took_us = clock_mono_us() - visit->began_us;
    tell(visit, took_us);
    const char *http = metrics_http(visit->http);
    tally_add(&metrics.requests, kind_of(visit), http);
    if (visit->provider) {
        tally_add(&metrics.calls, visit->provider, http);
    }
    if (visit->began_us > 0) {
        histogram_add(&metrics.took, took_us);
    }
    if (visit->trace) {
        tracing_end(visit);
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
        {"seks_gateway_waiting_for_proxy", "gauge", proxies_waited_for()},
        {"seks_gateway_traces_lost_total", "counter", tracing_lost()},
    };
    metrics_rows(text, rows, sizeof rows / sizeof rows[0]);
    links_metrics(text);
    proxies_metrics(text);
    metrics_tally(text, "seks_http_requests_total", "kind", "code", &metrics.requests);
    metrics_tally(text, "seks_calls_total", "provider", "code", &metrics.calls);
    metrics_tally(text, "seks_gateway_refusals_total", "reason", NULL, &metrics.refusals);
    metrics_histogram(text, "seks_http_request_seconds", &metrics.took);
    metrics_histogram(text, "seks_vault_decision_seconds", &metrics.vault);
    metrics_histogram(text, "seks_upstream_first_byte_seconds", &metrics.upstream);
}
