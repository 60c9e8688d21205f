/* files.c - the command's own files: JSON, mode 0600, replaced whole or not at all. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONTENT_MAX = 4 << 20 }; /* 1000 agents with a dozen tokens of 300 bytes each */

/* The XDG base directory specification: a relative $XDG_CONFIG_HOME is to be ignored. */
static bool find_path(const char *name, char *ret, size_t size)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int used = -1;
    if (config && config[0] == '/') {
        used = snprintf(ret, size, "%s/seks/%s", config, name);
    } else if (home && home[0] == '/') {
        used = snprintf(ret, size, "%s/.config/seks/%s", home, name);
    }
    return used > 0 && (size_t)used < size;
}

static bool private_file(int file)
{
    struct stat info;
    return fstat(file, &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & 077) == 0 &&
           (info.st_uid == geteuid() || info.st_uid == 0);
}

static int parse(const char *path, json_t **ret)
{
    CLEANUP(secret_free) struct secret *content = NULL;
    int status = read_file(path, CONTENT_MAX, &content);
    if (status != SEKS_OK) {
        return status;
    }
    json_t *json = json_loadb((const char *)secret_data(content), secret_size(content),
                              JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(json)) {
        json_decref(json);
        return fail(SEKS_FAILED, "remove it and log in again", "%s is damaged", path);
    }
    *ret = json;
    return SEKS_OK;
}

int files_load(const char *name, json_t **ret)
{
    char path[PATH_MAX];
    bool placed = find_path(name, path, sizeof path);
    int file = placed ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (!placed || (file < 0 && (errno == ENOENT || errno == ENOTDIR))) {
        *ret = json_object();
        return *ret ? SEKS_OK : fail(SEKS_FAILED, NULL, "no memory");
    }
    if (file < 0) {
        return fail(SEKS_FAILED, NULL, "cannot read %s: %s", path, strerror(errno));
    }
    bool private = private_file(file);
    close(file);
    if (!private) {
        return fail(SEKS_FAILED, "chmod 600 it", "%s must be a file that only you can read", path);
    }
    return parse(path, ret);
}

/* Makes the directory of PATH and those above it, for this user alone. */
static void make_directories(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700); /* the file that cannot be made will tell */
        *slash = '/';
    }
}

static bool write_all(int file, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t put = write(file, text, size);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return false;
        }
        text += put;
        size -= (size_t)put;
    }
    return fsync(file) == 0;
}

bool files_replace(const char *path, struct view text)
{
    char temporary[PATH_MAX + 8];
    snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    int file = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
    if (file < 0) {
        return false;
    }
    bool written = write_all(file, (const char *)text.data, text.size);
    int reason = errno;
    close(file);
    if (written && rename(temporary, path) == 0) {
        return true;
    }
    reason = written ? errno : reason;
    unlink(temporary);
    errno = reason;
    return false;
}

int files_save(const char *name, const json_t *content)
{
    char path[PATH_MAX];
    if (!find_path(name, path, sizeof path)) {
        return fail(SEKS_FAILED, "set HOME or XDG_CONFIG_HOME", "there is no place for settings");
    }
    make_directories(path);
    char *text = json_dumps(content, JSON_INDENT(1) | JSON_SORT_KEYS);
    bool done = text && files_replace(path, view_text(text));
    int reason = errno;
    if (text) {
        explicit_bzero(text, strlen(text));
    }
    free(text);
    return done ? SEKS_OK : fail(SEKS_FAILED, NULL, "cannot write %s: %s", path, strerror(reason));
}

int files_lock(void)
{
    char path[PATH_MAX];
    if (!find_path("lock", path, sizeof path)) {
        errno = ENOENT;
        return -1;
    }
    make_directories(path);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0 && flock(file, LOCK_EX) != 0) {
        close(file);
        return -1;
    }
    return file;
}
