/* options.h - a daemon's command line as a table: "--name value", "--name=value" and "--flag". */
#ifndef COMMON_OPTIONS_H
#define COMMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum option_kind {
    OPTION_TEXT,   /* const char *, a pointer into argv */
    OPTION_NUMBER, /* uint64_t, decimal, with k, m or g for 1024, 1024^2, 1024^3 */
    OPTION_FLAG,   /* bool */
    OPTION_LIST,   /* struct option_list: may be given again; in the environment with commas between */
};

enum { OPTION_LIST_MAX = 16 };
struct option_list {
    const char *values[OPTION_LIST_MAX];
    size_t count;
};

struct option {
    const char *name; /* without dashes; NULL ends the table */
    enum option_kind kind;
    void *target;     /* holds the default before options_parse() */
    const char *help; /* one line, begins with the value's name: "DIR where ..." */
    bool required;
};

/* Fills the targets; environment variables SEKS_<NAME> (upper case, _ for -) give what the command
 * line does not.  STATUS_INVALID with one line on standard error that names the option.
 * `--help` prints the table and exits 0; `--version` too. */
MUST_USE enum status options_parse(const char *program, const struct option *options, int argc,
                                   char **argv);

#endif
