/* confine_landlock.c - files, TCP ports and scopes by Landlock.
 *
 * Debian 12's headers know the first two versions of the interface (landlock(7)); what later kernels
 * added is written out here, and what the running kernel does not know is left out. */
#include "common/confine_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/log.h"

enum { ABI_TRUNCATE = 3, ABI_NET = 4, ABI_IOCTL = 5, ABI_SCOPES = 6, RULE_NET_PORT = 2 };

#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_IOCTL_DEV (UINT64_C(1) << 15)
#define FS_FIRST_VERSION ((UINT64_C(1) << 13) - 1)
#define NET_BIND UINT64_C(1)
#define NET_CONNECT UINT64_C(2)
#define SCOPE_ABSTRACT_SOCKETS UINT64_C(1)
#define SCOPE_SIGNALS UINT64_C(2)

#define FILE_RIGHTS \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | \
     FS_TRUNCATE | FS_IOCTL_DEV)

const uint64_t confine_right_read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
const uint64_t confine_right_list = LANDLOCK_ACCESS_FS_READ_DIR;
const uint64_t confine_right_write =
    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_WRITE_FILE |
    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
    LANDLOCK_ACCESS_FS_REMOVE_DIR | FS_TRUNCATE;
const uint64_t confine_right_socket =
    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE;
const uint64_t confine_right_device =
    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
const uint64_t confine_right_bind = NET_BIND;
const uint64_t confine_right_connect = NET_CONNECT;

struct ruleset_attr {
    uint64_t fs, net, scopes;
};

struct port_attr {
    uint64_t right, port;
};

/* What the kernel can refuse, and so will. */
static struct ruleset_attr handled_by(int abi)
{
    struct ruleset_attr handled = {.fs = FS_FIRST_VERSION};
    handled.fs |= abi >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0;
    handled.fs |= abi >= ABI_TRUNCATE ? FS_TRUNCATE : 0;
    handled.fs |= abi >= ABI_IOCTL ? FS_IOCTL_DEV : 0;
    handled.net = abi >= ABI_NET ? NET_BIND | NET_CONNECT : 0;
    handled.scopes = abi >= ABI_SCOPES ? SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS : 0;
    return handled;
}

static bool add_path(int ruleset, const struct confine_rule *rule, uint64_t handled)
{
    struct stat info;
    struct landlock_path_beneath_attr attr = {.allowed_access = rule->rights & handled};
    attr.parent_fd = open(rule->path, O_PATH | O_CLOEXEC);
    if (attr.parent_fd < 0) {
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES; /* it is not there for us */
    }
    bool good = fstat(attr.parent_fd, &info) == 0;
    if (!S_ISDIR(info.st_mode)) {
        attr.allowed_access &= FILE_RIGHTS;
    }
    good = good && syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &attr, 0) == 0;
    close(attr.parent_fd);
    return good;
}

static bool add_rules(int ruleset, const struct confinement *confinement,
                      const struct ruleset_attr *handled)
{
    for (size_t i = 0; i < confinement->rule_count; i++) {
        if (!add_path(ruleset, &confinement->rules[i], handled->fs)) {
            log_error("confine", "Landlock does not take %s: %s", confinement->rules[i].path,
                      strerror(errno));
            return false;
        }
    }
    for (size_t i = 0; handled->net && i < confinement->port_count; i++) {
        const struct port_attr attr = {confinement->ports[i].right, confinement->ports[i].port};
        if (syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &attr, 0) != 0) {
            log_error("confine", "Landlock does not take port %u", confinement->ports[i].port);
            return false;
        }
    }
    return true;
}

enum status confine_files(struct confinement *confinement)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi <= 0) {
        log_warn("confine", "this kernel has no Landlock: files are kept apart by their owners alone");
        return STATUS_OK;
    }
    struct ruleset_attr handled = handled_by((int)abi);
    size_t size = abi >= ABI_SCOPES ? sizeof handled
                  : abi >= ABI_NET  ? offsetof(struct ruleset_attr, scopes)
                                    : offsetof(struct ruleset_attr, net);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, size, 0);
    if (ruleset < 0) {
        log_error("confine", "Landlock gives no ruleset: %s", strerror(errno));
        return STATUS_INTERNAL;
    }
    bool good = add_rules(ruleset, confinement, &handled);
    if (good && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
        log_error("confine", "Landlock does not restrict this process: %s", strerror(errno));
        good = false;
    }
    close(ruleset);
    confinement->landlock = good;
    confinement->landlock_net = handled.net != 0;
    confinement->landlock_scopes = handled.scopes != 0;
    return good ? STATUS_OK : STATUS_INTERNAL;
}
