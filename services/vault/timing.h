/* timing.h - how long a question took here, and its record in audit, for gateways that trace it. */
#ifndef VAULT_TIMING_H
#define VAULT_TIMING_H

#include "vault.h"

/* When question CALL came, if it is the one that was to be timed; else 0. */
uint64_t timing_of(struct vault *vault, const struct channel_peer *peer, uint64_t call);
/* PENDING is timed since TIMED_US, unless that is 0, and so is the record that is submitted next. */
void timing_hold(struct vault *vault, struct pending *pending, uint64_t timed_us);
/* Before the answer to CALL, which is here since BEGAN_US; 0: not timed, and nothing is told, as when PEER is
 * NULL.  AUDIT may be NULL. */
void timing_tell(struct channel_peer *peer, uint64_t call, uint64_t began_us,
                 const struct trace_timed *audit);

/* ---- audit_link.c ---- */

/* Whether the next record that is submitted is timed; while its `done` runs, audit_timed() has what audit
 * told. */
void audit_time_next(struct audit_link *link, bool timed);
const struct trace_timed *audit_timed(const struct audit_link *link);

#endif
