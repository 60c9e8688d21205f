/* confine_calls.c - the system calls that a running daemon may make; any other one ends it.
 *
 * The filter comes after the opening, over all threads, so it has no call that only a start needs:
 * no exec, no process, no mount, no key ring, no other process's memory. */
#include "common/confine_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"

/* Names that an architecture does not have are left out (arm64 has no `open`). */
static const struct row {
    const char *name;
    unsigned groups; /* any of them */
} rows[] = {
    /* reading, writing, waiting */
    {"read", CONFINE_BASE}, {"write", CONFINE_BASE}, {"readv", CONFINE_BASE},
    {"writev", CONFINE_BASE}, {"pread64", CONFINE_BASE}, {"pwrite64", CONFINE_BASE},
    {"preadv", CONFINE_BASE}, {"pwritev", CONFINE_BASE}, {"lseek", CONFINE_BASE},
    {"close", CONFINE_BASE}, {"dup", CONFINE_BASE}, {"dup3", CONFINE_BASE},
    {"fcntl", CONFINE_BASE}, {"poll", CONFINE_BASE}, {"ppoll", CONFINE_BASE},
    {"select", CONFINE_BASE}, {"pselect6", CONFINE_BASE}, {"epoll_wait", CONFINE_BASE},
    {"epoll_pwait", CONFINE_BASE}, {"epoll_pwait2", CONFINE_BASE}, {"epoll_ctl", CONFINE_BASE},
    {"epoll_create", CONFINE_BASE}, {"epoll_create1", CONFINE_BASE}, {"eventfd2", CONFINE_BASE},
    {"timerfd_create", CONFINE_BASE}, {"timerfd_settime", CONFINE_BASE},
    {"timerfd_gettime", CONFINE_BASE}, {"pipe2", CONFINE_BASE}, {"signalfd4", CONFINE_BASE},
    {"sendfile", CONFINE_BASE}, {"splice", CONFINE_BASE},
    /* sockets; `socket` and `socketpair` are below */
    {"connect", CONFINE_BASE}, {"bind", CONFINE_BASE}, {"listen", CONFINE_BASE},
    {"accept", CONFINE_BASE}, {"accept4", CONFINE_BASE}, {"shutdown", CONFINE_BASE},
    {"sendto", CONFINE_BASE}, {"sendmsg", CONFINE_BASE}, {"sendmmsg", CONFINE_BASE},
    {"recvfrom", CONFINE_BASE}, {"recvmsg", CONFINE_BASE}, {"recvmmsg", CONFINE_BASE},
    {"getsockopt", CONFINE_BASE}, {"setsockopt", CONFINE_BASE}, {"getsockname", CONFINE_BASE},
    {"getpeername", CONFINE_BASE},
    /* memory; mmap and mprotect are below */
    {"munmap", CONFINE_BASE}, {"mremap", CONFINE_BASE}, {"brk", CONFINE_BASE},
    {"madvise", CONFINE_BASE}, {"mlock", CONFINE_BASE}, {"mlock2", CONFINE_BASE},
    {"munlock", CONFINE_BASE}, {"memfd_secret", CONFINE_BASE}, {"membarrier", CONFINE_BASE},
    /* files, as far as Landlock lets them */
    {"open", CONFINE_BASE}, {"openat", CONFINE_BASE}, {"stat", CONFINE_BASE},
    {"fstat", CONFINE_BASE}, {"lstat", CONFINE_BASE}, {"newfstatat", CONFINE_BASE},
    {"statx", CONFINE_BASE}, {"access", CONFINE_BASE}, {"faccessat", CONFINE_BASE},
    {"faccessat2", CONFINE_BASE}, {"readlink", CONFINE_BASE}, {"readlinkat", CONFINE_BASE},
    {"getdents64", CONFINE_BASE}, {"getcwd", CONFINE_BASE}, {"statfs", CONFINE_BASE},
    {"fstatfs", CONFINE_BASE}, {"unlink", CONFINE_BASE}, {"unlinkat", CONFINE_BASE},
    {"fsync", CONFINE_WRITES}, {"fdatasync", CONFINE_WRITES}, {"ftruncate", CONFINE_BASE},
    {"truncate", CONFINE_WRITES}, {"fallocate", CONFINE_WRITES}, {"rename", CONFINE_WRITES},
    {"renameat", CONFINE_WRITES}, {"renameat2", CONFINE_WRITES}, {"mkdir", CONFINE_WRITES},
    {"mkdirat", CONFINE_WRITES}, {"rmdir", CONFINE_WRITES}, {"link", CONFINE_WRITES},
    {"linkat", CONFINE_WRITES}, {"fchmod", CONFINE_WRITES}, {"chmod", CONFINE_WRITES},
    {"fchmodat", CONFINE_WRITES}, {"fchown", CONFINE_WRITES}, {"flock", CONFINE_WRITES},
    {"fadvise64", CONFINE_WRITES}, {"sync_file_range", CONFINE_WRITES}, {"utimensat", CONFINE_WRITES},
    {"umask", CONFINE_WRITES}, {"copy_file_range", CONFINE_WRITES},
    /* time, threads that are there, the end */
    {"clock_gettime", CONFINE_BASE}, {"clock_getres", CONFINE_BASE}, {"gettimeofday", CONFINE_BASE},
    {"time", CONFINE_BASE}, {"nanosleep", CONFINE_BASE}, {"clock_nanosleep", CONFINE_BASE},
    {"times", CONFINE_BASE}, {"getrusage", CONFINE_BASE}, {"futex", CONFINE_BASE},
    {"sched_yield", CONFINE_BASE}, {"sched_getaffinity", CONFINE_BASE}, {"getcpu", CONFINE_BASE},
    {"set_robust_list", CONFINE_BASE}, {"rseq", CONFINE_BASE}, {"set_tid_address", CONFINE_BASE},
    {"rt_sigaction", CONFINE_BASE}, {"rt_sigprocmask", CONFINE_BASE}, {"rt_sigreturn", CONFINE_BASE},
    {"rt_sigpending", CONFINE_BASE}, {"rt_sigtimedwait", CONFINE_BASE},
    {"sigaltstack", CONFINE_BASE}, {"restart_syscall", CONFINE_BASE}, {"exit", CONFINE_BASE},
    {"exit_group", CONFINE_BASE},
    /* who and where it is */
    {"getpid", CONFINE_BASE}, {"gettid", CONFINE_BASE}, {"getppid", CONFINE_BASE},
    {"getuid", CONFINE_BASE}, {"geteuid", CONFINE_BASE}, {"getgid", CONFINE_BASE},
    {"getegid", CONFINE_BASE}, {"uname", CONFINE_BASE}, {"sysinfo", CONFINE_BASE},
    {"getrandom", CONFINE_BASE}, {"getrlimit", CONFINE_BASE},
    /* what ZeroMQ's threads do when they begin, which may be after the filter is on */
    {"sched_getparam", CONFINE_BASE}, {"sched_getscheduler", CONFINE_BASE},
    {"sched_setscheduler", CONFINE_BASE}, {"sched_get_priority_min", CONFINE_BASE},
    {"sched_get_priority_max", CONFINE_BASE}, {"sched_setaffinity", CONFINE_BASE},
    /* leak and crash reports of the sanitizers, which look at the process from a clone of it */
    {"getdents", CONFINE_SANITIZER}, {"ptrace", CONFINE_SANITIZER}, {"wait4", CONFINE_SANITIZER}, {"clone", CONFINE_SANITIZER},
    {"prctl", CONFINE_SANITIZER}, {"mprotect", CONFINE_SANITIZER}, {"mmap", CONFINE_SANITIZER},
    {"prlimit64", CONFINE_SANITIZER}, {"tgkill", CONFINE_SANITIZER},
};

