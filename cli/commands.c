/* commands.c - the table of commands and of their options.  Usage, parsing and completion all read
 * it, so what is not here does not exist. */
#include "cli/cli.h"

#include <string.h>

#define COMMON (1u << OPT_SERVER | 1u << OPT_CA_FILE | 1u << OPT_JSON | 1u << OPT_HELP)
#define BIT(name) (1u << OPT_##name)

const struct option_row option_rows[OPT_COUNT] = {
    [OPT_SERVER] = {"server", "URL", "the broker; else $SEKS_SERVER, else where you logged in last, "
                                     "else http://127.0.0.1:8787", NULL},
    [OPT_CA_FILE] = {"ca-file", "FILE", "certificates to trust; else $SEKS_CA_FILE, else the system's",
                     NULL},
    [OPT_JSON] = {"json", NULL, "print JSON", NULL},
    [OPT_HELP] = {"help", NULL, "print this", NULL},
    [OPT_EMAIL] = {"email", "EMAIL", "instead of asking", NULL},
    [OPT_PASSWORD_FILE] = {"password-file", "FILE", "instead of asking; - is standard input", NULL},
    [OPT_KEY_NAME] = {"key-name", "NAME", "the account key's name; this host's unless given", NULL},
    [OPT_FILE] = {"file", "FILE", "take the value from FILE; - is standard input", NULL},
    [OPT_PROVIDER] = {"provider", "NAME", "the provider", NULL},
    [OPT_ALL] = {"all", NULL, "also the variables that no provider knows", NULL},
    [OPT_YES] = {"yes", NULL, "do not ask", NULL},
    [OPT_DIRECT] = {"direct-access", "WHAT", "secrets it may read itself: none, all, or NAME,NAME...",
                    "none all"},
    [OPT_RENAME] = {"name", "NAME", "its new name", NULL},
    [OPT_EXPIRES] = {"expires", "TIME", "how long it is good, as 90s, 15m, 12h or 30d", NULL},
    [OPT_SECRET] = {"secret", "NAME", "another secret than the provider's usual one", NULL},
    [OPT_FORMAT] = {"format", "FORMAT", "shell, dotenv, docker or json", "shell dotenv docker json"},
    [OPT_OUTPUT] = {"output", "FILE", "write to FILE, mode 0600, instead of standard output", NULL},
    [OPT_ONLY] = {"only", "PROVIDERS", "these alone, with commas between", NULL},
    [OPT_TTL] = {"ttl", "TIME", "tokens for this time alone, kept nowhere: 15m, 12h", NULL},
    [OPT_KEEP] = {"keep", "NAMES", "variables to leave as they are, with commas between", NULL},
    [OPT_AGENT] = {"agent", "AGENT", "of this agent alone", NULL},
    [OPT_ACTION] = {"action", "ACTION", "of this action alone", NULL},
    [OPT_LIMIT] = {"limit", "COUNT", "how many records, 1 to 1000; 50 unless given", NULL},
    [OPT_BEFORE] = {"before", "NEXT", "older than the page that said so", NULL},
    [OPT_KIND] = {"kind", "KIND", "of this kind alone", "intent outcome denied account system"},
    [OPT_STATUS] = {"status", "STATUS", "that ended with this HTTP status, or class: 404, 4xx", NULL},
    [OPT_TOKEN] = {"token", "ID", "of this token alone", NULL},
    [OPT_REQUEST] = {"request", "ID", "of this request alone: an answer's Seks-Request-Id", NULL},
    [OPT_SINCE] = {"since", "TIME", "from this time on: 2026-01-31T12:00:00Z, or a day (UTC)", NULL},
    [OPT_UNTIL] = {"until", "TIME", "before this time", NULL},
    [OPT_ONCE] = {"once", NULL, "do not wait for those that come", NULL},
};

#define LOGIN (COMMON | BIT(EMAIL) | BIT(PASSWORD_FILE) | BIT(KEY_NAME))
#define AUDIT (COMMON | BIT(AGENT) | BIT(PROVIDER) | BIT(ACTION) | BIT(LIMIT) | BIT(KIND) | BIT(STATUS) | \
               BIT(TOKEN) | BIT(REQUEST) | BIT(SINCE) | BIT(UNTIL))
#define ENV (COMMON | BIT(ONLY) | BIT(TTL))

