/* checkpoint.h - a signed statement of how far the audit log goes: text that anybody can check.
 *
 *     seks-audit/0f1e2d3c4b5a6978
 *     1234
 *     <base64 of the hash of record 1234>
 *
 *     — seks-audit/0f1e2d3c4b5a6978 <base64 of a key id of 4 bytes and the signature of 64>
 *
 * This is the form of C2SP tlog-checkpoint in a C2SP signed-note.  The third line is the head of the
 * log's hash chain, not the root of a Merkle tree: each record's hash covers all before it.  The
 * origin and the key's name are made of the key's hash, so that every installation has its own, and of the
 * audit daemon's number, unless that is 0: seks-audit/0f1e2d3c4b5a6978/2. */
#ifndef PROTO_CHECKPOINT_H
#define PROTO_CHECKPOINT_H

#include "common/bytes.h"
#include "common/crypto.h"

enum {
    CHECKPOINT_ORIGIN_SIZE = 32, /* with its NUL: 27 and the number of a shard */
    CHECKPOINT_SIZE_MAX = 1024,  /* about 220 as made here; room for witnesses' signatures */
};

enum checkpoint_kind {
    CHECKPOINT_HEAD,   /* the log has records up to SIZE */
    CHECKPOINT_REMOVED /* those up to SIZE were removed on purpose; origin line with "/removed" */
};

struct checkpoint {
    enum checkpoint_kind kind;
    unsigned shard; /* whose log; audit_messages.h */
    uint64_t size; /* the number of the last record that it speaks of */
    uint8_t hash[CRYPTO_HASH_BYTES];
};

/* The name of the log of audit daemon SHARD whose key this is; RET_ORIGIN takes CHECKPOINT_ORIGIN_SIZE
 * bytes. */
MUST_USE enum status checkpoint_origin(const uint8_t *public_key, unsigned shard, char *ret_origin);

/* Appends the note to RET_NOTE. */
MUST_USE enum status checkpoint_make(const uint8_t *seed, const uint8_t *public_key,
                                     const struct checkpoint *checkpoint,
                                     struct buffer *ret_note);

/* Reads one whole NOTE.  STATUS_INVALID unless it has exactly this form, STATUS_DENIED without a good
 * signature of PUBLIC_KEY, whose origin it must name; other signatures are ignored.  PUBLIC_KEY NULL
 * leaves the signature and the origin unchecked. */
MUST_USE enum status checkpoint_read(const uint8_t *public_key, struct view note,
                                     struct checkpoint *ret_checkpoint);

/* The size of the first note in BYTES, which are many notes one after the other; 0 when none is
 * whole. */
size_t checkpoint_span(struct view bytes);

#endif
