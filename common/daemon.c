/* daemon.c - the life of every daemon, in one visible order: options, environment, hardening, user,
 * files and ports, open, system calls, loop, close. */
#include "common/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/admin.h"
#include "common/confine_private.h"
#include "common/cores.h"
#include "common/log.h"
#include "common/probe.h"
#include "common/secret.h"

enum { OPTIONS_MAX = 40, DRAIN_MS_MAX = 30000 };

static struct {
    const struct daemon *daemon;
    struct loop *loop;
    struct admin *admin;
    int signal_fd;
    bool draining;
    const char *log_level, *log_format;
    const char *admin_address;
    const char *user;
    uint64_t core;
    bool die_with_parent;
    bool check_sandbox;
    pid_t parent;
    struct confinement confinement;
} self = {.signal_fd = -1, .log_level = "info", .log_format = "text", .core = CORES_ANY};

static const struct option common_options[] = {
    {"log-level", OPTION_TEXT, &self.log_level, "LEVEL debug, info, warn or error", false},
    {"log-format", OPTION_TEXT, &self.log_format, "FORMAT text, or json: an object a line", false},
    {"admin", OPTION_TEXT, &self.admin_address, "HOST:PORT for health and metrics", false},
    {"die-with-parent", OPTION_FLAG, &self.die_with_parent, "stop when the parent process ends",
     false},
    {"user", OPTION_TEXT, &self.user, "NAME or number to become when started as root", false},
    {"core", OPTION_NUMBER, &self.core, "NUMBER of the one core to run on, from 0; any by default",
     false},
    {"check-sandbox", OPTION_FLAG, &self.check_sandbox,
     "try what it must not be able to do, say how that went, and end", false},
};

/* A check needs no data and no peers; with the options of a real start it says more. */
static bool only_checks(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--check-sandbox") == 0) {
            return true;
        }
    }
    return false;
}

static enum status parse_options(const struct daemon *daemon, int argc, char **argv)
{
    struct option all[OPTIONS_MAX];
    size_t count = sizeof common_options / sizeof common_options[0];
    char program[64];
    memcpy(all, common_options, sizeof common_options);
    for (const struct option *option = daemon->options; option->name; option++) {
        if (count == OPTIONS_MAX - 1) {
            return STATUS_INTERNAL;
        }
        all[count] = *option;
        all[count++].required = option->required && !only_checks(argc, argv);
    }
    all[count] = (struct option){NULL, OPTION_TEXT, NULL, NULL, false};
    snprintf(program, sizeof program, "seks-%s", daemon->name);
    return options_parse(program, all, argc, argv);
}

/* The index of TEXT in the NULL-ended WORDS, or -1. */
static int word_index(const char *const *words, const char *text)
{
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], text) == 0) {
            return i;
        }
    }
    return -1;
}

static enum status open_log(const char *name)
{
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    static const char *const formats[] = {"text", "json", NULL};
    int level = word_index(levels, self.log_level), format = word_index(formats, self.log_format);
    if (level < 0 || format < 0) {
        fprintf(stderr, "seks-%s: --log-%s\n", name,
                level < 0 ? "level takes debug, info, warn or error" : "format takes text or json");
        return STATUS_INVALID;
    }
    log_open(name, (enum log_level)level);
    log_use((enum log_format)format);
    return STATUS_OK;
}

/* The environment steers libraries (proxies, key logs, CA bundles) and may hold secrets. */
static void forget_environment(void)
{
    if (self.daemon->environment) {
        self.daemon->environment();
    }
    for (char **variable = environ; variable && *variable; variable++) {
        explicit_bzero(*variable, strlen(*variable)); /* /proc/PID/environ shows this very memory */
    }
    clearenv();
}

static void allow_locked_pages(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)!setrlimit(RLIMIT_MEMLOCK, &limit); /* secret_memory_name() tells how it went */
    }
}

/* Also after the user has changed, which turns some of it off again. */
static enum status harden(void)
{
    const struct rlimit none = {0, 0};
    umask(077);
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        log_error("harden", "cannot turn core dumps off: %s", strerror(errno));
        return STATUS_INTERNAL;
    }
    if (self.die_with_parent && prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) == 0 &&
        getppid() != self.parent) {
        log_error("start", "the parent process has ended already");
        return STATUS_CANCELLED;
    }
    return STATUS_OK;
}

