/* unseal.c - gives a sealed vault one share of its master key, or its passphrase.
 *
 * It goes over the vault's own socket in DIR, its data directory, sealed to the vault: on the vault's
 * host, by whoever may enter that directory, and past no gateway. */
#include "cli/cli.h"
#include "proto/control_client.h"

int command_unseal(const struct args *args)
{
    CLEANUP(secret_free) struct secret *word = NULL;
    struct control_reply reply;
    const char *file = args->option[OPT_FILE], *dir = args->word[0];
    if (!control_alive(dir)) {
        return fail(SEKS_AWAY, "DIR is its --data directory, and must be enterable",
                    "no vault runs on %s", dir);
    }
    int status = file ? read_value(file, &word)
                      : ask_hidden("Share or passphrase: ", "--file FILE", &word);
    if (status != SEKS_OK) {
        return status;
    }
    if (control_ask_vault(dir, "unseal", NULL, word, &reply) != STATUS_OK) {
        return fail(SEKS_AWAY, NULL, "the vault on %s does not answer", dir);
    }
    if (reply.status != STATUS_OK) {
        return fail(SEKS_FAILED, NULL, "%s", reply.text[0] ? reply.text : status_text(reply.status));
    }
    json_t *answer = json_pack("{s:b,s:s}", "ok", 1, "text", reply.text);
    status = finish(answer ? SEKS_OK : fail(SEKS_FAILED, NULL, "no memory"), answer, "%s",
                    reply.text);
    json_decref(answer);
    return status;
}
