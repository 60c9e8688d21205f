/* cli.h - the map of the `seks` command, in the order an invocation meets it.
 *
 * main.c finds the row of commands.c, args.c reads the words after it, and the row's function runs.
 * What talks to a broker goes through broker.c, and nothing else does; it has no powers that the
 * HTTP contract does not give to everybody.  Every function that can fail says so itself, in one
 * line with the next step, and returns the exit status. */
#ifndef CLI_H
#define CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/secret.h"
#include "common/status.h"

/* The exit statuses (also in seks.1).  `audit verify` and `run` have some of their own. */
enum seks_exit {
    SEKS_OK = 0,
    SEKS_FAILED = 1,    /* the broker refused, or something here failed */
    SEKS_USAGE = 2,     /* the command line is wrong */
    SEKS_LOGIN = 3,     /* not logged in, or the credential is not valid */
    SEKS_MISSING = 4,   /* there is no such secret, agent, token */
    SEKS_AWAY = 5,      /* the broker, or a part of it, does not answer */
    SEKS_RUN = 125,     /* `run` failed before the command started */
    SEKS_RUN_NOT = 126, /* the command cannot be executed */
    SEKS_RUN_NONE = 127 /* there is no such command */
};

/* ---- commands.c: the tables ---- */

enum opt {
    OPT_SERVER, OPT_CA_FILE, OPT_JSON, OPT_HELP, OPT_EMAIL, OPT_PASSWORD_FILE, OPT_KEY_NAME,
    OPT_FILE, OPT_PROVIDER, OPT_ALL, OPT_YES, OPT_DIRECT, OPT_RENAME, OPT_EXPIRES, OPT_SECRET,
    OPT_FORMAT, OPT_OUTPUT, OPT_ONLY, OPT_TTL, OPT_KEEP, OPT_AGENT, OPT_ACTION, OPT_LIMIT, OPT_BEFORE,
    OPT_KIND, OPT_STATUS, OPT_TOKEN, OPT_REQUEST, OPT_SINCE, OPT_UNTIL, OPT_ONCE,
    OPT_COUNT
};

struct option_row {
    const char *name;  /* without dashes */
    const char *value; /* its value's name, NULL for a flag */
    const char *help;
    const char *choices; /* words for completion, or NULL */
};
extern const struct option_row option_rows[OPT_COUNT];

struct args;
/* Both return the exit status.  A raw one reads for itself what follows its name. */
typedef int command_fn(const struct args *args);
typedef int raw_fn(int argc, char **argv);

struct command {
    const char *name, *verb; /* verb NULL when it has none */
    const char *words;       /* its positional words, for the usage line */
    unsigned min, max;       /* how many of them */
    uint32_t options;        /* bits of enum opt */
    command_fn *run;
    raw_fn *raw;
    const char *help;
};
/* Ended by a row without a name. */
extern const struct command commands[];

/* The row for what ARGV begins with; NULL when there is none.  RET_USED is how many words name it. */
const struct command *command_find(int argc, char **argv, int *ret_used);
bool command_is_group(const char *name); /* whether NAME has verbs */

/* ---- args.c ---- */

enum { ARG_WORDS_MAX = 16 };
struct args {
    const struct command *command;
    const char *option[OPT_COUNT]; /* NULL when not given; "" for a flag */
    const char *word[ARG_WORDS_MAX];
    unsigned words;
    char **rest; /* what follows "--", ended by NULL; NULL without "--" */
};

/* Reads ARGV by COMMAND's row.  SEKS_USAGE, said, when it does not fit. */
MUST_USE int args_parse(const struct command *command, int argc, char **argv, struct args *ret);
/* "90", "15m", "12h", "30d" to seconds; false unless it is that, above 0 and under ten years. */
bool args_duration(const char *text, uint64_t *ret_seconds);
/* Whether the comma-separated LIST has NAME; an absent list has all. */
bool args_lists(const char *list, const char *name);

/* ---- usage.c ---- */

void usage_all(FILE *out);
void usage_group(FILE *out, const char *name);
void usage_command(FILE *out, const struct command *command);

/* ---- out.c: how people and programs are told ---- */

void out_open(bool json);
bool out_is_json(void);
/* Says "seks: TEXT; NEXT" (NEXT may be NULL), or the same as JSON on standard output, and returns
 * STATUS. */
