/* pg_connect.c - one connection to PostgreSQL, and the thread that makes the next one.
 *
 * libpq looks names up and shakes hands while its caller waits, some seconds at worst: once the loop runs
 * that is a thread's.  It connects and nothing else; the connection is handed over whole.
 */
#include "pg.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* ---- parameters ---- */

/* What a connection has unless WHERE says otherwise. */
static const struct {
    const char *name, *value;
    bool always;
} defaults[] = {
    {"connect_timeout", "3", false}, /* seconds, for each host */
    {"tcp_user_timeout", "3000", false},
    {"keepalives_idle", "10", false},
    {"keepalives_interval", "3", false},
    {"keepalives_count", "3", false},
    {"target_session_attrs", "read-write", false}, /* of several hosts the one that takes changes */
    {"application_name", "seks-vault", false},
    {"passfile", "/nonexistent", false}, /* not somebody's in a home directory */
    {"client_encoding", "UTF8", true},
    {"gssencmode", "disable", true},
};

static PQconninfoOption *find(PQconninfoOption *options, const char *name)
{
    PQconninfoOption *option = options;
    while (option && option->keyword && strcmp(option->keyword, name) != 0) {
        option++;
    }
    return option && option->keyword ? option : NULL;
}

PQconninfoOption *pg_parameters(const char *where, char **ret_why)
{
    static const char prefix[] = "conninfo:";
    bool plain = strncmp(where, prefix, sizeof prefix - 1) == 0;
    PQconninfoOption *options = PQconninfoParse(plain ? where + sizeof prefix - 1 : where, ret_why);
    for (size_t i = 0; options && i < sizeof defaults / sizeof defaults[0]; i++) {
        PQconninfoOption *option = find(options, defaults[i].name);
        if (option && (!option->val || !option->val[0] || defaults[i].always)) {
            free(option->val);
            option->val = strdup(defaults[i].value);
        }
    }
    return options;
}

const char *pg_parameter(const PQconninfoOption *options, const char *name)
{
    for (; options->keyword; options++) {
        if (strcmp(options->keyword, name) == 0) {
            return options->val ? options->val : "";
        }
    }
    return "";
}

/* ---- one connection ---- */

static void complain(const char *text)
{
    static struct log_limit limit;
    char line[512];
    uint64_t count;
    if (!log_due(&limit, &count)) {
        return;
    }
    size_t size = strcspn(text, "\n");
    (void)view_copy(view_of(text, size < sizeof line ? size : sizeof line - 1), line, sizeof line);
    log_error("store", "cannot connect to PostgreSQL: %s (%llu times)", line,
              (unsigned long long)count);
}

/* What one of these databases may not have is no reason not to use it. */
static void set_up(PGconn *conn)
{
    static const char *const rows[] = {
        "SET statement_timeout = '3s'",
        "SET idle_in_transaction_session_timeout = '5s'",
        "SET client_min_messages = 'error'",
        /* `off` would acknowledge what a crash can lose. */
        ("SELECT set_config('synchronous_commit', 'on', false)"
         " WHERE current_setting('synchronous_commit') = 'off'"),
    };
    _Static_assert(PG_STATEMENT_MS == 3000 && PG_IDLE_MS == 5000, "as the rows say");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        PQclear(PQexec(conn, rows[i]));
    }
}

static void say_nothing(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

PGconn *pg_connect(const char *where)
{
    const char *names[64], *values[64];
    size_t count = 0;
    PQconninfoOption *options = pg_parameters(where, NULL);
    for (PQconninfoOption *option = options; option && option->keyword && count < 63; option++) {
        if (option->val) {
            names[count] = option->keyword;
            values[count++] = option->val;
        }
    }
    names[count] = values[count] = NULL;
    PGconn *conn = options ? PQconnectdbParams(names, values, 0) : NULL;
    PQconninfoFree(options);
    if (!conn || PQstatus(conn) != CONNECTION_OK) {
        complain(conn ? PQerrorMessage(conn) : "no memory");
        PQfinish(conn);
        return NULL;
    }
    (void)PQsetNoticeReceiver(conn, say_nothing, NULL);
    set_up(conn);
    if (PQsetnonblocking(conn, 1) != 0 || PQstatus(conn) != CONNECTION_OK) {
        complain(PQerrorMessage(conn));
        PQfinish(conn);
        return NULL;
    }
    return conn;
}

/* ---- the thread ---- */

struct pg_connector {
    const char *where;
    struct loop *loop;
    int event_fd;
    loop_fn *made_fn;
    void *arg;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* under the lock: */
    bool wanted, stop;
    PGconn *made;
};

enum { PAUSE_FIRST_MS = 20, PAUSE_MAX_MS = 500 };

static void sleep_until_woken(struct pg_connector *connector, long ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until); /* what the condition waits by */
    until.tv_nsec += ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_cond_timedwait(&connector->wake, &connector->lock, &until);
}

