/* confine_check.c - --check-sandbox: each line is one thing that this daemon must not be able to do,
 * tried by a process that was confined as the daemon is.
 *
 * A try that is refused, or that the kernel ends, is "ok"; one that works is "FAILED". */
#include "common/confine_private.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UNLIKELY_PORT = 9, CODE_BYTES = 4096, PATH_BYTES = 4096 };

static struct confinement confinement;
static const char abstract_name[] = "\0seks-check-sandbox";

/* ---- what is tried: true when it worked ---- */

static bool reads(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0;
}

static bool read_program(void)
{
    return reads("/bin/sh");
}

static bool is_own_file(const char *path)
{
    for (size_t i = 0; i < confinement.rule_count; i++) {
        if (strcmp(confinement.rules[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

/* Of the files beside its own keys, any but the public ones. */
static bool read_other_key(void)
{
    DIR *list = confinement.key_dir ? opendir(confinement.key_dir) : NULL;
    for (struct dirent *entry; list && (entry = readdir(list));) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s/%s", confinement.key_dir, entry->d_name);
        if (entry->d_name[0] != '.' && !is_own_file(path) && reads(path)) {
            return true;
        }
    }
    return false;
}

static bool read_other_process(void)
{
    return reads("/proc/1/status");
}

static bool read_home(void)
{
    return opendir("/root") || opendir("/home");
}

static bool write_tmp(void)
{
    const char path[] = "/tmp/seks-check-sandbox";
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)unlink(path);
    }
    return fd >= 0;
}

static bool run_program(void)
{
    char name[] = "true";
    char *arguments[] = {name, NULL};
    int out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)out;
    (void)execv("/bin/true", arguments);
    return false; /* a program that ran ends with 0, see below */
}

static bool make_process(void)
{
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) {
        _exit(0);
    }
    return pid > 0;
}

static bool look_into_parent(void)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)(uintptr_t)&confinement, 1};
    return syscall(SYS_process_vm_readv, getppid(), &here, 1, &there, 1, 0) == 1;
}

static bool trace_parent(void)
{
    return syscall(SYS_ptrace, 16 /* PTRACE_ATTACH */, getppid(), NULL, NULL) == 0;
}

static bool signal_parent(void)
{
    return kill(getppid(), 0) == 0;
}

static bool become_root(void)
{
    return setuid(0) == 0 || seteuid(0) == 0;
}

static bool connect_to(unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == ECONNREFUSED);
}

static bool connect_elsewhere(void)
{
    return connect_to(UNLIKELY_PORT);
}

static bool listen_anywhere(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0;
}

static bool any_internet_socket(void)
{
    return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0 ||
           socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static bool packet_socket(void)
{
    return socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP) >= 0 ||
           socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0) >= 0;
}

static bool connect_abstract(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, abstract_name, sizeof abstract_name - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof abstract_name - 1);
    return fd >= 0 && connect(fd, (struct sockaddr *)&to, size) == 0;
}

static bool run_what_it_wrote(void)
{
    void *code = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return code != MAP_FAILED && mprotect(code, CODE_BYTES, PROT_READ | PROT_EXEC) == 0;
}

static bool map_code(void)
{
    return mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                -1, 0) != MAP_FAILED;
}

static bool new_namespace(void)
{
    return syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */) == 0;
}

static bool use_key_ring(void)
{
    return syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -2, 0) != -1;
}

static bool use_io_uring(void)
{
    char parameters[120] = {0};
    return syscall(SYS_io_uring_setup, 1, parameters) >= 0;
}

static bool load_bpf(void)
{
    char attributes[64] = {0};
    return syscall(SYS_bpf, 0, attributes, sizeof attributes) >= 0;
}

static bool write_core(void)
{
    struct rlimit limit = {1, 1};
    return setrlimit(RLIMIT_CORE, &limit) == 0;
}

static bool has_capability(void)
{
    return syscall(SYS_prctl, PR_CAPBSET_READ, 1 /* CAP_DAC_OVERRIDE */) == 1 && geteuid() == 0 &&
           reads("/etc/shadow");
}

/* ---- what is looked at: true when it is not as it should be ---- */

static bool is_root(void)
{
    return geteuid() == 0 || getuid() == 0;
}

static bool is_dumpable(void)
{
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0;
}

