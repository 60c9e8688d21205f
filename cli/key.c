/* key.c - account keys, for automation and for a look at which hosts are logged in. */
#include "cli/cli.h"

int command_key_add(const struct args *args)
{
    struct broker *broker = NULL;
    json_t *answer = NULL;
    int status = broker_open(args, NEED_KEY, &broker);
    if (status == SEKS_OK) {
        status = broker_call(broker, "POST", "/v1/account/keys",
                             json_pack("{s:s}", "name", args->word[0]), &answer);
    }
    if (status == SEKS_OK && out_is_json()) {
        status = out_json(answer);
    } else if (status == SEKS_OK) {
        note("shown this once; keep it where secrets are kept:");
        printf("%s\n", text_at(answer, "key"));
    }
    json_decref(answer);
    broker_close(&broker);
    return status;
}

static void print_keys(const json_t *keys)
{
    static const struct column columns[] = {{"ID", "id"},           {"NAME", "name"},
                                            {"ENDS IN", "last4"},   {"MADE", "created_at"},
                                            {"LAST USED", "last_used_at"}, {NULL, NULL}};
    print_list(keys, columns, "there are no account keys");
}

int command_key_list(const struct args *args)
{
    return list_command(args, "/v1/account/keys", "keys", print_keys);
}

int command_key_rm(const struct args *args)
{
    if (!ask_sure(args, "Revoke the account key %s?", args->word[0])) {
        return SEKS_FAILED;
    }
    return delete_command(args, "/v1/account/keys", args->word[0], "revoked");
}
