/* confine_private.h - between daemon.c and the files of the confinement. */
#ifndef COMMON_CONFINE_PRIVATE_H
#define COMMON_CONFINE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/confine.h"
#include "common/daemon.h"

enum { CONFINE_RULES_MAX = 320, CONFINE_PORTS_MAX = 128 }; /* 256 public keys, 64 others */

/* What system calls beyond the ones of every daemon it needs. */
enum confine_group {
    CONFINE_BASE = 1 << 0,
    CONFINE_WRITES = 1 << 1,  /* makes, renames and removes files */
    CONFINE_INET = 1 << 2,    /* makes internet sockets after its start */
    CONFINE_THREADS = 1 << 3, /* makes threads after its start, and loads libraries */
    CONFINE_SANITIZER = 1 << 4,
};

struct confinement {
    struct confine_rule {
        char *path;
        uint64_t rights; /* Landlock's */
    } rules[CONFINE_RULES_MAX];
    size_t rule_count;
    struct confine_port {
        uint64_t right;
        uint16_t port;
    } ports[CONFINE_PORTS_MAX];
    size_t port_count;
    unsigned groups;
    const char *key_dir; /* for confine_check() */
    bool failed, resolves;
    bool became; /* confine_become() has been through */
    uid_t uid; /* this user's from confine_become() on */
    gid_t gid;
    bool landlock, landlock_net, landlock_scopes, seccomp; /* what the kernel took */
};

/* ---- confine_user.c ---- */

/* USER is a name or number, NULL for the daemon's own: 64101 gateway, 64102 vault, 64103 proxy, 64104
 * audit.  Started as root, takes that user on; reading any file and low ports stay possible until
 * confine_drop().  Started as somebody else, keeps who it is.  Logs its own failure. */
MUST_USE enum status confine_become(const char *daemon, const char *user,
                                    struct confinement *confinement);
/* No capability and no way back, in every thread.  Logs its own failure. */
MUST_USE enum status confine_drop(const struct confinement *confinement);

/* ---- confine.c, confine_landlock.c, confine_calls.c ---- */

/* Asks the daemon what it needs and turns Landlock on. */
MUST_USE enum status confine_begin(const struct daemon *daemon, const char *admin_address,
                                   struct confinement *confinement);
void confine_free(struct confinement *confinement);
MUST_USE enum status confine_files(struct confinement *confinement);
/* The filter of system calls, over all threads. */
MUST_USE enum status confine_calls(struct confinement *confinement);

/* Rights of Landlock that rules name; confine_landlock.c knows them. */
extern const uint64_t confine_right_read, confine_right_list, confine_right_write,
    confine_right_socket, confine_right_bind, confine_right_connect, confine_right_device;

/* ---- confine_check.c ---- */

/* Tries what DAEMON must not be able to do, one line each; main's exit status. */
int confine_check(const struct daemon *daemon, const char *user, const char *admin_address);

#endif
