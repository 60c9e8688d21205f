/* command_backup.c - seks-vault backup and restore.
 *
 * A backup is one file: the database as it was at one moment, its secrets sealed, of no use without
 * the master key that was in use then.  A restored database starts new versions of all data keys and
 * is taken, once and within a day, although the audit log has seen later changes.
 */
#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 16 };

static bool copy_bytes(int from, int to)
{
    static uint8_t bytes[COPY_BYTES];
    ssize_t got;
    while ((got = read(from, bytes, sizeof bytes)) > 0) {
        for (ssize_t done = 0, wrote; done < got; done += wrote) {
            wrote = write(to, bytes + done, (size_t)(got - done));
            if (wrote < 0) {
                return false;
            }
        }
    }
    return got == 0 && fsync(to) == 0;
}

static bool sync_directory_of(const char *path)
{
    char dir[VAULT_PATH_SIZE];
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) : 1;
    if (!view_copy(view_of(slash ? path : ".", size ? size : 1), dir, sizeof dir)) {
        return false;
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        (void)close(fd); /* a directory */
    }
    return good;
}

/* A new file TO, private and on disk, or none. */
static enum status copy_file(const char *from, const char *to)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = in >= 0 ? open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    bool good = in >= 0 && out >= 0 && copy_bytes(in, out) && sync_directory_of(to);
    int error = errno;
    if (in >= 0) {
        (void)close(in); /* only read from */
    }
    if (out >= 0) {
        good = close(out) == 0 && good;
    }
    if (good) {
        return STATUS_OK;
    }
    if (out >= 0) {
        (void)unlink(to); /* half a copy */
    }
    return command_fail(STATUS_UNAVAILABLE, "cannot copy %s to %s: %s", from, to,
                        strerror(error));
}

/* ---- backup ---- */

/* Without a vault: the copy is made here, and only looks at the database. */
static enum status copy_stopped(const struct command_options *options)
{
    CLEANUP(store_close) struct store *store = NULL;
    CLEANUP(store_copy_end) struct store_copy *copy = NULL;
    uint64_t pages;
    bool done = false;
    enum status status = store_open(options->where, &store);
    if (status == STATUS_NOT_FOUND) {
        return command_fail(status, "there is no database in %s", options->data);
    }
    if (status == STATUS_OK) {
        status = store_copy_begin(store, options->word, &copy);
    }
    while (status == STATUS_OK && !done) {
        status = store_copy_step(copy, 1024, &done, &pages);
    }
    return status == STATUS_OK ? STATUS_OK : command_fail(status, "the copy failed");
}

static enum status of_its_own_tools(const struct command_options *options)
{
    return store_is_remote(options->where)
               ? command_fail(STATUS_INVALID, "the store is PostgreSQL: copy it with pg_dump and put it "
                                              "back with pg_restore, see docs/postgres.md")
               : STATUS_OK;
}

enum status command_backup(const struct command_options *options)
{
    struct control_reply reply;
    if (of_its_own_tools(options) != STATUS_OK) {
        return STATUS_INVALID;
    }
    if (access(options->word, F_OK) == 0) {
        return command_fail(STATUS_CONFLICT, "%s exists", options->word);
    }
    enum status status;
    if (control_alive(options->data)) {
        status = command_ask(options, "backup", NULL, NULL, &reply);
        if (status == STATUS_OK) {
            status = copy_file(reply.text, options->word);
            (void)unlink(reply.text); /* the next backup makes room itself */
        }
    } else {
        status = copy_stopped(options);
        if (status == STATUS_OK && !sync_directory_of(options->word)) {
            status = command_fail(STATUS_UNAVAILABLE, "%s is not on disk", options->word);
        }
    }
    if (status == STATUS_OK) {
        printf("%s holds all accounts and secrets, sealed; it is of no use without the master key: "
               "keep a copy of that apart\n", options->word);
    }
    return status;
}

/* ---- restore ---- */

struct restore {
    const struct command_options *options;
    char path[VAULT_PATH_SIZE]; /* the database's place */
    char new[VAULT_PATH_SIZE];  /* where the backup is made ready */
    uint64_t renewed;
    row_id install;
};

