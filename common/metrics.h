/* metrics.h - numbers for Prometheus: counters with labels, and histograms of times.
 *
 * Text exposition format 0.0.4.  Labels are strings of the program (names of providers, statuses,
 * reasons), never what a caller sent, so there is a bounded number of them. */
#ifndef COMMON_METRICS_H
#define COMMON_METRICS_H

#include "common/bytes.h"

struct metric {
    const char *name, *kind; /* "counter" or "gauge" */
    uint64_t value;
};
void metrics_rows(struct buffer *text, const struct metric *rows, size_t count);

/* Counts per label pair; more than TALLY_ROWS different ones are counted as "other". */
enum { TALLY_ROWS = 256 };
struct tally {
    struct tally_row {
        const char *a, *b; /* compared as pointers: literals and the like, that live as long */
        uint64_t count;
    } rows[TALLY_ROWS];
    size_t used;
    uint64_t other;
};
void tally_add(struct tally *tally, const char *a, const char *b);
/* NAME{A="...",B="..."} lines; B is NULL when the counter has one label. */
void metrics_tally(struct buffer *text, const char *name, const char *a, const char *b,
                   const struct tally *tally);

enum { HISTOGRAM_BUCKETS = 16 };
struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS + 1]; /* the last: longer than any bound */
    uint64_t sum_us;
};
void histogram_add(struct histogram *histogram, uint64_t us);
/* In seconds, with bounds from 100 us to 60 s. */
void metrics_histogram(struct buffer *text, const char *name, const struct histogram *histogram);

/* A three-digit HTTP status as text that lives for ever; "0" for what is none. */
const char *metrics_http(unsigned http);

#endif
