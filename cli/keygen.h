/* keygen.h - the parts of `seks keygen`. */
#ifndef CLI_KEYGEN_H
#define CLI_KEYGEN_H

#include <stdio.h>

#include "common/status.h"

/* ---- keygen.c ---- */

/* Makes DIR (mode 0700) and the keys that it lacks.  Says what fails on standard error. */
MUST_USE enum status keygen_make(const char *dir);

/* ---- keygen_share.c: each daemon gets the keys that it needs, and no other ---- */

/* Copies the keys that are in DIR into DIR/<daemon>/, which it makes; a file that is there stays.
 * As root each directory and its files belong to the daemon's user id (64101 gateway, 64102 vault,
 * 64103 proxy, 64104 audit), as in the images.  Says what fails on standard error. */
MUST_USE enum status keygen_split(const char *dir);

/* Writes a Kubernetes Secret for each daemon (v1, seks-<daemon>-keys) to OUT.  Without DIR the keys
 * are made in a temporary directory and printed this once; with it they are made there, or stay. */
MUST_USE enum status keygen_kubernetes(const char *dir, FILE *out);

#endif
