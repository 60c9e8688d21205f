/* keygen_share.c - which daemon gets which key, as directories or as Kubernetes Secrets.
 *
 * Key bytes are copied as the text they are on disk and wiped after; nothing is logged. */
#include "cli/keygen.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 9, PATH_SIZE = 4096, TEXT_MAX = 256 };

/* The user ids are those of the images: deploy/Dockerfile. */
static const struct share {
    const char *daemon;
    uid_t user;
    const char *files[FILES_MAX];
} shares[] = {
    {"gateway", 64101, {"intake.pub", "gateway.curve", "gateway.pub", "vault.pub", "proxy.pub"}},
    {"vault", 64102,
     {"master.key", "grant.key", "intake.key", "intake.pub", "vault.curve", "vault.pub",
      "gateway.pub", "audit.pub"}},
    {"proxy", 64103, {"grant.key", "proxy.curve", "proxy.pub", "gateway.pub", "audit.pub"}},
    {"audit", 64104,
     {"audit-sign.key", "audit-sign.pub", "audit.curve", "audit.pub", "vault.pub", "proxy.pub"}},
};
enum { SHARE_COUNT = sizeof shares / sizeof shares[0] };

struct key_text {
    char bytes[TEXT_MAX];
    size_t size;
};

static enum status fail(const char *what, const char *path)
{
    fprintf(stderr, "seks: cannot %s %s: %s\n", what, path, strerror(errno));
    return STATUS_DENIED;
}

static enum status join(const char *dir, const char *name, char *ret_path)
{
    int size = snprintf(ret_path, PATH_SIZE, "%s/%s", dir, name);
    if (size < 0 || size >= PATH_SIZE) {
        errno = ENAMETOOLONG;
        return fail("use", dir);
    }
    return STATUS_OK;
}

static enum status read_text(const char *dir, const char *name, struct key_text *ret_text)
{
    char path[PATH_SIZE];
    if (join(dir, name, path) != STATUS_OK) {
        return STATUS_INVALID;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, ret_text->bytes, TEXT_MAX);
    if (fd >= 0) {
        close(fd);
    }
    if (size <= 0) {
        return fail("read", path);
    }
    ret_text->size = (size_t)size;
    return STATUS_OK;
}

static bool is_public(const char *name)
{
    size_t size = strlen(name);
    return size > 4 && strcmp(name + size - 4, ".pub") == 0;
}

/* ---- directories ---- */

static bool give(int fd, uid_t user)
{
    return geteuid() != 0 || fchown(fd, user, (gid_t)user) == 0;
}

static enum status copy_file(const char *from, const char *to, const char *name, uid_t user)
{
    char path[PATH_SIZE];
    struct key_text text;
    if (join(to, name, path) != STATUS_OK) {
        return STATUS_INVALID;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                  is_public(name) ? 0444 : 0400);
    if (fd < 0) {
        return errno == EEXIST ? STATUS_OK : fail("make", path);
    }
    enum status status = read_text(from, name, &text);
    if (status == STATUS_OK && (write(fd, text.bytes, text.size) != (ssize_t)text.size ||
                                !give(fd, user) || fsync(fd) != 0)) {
        status = fail("write", path);
    }
    explicit_bzero(&text, sizeof text);
    close(fd);
    if (status != STATUS_OK) {
        unlink(path);
    }
    return status;
}

static enum status split_one(const char *dir, const struct share *share)
{
    char to[PATH_SIZE];
    if (join(dir, share->daemon, to) != STATUS_OK) {
        return STATUS_INVALID;
    }
    if (mkdir(to, 0700) != 0 && errno != EEXIST) {
        return fail("make", to);
    }
    enum status status = STATUS_OK;
    for (size_t i = 0; i < FILES_MAX && share->files[i] && status == STATUS_OK; i++) {
        status = copy_file(dir, to, share->files[i], share->user);
    }
    /* Last: who has no right to write in another's directory could not add to it any more. */
    int fd = status == STATUS_OK ? open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return status == STATUS_OK ? fail("open", to) : status;
    }
    if (fchmod(fd, 0700) != 0 || !give(fd, share->user)) {
        status = fail("give away", to);
    }
    close(fd);
    return status;
}

enum status keygen_split(const char *dir)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < SHARE_COUNT && status == STATUS_OK; i++) {
        status = split_one(dir, &shares[i]);
    }
    return status;
}

/* ---- Kubernetes ---- */

static enum status print_key(const char *dir, const char *name, FILE *out)
{
    struct key_text text;
    char base64[2 * TEXT_MAX];
    enum status status = read_text(dir, name, &text);
    if (status == STATUS_OK) {
        sodium_bin2base64(base64, sizeof base64, (const unsigned char *)text.bytes, text.size,
                          sodium_base64_VARIANT_ORIGINAL);
        fprintf(out, "  %s: %s\n", name, base64);
        explicit_bzero(base64, sizeof base64);
    }
    explicit_bzero(&text, sizeof text);
    return status;
}

static enum status print_secrets(const char *dir, FILE *out)
{
    enum status status = STATUS_OK;
    for (const struct share *share = shares; share < shares + SHARE_COUNT; share++) {
        fprintf(out,
                "%sapiVersion: v1\nkind: Secret\nmetadata:\n  name: seks-%s-keys\n  labels:\n"
                "    app.kubernetes.io/part-of: seks-broker\n    app.kubernetes.io/component: %s\n"
                "type: Opaque\nimmutable: true\ndata:\n",
                share == shares ? "" : "---\n", share->daemon, share->daemon);
        for (size_t i = 0; i < FILES_MAX && share->files[i] && status == STATUS_OK; i++) {
            status = print_key(dir, share->files[i], out);
        }
    }
    return fflush(out) == 0 ? status : STATUS_UNAVAILABLE;
}

static void remove_key(const char *dir, const char *name)
{
    static const char zeroes[TEXT_MAX];
    char path[PATH_SIZE];
    struct stat info;
    if (join(dir, name, path) != STATUS_OK || lstat(path, &info) != 0 || !S_ISREG(info.st_mode)) {
        return;
    }
    int fd = chmod(path, 0600) == 0 ? open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd >= 0) {
        (void)!write(fd, zeroes, sizeof zeroes); /* it is about to be removed all the same */
        close(fd);
    }
    unlink(path);
}

/* Overwrites and removes what keygen made in DIR, and DIR. */
static void remove_keys(const char *dir)
{
    DIR *open_dir = opendir(dir);
    for (struct dirent *entry; open_dir && (entry = readdir(open_dir));) {
        remove_key(dir, entry->d_name);
    }
    if (open_dir) {
        closedir(open_dir);
    }
    rmdir(dir);
}

enum status keygen_kubernetes(const char *dir, FILE *out)
{
    char made[] = "/dev/shm/seks-keys-XXXXXX"; /* memory: nothing of it stays on a disk */
    if (!dir && !mkdtemp(made)) {
        return fail("make a directory in", "/dev/shm");
    }
    enum status status = keygen_make(dir ? dir : made);
    if (status == STATUS_OK) {
        status = print_secrets(dir ? dir : made, out);
    }
    if (!dir) {
        remove_keys(made);
    }
    return status;
}
