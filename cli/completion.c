/* completion.c - `seks completion SHELL`: scripts that know the table of commands, because they are
 * printed from it.  They start nothing and ask no broker. */
#include "cli/cli.h"

#include <string.h>

enum { VERBS_BYTES = 256 };

static bool has(const struct command *row, size_t option)
{
    return (row->options >> option & 1u) != 0;
}

/* Whether ROW is the first of its name: groups have several. */
static bool is_first(const struct command *row)
{
    for (const struct command *at = commands; at < row; at++) {
        if (strcmp(at->name, row->name) == 0) {
            return false;
        }
    }
    return true;
}

/* The verbs of GROUP, with SEPARATOR between, into RET. */
static void join_verbs(const struct command *group, const char *separator, char *ret, size_t size)
{
    size_t used = 0;
    ret[0] = '\0';
    for (const struct command *row = commands; row->name; row++) {
        if (strcmp(row->name, group->name) == 0) {
            int put = snprintf(ret + used, size - used, "%s%s", used ? separator : "", row->verb);
            used += put > 0 && (size_t)put < size - used ? (size_t)put : 0;
        }
    }
}

/* The help of a command, or what verbs a group has. */
static void first_help(const struct command *row, char *ret, size_t size)
{
    if (row->verb) {
        join_verbs(row, ", ", ret, size);
    } else {
        snprintf(ret, size, "%s", row->help);
    }
}

static void quoted(const char *text)
{
    putchar('\'');
    for (; *text; text++) {
        fputs(*text == '\'' ? "'\\''" : (char[]){*text, 0}, stdout);
    }
    putchar('\'');
}

static bool is_file(const char *value)
{
    return value && strcmp(value, "FILE") == 0;
}

static bool takes_files(const struct command *row)
{
    return strstr(row->words, "FILE") || strstr(row->words, "DIR");
}

/* ---- bash ---- */

static void bash_values(void)
{
    printf("    case $before in\n");
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const struct option_row *option = &option_rows[i];
        if (!option->value) {
            continue;
        }
        printf("    --%s) ", option->name);
        if (option->choices) {
            printf("list='%s' ;;\n", option->choices);
        } else {
            printf("%sreturn ;;\n", is_file(option->value) ? "compopt -o default; " : "");
        }
    }
    printf("    esac\n");
}

static void bash_command(const struct command *row)
{
    printf("    '%s %s'%s) list='", row->name, row->verb ? row->verb : "", row->verb ? "" : "*");
    for (size_t i = 0; i < OPT_COUNT; i++) {
        if (has(row, i)) {
            printf("--%s ", option_rows[i].name);
        }
    }
    printf("'%s ;;\n", takes_files(row) ? "; compopt -o default" : "");
}

static void bash(void)
{
    printf("# bash completion for seks; made by: seks completion bash\n"
           "_seks() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} i list=\n"
           "    local first=${COMP_WORDS[1]} second=${COMP_WORDS[2]:-}\n"
           "    COMPREPLY=()\n"
           "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
           "        if [ \"${COMP_WORDS[i]}\" = -- ]; then\n"
           "            if declare -F _command_offset >/dev/null; then _command_offset $((i + 1)); fi\n"
           "            return\n"
           "        fi\n"
           "    done\n");
    bash_values();
    printf("    if [ -z \"$list\" ] && [ \"$COMP_CWORD\" = 1 ]; then\n        list='");
    for (const struct command *row = commands; row->name; row++) {
        printf("%s%s", is_first(row) ? row->name : "", is_first(row) ? " " : "");
    }
    printf("'\n    fi\n    if [ -z \"$list\" ] && [ \"$COMP_CWORD\" = 2 ]; then\n        case $first in\n");
    for (const struct command *group = commands; group->name; group++) {
        if (!group->verb || !is_first(group)) {
            continue;
        }
        char verbs[VERBS_BYTES];
        join_verbs(group, " ", verbs, sizeof verbs);
        printf("        %s) list='%s' ;;\n", group->name, verbs);
    }
    printf("        esac\n    fi\n    [ -n \"$list\" ] || case \"$first $second\" in\n");
    for (const struct command *row = commands; row->name; row++) {
        bash_command(row);
    }
    printf("    esac\n"
           "    COMPREPLY=($(compgen -W \"$list\" -- \"$word\"))\n"
           "}\n"
           "complete -F _seks seks\n");
}

/* ---- zsh ---- */

