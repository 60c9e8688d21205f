/* unseal.c - gives sealed vaults one share of their master key, or its passphrase.
 *
 * It goes over each vault's own socket in DIR, its data directory, sealed to the vault: on the vault's
 * host, by whoever may enter that directory, and past no gateway. */
#include "cli/cli.h"
#include "proto/control_client.h"

static bool all_alive(const struct args *args)
{
    for (unsigned i = 0; i < args->words; i++) {
        if (!control_alive(args->word[i])) {
            (void)fail(SEKS_AWAY, "DIR is its --data directory, and must be enterable",
                       "no vault runs on %s", args->word[i]);
            return false;
        }
    }
    return true;
}

/* One vault among several: a line about how it is now.  False when it did not take WORD. */
static bool give(const char *dir, const struct secret *word, json_t *list)
{
    struct control_reply reply;
    bool answered = control_ask_vault(dir, "unseal", NULL, word, &reply) == STATUS_OK;
    bool good = answered && reply.status == STATUS_OK;
    const char *text = !answered ? "it does not answer"
                       : reply.text[0] ? reply.text : status_text(reply.status);
    (void)json_array_append_new(list, json_pack("{s:s,s:b,s:s}", "dir", dir, "ok", good, "text", text));
    note("%s: %s", dir, text);
    return good;
}

static int give_all(const struct args *args, const struct secret *word)
{
    json_t *list = json_array();
    unsigned refused = 0;
    for (unsigned i = 0; i < args->words; i++) {
        refused += !give(args->word[i], word, list);
    }
    json_t *answer = json_pack("{s:b,s:o}", "ok", refused == 0, "vaults", list);
    if (out_is_json() && answer) {
        (void)out_json(answer);
    }
    json_decref(answer);
    return refused == 0 ? SEKS_OK : SEKS_FAILED;
}

static int give_one(const char *dir, const struct secret *word)
{
    struct control_reply reply;
    if (control_ask_vault(dir, "unseal", NULL, word, &reply) != STATUS_OK) {
        return fail(SEKS_AWAY, NULL, "the vault on %s does not answer", dir);
    }
    if (reply.status != STATUS_OK) {
        return fail(SEKS_FAILED, NULL, "%s", reply.text[0] ? reply.text : status_text(reply.status));
    }
    json_t *answer = json_pack("{s:b,s:s}", "ok", 1, "text", reply.text);
    int status = finish(answer ? SEKS_OK : fail(SEKS_FAILED, NULL, "no memory"), answer, "%s",
                        reply.text);
    json_decref(answer);
    return status;
}

int command_unseal(const struct args *args)
{
    CLEANUP(secret_free) struct secret *word = NULL;
    const char *file = args->option[OPT_FILE];
    if (!all_alive(args)) {
        return SEKS_AWAY;
    }
    int status = file ? read_value(file, &word)
                      : ask_hidden("Share or passphrase: ", "--file FILE", &word);
    if (status != SEKS_OK) {
        return status;
    }
    return args->words == 1 ? give_one(args->word[0], word) : give_all(args, word);
}
