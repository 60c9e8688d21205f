/* audit_log.h - the map of `seks audit verify`, which knows the log's format and none of the daemon's
 * code: what it says is found a second way.
 *
 *   audit_verify.c  the command: options, verdict, exit status
 *   audit_chain.c   record after record: which was changed, removed, doubled, moved or put in
 *   audit_notes.c   the signed checkpoints, and heads that were kept elsewhere
 *   audit_files.c   the directory's files as one stream of lines */
#ifndef CLI_AUDIT_LOG_H
#define CLI_AUDIT_LOG_H

#include <stdio.h>

#include "proto/checkpoint.h"

enum {
    LOG_LINE_MAX = 65536,
    LOG_HASH_CHARS = 64,
    LOG_HEADS_MAX = 8,
    LOG_FINDINGS_SHOWN = 20,
};

/* ---- audit_files.c ---- */

struct log_files {
    char **names; /* of audit-*.log in order, then audit.log */
    size_t count;
    int dir_fd;
};
/* STATUS_NOT_FOUND when DIR is no directory or has no log; prints why. */
MUST_USE enum status log_files_open(const char *dir, struct log_files *ret_files);
void log_files_close(struct log_files *files);

/* A line without its newline; a view into the stream, good until the line after the next is asked
 * for.  `whole`: it has a record's form and its hash is right. */
struct log_line {
    struct view text;
    bool newline; /* false for what is behind the last one */
    bool whole;
    bool open;    /* in audit.log, which may end in a torn line */
    uint64_t seq; /* when whole, as are these; LOG_HASH_CHARS each, not ended by a NUL */
    const char *prev, *hash;
};

struct log_stream;
MUST_USE enum status log_stream_new(const struct log_files *files, struct log_stream **ret_stream);
void log_stream_free(struct log_stream **stream);
/* The next line, or the one after it (NULL: there is none) without taking either. */
const struct log_line *log_stream_at(struct log_stream *stream, unsigned ahead);
void log_stream_next(struct log_stream *stream);
bool log_stream_failed(const struct log_stream *stream); /* a file could not be read; printed */
uint64_t log_stream_bytes(const struct log_stream *stream);

/* ---- audit_notes.c ---- */

struct log_notes;
/* Reads all *.sig of FILES; PUBLIC_KEY is borrowed. */
MUST_USE enum status log_notes_new(const struct log_files *files, const uint8_t *public_key,
                                   struct log_notes **ret_notes);
void log_notes_free(struct log_notes **notes);
/* The statement that older records were removed on purpose; false when there is none. */
bool log_notes_removed(const struct log_notes *notes, struct checkpoint *ret_removed);
/* A head that was kept elsewhere: a file with a checkpoint, or SEQ:HASH.  Prints why not. */
MUST_USE enum status log_notes_head(struct log_notes *notes, const char *text);
/* The next checkpoint in order; false at the end. */
bool log_notes_peek(struct log_notes *notes, struct checkpoint *ret_checkpoint);
bool log_notes_last_of_file(const struct log_notes *notes); /* whether the next one is */
bool log_notes_kept(const struct log_notes *notes);         /* whether it was kept elsewhere */
bool log_notes_good(struct log_notes *notes);               /* whether its signature is good */
void log_notes_take(struct log_notes *notes);
unsigned log_notes_shard(const struct log_notes *notes); /* the number of the daemon whose log it is */
size_t log_notes_strange(const struct log_notes *notes); /* bytes that are no checkpoint */

/* ---- audit_chain.c ---- */

struct log_report {
    uint64_t first, last, records;
    uint64_t signed_up_to;
    uint64_t checkpoints;
    uint64_t torn_bytes;
    uint64_t findings;
    char verdict[256]; /* the first finding */
};
/* Walks all of it.  The first LOG_FINDINGS_SHOWN findings go to OUT, a line each; NULL for none. */
void log_check(struct log_stream *stream, struct log_notes *notes, FILE *out,
               struct log_report *ret_report);

#endif
