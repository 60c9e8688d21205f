/* large.c - how long a large database takes to open, to change its master key and its data keys.
 *
 *     build/release/tests/vault_large [TENANTS [SECRETS]] [--check]
 *
 * 1,000 tenants with 10,000 secrets unless told otherwise.  With --check it fails when opening takes
 * 2 s, or the master key's change 5 s. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/vault/vault.h"

static char dir[] = "/tmp/seks-large-XXXXXX";
static struct store *store;
static struct keys *keys;
static uint8_t master[2][MASTER_KEY_BYTES] = {{1}, {2}};

static void need(enum status status, const char *what)
{
    if (status != STATUS_OK) {
        fprintf(stderr, "%s: %s\n", what, status_name(status));
        exit(1);
    }
}

static void open_it(int current)
{
    const struct masters masters = {view_of(master[current], MASTER_KEY_BYTES), {NULL, 0}};
    char *where = NULL;
    need(store_where(dir, NULL, false, &where), "where");
    need(database_open(dir, where, &masters, &store, &keys), "open");
    free(where);
}

static void close_it(void)
{
    keys_free(&keys);
    store_close(&store);
}

static void add_tenant(unsigned long tenant, unsigned long secrets)
{
    struct account account = {.created_ms = 1};
    (void)snprintf(account.id, sizeof account.id, "acc_%lu", tenant);
    (void)snprintf(account.email, sizeof account.email, "%lu@example.com", tenant);
    need(account_insert(store, &account), "account");
    for (unsigned long i = 0; i < secrets; i++) {
        CLEANUP(buffer_free) struct buffer blob = BUFFER_EMPTY;
        struct secret_row row = {.version = 1, .created_ms = 1, .updated_ms = 1};
        id_new("sec", row.id);
        memcpy(row.account, account.id, sizeof row.account);
        (void)snprintf(row.name, sizeof row.name, "NAME_%lu", i);
        need(seal_secret(keys, &row, VIEW("sk-an-ordinary-key-of-some-forty-characters"), &blob), "seal");
        need(secret_row_insert(store, &row, buffer_view(&blob)), "insert");
    }
}

static void fill(unsigned long tenants, unsigned long secrets)
{
    need(store_begin(store), "begin");
    for (unsigned long i = 0; i < tenants; i++) {
        add_tenant(i, secrets / tenants);
    }
    need(store_end(store, STATUS_OK), "commit");
}

static uint64_t timed(const char *what, uint64_t began_ms)
{
    uint64_t took_ms = clock_mono_ms() - began_ms;
    printf("%-45s %6llu ms\n", what, (unsigned long long)took_ms);
    return took_ms;
}

static uint64_t open_timed(const char *what, int current)
{
    uint64_t began_ms = clock_mono_ms();
    open_it(current);
    return timed(what, began_ms);
}

static uint64_t change_master(unsigned long tenants)
{
    uint64_t count = 0, began_ms = clock_mono_ms();
    need(keys_rotate(keys, view_of(master[1], MASTER_KEY_BYTES), &count), "rotate");
    if (count != tenants + INSTALL_KEYS) {
        need(STATUS_INTERNAL, "not every data key was wrapped anew");
    }
    return timed("change the master key", began_ms);
}

static void change_data_keys(unsigned long tenants)
{
    struct reseal pass = {0};
    uint64_t count = 0, began_ms = clock_mono_ms(), step_ms = 0;
    need(store_begin(store), "begin");
    need(store_end(store, keys_renew_all(keys, &count)), "renew");
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        uint64_t step_began_ms = clock_mono_ms();
        status = reseal_step(&pass, store, keys);
        uint64_t took_ms = clock_mono_ms() - step_began_ms;
        step_ms = took_ms > step_ms ? took_ms : step_ms;
    }
    if (status != STATUS_NOT_FOUND || count != tenants || pass.tenants != tenants) {
        need(STATUS_INTERNAL, "not every tenant was re-sealed");
    }
    (void)timed("seal all secrets under new data keys", began_ms);
    printf("%-45s %6llu ms\n", "  the longest step of it", (unsigned long long)step_ms);
}

int main(int argc, char **argv)
{
    bool check = argc > 1 && strcmp(argv[argc - 1], "--check") == 0;
    unsigned long tenants = argc > 1 + check ? strtoul(argv[1], NULL, 10) : 1000;
    unsigned long secrets = argc > 2 + check ? strtoul(argv[2], NULL, 10) : 10 * tenants;
    if (tenants == 0 || !mkdtemp(dir)) {
        return 2;
    }
    open_it(0);
    fill(tenants, secrets);
    close_it();
    printf("%lu tenants, %lu secrets\n", tenants, secrets / tenants * tenants);
    uint64_t opened_ms = open_timed("open", 0);
    uint64_t changed_ms = change_master(tenants);
    change_data_keys(tenants);
    close_it();
    (void)open_timed("open again, under the new keys", 1);
    close_it();
    char command[64];
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command) != 0 || (check && (opened_ms >= 2000 || changed_ms >= 5000));
}