/* That an argument of the call is VALUE, or is so where MASK has bits. */
static struct scmp_arg_cmp masked(unsigned argument, scmp_datum_t mask, scmp_datum_t value)
{
    return (struct scmp_arg_cmp){argument, SCMP_CMP_MASKED_EQ, mask, value};
}

static struct scmp_arg_cmp equal(unsigned argument, scmp_datum_t value)
{
    return (struct scmp_arg_cmp){argument, SCMP_CMP_EQ, value, 0};
}

static int allow(scmp_filter_ctx filter, const char *name, unsigned count,
                 const struct scmp_arg_cmp *conditions)
{
    int number = seccomp_syscall_resolve_name(name);
    return number == __NR_SCMP_ERROR
               ? 0
               : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, count, conditions);
}

static int answer_error(scmp_filter_ctx filter, const char *name, int error)
{
    return seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)error),
                            seccomp_syscall_resolve_name(name), 0);
}

/* The internet where it is not allowed is answered as a family that the kernel does not have: the
 * resolver tries, and goes on without.  Other families end the daemon. */
static int add_sockets(scmp_filter_ctx filter, unsigned groups)
{
    static const struct {
        int family;
        unsigned groups;
    } families[] = {{AF_UNIX, CONFINE_BASE},
                    {AF_INET, CONFINE_INET},
                    {AF_INET6, CONFINE_INET},
                    {AF_NETLINK, CONFINE_THREADS}};
    int bad = 0;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        const struct scmp_arg_cmp same = equal(0, (scmp_datum_t)families[i].family);
        const struct scmp_arg_cmp packets[] = {
            same, masked(1, 0xf, SOCK_DGRAM)};
        const struct scmp_arg_cmp streams[] = {
            same, masked(1, 0xf, SOCK_STREAM)};
        const struct scmp_arg_cmp raw[] = {same, masked(1, 0xf, SOCK_RAW)};
        if (!(groups & families[i].groups)) {
            bad |= seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT),
                                          seccomp_syscall_resolve_name("socket"), 1, &same);
            continue;
        }
        bad |= allow(filter, "socket", 2, streams);
        bad |= allow(filter, "socket", 2, packets);
        if (families[i].family == AF_NETLINK) { /* the only raw one: it asks for own addresses */
            bad |= allow(filter, "socket", 2, raw);
        }
    }
    const struct scmp_arg_cmp local = equal(0, AF_UNIX);
    return bad | allow(filter, "socketpair", 1, &local);
}

