/* mark.c - DATA/vault.install, written once there is a database: a start that then finds none, or an
 * empty one, has lost it and must not make another in its place. */
#include "vault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char mark_name[] = "vault.install";

enum status vault_path(const char *dir, const char *name, char *ret_path)
{
    int size = snprintf(ret_path, VAULT_PATH_SIZE, "%s/%s", dir, name);
    if (size < 0 || size >= VAULT_PATH_SIZE) {
        log_error("vault", "the path %s is too long", dir);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

/* A write-ahead log without its database is one that was lost, too. */
enum status mark_absent(const char *dir, const char *where)
{
    char mark[VAULT_PATH_SIZE], log[VAULT_PATH_SIZE];
    struct stat info;
    enum status status = vault_path(dir, mark_name, mark);
    if (status == STATUS_OK) {
        status = vault_path(dir, "vault.db-wal", log);
    }
    if (status != STATUS_OK) {
        return status;
    }
    bool marked = access(mark, F_OK) == 0;
    bool logged = !store_is_remote(where) && stat(log, &info) == 0 && info.st_size > 0 &&
                  access(where, F_OK) != 0;
    if (!marked && !logged) {
        return STATUS_OK;
    }
    log_error("store", "%s is missing or empty, and %s says that there was one: %s, or remove that file too "
                       "to begin anew", store_title(where), marked ? mark : log,
              store_is_remote(where) ? "put a dump back, or move it there (seks-vault migrate-store)"
                                     : "restore it from a backup (seks-vault restore)");
    return STATUS_INVALID;
}

static bool write_mark(int dir_fd, const char *install)
{
    int fd = openat(dir_fd, mark_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                    0600);
    if (fd < 0) {
        return false;
    }
    struct view text = view_text(install);
    bool good = write(fd, text.data, text.size) == (ssize_t)text.size && fsync(fd) == 0;
    good = close(fd) == 0 && good;
    return good && fsync(dir_fd) == 0;
}

enum status mark_make(const char *dir, const char *install)
{
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = dir_fd >= 0 &&
                (faccessat(dir_fd, mark_name, F_OK, 0) == 0 || write_mark(dir_fd, install));
    if (!good) {
        log_error("store", "cannot write %s/%s: %s", dir, mark_name, strerror(errno));
    }
    if (dir_fd >= 0) {
        (void)close(dir_fd); /* a directory */
    }
    return good ? STATUS_OK : STATUS_STORAGE_FULL;
}
