/* confine_user.c - from root to the daemon's own user, in two steps around the opening.
 *
 * First the effective user changes, so that whatever is made has the right owner; root stays in the
 * saved id, with the rights to read key files and to bind low ports.  Then the saved id goes too,
 * which the C library does in every thread, and with it the kernel takes the capabilities of each
 * (capabilities(7), "Effect of user ID changes"). */
#include "common/confine_private.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/log.h"

/* The users of the images that deploy/Dockerfile builds. */
static const struct {
    const char *daemon;
    uid_t uid;
} own_users[] = {{"gateway", 64101}, {"vault", 64102}, {"proxy", 64103}, {"audit", 64104}};

static bool set_capabilities(uint64_t mask)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    for (size_t i = 0; i < 2; i++) {
        data[i].effective = data[i].permitted = (uint32_t)(mask >> (32 * i));
    }
    return syscall(SYS_capset, &header, data) == 0;
}

static uint64_t permitted_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    if (syscall(SYS_capget, &header, data) != 0) {
        return 0;
    }
    return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

/* A name, a number, or the daemon's own. */
static bool find_user(const char *daemon, const char *user, uid_t *ret_uid, gid_t *ret_gid)
{
    char *end = NULL;
    for (size_t i = 0; !user && i < sizeof own_users / sizeof own_users[0]; i++) {
        if (strcmp(own_users[i].daemon, daemon) == 0) {
            *ret_uid = *ret_gid = own_users[i].uid;
            return true;
        }
    }
    if (!user || !*user) {
        return false;
    }
    unsigned long number = strtoul(user, &end, 10);
    if (*end == 0 && number < UINT32_MAX) {
        *ret_uid = *ret_gid = (uid_t)number;
        return true;
    }
    const struct passwd *known = getpwnam(user);
    if (known) {
        *ret_uid = known->pw_uid;
        *ret_gid = known->pw_gid;
    }
    return known != NULL;
}

/* What exec could give back goes first: it needs a capability itself. */
static void drop_bounding_set(void)
{
    for (int number = 0; prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; number++) {
        (void)!prctl(PR_CAPBSET_DROP, number, 0, 0, 0); /* refused to who is not root: no_new_privs */
    }
    (void)!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* there since Linux 4.3 */
}

enum status confine_become(const char *daemon, const char *user, struct confinement *confinement)
{
    const uint64_t opening = UINT64_C(1) << CAP_DAC_READ_SEARCH | UINT64_C(1) << CAP_NET_BIND_SERVICE;
    confinement->uid = geteuid();
    confinement->gid = getegid();
    drop_bounding_set();
    if (geteuid() == 0) {
        if (!find_user(daemon, user, &confinement->uid, &confinement->gid)) {
            log_error("confine", "--user %s: no such user", user ? user : "");
            return STATUS_INVALID;
        }
        uid_t uid = confinement->uid;
        gid_t gid = confinement->gid;
        if (uid != 0 && (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 ||
                         setresuid(uid, uid, 0) != 0)) {
            log_error("confine", "cannot become user %u: %s (--user names another, or root)",
                      (unsigned)uid, strerror(errno));
            return STATUS_DENIED;
        }
    }
    if (!set_capabilities(permitted_capabilities() & opening)) {
        log_error("confine", "cannot drop capabilities: %s", strerror(errno));
        return STATUS_INTERNAL;
    }
    confinement->became = true;
    return STATUS_OK;
}

enum status confine_drop(const struct confinement *confinement)
{
    uid_t uid = confinement->uid, real, effective, saved;
    gid_t gid = confinement->gid, real_group, effective_group, saved_group;
    if (setresuid(uid, uid, uid) != 0 || !set_capabilities(0) || permitted_capabilities() != 0 ||
        getresuid(&real, &effective, &saved) != 0 ||
        getresgid(&real_group, &effective_group, &saved_group) != 0) {
        log_error("confine", "cannot drop root's rights: %s", strerror(errno));
        return STATUS_INTERNAL;
    }
    if (real != uid || effective != uid || saved != uid || real_group != gid ||
        effective_group != gid || saved_group != gid || (uid != 0 && setuid(0) == 0)) {
        log_error("confine", "root's rights are still there after dropping them");
        return STATUS_INTERNAL;
    }
    if (uid == 0) {
        log_warn("confine", "runs as root, without capabilities: give it a user of its own (--user)");
    }
    return STATUS_OK;
}