int fail(int status, const char *next, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A line on standard error for people; nothing with --json. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A line that the next one overwrites; on a terminal only. */
void progress(const char *format, ...) __attribute__((format(printf, 1, 2)));
void progress_end(void);

enum style { STYLE_HEAD, STYLE_GOOD, STYLE_BAD, STYLE_DIM, STYLE_NONE };
/* The escape sequence, or "" unless OUT is a terminal and NO_COLOR is not set. */
const char *style(FILE *out, enum style style);
/* TEXT with everything that could steer a terminal written as \xNN. */
void out_text(FILE *out, const char *text);
/* Prints ANSWER as it is, for --json; returns SEKS_OK. */
int out_json(const json_t *answer);

/* The end of a command that went well: prints ANSWER with --json (NULL for nothing but "ok"), else the
 * note.  Passes a STATUS that is no success through. */
MUST_USE int finish(int status, const json_t *answer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- table.c ---- */

/* A member of an object and its heading; a row without a heading ends a table. */
struct column {
    const char *head, *member;
};
enum { COLUMNS_MAX = 8 };
/* LIST's objects under the headings; the note EMPTY when it has none. */
void print_list(const json_t *list, const struct column *columns, const char *empty);
/* One object, a line each. */
void print_object(const json_t *object, const struct column *columns);
/* What a person reads for VALUE; the caller frees it.  NULL for want of memory. */
char *cell_text(const json_t *value);

/* ---- ask.c: prompts, and values from files ---- */

/* A line from the terminal, with or without echo; SEKS_USAGE without one, naming USE instead. */
MUST_USE int ask_line(const char *prompt, const char *use, struct secret **ret);
MUST_USE int ask_hidden(const char *prompt, const char *use, struct secret **ret);
/* Asks yes or no on a terminal; true without one, or with --yes. */
bool ask_sure(const struct args *args, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The content of a file ("-" for standard input) of at most MAX bytes. */
MUST_USE int read_file(const char *path, size_t max, struct secret **ret);
/* The same as one value: without the newline at its end. */
MUST_USE int read_value(const char *path, struct secret **ret);

/* ---- files.c and config.c: what is kept between invocations, for this user's eyes alone ---- */

/* The file is $XDG_CONFIG_HOME/seks/NAME or ~/.config/seks/NAME.  An absent one gives an empty object;
 * one that others can read is refused. */
MUST_USE int files_load(const char *name, json_t **ret);
/* Replaces the file at once, mode 0600, in a directory of mode 0700. */
MUST_USE int files_save(const char *name, const json_t *content);
/* Puts TEXT into the file PATH at once, mode 0600; false with errno. */
MUST_USE bool files_replace(const char *path, struct view text);
/* Waits until no other invocation holds it; the lock ends with the descriptor (close-on-exec) or the
 * process.  -1 with errno when nothing can be kept here. */
int files_lock(void);

/* What config.json has of a server: {"email","key","key_id"}; NULL when it has nothing. */
json_t *config_server(json_t *config, const char *url);
/* --server, else SEKS_SERVER, else the one logged in to last, else the default, without a slash at
 * its end.  The caller frees it. */
MUST_USE int config_url(const struct args *args, const json_t *config, char **ret);

/* ---- broker.c: the HTTP contract ---- */

/* A broker and how we are known to it. */
struct broker;
enum need { NEED_NOTHING, NEED_KEY, NEED_ANY }; /* any: with the key if there is one */

MUST_USE int broker_open(const struct args *args, enum need need, struct broker **ret);
void broker_close(struct broker **broker);
const char *broker_url(const struct broker *broker);
bool broker_has_key(const struct broker *broker);
void broker_csrf(struct broker *broker, const char *csrf); /* of the session that it holds now */
/* KEY instead of the session or key that it had. */
MUST_USE int broker_use_key(struct broker *broker, const char *key);

/* Sends BODY (which it takes; NULL for none) and gives the JSON answer (RET may be NULL).  Returns the
 * HTTP status, or 0 when no answer came: then, and for any status but 2xx, broker_error() tells. */
int broker_ask(struct broker *broker, const char *method, const char *path, json_t *body,
               json_t **ret);
const char *broker_error(const struct broker *broker);
/* The same, and says what went wrong; returns the exit status. */
MUST_USE int broker_call(struct broker *broker, const char *method, const char *path, json_t *body,
                         json_t **ret);
/* What a failed broker_ask() means; says it and returns the exit status. */
int broker_tell(struct broker *broker, int http);
/* GET on a passthrough path with a token; the status, and whether the broker itself answered. */
int broker_probe(struct broker *broker, const char *url, const char *token, bool *ret_own);
/* NAME percent-encoded behind PATH, into RET. */
MUST_USE int broker_path(struct broker *broker, char *ret, size_t size, const char *path,
                         const char *name, const char *more);

/* ---- lookup.c: what several commands look for ---- */

/* The agent called NAME, or with that id.  SEKS_MISSING, said. */
MUST_USE int find_agent(struct broker *broker, const char *name, json_t **ret);
/* GET /v1/providers, its list alone. */
MUST_USE int get_providers(struct broker *broker, json_t **ret);
json_t *find_provider(json_t *providers, const char *name); /* by name or alias; borrowed */
/* The entry of a list of strings that is NAME; NULL when none is. */
const char *list_has(const json_t *list, const char *name);
/* Whether SECRETS (a list of objects with "name") has all that PROVIDER needs. */
bool has_secrets(const json_t *provider, const json_t *secrets, const char **ret_lacks);
const char *text_at(const json_t *object, const char *key); /* NULL when it is no string */

/* ---- simple.c: what every list and every delete has in common ---- */

typedef void print_fn(const json_t *list);
/* GET PATH; the answer itself with --json, else PRINT for its MEMBER. */
MUST_USE int list_command(const struct args *args, const char *path, const char *member,
                          print_fn *print);
/* DELETE PATH/NAME; then the note "DONE NAME". */
MUST_USE int delete_command(const struct args *args, const char *path, const char *name,
                            const char *done);

/* ---- dotenv.c, environment.c: without side effects ---- */

/* Calls EACH for every NAME=VALUE of TEXT (sh and docker dialects: comments, `export`, quotes).  Line
 * is counted from 1; false from EACH stops it.  Returns 0, or the number of a line it cannot read. */
typedef bool dotenv_fn(void *context, struct view name, struct view value);
size_t dotenv_read(struct view text, dotenv_fn *each, void *context);

/* The name of the secret that a variable called NAME would hold: a provider's own name for it, or
 * another variable from which its SDKs take the token.  NULL when no provider has it. */
const char *environment_secret(const json_t *providers, const char *name,
                               const char **ret_provider);
/* TEMPLATE with {token} and {base_url} filled in. */
void environment_fill(struct buffer *out, const char *template, const char *token,
                      const char *base_url);
/* Adds PROVIDER's variables to the object VARIABLES; one that is there already stays. */
void environment_add(json_t *variables, const json_t *provider, const char *token,
                     const char *base_url);
/* Whether NAME is where a provider's real key, or this command's own, would be. */
bool environment_is_credential(const json_t *providers, const char *name);
/* Writes VARIABLES in FORMAT; in the shell's, also `unset` for each name of UNSET.  False for a format
 * that there is not. */
bool environment_write(struct buffer *out, const char *format, const json_t *variables,
                       const json_t *unset);

/* ---- tokens.c: the agent's tokens that this machine knows ---- */

/* {"PROVIDER":{"value","base_url"}} for AGENT: every provider whose secrets are stored (and that --only
 * names), with tokens from the cache, or new ones.  The caller drops RET, also after a failure. */
MUST_USE int tokens_find(struct broker *broker, const struct args *args, const json_t *agent,
                         json_t *providers, json_t **ret);

/* ---- activity.c, audit_tail.c: records of the audit log ---- */

void print_record(const json_t *record); /* as one line to read */
/* `audit tail DIR`: the LIMIT newest records of the log in the directory, then those that come. */
MUST_USE int audit_tail_dir(const struct args *args, long limit);

/* ---- the commands ---- */

void print_tokens(const json_t *tokens); /* token.c: a table of an agent's tokens */


command_fn command_login, command_signup, command_logout, command_whoami;
command_fn command_account_password, command_account_delete;
command_fn command_key_list, command_key_add, command_key_rm;
command_fn command_secret_set, command_secret_list, command_secret_rm, command_secret_import;
command_fn command_agent_add, command_agent_list, command_agent_show, command_agent_set,
    command_agent_renew, command_agent_rm;
command_fn command_token_add, command_token_list, command_token_renew, command_token_rm;
command_fn command_env, command_run, command_audit_list, command_audit_follow;
command_fn command_providers, command_doctor, command_unseal, command_completion, command_help;

/* keygen [--split] DIR, keygen --kubernetes [DIR]: makes DIR and the key files that it lacks, never
 * overwrites one; lays them out for each daemon. */
int command_keygen(int argc, char **argv);

/* audit verify DIR --key FILE [--head SEQ:HASH|FILE]...: checks the log that is in DIR. */
int command_audit(int argc, char **argv);

#endif
