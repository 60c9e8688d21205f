/* log.h - one line a happening, on standard error, with nothing in it that could forge another.
 *
 * "TIME LEVEL DAEMON EVENT text": control bytes and non-ASCII in the text become \xNN.  Mains and the
 * handler that decides log, once; helpers return.  Never a header, a body or a token. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdint.h>

enum log_level { LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARN, LEVEL_ERROR };

/* NAME is kept by reference; lines below LEVEL are dropped. */
void log_open(const char *name, enum log_level level);

void log_line(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(event, ...) log_line(LEVEL_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) log_line(LEVEL_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) log_line(LEVEL_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_line(LEVEL_ERROR, event, __VA_ARGS__)

/* At most one line a second, for what a stranger can cause: true when it is time for one, and then
 * RET_COUNT is how often it happened since the last. */
struct log_limit {
    uint64_t next_ms;
    uint64_t count;
};
int log_due(struct log_limit *limit, uint64_t *ret_count);

#endif
