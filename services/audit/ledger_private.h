/* ledger_private.h - what ledger.c and ledger_open.c share. */
#ifndef AUDIT_LEDGER_PRIVATE_H
#define AUDIT_LEDGER_PRIVATE_H

#include "common/log.h"
#include "services/audit/audit.h"

#define LEDGER_DAY_MS (24ull * 60 * 60 * 1000)

struct ledger {
    int dir_fd;
    int fd;
    struct recent *recent;
    struct running *running;
    struct buffer saved; /* of the running, what audit.open holds */
    struct segments segments; /* the files before this one */
    struct checkpoints *checkpoints;
    uint64_t segment_bytes;
    unsigned shard;
    uint64_t read_from;    /* the oldest record that was read at the start */
    uint64_t first;        /* number of the file's first record, once there is one */
    uint64_t day;          /* of the file's first record, since 1970 */
    uint64_t size;         /* of the file on disk */
    uint64_t laid_out;     /* up to where the file system has blocks for it */
    struct head committed; /* on disk */
    struct head staged;    /* with the batch */
    struct buffer batch;
    struct buffer fields;
    size_t batch_count;
    bool dirty; /* bytes of a failed batch may be behind `size` */
    bool failing;
    uint64_t taken_back; /* batches */
    uint64_t removal_noted; /* the last record of the removal that `audit.removed` tells of, until it is made */
    struct log_limit limit, rotate_limit;
};

/* retain.c: removes the files that a signed statement says are removed, and a crash left. */
void ledger_finish_removal(struct ledger *ledger, const uint8_t *public_key);

#endif
