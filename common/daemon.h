/* daemon.h - what every daemon does in the same order: options, log, open, lock down, loop, close. */
#ifndef COMMON_DAEMON_H
#define COMMON_DAEMON_H

#include "common/bytes.h"
#include "common/confine.h"
#include "common/loop.h"
#include "common/options.h"

struct daemon {
    const char *name;             /* "vault" */
    const struct option *options; /* its own; the common ones are added, see daemon_run() */
    /* Reads what it needs of the environment, which is cleared after; NULL for nothing. */
    void (*environment)(void);
    /* Names the files and ports that it needs, at its opening and after; logs its own failure.
     * Whatever is not named cannot be opened.  NULL for none. */
    enum status (*confine)(struct confinement *confinement);
    /* Opens files, keys and sockets; logs its own failure.  Any system call may be made here still;
     * afterwards those in confine_calls.c alone. */
    enum status (*open)(struct loop *loop);
    /* On SIGTERM or SIGINT: stop taking work and loop_stop() when none is left; NULL stops at once.
     * A second signal, or 30 s, stops whatever is left. */
    void (*drain)(struct loop *loop);
    /* SIGHUP: read again what may change (certificates, providers); NULL ignores it. */
    void (*reload)(void);
    /* Appends Prometheus lines to the text for /metrics; NULL for none. */
    void (*metrics)(struct buffer *text);
    /* Whether the daemon can serve (its peers answer), for /readyz; NULL for always. */
    bool (*ready)(void);
    /* A sentence for /readyz when it cannot; NULL or "" for none. */
    const char *(*why_not_ready)(void);
    /* Closes all in reverse; takes a half-opened state. */
    void (*close)(void);
};

/* The whole life of a daemon; returns main's exit status.
 * Common options: --log-level, --admin HOST:PORT (health and metrics, none when not given),
 * --die-with-parent, --user, --core, --check-sandbox.  Before opening: umask 077, SIGPIPE ignored, no core
 * files, not dumpable, the environment cleared but for what the options took, and confined
 * (confine.h).  Prints nothing on standard output but the outcome of --check-sandbox.
 * `--probe HOST:PORT` alone asks a running daemon's admin port and ends; see probe.h. */
int daemon_run(const struct daemon *daemon, int argc, char **argv);

#endif
