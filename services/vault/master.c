/* master.c - where the master key comes from: a file, a systemd credential, the environment.
 *
 * Whatever the source, the key is in locked memory only, and dropped once the wrapping key has been
 * derived.  Never touches the database.
 */
#include "vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char key_name[] = "master.key", previous_name[] = "master.key.previous";

static struct secret *from_environment;
static bool in_environment;
static char credentials[VAULT_PATH_SIZE]; /* the directory that systemd made, or empty */

void master_take_environment(void)
{
    char *text = getenv("MASTER_KEY");
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    uint8_t key[MASTER_KEY_BYTES];
    (void)view_copy(view_text(dir), credentials, sizeof credentials); /* too long: not there */
    if (!text) {
        return;
    }
    in_environment = true;
    if (hex_decode(view_text(text), key, sizeof key)) {
        from_environment = secret_new(key, sizeof key);
    }
    explicit_bzero(key, sizeof key);
    explicit_bzero(text, strlen(text)); /* /proc/PID/environ shows this very memory */
    (void)unsetenv("MASTER_KEY");       /* fails only for a bad name */
}

void master_confine(struct confinement *confinement, const char *dir)
{
    const char *const dirs[] = {dir, credentials[0] ? credentials : NULL};
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        confine_read_in(confinement, dirs[i], key_name);
        confine_read_in(confinement, dirs[i], previous_name);
    }
    confine_read_in(confinement, dir, "master.unseal");
}

/* By stat(), which goes by the rights that reading has, where access() would ask as the real user. */
static bool there(const char *dir, const char *name)
{
    char path[VAULT_PATH_SIZE];
    struct stat info;
    return dir[0] && vault_path(dir, name, path) == STATUS_OK && stat(path, &info) == 0;
}

bool master_is_sealed(const char *dir)
{
    return !in_environment && !there(credentials, key_name) && !there(dir, key_name) &&
           there(dir, "master.unseal");
}

static enum status read_current(const char *dir, struct secret **ret_key)
{
    if (!in_environment) {
        return keyfile_read(there(credentials, key_name) ? credentials : dir, key_name,
                            MASTER_KEY_BYTES, ret_key);
    }
    log_warn("keys", "the master key came in the environment, where others may see it: "
                     "use %s/%s", dir, key_name);
    if (!from_environment) {
        log_error("keys", "MASTER_KEY is not 64 hex digits");
        return STATUS_INVALID;
    }
    *ret_key = TAKE(from_environment);
    return STATUS_OK;
}

enum status master_read(const char *dir, struct master *ret_master)
{
    struct master master = {NULL, NULL};
    enum status status = read_current(dir, &master.current);
    const char *from = there(credentials, previous_name) ? credentials : dir;
    if (status == STATUS_OK && there(from, previous_name)) {
        status = keyfile_read(from, previous_name, MASTER_KEY_BYTES, &master.previous);
    }
    if (status == STATUS_OK) {
        *ret_master = master;
    } else {
        master_free(&master);
    }
    return status;
}

void master_free(struct master *master)
{
    secret_free(&master->current);
    secret_free(&master->previous);
}

struct masters master_views(const struct master *master)
{
    struct masters masters = {{NULL, 0}, {NULL, 0}};
    if (master->current) {
        masters.current = secret_view(master->current);
    }
    if (master->previous) {
        masters.previous = secret_view(master->previous);
    }
    return masters;
}
