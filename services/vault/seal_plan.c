/* seal_plan.c - master.unseal and the shares, as text and back.  Keeps no key. */
#include "seal_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PLAN_MAX = 512 };

static const char plan_name[] = "master.unseal", next_name[] = "master.unseal.next";

enum status seal_plan_id(struct view master, uint8_t *ret_id)
{
    return crypto_hkdf(master, VIEW("seks master.unseal"), VIEW("seks master key fingerprint 1"),
                       ret_id, MASTER_ID_BYTES);
}

/* ---- the file ---- */

static void plan_text(const struct seal_plan *plan, struct buffer *text)
{
    char id[2 * MASTER_ID_BYTES + 1], salt[2 * CRYPTO_SALT_BYTES + 1];
    char sealed[2 * WRAPPED_KEY_BYTES + 1];
    hex_encode(view_of(plan->id, sizeof plan->id), id);
    if (plan->threshold) {
        buffer_printf(text, "seks-unseal-1 shares %u %u %s\n", plan->threshold, plan->count, id);
        return;
    }
    hex_encode(view_of(plan->salt, sizeof plan->salt), salt);
    hex_encode(view_of(plan->sealed, sizeof plan->sealed), sealed);
    buffer_printf(text, "seks-unseal-1 passphrase %s %s %s\n", id, salt, sealed);
}

static bool scan_shares(const char *text, struct seal_plan *plan)
{
    char id[2 * MASTER_ID_BYTES + 2];
    return sscanf(text, "seks-unseal-1 shares %3u %3u %17s", &plan->threshold, &plan->count, id) ==
               3 &&
           plan->threshold >= 2 && plan->threshold <= plan->count &&
           plan->count <= SHAMIR_SHARES_MAX && hex_decode(view_text(id), plan->id, sizeof plan->id);
}

static bool scan_passphrase(const char *text, struct seal_plan *plan)
{
    char id[2 * MASTER_ID_BYTES + 2], salt[2 * CRYPTO_SALT_BYTES + 2];
    char sealed[2 * WRAPPED_KEY_BYTES + 2];
    _Static_assert(MASTER_ID_BYTES == 8 && CRYPTO_SALT_BYTES == 16 && WRAPPED_KEY_BYTES == 62,
                   "the widths below");
    *plan = (struct seal_plan){0};
    return sscanf(text, "seks-unseal-1 passphrase %17s %33s %125s", id, salt, sealed) == 3 &&
           hex_decode(view_text(id), plan->id, sizeof plan->id) &&
           hex_decode(view_text(salt), plan->salt, sizeof plan->salt) &&
           hex_decode(view_text(sealed), plan->sealed, sizeof plan->sealed);
}

/* Exact: what it reads prints as the same text. */
static bool parse_plan(const char *text, struct seal_plan *ret)
{
    CLEANUP(buffer_free) struct buffer again = BUFFER_EMPTY;
    struct seal_plan plan = {0};
    if (!scan_shares(text, &plan) && !scan_passphrase(text, &plan)) {
        return false;
    }
    plan_text(&plan, &again);
    *ret = plan;
    return !again.failed && view_is(buffer_view(&again), text);
}

