/* ledger_log.h - a log in a directory of its own, which is made before each test and goes after it. */
#ifndef TESTS_LEDGER_LOG_H
#define TESTS_LEDGER_LOG_H

#include "tests/unit/unit.h"

#include <dirent.h>
#include <unistd.h>

#include "services/audit/audit.h"

static char dir[64];
static struct ledger_options options;
static struct ledger *ledger;

/* With files of SEGMENT_BYTES. */
static inline int log_make(uint64_t segment_bytes)
{
    (void)snprintf(dir, sizeof dir, "/tmp/seks-log-XXXXXX");
    options = (struct ledger_options){.dir = dir, .segment_bytes = segment_bytes};
    memset(options.signer.seed, 9, sizeof options.signer.seed);
    return crypto_sign_public(options.signer.seed, options.signer.public_key) == STATUS_OK &&
                   mkdtemp(dir) && ledger_open(&options, &ledger) == STATUS_OK
               ? 0
               : -1;
}

static inline int remove_log(void **state)
{
    (void)state;
    ledger_close(&ledger);
    DIR *list = opendir(dir);
    for (struct dirent *at; list && (at = readdir(list)) != NULL;) {
        (void)unlinkat(dirfd(list), at->d_name, 0); /* "." and ".." stay */
    }
    closedir(list);
    return rmdir(dir);
}

#endif