/* Memory is writable or runs code, never both, and what was writable never comes to run; only a
 * library that is loaded late (the resolver's) is mapped to run. */
static int add_memory(scmp_filter_ctx filter, unsigned groups)
{
    const struct scmp_arg_cmp no_code = masked(2, PROT_EXEC, 0);
    const struct scmp_arg_cmp no_write = masked(2, PROT_WRITE, 0);
    int bad = allow(filter, "mmap", 1, &no_code) | allow(filter, "mprotect", 1, &no_code);
    if (groups & CONFINE_THREADS) {
        bad |= allow(filter, "mmap", 1, &no_write);
    }
    return bad;
}

/* A thread, never a process.  The flags of clone3 cannot be seen from here: the C library takes
 * clone when clone3 is not there. */
static int add_threads(scmp_filter_ctx filter, unsigned groups)
{
    const struct scmp_arg_cmp thread =
        masked(0, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM);
    int bad = answer_error(filter, "clone3", ENOSYS);
    if (groups & CONFINE_THREADS) {
        bad |= allow(filter, "clone", 1, &thread);
    }
    return bad;
}

/* Of the many things that ioctl does, what libraries ask of sockets and of standard error. */
static int add_ioctls(scmp_filter_ctx filter, unsigned groups)
{
    static const struct {
        unsigned long request;
        unsigned groups;
    } requests[] = {{FIONREAD, CONFINE_BASE},
                    {FIONBIO, CONFINE_BASE},
                    {TIOCOUTQ, CONFINE_BASE}, /* SIOCOUTQ: what a socket has not sent yet */
                    {TCGETS, CONFINE_BASE},
                    {SIOCGIFINDEX, CONFINE_THREADS},
                    {SIOCGIFNAME, CONFINE_THREADS}};
    int bad = 0;
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        const struct scmp_arg_cmp same = masked(1, 0xffffffff,
                                                    requests[i].request);
        bad |= groups & requests[i].groups ? allow(filter, "ioctl", 1, &same) : 0;
    }
    return bad;
}

/* prctl only to name a thread, prlimit only to look, signals only to itself (abort). */
static int add_narrow(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp name = equal(0, 15 /* PR_SET_NAME */);
    const struct scmp_arg_cmp map_name = equal(0, 0x53564d41 /* PR_SET_VMA */);
    const struct scmp_arg_cmp look = equal(2, 0);
    const struct scmp_arg_cmp itself = equal(0, (scmp_datum_t)getpid());
    return allow(filter, "prctl", 1, &name) | allow(filter, "prctl", 1, &map_name) |
           allow(filter, "prlimit64", 1, &look) | allow(filter, "tgkill", 1, &itself);
}

static int fill(scmp_filter_ctx filter, unsigned groups)
{
    int bad = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) |
              seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) | add_threads(filter, groups);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].groups & groups) {
            bad |= allow(filter, rows[i].name, 0, NULL);
        }
    }
    bad |= add_sockets(filter, groups) | add_ioctls(filter, groups);
    if (groups & CONFINE_SANITIZER) {
        return bad; /* mmap, mprotect, prctl are in the rows then */
    }
    return bad | add_memory(filter, groups) | add_narrow(filter);
}

enum status confine_calls(struct confinement *confinement)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter || fill(filter, confinement->groups) != 0) {
        log_error("confine", "cannot make the filter of system calls");
        seccomp_release(filter);
        return STATUS_INTERNAL;
    }
    int error = seccomp_load(filter);
    seccomp_release(filter);
    confinement->seccomp = error == 0;
    if (error == -EINVAL || error == -ENOSYS || error == -EFAULT) {
        log_warn("confine", "this kernel has no seccomp filters: system calls are not filtered");
        return STATUS_OK;
    }
    if (error != 0) {
        log_error("confine", "the filter of system calls is not taken: %s", strerror(-error));
        return STATUS_INTERNAL;
    }
    return STATUS_OK;
}
