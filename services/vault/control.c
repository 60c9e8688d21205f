/* control.c - the operator's door: `ipc://DATA/run/control`, for who can enter that directory.
 *
 * A table of commands; each runs to its end in the loop or, like a backup, answers later.  What is
 * secret comes sealed to the intake key, as from a gateway.  Never answers with a secret.
 */
#include "vault.h"

#include <stdio.h>
#include <string.h>

#include "proto/control_client.h"

typedef void control_fn(struct control_call *call, const struct control_ask *in);

void control_reply(struct vault *vault, struct channel_peer *peer, uint64_t call,
                   enum status status, uint64_t number, const char *text)
{
    const struct control_answer answer = {
        .call = call,
        .status = status_to_wire(status),
        .text = view_text(text),
        .number = number,
        .key = view_of(vault->intake_public, sizeof vault->intake_public),
    };
    if (peer) {
        vault_send(peer, &control_answer_schema, &answer);
    }
}

static void answer(const struct control_call *call, enum status status, uint64_t number,
                   const char *text)
{
    control_reply(call->vault, call->peer, call->call, status, number, text);
}

static enum status take_master(struct control_call *call, const struct control_ask *in,
                               struct secret **ret_master)
{
    CLEANUP(secret_free) struct secret *master = NULL;
    enum status status = intake_open(call->vault, in->box, &master);
    if (status == STATUS_OK && secret_size(master) != MASTER_KEY_BYTES) {
        status = STATUS_INVALID;
    }
    if (status == STATUS_OK) {
        *ret_master = TAKE(master);
    }
    return status;
}

/* ---- the commands ---- */

static void command_status(struct control_call *call, const struct control_ask *in)
{
    (void)in;
    const char *why = call->vault->closed_because;
    answer(call, STATUS_OK, call->vault->door, why[0] ? why : "the vault serves");
}

/* Whether the master key in the box is the one in use: 1 or 0. */
static void command_under(struct control_call *call, const struct control_ask *in)
{
    CLEANUP(secret_free) struct secret *master = NULL;
    enum status status = take_master(call, in, &master);
    bool under = status == STATUS_OK && keys_under(call->vault->keys, secret_view(master));
    answer(call, status, under, NULL);
}

static void command_rotate_master(struct control_call *call, const struct control_ask *in)
{
    CLEANUP(secret_free) struct secret *master = NULL;
    uint64_t count = 0;
    enum status status = take_master(call, in, &master);
    if (status == STATUS_OK) {
        status = keys_rotate(call->vault->keys, secret_view(master), &count);
    }
    if (status != STATUS_OK) {
        answer(call, status, 0, "the data keys could not be wrapped anew; all is as before");
        return;
    }
    struct audit_record record = audit_blank(AUDIT_SYSTEM, "vault.rotate-master", VIEW(""));
    audit_tell(call->vault->audit, &record);
    log_info("keys", "the master key was changed: %llu data keys are under the new one",
             (unsigned long long)count);
    answer(call, STATUS_OK, count, NULL);
}

static void command_backup(struct control_call *call, const struct control_ask *in)
{
    (void)in;
    enum status status = backup_start(call);
    if (status != STATUS_OK) {
        answer(call, status, 0, "the backup could not be begun; the vault's log says why");
    }
}

/* The tenant whose account has this email or id; "" for "". */
static enum status find_tenant(struct vault *vault, struct view text, char *ret_tenant)
{
    struct account account = {.id = ""};
    char name[EMAIL_MAX + 1];
    enum status status = STATUS_OK;
    if (text.size) {
        if (!view_copy(text, name, sizeof name)) {
            return STATUS_INVALID;
        }
        status = strchr(name, '@') ? account_by_email(vault->store, name, &account)
                                   : account_by_id(vault->store, name, &account);
    }
    memcpy(ret_tenant, account.id, sizeof account.id);
    return status;
}

static void command_rotate_keys(struct control_call *call, const struct control_ask *in)
{
    row_id tenant;
    uint64_t tenants = 0;
    char text[64];
    enum status status = find_tenant(call->vault, in->text, tenant);
    if (status == STATUS_NOT_FOUND) {
        answer(call, status, 0, "there is no such account");
        return;
    }
    if (status == STATUS_OK) {
        status = reseal_begin(call->vault, tenant, &tenants);
    }
    if (status != STATUS_OK) {
        answer(call, status, 0, status == STATUS_NOT_FOUND ? "the account has no secrets" : NULL);
        return;
    }
    (void)snprintf(text, sizeof text, "new data keys for %llu tenants",
                   (unsigned long long)tenants);
    struct audit_record record = audit_blank(AUDIT_SYSTEM, "vault.rotate-keys", VIEW(""));
    record.tenant = view_text(tenant);
    record.reason = view_text(text);
    audit_tell(call->vault->audit, &record);
    answer(call, STATUS_OK, tenants, NULL);
}

/* Whether secrets are still on their way to new data keys: 1 or 0. */
static void command_resealing(struct control_call *call, const struct control_ask *in)
{
    (void)in;
    answer(call, STATUS_OK, call->vault->resealing, NULL);
}

static void command_unseal(struct control_call *call, const struct control_ask *in)
{
    CLEANUP(secret_free) struct secret *word = NULL;
    const char *why = "";
    enum status status = intake_open(call->vault, in->box, &word);
    if (status == STATUS_OK) {
        status = unseal_take(call->vault, secret_view(word), &why);
    }
    answer(call, status, call->vault->door, why[0] ? why : call->vault->closed_because);
}

/* ---- the door ---- */

static const struct {
    const char *name;
    control_fn *run;
    bool sealed; /* also while there is no master key */
} commands[] = {
    {"status", command_status, true},
    {"unseal", command_unseal, true},
    {"under", command_under, false},
    {"rotate-master", command_rotate_master, false},
    {"backup", command_backup, false},
    {"rotate-keys", command_rotate_keys, false},
    {"resealing", command_resealing, false},
};

static void came(void *arg, struct channel_peer *peer, struct view record)
{
    struct control_ask in;
    struct control_call call = {.vault = arg, .peer = peer};
    if (proto_decode(&control_ask_schema, record, &in) != STATUS_OK) {
        log_warn("control", "a malformed message");
        return;
    }
    call.call = in.call;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (!view_is(in.command, commands[i].name)) {
            continue;
        }
        if (call.vault->door == DOOR_SEALED && !commands[i].sealed) {
            answer(&call, STATUS_UNAVAILABLE, 0, call.vault->closed_because);
        } else {
            commands[i].run(&call, &in);
        }
        return;
    }
    answer(&call, STATUS_INVALID, 0, "the vault knows no such command");
}

static void down(void *arg, struct channel_peer *peer)
{
    vault_forget_peer(arg, peer);
}

/* Where there can be none the vault serves all the same: commands then need it stopped. */
enum status control_open(struct vault *vault)
{
    static const struct channel_events events = {came, NULL, down};
    char endpoint[CONTROL_ENDPOINT_SIZE], dir[VAULT_PATH_SIZE];
    enum status status = vault_path(vault->options.data, "run", dir);
    if (status == STATUS_OK) {
        status = database_directory(dir);
    }
    if (status == STATUS_OK) {
        status = control_endpoint(vault->options.data, endpoint);
    }
    if (status == STATUS_OK) {
        status = channel_listen(vault->loop, endpoint, "control", &events, vault,
                                &vault->control);
    }
    if (status != STATUS_OK) {
        log_warn("control", "no socket %s/control: commands need the vault stopped", dir);
    }
    return STATUS_OK;
}