static bool gains_privileges(void)
{
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

static bool is_unfiltered(void)
{
    return !confinement.seccomp;
}

static bool has_no_landlock(void)
{
    return !confinement.landlock;
}

static bool has_environment(void)
{
    return environ && *environ;
}

static bool limits_core(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_cur != 0 || limit.rlim_max != 0;
}

/* LOOKED: before the filter is on, as looking takes calls that a daemon may not make. */
static const struct attempt {
    const char *what;
    bool (*worked)(void);
    bool looked;
    unsigned not_for; /* groups of daemons that may do this */
} attempts[] = {
    {"run as root", is_root, true, 0},
    {"be dumped or traced by its own user", is_dumpable, true, 0},
    {"write a core", limits_core, true, 0},
    {"gain privileges by running a program", gains_privileges, true, 0},
    {"keep its environment", has_environment, true, 0},
    {"run without Landlock", has_no_landlock, true, 0},
    {"run without a filter of system calls", is_unfiltered, false, 0},
    {"raise its limit for cores", write_core, false, 0},
    {"read a file that is not its own", read_program, false, 0},
    {"read another daemon's key", read_other_key, false, 0},
    {"read what the kernel says of another process", read_other_process, false,
     CONFINE_SANITIZER},
    {"list home directories", read_home, false, 0},
    {"write a file outside its data", write_tmp, false, 0},
    {"read root's files", has_capability, true, 0},
    {"become root", become_root, false, 0},
    {"run another program", run_program, false, 0},
    {"make another process", make_process, false, CONFINE_SANITIZER},
    {"read another process's memory", look_into_parent, false, 0},
    {"trace another process", trace_parent, false, 0},
    {"send a signal to another process", signal_parent, false, 0},
    {"connect to a TCP port that is not named", connect_elsewhere, false, 0},
    {"listen on a TCP port that is not named", listen_anywhere, false, 0},
    {"make an internet socket", any_internet_socket, false, CONFINE_INET},
    {"make a raw socket", packet_socket, false, 0},
    {"reach another program's abstract socket", connect_abstract, false, 0},
    {"run what it wrote into memory", run_what_it_wrote, false, CONFINE_SANITIZER},
    {"map memory to write and to run", map_code, false, CONFINE_SANITIZER},
    {"make a namespace", new_namespace, false, 0},
    {"use the kernel's key rings", use_key_ring, false, 0},
    {"use io_uring", use_io_uring, false, 0},
    {"load a program into the kernel", load_bpf, false, 0},
};

/* ---- trying ---- */

/* A process's exit status.  A program that was started ends with 0: that worked, too. */
enum outcome { WORKED = 0, REFUSED = 10, BROKEN = 11, ALLOWED = 12 /* to this daemon */ };

/* In a process of its own: confined, it tries one thing and ends. */
static enum outcome try_confined(const struct daemon *daemon, const char *user,
                                 const char *admin_address, const struct attempt *attempt)
{
    const struct rlimit none = {0, 0};
    umask(077);
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        confine_become(daemon->name, user, &confinement) != STATUS_OK ||
        confine_begin(daemon, admin_address, &confinement) != STATUS_OK ||
        confine_drop(&confinement) != STATUS_OK || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        return BROKEN;
    }
    if (attempt->not_for & confinement.groups) {
        return ALLOWED;
    }
    if (!attempt->looked && confine_calls(&confinement) != STATUS_OK) {
        return BROKEN;
    }
    return attempt->worked() ? WORKED : REFUSED;
}

static enum outcome try_apart(const struct daemon *daemon, const char *user,
                              const char *admin_address, const struct attempt *attempt)
{
    int status = 0;
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        _exit((int)try_confined(daemon, user, admin_address, attempt));
    }
    bool ended = pid > 0 && waitpid(pid, &status, 0) == pid;
    bool killed = ended && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
    enum outcome outcome = killed                       ? REFUSED
                           : ended && WIFEXITED(status) ? (enum outcome)WEXITSTATUS(status)
                                                        : BROKEN;
    if (outcome != ALLOWED) {
        printf("%s  must not %s%s\n", outcome == REFUSED ? "ok    " : "FAILED", attempt->what,
               killed ? " (ended by the kernel)" : outcome == BROKEN ? " (cannot be tried)" : "");
    }
    return outcome;
}

static int listen_abstract(void)
{
    struct sockaddr_un here = {.sun_family = AF_UNIX};
    memcpy(here.sun_path, abstract_name, sizeof abstract_name - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof abstract_name - 1);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&here, size) != 0 || listen(fd, 1) != 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int confine_check(const struct daemon *daemon, const char *user, const char *admin_address)
{
    size_t failed = 0, count = 0;
    int abstract = listen_abstract(); /* when another check listens there, that does as well */
    enum outcome outcome;
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        outcome = try_apart(daemon, user, admin_address, &attempts[i]);
        count += outcome != ALLOWED;
        failed += outcome == WORKED || outcome == BROKEN;
    }
    if (abstract >= 0) {
        close(abstract);
    }
    printf("seks-%s: %zu of %zu things that it must not do are refused\n", daemon->name,
           count - failed, count);
    return failed > 0;
}