const struct command commands[] = {
    {"signup", NULL, "", 0, 0, LOGIN, command_signup, NULL, "make an account and log in"},
    {"login", NULL, "", 0, 0, LOGIN, command_login, NULL, "log in: keeps an account key for this host"},
    {"logout", NULL, "", 0, 0, COMMON, command_logout, NULL, "revoke this host's account key and forget it"},
    {"whoami", NULL, "", 0, 0, COMMON, command_whoami, NULL, "who is logged in, and where"},
    {"account", "password", "", 0, 0, COMMON, command_account_password, NULL, "change the password"},
    {"account", "delete", "", 0, 0, COMMON | BIT(PASSWORD_FILE), command_account_delete, NULL,
     "erase the account with all its secrets"},
    {"key", "add", "NAME", 1, 1, COMMON, command_key_add, NULL,
     "make an account key, for automation (SEKS_ACCOUNT_KEY)"},
    {"key", "list", "", 0, 0, COMMON, command_key_list, NULL, "list the account keys"},
    {"key", "rm", "ID", 1, 1, COMMON | BIT(YES), command_key_rm, NULL, "revoke an account key"},
    {"secret", "set", "NAME", 1, 1, COMMON | BIT(FILE) | BIT(PROVIDER), command_secret_set, NULL,
     "store or replace a secret: asks, or reads a file or standard input"},
    {"secret", "list", "", 0, 0, COMMON, command_secret_list, NULL, "list the secrets, never a value"},
    {"secret", "rm", "NAME", 1, 1, COMMON | BIT(YES), command_secret_rm, NULL, "delete a secret"},
    {"secret", "import", "FILE", 1, 1, COMMON | BIT(ALL), command_secret_import, NULL,
     "store the known keys of a .env file"},
    {"agent", "add", "NAME", 1, 1, COMMON | BIT(DIRECT), command_agent_add, NULL, "make an agent"},
    {"agent", "list", "", 0, 0, COMMON, command_agent_list, NULL, "list the agents"},
    {"agent", "show", "AGENT", 1, 1, COMMON, command_agent_show, NULL, "an agent and its tokens"},
    {"agent", "set", "AGENT", 1, 1, COMMON | BIT(DIRECT) | BIT(RENAME), command_agent_set, NULL,
     "rename an agent, or change its direct access"},
    {"agent", "renew", "AGENT", 1, 1, COMMON, command_agent_renew, NULL,
     "a new agent token; the old one is dead"},
    {"agent", "rm", "AGENT", 1, 1, COMMON | BIT(YES), command_agent_rm, NULL,
     "delete an agent and all its tokens"},
    {"token", "add", "AGENT PROVIDER", 2, 2, COMMON | BIT(EXPIRES) | BIT(SECRET), command_token_add,
     NULL, "make a fake token, shown once"},
    {"token", "list", "[AGENT]", 0, 1, COMMON, command_token_list, NULL, "list the tokens"},
    {"token", "renew", "AGENT TOKEN", 2, 2, COMMON, command_token_renew, NULL,
     "a new value for a token (its id, or its provider); the old one is dead"},
    {"token", "rm", "AGENT TOKEN", 2, 2, COMMON | BIT(YES), command_token_rm, NULL, "revoke a token"},
    {"env", NULL, "AGENT", 1, 1, ENV | BIT(FORMAT) | BIT(OUTPUT), command_env, NULL,
     "print an agent's environment: eval \"$(seks env AGENT)\""},
    {"run", NULL, "AGENT -- COMMAND...", 1, 1, ENV | BIT(KEEP), command_run, NULL,
     "run a command with fake tokens in place of the real keys"},
    {"audit", "list", "", 0, 0, AUDIT | BIT(BEFORE), command_audit_list, NULL,
     "the account's records, newest first"},
    {"audit", "tail", "[DIR]", 0, 1, AUDIT | BIT(ONCE), command_audit_follow, NULL,
     "the newest records, and those that come; of all accounts from the log in DIR"},
    {"audit", "verify", "DIR --key FILE", 0, 0, 0, NULL, command_audit, "check the audit log in DIR"},
    {"providers", NULL, "[NAME]", 0, 1, COMMON, command_providers, NULL,
     "the providers that the broker knows, and their variables"},
    {"doctor", NULL, "[AGENT]", 0, 1, COMMON | BIT(ONLY), command_doctor, NULL,
     "check the way from here to the providers, step by step"},
    {"keygen", NULL, "[--split] DIR | --kubernetes [DIR]", 0, 0, 0, NULL, command_keygen,
     "make the keys that DIR lacks, for all daemons"},
    {"unseal", NULL, "DIR...", 1, ARG_WORDS_MAX, BIT(JSON) | BIT(HELP) | BIT(FILE), command_unseal, NULL,
     "give the sealed vaults on each DIR one share of their master key, or its passphrase"},
    {"completion", NULL, "SHELL", 1, 1, BIT(HELP), command_completion, NULL,
     "print the completion script for bash, zsh or fish"},
    {"help", NULL, "[COMMAND [VERB]]", 0, 2, BIT(HELP), command_help, NULL, "print how a command is used"},
    {NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL},
};

const struct command *command_find(int argc, char **argv, int *ret_used)
{
    for (const struct command *row = commands; argc > 0 && row->name; row++) {
        if (strcmp(argv[0], row->name) != 0) {
            continue;
        }
        if (!row->verb || (argc > 1 && strcmp(argv[1], row->verb) == 0)) {
            *ret_used = row->verb ? 2 : 1;
            return row;
        }
    }
    return NULL;
}

bool command_is_group(const char *name)
{
    for (const struct command *row = commands; row->name; row++) {
        if (row->verb && strcmp(row->name, name) == 0) {
            return true;
        }
    }
    return false;
}
