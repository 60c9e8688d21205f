/* audit.h - the map of the audit daemon, in the order in which a record meets it.
 *
 *   desk.c    who may send what; acknowledges after the commit of the loop's turn
 *   ledger.c  the log file: numbers, chains, writes and syncs a batch, or takes it back
 *   line.c    one record as one line of JSON
 *   recent.c  which requests have a record already
 *   recover.c what a crash left at the end of the file
 *   query.c   the newest records of a tenant, read backwards
 *
 * A line is {"seq":..,"time":"..","kind":"..",...,"client":..,"prev":"..","hash":".."} with exactly
 * these fields in this order and no blanks.  `hash` is the lower-case hex SHA-256 over the bytes of
 * the line without `,"hash":"..."` and without its newline: `{"seq":...,"prev":"..."}`.  `prev` is
 * the hash of the line before, 64 zeros in the first, so a hash covers everything before it too. */
#ifndef AUDIT_H
#define AUDIT_H

#include "common/loop.h"
#include "proto/audit_messages.h"

enum {
    HASH_CHARS = 64,
    /* A path of TARGET_MAX bytes and about 600 of other text, each at most six bytes as \u00XX,
     * and 500 of names, numbers and hashes: under 54 KiB. */
    LINE_SIZE_MAX = 65536,
    BATCH_BYTES_MAX = 1 << 20,   /* a larger batch is committed before the turn ends */
    RECENT_MAX = 65536,          /* records; 30 s of 2,000 calls a second */
    REBUILD_BYTES_MAX = 32 << 20,/* RECENT_MAX records of about 500 bytes */
    SCAN_BYTES_MAX = 64 << 20,   /* looked at for one page: some 50 ms */
    PAGE_BYTES_MAX = 900 << 10,  /* below ANSWER_MAX, with room for the rest of the answer */
    PAGE_RECORDS = 100,          /* when a query names no limit */
};

/* The head of the chain: the last record's number and hash. */
struct head {
    uint64_t seq;
    char hash[HASH_CHARS + 1];
};
extern const struct head head_of_nothing;

/* ---- line.c ---- */

/* A line, its newline left out, taken apart; views into it. */
struct line {
    uint64_t seq;
    struct view fields; /* from "kind": to the end of "client":..; what one record is known by */
    struct view prev;
    struct view hash;
};

/* Appends RECORD's own fields as JSON members; empty text and AUDIT_NONE become null. */
MUST_USE enum status line_fields(const struct audit_record *record, struct buffer *ret_fields);

/* Appends the line that follows HEAD, with its newline, and moves HEAD on to it. */
MUST_USE enum status line_append(struct view fields, uint64_t wall_ms, struct head *head,
                                 struct buffer *ret_lines);

/* Takes LINE apart; false unless it has the form that line_append() gives and its hash is right. */
bool line_parse(struct view text, struct line *ret_line);

/* The same without computing the hash. */
bool line_split(struct view text, struct line *ret_line);

/* The raw JSON value of a text member of FIELDS, without its quotes; empty when null. */
struct view line_text(struct view fields, const char *name);

/* Appends TEXT as it stands between the quotes of a JSON string; bytes that are not UTF-8 become
 * U+FFFD. */
void json_escape(struct view text, struct buffer *ret_text);

/* ---- recent.c ---- */

struct recent;
struct recent *recent_new(void); /* NULL for want of memory */
void recent_free(struct recent **recent);

/* STATUS_OK: there, as number RET_SEQ.  STATUS_CONFLICT: there with other fields.
 * STATUS_NOT_FOUND.  Views as line_fields() made them. */
MUST_USE enum status recent_find(const struct recent *recent, struct view fields,
                                 uint64_t *ret_seq);
void recent_add(struct recent *recent, struct view fields, uint64_t seq);
void recent_forget(struct recent *recent, size_t count); /* the last COUNT that were added */

/* ---- recover.c ---- */

/* Finds the end of what is whole in FD.  A torn piece behind it goes to a new file in DIR_FD, whose
 * name RET_TORN gets (TORN_NAME_SIZE bytes; empty when nothing was torn), and off the log.
 * Logs its own failure. */
enum { TORN_NAME_SIZE = 64 };
MUST_USE enum status recover_tail(int dir_fd, int fd, uint64_t *ret_size, struct head *ret_head,
                                  char *ret_torn);

/* Calls FN for each whole line of the last REBUILD_BYTES_MAX of FD's first SIZE bytes. */
typedef void line_fn(void *arg, const struct line *line);
MUST_USE enum status recover_lines(int fd, uint64_t size, line_fn *fn, void *arg);

/* ---- ledger.c ---- */

struct ledger;

/* Opens DIR/audit.log (made when missing, DIR too), alone.  Logs its own failure. */
MUST_USE enum status ledger_open(const char *dir, struct ledger **ret_ledger);
void ledger_close(struct ledger **ledger); /* what was not committed is lost */

/* Stages RECORD as number RET_SEQ, or finds it there already.  STATUS_CONFLICT: another intent or
 * outcome has its request id. */
MUST_USE enum status ledger_add(struct ledger *ledger, const struct audit_record *record,
                                uint64_t *ret_seq);

/* Writes and syncs all that is staged, or takes all of it back: STATUS_STORAGE_FULL. */
MUST_USE enum status ledger_commit(struct ledger *ledger);

size_t ledger_staged(const struct ledger *ledger);       /* bytes */
const struct head *ledger_head(const struct ledger *ledger); /* of what is on disk */
uint64_t ledger_size(const struct ledger *ledger);
int ledger_fd(const struct ledger *ledger);
bool ledger_failing(const struct ledger *ledger); /* the last commit failed */

/* ---- query.c ---- */

/* Answers QUERY from FD's first SIZE bytes: appends a JSON array.  RET_NEXT is the `before` for the
 * next page, 0 at the end; a page may be empty and not the end. */
MUST_USE enum status query_run(int fd, uint64_t size, const struct audit_query *query,
                               struct buffer *ret_records, uint64_t *ret_next);

/* ---- desk.c ---- */

struct desk;

/* Listens for the vault and for the proxies. */
MUST_USE enum status desk_open(struct loop *loop, struct ledger *ledger, const char *listen_vault,
                               const char *listen_proxy, struct desk **ret_desk);
void desk_close(struct desk **desk);
void desk_metrics(const struct desk *desk, struct buffer *text);

#endif
