/* confine.h - what a daemon may still do once it runs; everything else is refused by the kernel.
 *
 * A daemon names its files and ports in its `confine` hook; daemon.c does the rest in this order:
 * own user, no capabilities, no_new_privs, Landlock (before the first thread, so that every thread
 * has it), open, the last of root's rights, seccomp over all threads.  What a kernel or a container
 * does not offer is left out with a warning.  docs/security.md, "Confinement". */
#ifndef COMMON_CONFINE_H
#define COMMON_CONFINE_H

#include <stdint.h>

#include "common/status.h"

struct confinement;

/* All keep what they are given by reference until the daemon is confined and take NULL as nothing;
 * what cannot be kept any more makes the start fail. */

/* May read this file, or everything below this directory; one that is not there is left out.  A file
 * that is replaced later (another inode) is not covered: name its directory for that. */
void confine_read(struct confinement *confinement, const char *path);

/* May read this file, and also one that is put in its place by renaming when its directory holds nothing
 * but what everybody on the host may read (no key, no home directory); otherwise the log says that it
 * may not be replaced so. */
void confine_read_replaced(struct confinement *confinement, const char *path);

/* May read the file NAME in DIR, such as one key of several. */
void confine_read_in(struct confinement *confinement, const char *dir, const char *name);

/* May read every public key in DIR (*.pub) and list its names. */
void confine_read_public_keys(struct confinement *confinement, const char *dir);

/* May make, write, rename and remove files below DIR, which is made (mode 0700) when missing. */
void confine_write(struct confinement *confinement, const char *dir);

/* May bind, or connect to, an endpoint as channel.h takes it. */
void confine_listen(struct confinement *confinement, const char *endpoint);
void confine_connect(struct confinement *confinement, const char *endpoint);

/* May bind the TCP port of HOST:PORT, or connect to this TCP port of any host. */
void confine_listen_tcp(struct confinement *confinement, const char *address);
void confine_connect_tcp(struct confinement *confinement, uint16_t port);

/* May resolve host names at any time: the resolver's files and libraries, DNS over UDP and TCP, and
 * threads, in which libcurl resolves. */
void confine_resolve(struct confinement *confinement);

/* May begin threads at any time. */
void confine_threads(struct confinement *confinement);

#endif
