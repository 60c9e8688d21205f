/* command_import.c - seks-vault import: takes an upstream broker's database over, all of it or none. */
#include "import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The old master key: a file with 64 hex digits, as ours. */
static enum status read_old_key(const char *path, struct secret **ret_key)
{
    const char *slash = strrchr(path, '/');
    char dir[VAULT_PATH_SIZE] = ".";
    if (slash && !view_copy(view_of(path, (size_t)(slash - path) + 1), dir, sizeof dir)) {
        return STATUS_INVALID;
    }
    return keyfile_read(dir, slash ? slash + 1 : path, MASTER_KEY_BYTES, ret_key);
}

static enum status finish(const struct command_options *options, const struct import *import,
                          enum status status)
{
    const struct import_counts *counts = &import->counts;
    if (status == STATUS_OK && counts->problems > 0 && !options->skip) {
        status = command_fail(STATUS_INVALID,
                              "nothing was imported, for %llu problems; with --skip what they name "
                              "is left out", (unsigned long long)counts->problems);
    }
    return status;
}

static enum status in_transaction(const struct command_options *options, struct import *import)
{
    struct epoch_row epoch;
    enum status status = store_begin(import->store);
    if (status != STATUS_OK) {
        return status;
    }
    status = finish(options, import, import_run(import));
    if (status == STATUS_OK) {
        status = epoch_read(import->store, &epoch);
    }
    if (status == STATUS_OK) {
        epoch.epoch++;
        status = epoch_write(import->store, &epoch);
    }
    return store_end(import->store, status);
}

static void tell(const struct import *import)
{
    const struct import_counts *counts = &import->counts;
    CLEANUP(buffer_free) struct buffer left = BUFFER_EMPTY;
    printf("imported %llu accounts, %llu secrets, %llu agents and %llu tokens",
           (unsigned long long)counts->accounts, (unsigned long long)counts->secrets,
           (unsigned long long)counts->agents, (unsigned long long)counts->tokens);
    if (counts->copies) {
        printf("; %llu secrets also under the name that calls need here",
               (unsigned long long)counts->copies);
    }
    if (counts->problems) {
        printf("; %llu left out", (unsigned long long)counts->problems);
    }
    puts(".  Agents may read secrets as they could before: see direct_access of each.");
    import_source_left(import->source, &left);
    if (left.size > 0) {
        printf("not taken over, rows: %.*s; keep the export as long as you need them\n",
               (int)left.size, (const char *)left.data);
    }
}

static enum status import_into(const struct command_options *options, struct import *import)
{
    CLEANUP(store_close) struct store *store = NULL;
    CLEANUP(keys_free) struct keys *keys = NULL;
    CLEANUP(master_free) struct master master = {0};
    enum status status = master_read(options->keys, &master);
    const struct masters masters = master_views(&master);
    if (status == STATUS_OK) {
        status = database_open(options->data, options->where, &masters, &store, &keys);
    }
    if (status != STATUS_OK) {
        return command_fail(status, "the database in %s cannot be used", options->data);
    }
    import->store = store;
    import->keys = keys;
    status = in_transaction(options, import);
    if (status == STATUS_OK) {
        tell(import);
    }
    return status;
}

enum status command_import(const struct command_options *options)
{
    CLEANUP(secret_free) struct secret *old_key = NULL;
    CLEANUP(import_source_close) struct import_source source = {0};
    struct providers *providers = NULL;
    const char *why = "";
    if (!options->old_key) {
        return command_fail(STATUS_INVALID, "--old-key FILE is missing: the old broker's master key");
    }
    if (control_alive(options->data)) {
        return command_fail(STATUS_CONFLICT, "a vault runs on %s: stop it first", options->data);
    }
    enum status status = read_old_key(options->old_key, &old_key);
    if (status == STATUS_OK) {
        status = import_source_open(options->word, &source);
    }
    if (status == STATUS_OK && providers_load(options->providers, &providers, &why) != STATUS_OK) {
        status = command_fail(STATUS_INVALID, "%s", why);
    }
    struct import import = {.source = &source, .providers = providers, .old_key = old_key,
                            .accept_wider = options->accept_wider};
    if (status == STATUS_OK) {
        status = import_into(options, &import);
    }
    providers_free(&providers);
    return status;
}
