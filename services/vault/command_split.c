/* command_split.c - the master key without a file: shares for several people, or a passphrase.
 *
 * The file stays until the operator removes it, so that nothing is lost while shares are handed out.
 * A start that finds master.unseal and no master.key is sealed, see unseal.c.
 */
#include "commands.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "seal_plan.h"

enum { LINE_MAX_BYTES = 1024 };

static enum status keep_plan(const struct command_options *options, const struct seal_plan *plan)
{
    return seal_plan_write(options->keys, plan) == STATUS_OK
               ? STATUS_OK
               : command_fail(STATUS_UNAVAILABLE, "cannot write %s/master.unseal", options->keys);
}

/* A line of standard input, unseen on a terminal; RET_LINE takes LINE_MAX_BYTES, to be wiped. */
static bool read_line(char *ret_line)
{
    struct termios loud, quiet;
    bool terminal = tcgetattr(STDIN_FILENO, &loud) == 0;
    (void)setvbuf(stdin, NULL, _IONBF, 0); /* no copy stays in a buffer */
    if (terminal) {
        quiet = loud;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet); /* seen, then; the prompt is not wrong */
    }
    bool got = fgets(ret_line, LINE_MAX_BYTES, stdin) != NULL;
    if (terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &loud); /* as it was */
        fputc('\n', stderr);
    }
    if (got) {
        ret_line[strcspn(ret_line, "\r\n")] = 0;
    }
    return got;
}

/* ---- shares ---- */

/* Whether the first and the last that are enough give the key back, before anybody relies on it. */
static enum status try_shares(const struct seal_plan *plan, const struct share *shares)
{
    for (unsigned first = 0; first <= plan->count - plan->threshold; first++) {
        CLEANUP(secret_free) struct secret *master = NULL;
        enum status status = seal_plan_join(plan, shares + first, &master);
        if (status != STATUS_OK) {
            return command_fail(STATUS_INTERNAL, "the shares do not give the key back");
        }
    }
    return STATUS_OK;
}

static void print_shares(const struct seal_plan *plan, const struct share *shares)
{
    char text[SHARE_TEXT_MAX];
    for (unsigned i = 0; i < plan->count; i++) {
        share_text(&shares[i], text);
        puts(text);
    }
    explicit_bzero(text, sizeof text);
    fprintf(stderr, "each line is a share, shown this once; %u of them unseal the vault (seks unseal). "
            "When each is with its keeper, remove master.key\n", plan->threshold);
}

static enum status make_shares(const struct secret *master, const struct seal_plan *plan,
                               struct share *ret_shares)
{
    CLEANUP(secret_free) struct secret *bytes =
        secret_new(NULL, (size_t)plan->count * MASTER_KEY_BYTES);
    enum status status = bytes ? shamir_split(secret_view(master), plan->threshold, plan->count,
                                              secret_data(bytes))
                               : STATUS_INTERNAL;
    for (unsigned i = 0; i < plan->count && status == STATUS_OK; i++) {
        ret_shares[i].threshold = plan->threshold;
        ret_shares[i].x = i + 1;
        memcpy(ret_shares[i].id, plan->id, sizeof plan->id);
        memcpy(ret_shares[i].bytes, secret_data(bytes) + (size_t)i * MASTER_KEY_BYTES,
               MASTER_KEY_BYTES);
    }
    return status;
}

enum status command_split_master(const struct command_options *options)
{
    CLEANUP(secret_free) struct secret *master = NULL;
    CLEANUP(secret_free) struct secret *shares =
        secret_new(NULL, SHAMIR_SHARES_MAX * sizeof(struct share));
    struct seal_plan plan = {.threshold = (unsigned)options->threshold,
                             .count = (unsigned)options->shares};
    if (options->threshold < 2 || options->threshold > options->shares ||
        options->shares > SHAMIR_SHARES_MAX || !shares) {
        return command_fail(STATUS_INVALID, "say --shares N (to 255) --threshold T (2 to N)");
    }
    struct share *list = (struct share *)(void *)secret_data(shares);
    enum status status =
        keyfile_read(options->keys, "master.key", MASTER_KEY_BYTES, &master);
    if (status == STATUS_OK) {
        status = seal_plan_id(secret_view(master), plan.id);
    }
    if (status == STATUS_OK) {
        status = make_shares(master, &plan, list);
    }
    if (status == STATUS_OK) {
        status = try_shares(&plan, list);
    }
    if (status == STATUS_OK) {
        status = keep_plan(options, &plan);
    }
    if (status == STATUS_OK) {
        print_shares(&plan, list);
    }
    return status;
}

