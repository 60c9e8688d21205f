/* confine.c - collects what a daemon needs: files, ports, groups of system calls. */
#include "common/confine_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

enum {
    PATH_BYTES = 4096,
    DNS_PORT = 53,
    PUBLIC_ENTRIES_MAX = 1000, /* the system's authorities are some 300 */
    PUBLIC_DEPTH_MAX = 3,      /* a mounted ConfigMap has one level below it */
};

static void add_rule(struct confinement *confinement, const char *path, uint64_t rights)
{
    if (!path) {
        return;
    }
    if (confinement->rule_count == CONFINE_RULES_MAX) {
        confinement->failed = true;
        return;
    }
    char *copy = strdup(path);
    confinement->failed = confinement->failed || !copy;
    if (copy) {
        confinement->rules[confinement->rule_count++] = (struct confine_rule){copy, rights};
    }
}

static void add_port(struct confinement *confinement, uint64_t right, unsigned long port)
{
    for (size_t i = 0; i < confinement->port_count; i++) {
        if (confinement->ports[i].port == port && confinement->ports[i].right == right) {
            return;
        }
    }
    if (confinement->port_count == CONFINE_PORTS_MAX || port > UINT16_MAX) {
        confinement->failed = true;
        return;
    }
    confinement->ports[confinement->port_count++] = (struct confine_port){right, (uint16_t)port};
}

void confine_read(struct confinement *confinement, const char *path)
{
    add_rule(confinement, path, confine_right_read);
}

void confine_read_in(struct confinement *confinement, const char *dir, const char *name)
{
    char path[PATH_BYTES];
    if (dir && snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path) {
        confine_read(confinement, path);
    }
}

