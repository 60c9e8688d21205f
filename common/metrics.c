/* metrics.c - writes numbers as Prometheus reads them. */
#include "common/metrics.h"

#include <stdio.h>

static const uint64_t bounds_us[HISTOGRAM_BUCKETS] = {
    100,    250,    500,     1000,    2500,    5000,     10000,    25000,
    50000,  100000, 250000,  500000,  1000000, 5000000,  20000000, 60000000,
};

void metrics_rows(struct buffer *text, const struct metric *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buffer_printf(text, "# TYPE %s %s\n%s %llu\n", rows[i].name, rows[i].kind, rows[i].name,
                      (unsigned long long)rows[i].value);
    }
}

void tally_add(struct tally *tally, const char *a, const char *b)
{
    size_t i = 0;
    while (i < tally->used && (tally->rows[i].a != a || tally->rows[i].b != b)) {
        i++;
    }
    if (i == TALLY_ROWS) {
        tally->other++;
        return;
    }
    if (i == tally->used) {
        tally->rows[tally->used++] = (struct tally_row){a, b, 0};
    }
    tally->rows[i].count++;
}

static void append_line(struct buffer *text, const char *name, const char *a, const char *b,
                        const struct tally_row *row)
{
    buffer_printf(text, "%s{%s=\"%s\"", name, a, row->a);
    if (b) {
        buffer_printf(text, ",%s=\"%s\"", b, row->b);
    }
    buffer_printf(text, "} %llu\n", (unsigned long long)row->count);
}

void metrics_tally(struct buffer *text, const char *name, const char *a, const char *b,
                   const struct tally *tally)
{
    buffer_printf(text, "# TYPE %s counter\n", name);
    for (size_t i = 0; i < tally->used; i++) {
        append_line(text, name, a, b, &tally->rows[i]);
    }
    if (tally->other > 0) {
        append_line(text, name, a, b, &(struct tally_row){"other", "other", tally->other});
    }
}

void histogram_add(struct histogram *histogram, uint64_t us)
{
    size_t i = 0;
    while (i < HISTOGRAM_BUCKETS && us > bounds_us[i]) {
        i++;
    }
    histogram->counts[i]++;
    histogram->sum_us += us;
}

void metrics_histogram(struct buffer *text, const char *name, const struct histogram *histogram)
{
    uint64_t count = 0;
    buffer_printf(text, "# TYPE %s histogram\n", name);
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        count += histogram->counts[i];
        buffer_printf(text, "%s_bucket{le=\"%g\"} %llu\n", name, (double)bounds_us[i] / 1e6,
                      (unsigned long long)count);
    }
    count += histogram->counts[HISTOGRAM_BUCKETS];
    buffer_printf(text, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.6f\n%s_count %llu\n", name,
                  (unsigned long long)count, name, (double)histogram->sum_us / 1e6, name,
                  (unsigned long long)count);
}

const char *metrics_http(unsigned http)
{
    static char texts[600][4]; /* 100 to 599; a text is written once and stays */
    if (http < 100 || http >= 600) {
        return "0";
    }
    if (texts[http][0] == 0) {
        (void)snprintf(texts[http], sizeof texts[http], "%03u", http % 1000);
    }
    return texts[http];
}
