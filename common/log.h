/* log.h - one line a happening, on standard error, with nothing in it that could forge another.
 *
 * As text "TIME LEVEL DAEMON COMPONENT message request=ID tenant=ID", control bytes and non-ASCII as
 * \xNN; or as one JSON object a line: time, level, daemon, component, message and, where the line is
 * about a request, request and tenant.  Mains and the handler that decides log, once; helpers return.
 * Never a header, a body or a token. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdint.h>

#include "common/bytes.h"

enum log_level { LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARN, LEVEL_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

/* NAME is kept by reference; lines below LEVEL are dropped. */
void log_open(const char *name, enum log_level level);
void log_use(enum log_format format); /* text, unless it is called */

void log_line(enum log_level level, const char *component, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(component, ...) log_line(LEVEL_DEBUG, component, __VA_ARGS__)
#define log_info(component, ...) log_line(LEVEL_INFO, component, __VA_ARGS__)
#define log_warn(component, ...) log_line(LEVEL_WARN, component, __VA_ARGS__)
#define log_error(component, ...) log_line(LEVEL_ERROR, component, __VA_ARGS__)

/* Which request this thread's lines are about.  Both are kept by reference and may be empty. */
struct log_subject {
    struct view request, tenant;
};
extern _Thread_local struct log_subject log_subject;

/* A text that is looked at when a line is written: it may be filled until then. */
static inline struct view log_id(const char *text)
{
    return (struct view){(const uint8_t *)text, SIZE_MAX};
}
static inline struct log_subject log_about(struct view request, struct view tenant)
{
    struct log_subject before = log_subject;
    log_subject = (struct log_subject){request, tenant};
    return before;
}
static inline void log_about_end(const struct log_subject *before)
{
    log_subject = *before;
}
/* What REQUEST and TENANT view is about to be freed. */
static inline void log_about_nothing(void)
{
    log_subject = (struct log_subject){{NULL, 0}, {NULL, 0}};
}
/* From here to the end of the block. */
#define LOG_ABOUT(request, tenant) \
    struct log_subject log_subject_before __attribute__((unused)) CLEANUP(log_about_end) = log_about(request, tenant)

/* At most one line a second, for what a stranger can cause: true when it is time for one, and then
 * RET_COUNT is how often it happened since the last. */
struct log_limit {
    uint64_t next_ms;
    uint64_t count;
};
int log_due(struct log_limit *limit, uint64_t *ret_count);

#endif