/* 'name:help', in which a colon of the help is no separator any more. */
static void zsh_entry(const char *name, const char *help)
{
    char text[2 * VERBS_BYTES]; /* no name has more than a dozen letters */
    snprintf(text, sizeof text, "%s:%s", name, help);
    printf(" ");
    quoted(text);
}

static void zsh_options(const struct command *row)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const struct option_row *option = &option_rows[i];
        char text[320];
        if (!has(row, i)) {
            continue;
        }
        const char *action = option->choices ? option->choices : "";
        snprintf(text, sizeof text, "--%s%s[%s]%s%s%s%s%s", option->name, option->value ? "=" : "",
                 option->help, option->value ? ":" : "", option->value ? option->value : "",
                 is_file(option->value) ? ":_files" : option->value ? ":" : "",
                 option->choices ? "(" : "", option->choices ? action : "");
        printf(" ");
        if (option->choices) {
            (void)strncat(text, ")", sizeof text - strlen(text) - 1);
        }
        quoted(text);
    }
}

static void zsh(void)
{
    printf("#compdef seks\n# zsh completion for seks; made by: seks completion zsh\n"
           "_seks() {\n    local -a list\n    if (( CURRENT == 2 )); then\n        list=(");
    for (const struct command *row = commands; row->name; row++) {
        if (is_first(row)) {
            char help[VERBS_BYTES];
            first_help(row, help, sizeof help);
            zsh_entry(row->name, help);
        }
    }
    printf(")\n        _describe command list\n        return\n    fi\n"
           "    if (( CURRENT == 3 )); then\n        case $words[2] in\n");
    for (const struct command *group = commands; group->name; group++) {
        if (!group->verb || !is_first(group)) {
            continue;
        }
        printf("        %s) list=(", group->name);
        for (const struct command *row = group; row->name; row++) {
            if (strcmp(row->name, group->name) == 0) {
                zsh_entry(row->verb, row->help);
            }
        }
        printf("); _describe verb list; return ;;\n");
    }
    printf("        esac\n    fi\n    case \"$words[2] $words[3]\" in\n");
    for (const struct command *row = commands; row->name; row++) {
        bool runs = row->run == command_run;
        printf("    '%s %s'%s) _arguments -S", row->name, row->verb ? row->verb : "",
               row->verb ? "" : "*");
        zsh_options(row);
        printf(" '*:%s:%s' ;;\n", runs ? "command" : "word",
               runs ? "_normal" : takes_files(row) ? "_files" : "");
    }
    printf("    esac\n}\nif [ \"$funcstack[1]\" = _seks ]; then\n    _seks \"$@\"\nelse\n"
           "    compdef _seks seks\nfi\n");
}

/* ---- fish ---- */

/* The beginning of a line that applies when ROW's words are there. */
static void fish_when(const struct command *row)
{
    printf("complete -c seks -n '__fish_seen_subcommand_from %s%s%s' ", row->name,
           row->verb ? "; and __fish_seen_subcommand_from " : "", row->verb ? row->verb : "");
}

static void fish_options(const struct command *row)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const struct option_row *option = &option_rows[i];
        if (!has(row, i)) {
            continue;
        }
        fish_when(row);
        printf("-l %s ", option->name);
        if (option->choices) {
            printf("-x -a '%s' ", option->choices);
        } else if (option->value) {
            printf("%s ", is_file(option->value) ? "-r -F" : "-x");
        }
        printf("-d ");
        quoted(option->help);
        putchar('\n');
    }
}

static void fish(void)
{
    printf("# fish completion for seks; made by: seks completion fish\n"
           "complete -c seks -f\n");
    for (const struct command *row = commands; row->name; row++) {
        if (is_first(row)) {
            char help[VERBS_BYTES];
            first_help(row, help, sizeof help);
            printf("complete -c seks -n __fish_use_subcommand -a %s -d ", row->name);
            quoted(help);
            putchar('\n');
        }
        if (row->verb) {
            char verbs[VERBS_BYTES];
            join_verbs(row, " ", verbs, sizeof verbs);
            printf("complete -c seks -n '__fish_seen_subcommand_from %s; "
                   "and not __fish_seen_subcommand_from %s' -a %s -d ", row->name, verbs, row->verb);
            quoted(row->help);
            putchar('\n');
        }
        if (takes_files(row)) {
            fish_when(row);
            printf("-F\n");
        }
        fish_options(row);
    }
}

int command_completion(const struct args *args)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(args->word[0], shells[i].name) == 0) {
            shells[i].print();
            return SEKS_OK;
        }
    }
    return fail(SEKS_USAGE, "take bash, zsh or fish", "there is no completion for %s", args->word[0]);
}
