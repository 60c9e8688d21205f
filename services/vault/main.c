/* main.c - seks-vault: keeps every account, secret, agent and token, and decides every request. */
#include "commands.h"

#include <stdio.h>

static struct vault vault = {.options = {.signup = "first"}};

static const struct option options[] = {
    {"data", OPTION_TEXT, &vault.options.data, "DIR where vault.db is", true},
    {"keys", OPTION_TEXT, &vault.options.keys, "DIR with master.key and the other keys", true},
    {"listen-gateway", OPTION_TEXT, &vault.options.listen, "ENDPOINT for gateways", true},
    {"audit", OPTION_LIST, &vault.options.audit,
     "ENDPOINT of the audit daemon; of several in the order of their numbers, given again", true},
    {"providers", OPTION_TEXT, &vault.options.providers, "FILE with the operator's providers",
     false},
    {"signup", OPTION_TEXT, &vault.options.signup, "MODE open, first or closed", false},
    {"accept-rollback", OPTION_NUMBER, &vault.options.accept_rollback,
     "EPOCH of the audit log behind which the database may be, this once", false},
    {"store", OPTION_TEXT, &vault.options.store,
     "URL postgres://..., or FILE with one, of the database; DIR/vault.db unless given", false},
    {"store-allow-insecure", OPTION_FLAG, &vault.options.store_allow_insecure,
     "a database on another host without sslmode=verify-full", false},
    {NULL, OPTION_FLAG, NULL, NULL, false},
};

enum {
    DRAIN_LOOK_MS = 20,
    CROSSING_MS = 200, /* in which a gateway's question may still come that crossed the word of leaving */
};
static uint64_t drains_from_ms;

/* One key file each: beside them lie, on a single host, those of the other daemons. */
static enum status confine_vault(struct confinement *confinement)
{
    static const char *const keys[] = {"grant.key", "intake.key", "vault.curve"};
    const struct vault_options *options_given = &vault.options;
    char control[VAULT_PATH_SIZE];
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        confine_read_in(confinement, options_given->keys, keys[i]);
    }
    master_confine(confinement, options_given->keys);
    confine_read_public_keys(confinement, options_given->keys);
    confine_read(confinement, options_given->providers);
    confine_write(confinement, options_given->data);
    confine_listen(confinement, options_given->listen);
    if (options_given->data) { /* the control socket's directory may not be there yet */
        (void)snprintf(control, sizeof control, "ipc://%s/run", options_given->data);
        confine_listen(confinement, control);
    }
    for (size_t i = 0; i < options_given->audit.count; i++) {
        confine_connect(confinement, options_given->audit.values[i]);
    }
    enum status status = STATUS_OK;
    if (options_given->store) { /* read here: afterwards its file cannot be */
        status = store_where(options_given->data, options_given->store,
                             options_given->store_allow_insecure, &vault.where);
    }
    if (status == STATUS_OK && vault.where) {
        store_confine(confinement, vault.where);
    }
    return status;
}

static enum status open_vault(struct loop *loop)
{
    return vault_open(&vault, loop);
}

static void stop_when_done(void *arg)
{
    vault.draining = clock_mono_ms() >= drains_from_ms;
    if (vault.draining && vault.pending_count == 0) {
        loop_stop(arg);
    }
}

static void drain(struct loop *loop)
{
    door_leave(&vault);
    drains_from_ms = clock_mono_ms() + CROSSING_MS;
    if (loop_every(loop, DRAIN_LOOK_MS, stop_when_done, loop) < 0) {
        loop_stop(loop);
    }
}

static void metrics(struct buffer *text)
{
    vault_metrics(&vault, text);
}

static bool ready(void)
{
    bool audit = audit_shards_up(vault.audit) > 0; /* one that is away stops but its own */
    return audit && vault.door == DOOR_OPEN && !vault.leaving;
}

static const char *why_not_ready(void)
{
    return vault.closed_because;
}

static void close_vault(void)
{
    vault_close(&vault);
}

int main(int argc, char **argv)
{
    static const struct daemon daemon = {
        .name = "vault",
        .options = options,
        .environment = master_take_environment,
        .confine = confine_vault,
        .open = open_vault,
        .drain = drain,
        .metrics = metrics,
        .ready = ready,
        .why_not_ready = why_not_ready,
        .close = close_vault,
    };
    if (argc > 1 && argv[1][0] != '-') {
        return commands_run(argc, argv);
    }
    return daemon_run(&daemon, argc, argv);
}
