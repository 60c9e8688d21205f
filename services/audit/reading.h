/* reading.h - how pages of the log are found without ever holding up its writing.
 *
 *   reader.c  the one thread that reads: questions in, pages out, indexes kept up
 *   query.c   one question: which blocks, which lines, how far
 *   indexes.c the index of each file, on disk beside those that are done
 *   index.c   what is in each block of a file
 *   lookup.c  one record by its number, without an index
 *   ship.c    another thread: all records, to standard output
 *   files.c   which files there are, for the threads
 *
 * An index is a summary of each block of about 64 KiB: its numbers and times, and a Bloom filter of
 * what its records say.  A block that cannot hold what is asked for is not read.  So an index costs
 * less than a microsecond a record to make, takes under 1 % of the log's size, may be thrown away at
 * any time, and decides nothing: what a page holds was read from the log. */
#ifndef AUDIT_READING_H
#define AUDIT_READING_H

#include "services/audit/audit.h"

/* ---- files.c ---- */

/* With a descriptor of its own for the open file, which may be renamed meanwhile. */
struct files_copy {
    struct files files;
    struct segments done;
};
struct files_copy *files_copy_new(const struct files *files); /* NULL: no memory or descriptor */
void files_copy_free(struct files_copy **copy);

/* ---- lookup.c ---- */

/* The file of record SEQ (see struct files; the open one has the number `done->count`) and the
 * offset of its line, or that of the next there is; false when it would be before the first file. */
bool query_place(const struct files *files, uint64_t seq, size_t *ret_index, uint64_t *ret_offset);

/* ---- index.c ---- */

enum {
    INDEX_BLOCK_BYTES = 64 << 10,
    /* 4096 bits and three probes: 250 different keys in a block, which is much, give one wrong
     * guess in 200; 1,100, the most there can be, one in 5. */
    INDEX_BLOOM_BYTES = 512,
    INDEX_TIME_CHARS = CLOCK_TEXT_SIZE - 1,
};

struct block {
    uint64_t offset;              /* of its first line */
    uint64_t first_seq, last_seq; /* 0 when it has no whole record */
    char first_time[INDEX_TIME_CHARS], last_time[INDEX_TIME_CHARS]; /* earliest and latest */
    uint8_t bloom[INDEX_BLOOM_BYTES];
};

/* Of one file, up to its first SIZE bytes. */
struct index {
    struct block *blocks;
    size_t count, capacity;
    uint64_t size;
};
void index_free(struct index *index);

/* Reads on in FD up to SIZE, which is behind a newline.  What is no record is in a block all the
 * same and cannot be found. */
MUST_USE enum status index_extend(struct index *index, int fd, uint64_t size);

/* Which records a filter is for: of TENANT, whose MEMBER is VALUE, as raw JSON values. */
uint64_t index_key(enum member member, struct view tenant, struct view value);
bool block_may_have(const struct block *block, uint64_t key);

/* ---- indexes.c ---- */

struct indexes;
struct indexes *indexes_new(void); /* NULL for want of memory */
void indexes_free(struct indexes **indexes);
/* The index of file number INDEX of FILES (see struct files), as far as its size; made or read on
 * demand.  Borrowed, until the next call. */
MUST_USE enum status indexes_get(struct indexes *indexes, const struct files *files, size_t index,
                                 const struct index **ret_index);
/* Forgets those of files that are no more, and makes at most one that is missing; true when more
 * are. */
bool indexes_tidy(struct indexes *indexes, const struct files *files);

/* ---- query.c ---- */

/* Answers QUERY: appends a JSON array.  RET_NEXT is the `before` for the next page, 0 at the end; a
 * page may be short, even empty, and not the end, when it would take longer than QUERY_MS.
 * STATUS_INVALID for a status that is none, STATUS_DENIED without a tenant. */
enum { QUERY_MS = 200 };
MUST_USE enum status query_run(struct indexes *indexes, const struct files *files,
                               const struct audit_query *query, struct buffer *ret_records,
                               uint64_t *ret_next);

/* ---- reader.c ---- */

struct reader;
struct reader_page {
    enum status status;
    struct view records; /* a JSON array */
    uint64_t next;
};
typedef void reader_done(void *arg, const struct reader_page *page);

/* Starts the thread. */
MUST_USE enum status reader_new(struct loop *loop, struct reader **ret_reader);
void reader_free(struct reader **reader); /* what was not answered is not called back */
/* Asks BYTES (an encoded audit_query) of FILES as they are now; DONE runs once, later, in the loop.
 * STATUS_BUSY when too many wait, of all or of this tenant; then DONE does not run. */
MUST_USE enum status reader_ask(struct reader *reader, const struct files *files,
                                struct view bytes, reader_done *done, void *arg);
/* Has the indexes brought up to FILES when there is nothing better to do. */
void reader_follow(struct reader *reader, const struct files *files);

/* ---- ship.c ---- */

struct ship;
/* Starts the thread that writes to OUT: from where it ended the last time, and the first time from
 * record NEXT.  FILES' directory is borrowed. */
MUST_USE enum status ship_new(int out, const struct files *files, uint64_t next,
                              struct ship **ret_ship);
void ship_free(struct ship **ship); /* writes what it can in a second before */
uint64_t ship_next(struct ship *ship); /* the first record that was not written out yet, about */
/* Has it write all that is in FILES. */
void ship_follow(struct ship *ship, const struct files *files);

#endif
