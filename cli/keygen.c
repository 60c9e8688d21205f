/* keygen.c - makes the key files of an installation.
 *
 * What is there stays as it is: a lost or changed master key makes every stored secret unreadable.
 * A pair of which one half is there gets the other only when that can be computed.
 * keygen_share.c lays them out for each daemon. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zmq.h>

#include "cli/cli.h"
#include "cli/keygen.h"
#include "common/crypto.h"
#include "common/keyfile.h"
#include "common/log.h"

enum { CURVE_TEXT_SIZE = 41, FILE_NAME_SIZE = 32 }; /* Z85 of 32 bytes and its NUL */

/* How a pair's halves are made, and the public one found from the private one. */
typedef enum status make_fn(uint8_t *ret_public, uint8_t *ret_private);
typedef enum status public_fn(const uint8_t *private_key, uint8_t *ret_public);

static enum status curve_decode(const char *text, uint8_t *ret_key)
{
    return zmq_z85_decode(ret_key, text) ? STATUS_OK : STATUS_INTERNAL;
}

static enum status curve_make(uint8_t *ret_public, uint8_t *ret_private)
{
    char public_text[CURVE_TEXT_SIZE], private_text[CURVE_TEXT_SIZE];
    enum status status = STATUS_INTERNAL;
    if (zmq_curve_keypair(public_text, private_text) == 0 &&
        curve_decode(public_text, ret_public) == STATUS_OK) {
        status = curve_decode(private_text, ret_private);
    }
    explicit_bzero(private_text, sizeof private_text);
    return status;
}

static enum status curve_public(const uint8_t *private_key, uint8_t *ret_public)
{
    char public_text[CURVE_TEXT_SIZE], private_text[CURVE_TEXT_SIZE];
    enum status status = STATUS_INTERNAL;
    if (zmq_z85_encode(private_text, private_key, CRYPTO_KEY_BYTES) &&
        zmq_curve_public(public_text, private_text) == 0) {
        status = curve_decode(public_text, ret_public);
    }
    explicit_bzero(private_text, sizeof private_text);
    return status;
}

static enum status intake_make(uint8_t *ret_public, uint8_t *ret_private)
{
    crypto_sealed_keypair(ret_public, ret_private);
    return STATUS_OK;
}

static enum status sign_make(uint8_t *ret_public, uint8_t *ret_private)
{
    crypto_sign_pair(ret_public, ret_private);
    return STATUS_OK;
}

static const struct pair {
    const char *private_name, *public_name;
    make_fn *make;
    public_fn *find_public;
} pairs[] = {
    {"intake.key", "intake.pub", intake_make, crypto_sealed_public},
    {"audit-sign.key", "audit-sign.pub", sign_make, crypto_sign_public},
    {"gateway.curve", "gateway.pub", curve_make, curve_public},
    {"vault.curve", "vault.pub", curve_make, curve_public},
    {"proxy.curve", "proxy.pub", curve_make, curve_public},
    {"audit.curve", "audit.pub", curve_make, curve_public},
};

static const char *const single_keys[] = {"master.key", "grant.key"};

static bool exists(const char *dir, const char *name)
{
    char path[4096];
    struct stat info;
    int size = snprintf(path, sizeof path, "%s/%s", dir, name);
    return size > 0 && (size_t)size < sizeof path && lstat(path, &info) == 0;
}

/* Creates the file; that it is there already is fine. */
static enum status create(const char *dir, const char *name, const uint8_t *key, bool public_key)
{
    enum status status =
        keyfile_create(dir, name, view_of(key, CRYPTO_KEY_BYTES), public_key);
    return status == STATUS_CONFLICT ? STATUS_OK : status;
}

static enum status make_single(const char *dir, const char *name)
{
    uint8_t key[CRYPTO_KEY_BYTES];
    bool by_people = strcmp(name, "master.key") == 0 && exists(dir, "master.unseal");
    if (exists(dir, name) || by_people) { /* shares or a passphrase bring that one back */
        return STATUS_OK;
    }
    crypto_random(key, sizeof key);
    enum status status = create(dir, name, key, false);
    explicit_bzero(key, sizeof key);
    return status;
}

/* The private half first: a run that was cut short leaves what the next can complete. */
static enum status make_pair(const char *dir, const struct pair *pair)
{
    uint8_t public_key[CRYPTO_KEY_BYTES], private_key[CRYPTO_KEY_BYTES];
    CLEANUP(secret_free) struct secret *there = NULL;
    enum status status;
    if (exists(dir, pair->private_name)) {
        if (exists(dir, pair->public_name)) {
            return STATUS_OK;
        }
        status = keyfile_read(dir, pair->private_name, CRYPTO_KEY_BYTES, &there);
        if (status == STATUS_OK) {
            status = pair->find_public(secret_data(there), public_key);
        }
        return status == STATUS_OK ? create(dir, pair->public_name, public_key, true) : status;
    }
    if (exists(dir, pair->public_name)) {
        return STATUS_OK; /* a directory for a peer that has only the public half */
    }
    status = pair->make(public_key, private_key);
    if (status == STATUS_OK) {
        status = create(dir, pair->private_name, private_key, false);
    }
    if (status == STATUS_OK) {
        status = create(dir, pair->public_name, public_key, true);
    }
    explicit_bzero(private_key, sizeof private_key);
    return status;
}

enum status keygen_make(const char *dir)
{
    enum status status = STATUS_OK;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        fprintf(stderr, "seks: cannot make %s: %s\n", dir, strerror(errno));
        return STATUS_DENIED;
    }
    for (size_t i = 0; i < sizeof single_keys / sizeof single_keys[0] && status == STATUS_OK; i++) {
        status = make_single(dir, single_keys[i]);
    }
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0] && status == STATUS_OK; i++) {
        status = make_pair(dir, &pairs[i]);
    }
    if (status != STATUS_OK) {
        fprintf(stderr, "seks: cannot make the keys in %s: %s\n", dir, status_text(status));
    }
    return status;
}

static int usage(void)
{
    fprintf(stderr, "usage: seks keygen DIR\n"
                    "       seks keygen --split DIR\n"
                    "       seks keygen --kubernetes [DIR]\n");
    return 2;
}

int command_keygen(int argc, char **argv)
{
    const char *how = argc > 0 && argv[0][0] == '-' ? argv[0] : NULL;
    const char *dir = argc == 1 + (how != NULL) ? argv[argc - 1] : NULL;
    bool known = !how || strcmp(how, "--split") == 0 || strcmp(how, "--kubernetes") == 0;
    bool needs_dir = !how || strcmp(how, "--kubernetes") != 0;
    if (!known || argc > 2 || (needs_dir && !dir) || (dir && (dir[0] == '-' || dir[0] == 0))) {
        return usage();
    }
    if (!needs_dir) {
        return keygen_kubernetes(dir, stdout) == STATUS_OK ? 0 : 1;
    }
    enum status status = keygen_make(dir);
    if (status == STATUS_OK && how) {
        status = keygen_split(dir);
    }
    return status == STATUS_OK ? 0 : 1;
}
