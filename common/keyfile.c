/* keyfile.c - reads and creates key files; checks owner and mode before it reads a byte. */
#include "common/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

enum { KEY_BYTES_MAX = 64, PATH_MAX_BYTES = 4096 };

void hex_encode(struct view bytes, char *ret_hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.size; i++) {
        ret_hex[2 * i] = digits[bytes.data[i] >> 4];
        ret_hex[2 * i + 1] = digits[bytes.data[i] & 15];
    }
    ret_hex[2 * bytes.size] = 0;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode(struct view hex, uint8_t *ret_bytes, size_t size)
{
    if (hex.size != 2 * size) {
        return false;
    }
    for (size_t i = 0; i < hex.size; i++) {
        if (hex_digit(hex.data[i]) < 0) {
            return false;
        }
    }
    for (size_t i = 0; i < size; i++) {
        ret_bytes[i] = (uint8_t)(hex_digit(hex.data[2 * i]) << 4 | hex_digit(hex.data[2 * i + 1]));
    }
    return true;
}

static enum status path_of(const char *dir, const char *name, char *path)
{
    int size = snprintf(path, PATH_MAX_BYTES, "%s/%s", dir, name);
    return size < 0 || size >= PATH_MAX_BYTES ? STATUS_INVALID : STATUS_OK;
}

/* Kubernetes mounts a Secret as root's and gives its group, which is then the pod's own, the right to
 * read (fsGroup); a group that is not root's file's is never enough. */
static bool is_own_alone(const struct stat *info)
{
    mode_t open_to = info->st_mode & 077;
    if (info->st_uid == geteuid()) {
        return open_to == 0;
    }
    bool own_group = info->st_gid != 0 && (info->st_gid == getegid() || group_member(info->st_gid));
    return info->st_uid == 0 && (open_to == 0 || (open_to == 040 && own_group));
}

/* Opens PATH and checks that it is a regular file and, when PRIVATE, its owner's alone. */
static enum status open_checked(const char *path, bool is_private, int *ret_fd)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        log_error("key", "cannot read the key file %s: %s", path, strerror(errno));
        return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_DENIED;
    }
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        log_error("key", "the key file %s is not a regular file", path);
        close(fd);
        return STATUS_INVALID;
    }
    if (is_private && !is_own_alone(&info)) {
        log_error("key", "the key file %s must belong to this user with mode 0400 (it has %04o)",
                  path, (unsigned)(info.st_mode & 07777));
        close(fd);
        return STATUS_DENIED;
    }
    *ret_fd = fd;
    return STATUS_OK;
}

static enum status read_key(const char *dir, const char *name, bool is_private, size_t size,
                            uint8_t *ret_key)
{
    char path[PATH_MAX_BYTES];
    char text[2 * KEY_BYTES_MAX + 2];
    int fd;
    enum status status = size > KEY_BYTES_MAX ? STATUS_INVALID : path_of(dir, name, path);
    if (status == STATUS_OK) {
        status = open_checked(path, is_private, &fd);
    }
    if (status != STATUS_OK) {
        return status;
    }
    ssize_t got = read(fd, text, sizeof text);
    close(fd);
    size_t used = got < 0 ? 0 : (size_t)got;
    if (used > 0 && text[used - 1] == '\n') {
        used--;
    }
    bool good = hex_decode(view_of(text, used), ret_key, size);
    explicit_bzero(text, sizeof text);
    if (!good) {
        log_error("key", "the key file %s must hold %zu hexadecimal digits", path, 2 * size);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

enum status keyfile_read(const char *dir, const char *name, size_t size, struct secret **ret_key)
{
    CLEANUP(secret_free) struct secret *key = secret_new(NULL, size);
    if (!key) {
        return STATUS_INTERNAL;
    }
    enum status status = read_key(dir, name, true, size, secret_data(key));
    if (status == STATUS_OK) {
        *ret_key = TAKE(key);
    }
    return status;
}

enum status keyfile_read_public(const char *dir, const char *name, size_t size, uint8_t *ret_key)
{
    return read_key(dir, name, false, size, ret_key);
}

enum status keyfile_read_text(const char *path, size_t max, struct buffer *ret_text)
{
    int fd;
    enum status status = open_checked(path, true, &fd);
    if (status != STATUS_OK) {
        return status;
    }
    uint8_t *room = buffer_room(ret_text, max + 1);
    ssize_t got = room ? read(fd, room, max + 1) : -1;
    close(fd);
    if (got < 0 || (size_t)got > max) {
        log_error("key", "the file %s cannot be read, or has more than %zu bytes", path, max);
        return STATUS_INVALID;
    }
    ret_text->size += (size_t)got;
    return STATUS_OK;
}

static bool sync_directory(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return good;
}

enum status keyfile_create(const char *dir, const char *name, struct view key, bool public_key)
{
    char path[PATH_MAX_BYTES];
    char text[2 * KEY_BYTES_MAX + 2];
    if (key.size > KEY_BYTES_MAX || path_of(dir, name, path) != STATUS_OK) {
        return STATUS_INVALID;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                  public_key ? 0444 : 0400);
    if (fd < 0) {
        return errno == EEXIST ? STATUS_CONFLICT : STATUS_DENIED;
    }
    hex_encode(key, text);
    size_t size = 2 * key.size;
    text[size++] = '\n';
    bool good = write(fd, text, size) == (ssize_t)size && fsync(fd) == 0;
    explicit_bzero(text, sizeof text);
    good = close(fd) == 0 && good && sync_directory(dir);
    if (!good) {
        unlink(path);
        return STATUS_STORAGE_FULL;
    }
    return STATUS_OK;
}