static enum status look_at_place(const struct restore *restore)
{
    CLEANUP(store_close) struct store *store = NULL;
    struct stat info;
    const struct command_options *options = restore->options;
    if (control_alive(options->data)) {
        return command_fail(STATUS_CONFLICT, "a vault runs on %s: stop it first", options->data);
    }
    bool there = stat(restore->path, &info) == 0 && info.st_size > 0;
    if (there && !options->replace) {
        return command_fail(STATUS_CONFLICT,
                            "%s exists; with --replace it is moved aside and replaced",
                            restore->path);
    }
    if (there && store_open(restore->path, &store) == STATUS_UNAVAILABLE) {
        return command_fail(STATUS_CONFLICT, "%s is in use", restore->path);
    }
    return STATUS_OK;
}

static enum status renew(struct store *store, struct keys *keys, uint64_t *ret_renewed)
{
    struct epoch_row epoch;
    enum status status = store_begin(store);
    if (status != STATUS_OK) {
        return status;
    }
    status = keys_renew_all(keys, ret_renewed);
    if (status == STATUS_OK) {
        status = epoch_read(store, &epoch);
    }
    if (status == STATUS_OK) {
        epoch.restored_ms = clock_wall_ms();
        status = epoch_write(store, &epoch);
    }
    return store_end(store, status);
}

/* In its own file, so that nothing has happened when the backup is not good. */
static enum status make_ready(struct restore *restore)
{
    CLEANUP(store_close) struct store *store = NULL;
    CLEANUP(keys_free) struct keys *keys = NULL;
    (void)unlink(restore->new); /* of a run that was killed */
    enum status status = copy_file(restore->options->word, restore->new);
    if (status == STATUS_OK) {
        status = database_open_there(restore->new, restore->options->keys, &store, &keys);
    }
    if (status == STATUS_OK) {
        status = renew(store, keys, &restore->renewed);
    }
    if (status != STATUS_OK) {
        return command_fail(status, "%s was not restored; nothing was changed",
                            restore->options->word);
    }
    memcpy(restore->install, keys_install_id(keys), sizeof restore->install);
    return STATUS_OK;
}

/* The write-ahead log goes first: beside another database it would be applied to that. */
static enum status move_aside(const struct restore *restore)
{
    static const char *const suffixes[] = {"-wal", ""};
    char from[VAULT_PATH_SIZE + 8], to[VAULT_PATH_SIZE + 64], now[CLOCK_TEXT_SIZE];
    clock_text(clock_wall_ms(), now);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        (void)snprintf(from, sizeof from, "%s%s", restore->path, suffixes[i]);
        (void)snprintf(to, sizeof to, "%s.until-%s%s", restore->path, now, suffixes[i]);
        if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) != 0 && errno != ENOENT) {
            return command_fail(STATUS_UNAVAILABLE, "cannot move %s aside: %s", from,
                                strerror(errno));
        }
    }
    return STATUS_OK;
}

static enum status put_in_place(const struct restore *restore)
{
    enum status status = move_aside(restore);
    if (status != STATUS_OK) {
        return status;
    }
    if (rename(restore->new, restore->path) != 0 || !sync_directory_of(restore->path)) {
        return command_fail(STATUS_UNAVAILABLE, "cannot put %s in place: %s", restore->path,
                            strerror(errno));
    }
    return mark_make(restore->options->data, restore->install);
}

enum status command_restore(const struct command_options *options)
{
    struct restore restore = {.options = options};
    if (of_its_own_tools(options) != STATUS_OK) {
        return STATUS_INVALID;
    }
    if (mkdir(options->data, 0700) != 0 && errno != EEXIST) {
        return command_fail(STATUS_UNAVAILABLE, "cannot make %s: %s", options->data,
                            strerror(errno));
    }
    enum status status = vault_path(options->data, "vault.db", restore.path);
    if (status == STATUS_OK) {
        status = vault_path(options->data, "vault.db.restoring", restore.new);
    }
    if (status == STATUS_OK) {
        status = look_at_place(&restore);
    }
    if (status == STATUS_OK) {
        status = make_ready(&restore);
    }
    if (status == STATUS_OK) {
        status = put_in_place(&restore);
    }
    if (status == STATUS_OK) {
        printf("%s is restored, with new data keys for %llu tenants; start the vault within a day, "
               "or it will ask for --accept-rollback\n", restore.path,
               (unsigned long long)restore.renewed);
    }
    return status;
}
