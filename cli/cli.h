/* cli.h - the map of the `seks` command: one function a subcommand, found by the table in main.c. */
#ifndef CLI_H
#define CLI_H

#include "common/status.h"

/* Takes what follows the subcommand's name; returns the exit status. */
typedef int command_fn(int argc, char **argv);

/* keygen [--split] DIR, keygen --kubernetes [DIR]: makes DIR and the key files that it lacks, never
 * overwrites one; lays them out for each daemon. */
int command_keygen(int argc, char **argv);

/* audit verify DIR --key FILE [--head SEQ:HASH|FILE]...: checks the log that is in DIR. */
int command_audit(int argc, char **argv);

#endif