static void stop(void *arg)
{
    (void)arg;
    loop_stop(self.loop);
}

static void begin_stop(int number)
{
    log_info("stop", "signal %d", number);
    if (!self.daemon->drain || self.draining) {
        loop_stop(self.loop);
        return;
    }
    self.draining = true;
    if (loop_once(self.loop, DRAIN_MS_MAX, stop, NULL) < 0) {
        loop_stop(self.loop);
    }
    self.daemon->drain(self.loop);
}

static void on_signal(void *arg)
{
    struct signalfd_siginfo info;
    (void)arg;
    if (read(self.signal_fd, &info, sizeof info) != (ssize_t)sizeof info) {
        return;
    }
    if (info.ssi_signo == SIGHUP) {
        if (self.daemon->reload) {
            self.daemon->reload();
        }
        return;
    }
    begin_stop((int)info.ssi_signo);
}

/* Before the first thread, so that every thread has them blocked and only the loop sees them. */
static enum status open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
        return STATUS_INTERNAL;
    }
    self.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    self.loop = loop_new();
    if (self.signal_fd < 0 || !self.loop) {
        return STATUS_INTERNAL;
    }
    return loop_watch(self.loop, self.signal_fd, on_signal, NULL);
}

static void close_all(void)
{
    admin_close(&self.admin);
    self.daemon->close();
    loop_free(&self.loop);
    if (self.signal_fd >= 0) {
        close(self.signal_fd);
    }
}

static enum status open_all(void)
{
    enum status status = open_signals();
    if (status == STATUS_OK) {
        status = self.daemon->open(self.loop);
    }
    if (status == STATUS_OK && self.admin_address) {
        status = admin_open(self.loop, self.daemon, self.admin_address, &self.admin);
    }
    return status;
}

/* Before the first thread and the first file. */
static enum status confine_first(void)
{
    allow_locked_pages();
    enum status status = cores_keep(self.core);
    if (status != STATUS_OK) {
        log_error("start", "--core %" PRIu64 ": this process has no such core", self.core);
        return status;
    }
    status = harden();
    if (status == STATUS_OK) {
        status = confine_become(self.daemon->name, self.user, &self.confinement);
    }
    if (status == STATUS_OK) {
        status = confine_begin(self.daemon, self.admin_address, &self.confinement);
    }
    confine_free(&self.confinement);
    return status;
}

/* When all is open. */
static enum status confine_last(void)
{
    enum status status = confine_drop(&self.confinement);
    if (status == STATUS_OK) {
        status = harden();
    }
    return status == STATUS_OK ? confine_calls(&self.confinement) : status;
}

int daemon_run(const struct daemon *daemon, int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--probe") == 0) {
        return probe(argv[2]);
    }
    /* Small pieces are kept apart when they are freed, and all of them put together again whenever a
     * larger one is asked for, which here is at every call. */
    (void)mallopt(M_MXFAST, 0);
    self.daemon = daemon;
    self.parent = getppid();
    if (parse_options(daemon, argc, argv) != STATUS_OK || open_log(daemon->name) != STATUS_OK) {
        return 2;
    }
    forget_environment();
    if (self.check_sandbox) {
        return confine_check(daemon, self.user, self.admin_address);
    }
    enum status status = confine_first();
    if (status == STATUS_OK) {
        status = open_all();
    }
    if (status == STATUS_OK) {
        status = confine_last();
    }
    if (status != STATUS_OK) {
        log_error("start", "cannot start: %s", status_name(status));
        if (self.confinement.became) {
            (void)!confine_drop(&self.confinement); /* it ends in any case */
        }
        close_all();
        return 1;
    }
    log_info("start", "version %s, user %u, keys in %s", SEKS_VERSION, (unsigned)geteuid(),
             secret_memory_name());
    loop_run(self.loop);
    close_all();
    log_info("end", "stopped");
    return 0;
}
