/* command_rotate.c - seks-vault rotate-master: a new master key, then all data keys under it.
 *
 * The files come first: the old key becomes master.key.previous, the new one master.key, each by one
 * rename.  Killed anywhere after that, the next start of the vault finds both and does the rest;
 * killed before, nothing has changed.
 */
#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct rotation {
    const struct command_options *options;
    bool running; /* a vault runs on the data */
    int dir_fd;   /* of the keys */
    struct secret *new;
};

static const char key_name[] = "master.key", previous_name[] = "master.key.previous";
static const char next_name[] = "master.key.next", older_name[] = "master.key.previous.next";
static const char plan_name[] = "master.unseal";

static void rotation_end(struct rotation *rotation)
{
    secret_free(&rotation->new);
    if (rotation->dir_fd >= 0) {
        (void)close(rotation->dir_fd); /* a directory */
    }
}

static enum status is_used(struct rotation *rotation, const char *name, bool *ret_used,
                           struct secret **ret_key)
{
    CLEANUP(secret_free) struct secret *key = NULL;
    struct control_reply reply;
    enum status status = keyfile_read(rotation->options->keys, name, MASTER_KEY_BYTES, &key);
    if (status == STATUS_OK) {
        status = command_ask(rotation->options, "under", NULL, key, &reply);
    }
    if (status == STATUS_OK) {
        *ret_used = reply.number == 1;
        *ret_key = TAKE(key);
    }
    return status;
}

/* What the running vault uses has to be master.key, for the old key goes out of its place; or a run
 * that was killed between the files and the vault is to be finished. */
static enum status look_at_vault(struct rotation *rotation, bool *ret_placed)
{
    CLEANUP(secret_free) struct secret *key = NULL;
    CLEANUP(secret_free) struct secret *previous = NULL;
    bool used = false;
    enum status status = is_used(rotation, key_name, &used, &key);
    if (status != STATUS_OK || used) {
        return status;
    }
    if (faccessat(rotation->dir_fd, previous_name, F_OK, 0) == 0) {
        status = is_used(rotation, previous_name, &used, &previous);
    }
    if (status == STATUS_OK && !used) {
        return command_fail(STATUS_CONFLICT,
                            "the running vault uses another master key than %s/%s: start it again "
                            "first", rotation->options->keys, key_name);
    }
    if (status == STATUS_OK) {
        secret_free(&rotation->new);
        rotation->new = TAKE(key);
        *ret_placed = true;
    }
    return status;
}

/* Opening puts all under master.key, so that the key before it is not needed any more. */
static enum status open_once(const struct rotation *rotation)
{
    CLEANUP(store_close) struct store *store = NULL;
    CLEANUP(keys_free) struct keys *keys = NULL;
    return database_open_there(rotation->options->where, rotation->options->keys, &store, &keys);
}

/* A key of an older rotation is needed for older backups: it is kept under the time of its end. */
static bool keep_older(struct rotation *rotation)
{
    char name[64], now[CLOCK_TEXT_SIZE];
    clock_text(clock_wall_ms(), now);
    (void)snprintf(name, sizeof name, "master.key.until-%s", now);
    return renameat2(rotation->dir_fd, previous_name, rotation->dir_fd, name, RENAME_NOREPLACE) == 0 ||
           errno == ENOENT;
}

static enum status place_files(struct rotation *rotation)
{
    int dir = rotation->dir_fd;
    const char *path = rotation->options->keys;
    (void)unlinkat(dir, next_name, 0); /* of a run that was killed before it was used */
    (void)unlinkat(dir, older_name, 0);
    enum status status =
        keyfile_create(path, next_name, secret_view(rotation->new), false);
    bool good = status == STATUS_OK && linkat(dir, key_name, dir, older_name, 0) == 0 &&
                keep_older(rotation) &&
                renameat(dir, older_name, dir, previous_name) == 0 && fsync(dir) == 0 &&
                renameat(dir, next_name, dir, key_name) == 0 && fsync(dir) == 0;
    return good ? STATUS_OK
                : command_fail(STATUS_UNAVAILABLE,
                               "cannot write the new key into %s: %s; where it cannot be written, "
                               "put the new key there as %s and the old one as %s and start the "
                               "vault again", path, strerror(errno), key_name, previous_name);
}

/* Shares or a passphrase that were made before give the old key: whoever still relied on them and removed
 * master.key would have nothing.  What they open, older backups, is found by the time in the name. */
static void retire_plan(const struct rotation *rotation)
{
    char name[64], now[CLOCK_TEXT_SIZE];
    clock_text(clock_wall_ms(), now);
    (void)snprintf(name, sizeof name, "%s.until-%s", plan_name, now);
    int dir = rotation->dir_fd;
    if (renameat2(dir, plan_name, dir, name, RENAME_NOREPLACE) == 0) {
        printf("the shares or the passphrase of %s give the old key: it is %s now; make new ones before "
               "%s is removed\n", plan_name, name, key_name);
    } else if (errno != ENOENT) {
        printf("%s/%s gives the old key: remove it, and make new shares or another passphrase before %s "
               "is removed\n", rotation->options->keys, plan_name, key_name);
    }
}

static enum status use_new(const struct rotation *rotation)
{
    struct control_reply reply = {0};
    const struct command_options *options = rotation->options;
    enum status status =
        rotation->running ? command_ask(options, "rotate-master", NULL, rotation->new, &reply)
                          : open_once(rotation);
    if (status != STATUS_OK) {
        return command_fail(status, "the keys are in place, the data keys are still under the old "
                                    "one: starting the vault again finishes it");
    }
    printf("the data keys are under the new master key in %s/%s; the old one is %s, keep it apart "
           "with the backups that were made under it\n", options->keys, key_name, previous_name);
    retire_plan(rotation);
    return STATUS_OK;
}

enum status command_rotate_master(const struct command_options *options)
{
    CLEANUP(rotation_end) struct rotation rotation = {
        .options = options,
        .running = control_alive(options->data),
        .dir_fd = open(options->keys, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        .new = secret_new(NULL, MASTER_KEY_BYTES),
    };
    if (rotation.dir_fd < 0 || !rotation.new) {
        return command_fail(STATUS_UNAVAILABLE, "cannot open %s: %s", options->keys,
                            strerror(errno));
    }
    crypto_random(secret_data(rotation.new), MASTER_KEY_BYTES);
    bool placed = false;
    enum status status = rotation.running ? look_at_vault(&rotation, &placed)
                                          : open_once(&rotation);
    if (status == STATUS_OK && !placed) {
        status = place_files(&rotation);
    }
    return status == STATUS_OK ? use_new(&rotation) : status;
}
