/* command_keys.c - seks-vault rotate-keys: a new data key, and all secrets sealed under it. */
#include "commands.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct timespec poll_pause = {0, 50 * 1000 * 1000};

static enum status wait_for_vault(const struct command_options *options)
{
    struct control_reply reply;
    for (;;) {
        enum status status = command_ask(options, "resealing", NULL, NULL, &reply);
        if (status != STATUS_OK || reply.number == 0) {
            return status;
        }
        (void)nanosleep(&poll_pause, NULL); /* a signal only makes the next question earlier */
    }
}

enum status command_rotate_keys(const struct command_options *options)
{
    struct control_reply reply;
    bool all = strcmp(options->word, "all") == 0;
    if (!control_alive(options->data)) {
        return command_fail(STATUS_UNAVAILABLE, "no vault runs on %s: it is the vault that seals, "
                                                "while it serves", options->data);
    }
    enum status status =
        command_ask(options, "rotate-keys", all ? NULL : options->word, NULL, &reply);
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t tenants = reply.number;
    status = wait_for_vault(options);
    if (status == STATUS_OK) {
        printf("the secrets of %llu tenants are under new data keys\n",
               (unsigned long long)tenants);
    }
    return status;
}
