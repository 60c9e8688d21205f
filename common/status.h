/* status.h - the one list of outcomes, from wire to log to HTTP. */
#ifndef COMMON_STATUS_H
#define COMMON_STATUS_H

/* The compiler refuses to let a result be dropped; `(void)` with a reason is the way to do so. */
#define MUST_USE __attribute__((warn_unused_result))

/* Runs FN(&variable) when the variable leaves its scope. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Yields the pointer and leaves NULL behind: ownership moves to the receiver. */
#define TAKE(pointer)                          \
    (__extension__({                           \
        __typeof__(pointer) taken_ = (pointer); \
        (pointer) = NULL;                      \
        taken_;                                \
    }))

/* name, HTTP status code, text a caller may see.  Negative values are failures; the order is the
 * wire format (a status travels as its positive number), so rows are only ever added at the end. */
#define STATUS_LIST(X)                                                                      \
    X(OK, 200, "ok")                                                                        \
    X(INVALID, 400, "the request is malformed")                                             \
    X(UNAUTHENTICATED, 401, "no valid credential")                                          \
    X(DENIED, 403, "not permitted")                                                         \
    X(NOT_FOUND, 404, "not found")                                                          \
    X(CONFLICT, 409, "already exists")                                                      \
    X(TOO_LARGE, 413, "too large")                                                          \
    X(THROTTLED, 429, "too many requests")                                                  \
    X(CANCELLED, 499, "the client went away")                                               \
    X(INTERNAL, 500, "internal error")                                                      \
    X(UPSTREAM, 502, "the provider could not be reached or answered unusably")              \
    X(UNAVAILABLE, 503, "a part of the broker is unavailable")                              \
    X(TIMEOUT, 504, "the provider did not answer in time")                                  \
    X(STORAGE_FULL, 507, "the store is full")                                               \
    X(PROTOCOL, 500, "a peer sent a malformed message")                                     \
    X(BUSY, 503, "busy, try again")                                                         \
    X(LENGTH_REQUIRED, 411, "the length of the body is needed in advance")                  \
    X(MISDIRECTED, 421, "meant for another daemon of its kind")

enum status_number {
#define X(name, http, text) STATUS_NUMBER_##name,
    STATUS_LIST(X)
#undef X
    STATUS_COUNT
};

enum status {
#define X(name, http, text) STATUS_##name = -(int)STATUS_NUMBER_##name,
    STATUS_LIST(X)
#undef X
};

/* The constant's name without its prefix ("NOT_FOUND"), for logs.  Never NULL. */
const char *status_name(enum status status);

/* A sentence that may be shown to any caller.  Never NULL. */
const char *status_text(enum status status);

/* The HTTP status code (RFC 9110 section 15) that the outcome becomes. */
int status_http(enum status status);

/* The number that stands for the status in a message, and back; a number outside the list is
 * STATUS_PROTOCOL. */
unsigned status_to_wire(enum status status);
enum status status_from_wire(unsigned number);

#endif