static enum status read_shares(const struct seal_plan *plan, struct share *ret_shares)
{
    char line[LINE_MAX_BYTES];
    enum status status = STATUS_OK;
    for (unsigned i = 0; i < plan->threshold && status == STATUS_OK; i++) {
        if (!read_line(line)) {
            status = command_fail(STATUS_INVALID, "%u shares are needed on standard input, a line "
                                                  "each", plan->threshold);
        } else if (share_read(view_text(line), &ret_shares[i]) != STATUS_OK) {
            status = command_fail(STATUS_INVALID, "line %u is not a share, or mistyped", i + 1);
        }
    }
    explicit_bzero(line, sizeof line);
    return status;
}

static enum status join(const struct seal_plan *plan, struct secret **ret_master)
{
    CLEANUP(secret_free) struct secret *shares =
        secret_new(NULL, SHAMIR_SHARES_MAX * sizeof(struct share));
    char line[LINE_MAX_BYTES];
    if (!shares) {
        return STATUS_INTERNAL;
    }
    if (!plan->threshold) {
        enum status status = read_line(line) ? seal_plan_unlock(plan, view_text(line), ret_master)
                                             : STATUS_INVALID;
        explicit_bzero(line, sizeof line);
        return status == STATUS_OK ? status : command_fail(status, "that is not the passphrase");
    }
    struct share *list = (struct share *)(void *)secret_data(shares);
    enum status status = read_shares(plan, list);
    if (status == STATUS_OK && seal_plan_join(plan, list, ret_master) != STATUS_OK) {
        status = command_fail(STATUS_DENIED, "these shares do not give the master key");
    }
    return status;
}

enum status command_join_master(const struct command_options *options)
{
    CLEANUP(secret_free) struct secret *master = NULL;
    struct seal_plan plan;
    enum status status = seal_plan_read(options->keys, &plan);
    if (status != STATUS_OK) {
        return command_fail(status, "%s has no master.unseal", options->keys);
    }
    status = join(&plan, &master);
    if (status == STATUS_OK &&
        keyfile_create(options->keys, "master.key", secret_view(master), false) != STATUS_OK) {
        status = command_fail(STATUS_CONFLICT, "cannot make %s/master.key, or it is there",
                              options->keys);
    }
    if (status == STATUS_OK) {
        printf("%s/master.key is there again\n", options->keys);
    }
    return status;
}

/* ---- a passphrase ---- */

enum status command_passphrase_master(const struct command_options *options)
{
    CLEANUP(secret_free) struct secret *master = NULL;
    CLEANUP(secret_free) struct secret *again = NULL;
    struct seal_plan plan;
    char line[LINE_MAX_BYTES];
    enum status status =
        keyfile_read(options->keys, "master.key", MASTER_KEY_BYTES, &master);
    if (status != STATUS_OK) {
        return status;
    }
    if (isatty(STDIN_FILENO)) {
        fputs("passphrase: ", stderr);
    }
    if (!read_line(line) || strlen(line) < PASSPHRASE_MIN) {
        status = command_fail(STATUS_INVALID, "a passphrase of at least %d bytes is read from "
                                              "standard input", (int)PASSPHRASE_MIN);
    }
    if (status == STATUS_OK) {
        status = seal_plan_lock(secret_view(master), view_text(line), &plan);
    }
    if (status == STATUS_OK) {
        status = seal_plan_unlock(&plan, view_text(line), &again);
    }
    explicit_bzero(line, sizeof line);
    if (status == STATUS_OK) {
        status = keep_plan(options, &plan);
    }
    if (status == STATUS_OK) {
        puts("the passphrase unseals the vault (seks unseal); remove master.key once it is known to be "
             "right: seks-vault join-master makes the file again");
    }
    return status;
}

/* ---- both, given to a vault that runs sealed ---- */

enum status command_unseal(const struct command_options *options)
{
    CLEANUP(secret_free) struct secret *word = NULL;
    struct control_reply reply;
    char line[LINE_MAX_BYTES];
    if (isatty(STDIN_FILENO)) {
        fputs("share or passphrase: ", stderr);
    }
    if (read_line(line)) {
        word = secret_new(line, strlen(line));
    }
    explicit_bzero(line, sizeof line);
    if (!word) {
        return command_fail(STATUS_INVALID, "a share, or the passphrase, is read from standard input");
    }
    enum status status = command_ask(options, "unseal", NULL, word, &reply);
    if (status == STATUS_OK) {
        puts(reply.text);
    }
    return status;
}