static void *thread_main(void *arg)
{
    struct pg_connector *connector = arg;
    long pause_ms = PAUSE_FIRST_MS;
    pthread_mutex_lock(&connector->lock);
    while (!connector->stop) {
        if (!connector->wanted) {
            pthread_cond_wait(&connector->wake, &connector->lock);
            continue;
        }
        pthread_mutex_unlock(&connector->lock);
        PGconn *conn = pg_connect(connector->where);
        pthread_mutex_lock(&connector->lock);
        if (!conn) {
            sleep_until_woken(connector, pause_ms);
            pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
            continue;
        }
        uint64_t one = 1;
        pause_ms = PAUSE_FIRST_MS;
        connector->wanted = false;
        connector->made = conn;
        (void)!write(connector->event_fd, &one, sizeof one); /* fails only when it is readable anyway */
    }
    pthread_mutex_unlock(&connector->lock);
    return NULL;
}

static void came(void *arg)
{
    struct pg_connector *connector = arg;
    uint64_t count;
    (void)!read(connector->event_fd, &count, sizeof count); /* only clears it */
    connector->made_fn(connector->arg);
}

enum status pg_connector_new(const char *where, struct loop *loop, loop_fn *made, void *arg,
                             struct pg_connector **ret_connector)
{
    struct pg_connector *connector = calloc(1, sizeof *connector);
    if (!connector) {
        return STATUS_INTERNAL;
    }
    connector->where = where;
    connector->loop = loop;
    connector->made_fn = made;
    connector->arg = arg;
    pthread_mutex_init(&connector->lock, NULL);
    pthread_cond_init(&connector->wake, NULL);
    connector->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (connector->event_fd >= 0 &&
        loop_watch(loop, connector->event_fd, came, connector) == STATUS_OK) {
        connector->started = pthread_create(&connector->thread, NULL, thread_main, connector) == 0;
    }
    if (!connector->started) {
        pg_connector_free(&connector);
        return STATUS_INTERNAL;
    }
    *ret_connector = connector;
    return STATUS_OK;
}

void pg_connector_free(struct pg_connector **connector_ref)
{
    struct pg_connector *connector = *connector_ref;
    if (!connector) {
        return;
    }
    if (connector->started) {
        pthread_mutex_lock(&connector->lock);
        connector->stop = true;
        pthread_cond_signal(&connector->wake);
        pthread_mutex_unlock(&connector->lock);
        pthread_join(connector->thread, NULL); /* a connection in the making has its own end */
    }
    if (connector->event_fd >= 0) {
        loop_unwatch(connector->loop, connector->event_fd);
        close(connector->event_fd);
    }
    PQfinish(connector->made);
    pthread_cond_destroy(&connector->wake);
    pthread_mutex_destroy(&connector->lock);
    free(connector);
    *connector_ref = NULL;
}

void pg_connector_want(struct pg_connector *connector)
{
    pthread_mutex_lock(&connector->lock);
    connector->wanted = true;
    pthread_cond_signal(&connector->wake);
    pthread_mutex_unlock(&connector->lock);
}

PGconn *pg_connector_take(struct pg_connector *connector)
{
    pthread_mutex_lock(&connector->lock);
    PGconn *conn = TAKE(connector->made);
    pthread_mutex_unlock(&connector->lock);
    return conn;
}