enum status seal_plan_read(const char *dir, struct seal_plan *ret)
{
    char path[VAULT_PATH_SIZE], text[PLAN_MAX + 1];
    enum status status = vault_path(dir, plan_name, path);
    if (status != STATUS_OK) {
        return status;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_DENIED;
    }
    ssize_t got = read(fd, text, PLAN_MAX);
    (void)close(fd); /* only read from */
    text[got < 0 ? 0 : got] = 0;
    if (!parse_plan(text, ret)) {
        log_error("keys", "%s is malformed", path);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static bool replace_file(int dir_fd, struct view text)
{
    (void)unlinkat(dir_fd, next_name, 0); /* of a run that was killed */
    int fd = openat(dir_fd, next_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400);
    if (fd < 0) {
        return false;
    }
    bool good = write(fd, text.data, text.size) == (ssize_t)text.size && fsync(fd) == 0;
    good = close(fd) == 0 && good;
    return good && renameat(dir_fd, next_name, dir_fd, plan_name) == 0 && fsync(dir_fd) == 0;
}

enum status seal_plan_write(const char *dir, const struct seal_plan *plan)
{
    CLEANUP(buffer_free) struct buffer text = BUFFER_EMPTY;
    plan_text(plan, &text);
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = dir_fd >= 0 && !text.failed && replace_file(dir_fd, buffer_view(&text));
    if (dir_fd >= 0) {
        (void)close(dir_fd); /* a directory */
    }
    return good ? STATUS_OK : STATUS_UNAVAILABLE;
}

/* ---- a passphrase ---- */

static void passphrase_aad(const struct seal_plan *plan, struct buffer *aad)
{
    crypto_aad_field(aad, VIEW("seks master passphrase 1"));
    crypto_aad_field(aad, view_of(plan->id, sizeof plan->id));
}

enum status seal_plan_lock(struct view master, struct view passphrase, struct seal_plan *ret)
{
    CLEANUP(secret_free) struct secret *key = secret_new(NULL, CRYPTO_KEY_BYTES);
    CLEANUP(buffer_free) struct buffer aad = BUFFER_EMPTY;
    CLEANUP(buffer_free) struct buffer sealed = BUFFER_EMPTY;
    struct seal_plan plan = {0};
    enum status status = key ? seal_plan_id(master, plan.id) : STATUS_INTERNAL;
    crypto_random(plan.salt, sizeof plan.salt);
    passphrase_aad(&plan, &aad);
    if (status == STATUS_OK) {
        status = crypto_passphrase_key(passphrase, plan.salt, secret_data(key));
    }
    if (status == STATUS_OK) {
        status = crypto_seal(secret_view(key), buffer_view(&aad), master, &sealed);
    }
    if (status != STATUS_OK || sealed.size != sizeof plan.sealed) {
        return status != STATUS_OK ? status : STATUS_INVALID;
    }
    memcpy(plan.sealed, sealed.data, sizeof plan.sealed);
    *ret = plan;
    return STATUS_OK;
}

enum status seal_plan_unlock(const struct seal_plan *plan, struct view passphrase,
                             struct secret **ret_master)
{
    CLEANUP(secret_free) struct secret *key = secret_new(NULL, CRYPTO_KEY_BYTES);
    CLEANUP(buffer_free) struct buffer aad = BUFFER_EMPTY;
    passphrase_aad(plan, &aad);
    enum status status = key ? crypto_passphrase_key(passphrase, plan->salt, secret_data(key))
                             : STATUS_INTERNAL;
    return status == STATUS_OK
               ? crypto_open(secret_view(key), buffer_view(&aad),
                             view_of(plan->sealed, sizeof plan->sealed), ret_master)
               : status;
}

/* ---- shares ---- */

enum status seal_plan_join(const struct seal_plan *plan, const struct share *shares,
                           struct secret **ret_master)
{
    CLEANUP(secret_free) struct secret *all =
        secret_new(NULL, (size_t)plan->threshold * MASTER_KEY_BYTES);
    CLEANUP(secret_free) struct secret *master = secret_new(NULL, MASTER_KEY_BYTES);
    uint8_t xs[SHAMIR_SHARES_MAX], id[MASTER_ID_BYTES];
    if (!all || !master) {
        return STATUS_INTERNAL;
    }
    for (unsigned i = 0; i < plan->threshold; i++) {
        xs[i] = (uint8_t)shares[i].x;
        memcpy(secret_data(all) + (size_t)i * MASTER_KEY_BYTES, shares[i].bytes, MASTER_KEY_BYTES);
    }
    enum status status = shamir_combine(xs, secret_data(all), plan->threshold, MASTER_KEY_BYTES,
                                        secret_data(master));
    if (status == STATUS_OK) {
        status = seal_plan_id(secret_view(master), id);
    }
    if (status == STATUS_OK && memcmp(id, plan->id, sizeof id) != 0) {
        return STATUS_DENIED;
    }
    if (status == STATUS_OK) {
        *ret_master = TAKE(master);
    }
    return status;
}

void share_text(const struct share *share, char *ret_text)
{
    char id[2 * MASTER_ID_BYTES + 1], digits[2 * MASTER_KEY_BYTES + 1];
    hex_encode(view_of(share->id, sizeof share->id), id);
    hex_encode(view_of(share->bytes, sizeof share->bytes), digits);
    int used = snprintf(ret_text, SHARE_TEXT_MAX, "seks-share-1-%u-%u-%s-%s", share->threshold,
                        share->x, id, digits);
    explicit_bzero(digits, sizeof digits);
    (void)snprintf(ret_text + used, SHARE_TEXT_MAX - (size_t)used, "-%08x",
                   token_crc32(view_text(ret_text)));
}

/* Exact: what it reads prints as the same text, checksum included. */
enum status share_read(struct view text, struct share *ret)
{
    char line[SHARE_TEXT_MAX], again[SHARE_TEXT_MAX];
    char id[2 * MASTER_ID_BYTES + 2], digits[2 * MASTER_KEY_BYTES + 2];
    _Static_assert(MASTER_KEY_BYTES == 32, "the width below");
    bool good = view_copy(text, line, sizeof line) &&
                sscanf(line, "seks-share-1-%3u-%3u-%17[0-9a-f]-%65[0-9a-f]-", &ret->threshold,
                       &ret->x, id, digits) == 4 &&
                hex_decode(view_text(id), ret->id, sizeof ret->id) &&
                hex_decode(view_text(digits), ret->bytes, sizeof ret->bytes) && ret->x >= 1 &&
                ret->x <= SHAMIR_SHARES_MAX && ret->threshold >= 2 &&
                ret->threshold <= SHAMIR_SHARES_MAX;
    if (good) {
        share_text(ret, again);
        good = secret_equal(view_text(line), view_text(again));
    }
    explicit_bzero(line, sizeof line);
    explicit_bzero(again, sizeof again);
    explicit_bzero(digits, sizeof digits);
    return good ? STATUS_OK : STATUS_INVALID;
}