/* Whether all below the directory FD, which it closes, may be read by everybody, and made by few. */
static bool is_public(int fd, size_t depth, size_t *entries)
{
    struct stat info;
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    bool good = list && fstat(fd, &info) == 0 && !(info.st_mode & S_IWOTH) && depth <= PUBLIC_DEPTH_MAX;
    for (struct dirent *entry; good && (entry = readdir(list));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        good = ++*entries <= PUBLIC_ENTRIES_MAX &&
               fstatat(fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0;
        if (good && S_ISDIR(info.st_mode)) {
            good = (info.st_mode & S_IROTH) && (info.st_mode & S_IXOTH) &&
                   is_public(openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                             depth + 1, entries);
        } else if (good && !S_ISLNK(info.st_mode)) { /* what a link names is no part of the directory */
            good = S_ISREG(info.st_mode) && (info.st_mode & S_IROTH);
        }
    }
    if (list) {
        closedir(list);
    } else if (fd >= 0) {
        close(fd);
    }
    return good;
}

void confine_read_replaced(struct confinement *confinement, const char *path)
{
    char dir[PATH_BYTES];
    size_t entries = 0;
    for (size_t i = 0; path && i < confinement->rule_count; i++) {
        if (strcmp(confinement->rules[i].path, path) == 0) {
            return; /* several rows may have one file */
        }
    }
    confine_read(confinement, path);
    if (!path || snprintf(dir, sizeof dir, "%s", path) >= (int)sizeof dir) {
        return;
    }
    const char *name = dirname(dir);
    if (is_public(open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0, &entries)) {
        confine_read(confinement, name);
    } else {
        log_info("confine", "%s is read as long as it is this file: one that is renamed to it needs a restart, "
                 "since its directory has files that not everybody may read", path);
    }
}

void confine_read_public_keys(struct confinement *confinement, const char *dir)
{
    DIR *list = dir ? opendir(dir) : NULL;
    if (!list) {
        return; /* whoever needs a key says so */
    }
    confinement->key_dir = dir;
    add_rule(confinement, dir, confine_right_list);
    for (struct dirent *entry; (entry = readdir(list));) {
        size_t size = strlen(entry->d_name);
        if (size > 4 && strcmp(entry->d_name + size - 4, ".pub") == 0) {
            confine_read_in(confinement, dir, entry->d_name);
        }
    }
    closedir(list);
}

void confine_write(struct confinement *confinement, const char *dir)
{
    if (!dir) {
        return;
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        log_error("confine", "cannot make %s: %s", dir, strerror(errno));
        confinement->failed = true;
        return;
    }
    confinement->groups |= CONFINE_WRITES;
    add_rule(confinement, dir, confine_right_write);
}

/* ---- the network ---- */

static unsigned long port_of(const char *address)
{
    const char *colon = strrchr(address, ':');
    return colon ? strtoul(colon + 1, NULL, 10) : 0;
}

static bool is_tcp(const char *endpoint)
{
    return strncmp(endpoint, "tcp://", 6) == 0;
}

/* resolv.conf is replaced whenever a laptop changes its network: the new one is found when its
 * directory may be read.  /etc itself is named for nobody who, as root, could read all in it. */
static void add_resolver_file(struct confinement *confinement)
{
    char path[PATH_BYTES];
    struct stat link;
    confine_read(confinement, "/etc/resolv.conf");
    if (lstat("/etc/resolv.conf", &link) != 0) {
        return;
    }
    if (S_ISLNK(link.st_mode) && realpath("/etc/resolv.conf", path)) {
        confine_read(confinement, dirname(path));
    } else if (confinement->uid != 0) {
        confine_read(confinement, "/etc");
    }
}

static void add_resolver(struct confinement *confinement)
{
    static const char *const paths[] = {
        "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services",
        "/etc/protocols", "/etc/ld.so.cache", "/lib", "/lib64", "/usr/lib", "/usr/local/lib", NULL};
    if (confinement->resolves) {
        return; /* said already */
    }
    confinement->resolves = true;
    add_resolver_file(confinement);
    for (const char *const *path = paths; *path; path++) {
        confine_read(confinement, *path);
    }
}

void confine_listen(struct confinement *confinement, const char *endpoint)
{
    char path[PATH_BYTES];
    if (!endpoint) {
        return;
    }
    if (is_tcp(endpoint)) {
        add_port(confinement, confine_right_bind, port_of(endpoint));
    } else if (strncmp(endpoint, "ipc://", 6) == 0) {
        snprintf(path, sizeof path, "%s", endpoint + 6);
        add_rule(confinement, dirname(path), confine_right_socket);
    }
}

void confine_connect(struct confinement *confinement, const char *endpoint)
{
    if (endpoint && is_tcp(endpoint)) { /* a path needs no right */
        add_port(confinement, confine_right_connect, port_of(endpoint));
        confine_resolve(confinement);
    }
}

void confine_listen_tcp(struct confinement *confinement, const char *address)
{
    if (address) { /* its name is resolved at the opening, when any system call may be made */
        add_port(confinement, confine_right_bind, port_of(address));
        add_resolver(confinement);
    }
}

void confine_connect_tcp(struct confinement *confinement, uint16_t port)
{
    add_port(confinement, confine_right_connect, port);
    confinement->groups |= CONFINE_INET;
}

void confine_resolve(struct confinement *confinement)
{
    confinement->groups |= CONFINE_THREADS | CONFINE_INET;
    add_resolver(confinement);
    add_port(confinement, confine_right_connect, DNS_PORT);
}

void confine_threads(struct confinement *confinement)
{
    confinement->groups |= CONFINE_THREADS;
}

/* ---- beginning ---- */

enum status confine_begin(const struct daemon *daemon, const char *admin_address,
                          struct confinement *confinement)
{
    confinement->groups |= CONFINE_BASE;
    confine_read(confinement, "/dev/urandom");
    add_rule(confinement, "/dev/null", confine_right_device);
#ifdef __SANITIZE_ADDRESS__
    confinement->groups |= CONFINE_SANITIZER;
    confine_read(confinement, "/proc"); /* its maps and its threads */
#endif
    if (admin_address) {
        add_port(confinement, confine_right_bind, port_of(admin_address));
    }
    enum status status = daemon->confine ? daemon->confine(confinement) : STATUS_OK;
    if (status == STATUS_OK && confinement->failed) {
        log_error("confine", "cannot collect what this daemon needs");
        status = STATUS_INTERNAL;
    }
    return status == STATUS_OK ? confine_files(confinement) : status;
}

void confine_free(struct confinement *confinement)
{
    for (size_t i = 0; i < confinement->rule_count; i++) {
        free(confinement->rules[i].path);
    }
    confinement->rule_count = 0;
}
