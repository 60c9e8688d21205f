/* audit.h - the map of the audit daemon, in the order in which a record meets it.
 *
 *   desk.c        who may send what; acknowledges after the commit of the loop's turn
 *   ledger.c      the log: numbers, chains, writes and syncs a batch, or takes it back
 *   ledger_open.c what a start finds
 *   line.c        one record as one line of JSON
 *   recent.c      which requests have a record already
 *   running.c     which intents have no outcome yet; unknown.c ends those that never get one
 *   segments.c    the files of the log, one behind the other
 *   checkpoints.c the signed head of the log
 *   retain.c      removes old files, and signs that it did
 *   recover.c     what a crash left at the end, and what nobody but a hand can have done
 *   reading.h     the map of what reads the log again: pages, indexes, single records
 *
 * A line is {"seq":..,"time":"..","kind":"..",...,"client":..,"prev":"..","hash":".."} with exactly
 * these fields in this order and no blanks.  `hash` is the lower-case hex SHA-256 over the bytes of
 * the line without `,"hash":"..."` and without its newline: `{"seq":...,"prev":"..."}`.  `prev` is
 * the hash of the line before, 64 zeros in the first, so a hash covers everything before it too. */
#ifndef AUDIT_H
#define AUDIT_H

#include "common/clock.h"
#include "common/loop.h"
#include "common/secret.h"
#include "proto/audit_messages.h"
#include "proto/trace_messages.h"

enum {
    HASH_CHARS = 64,
    /* A path of TARGET_MAX bytes and about 600 of other text, each at most six bytes as \u00XX,
     * and 500 of names, numbers and hashes: under 54 KiB. */
    LINE_SIZE_MAX = 65536,
    BATCH_BYTES_MAX = 1 << 20,   /* a larger batch is committed before the turn ends */
    RUNNING_MAX = 200000,        /* intents without an outcome; about 130 bytes each */
    GIVE_UP_MAX = 1000,          /* at once: a few ms */
    OUTCOME_WAIT_MS = 45000,     /* a grant lives 30 s, and a proxy claims what runs longer than 10 */
    OUTCOME_HOLD_MS = 5,         /* for the next intent, whose sync it shares */
    LAY_OUT_BYTES = 4 << 20,     /* ahead of what is written */
    RECENT_MAX = 65536,          /* records; 30 s of 2,000 calls a second */
    REBUILD_BYTES_MAX = 32 << 20,/* RECENT_MAX records of about 500 bytes */
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

/* What `fields` has, in its order. */
enum member {
    MEMBER_KIND, MEMBER_ACTION, MEMBER_REQUEST, MEMBER_TENANT, MEMBER_AGENT, MEMBER_TOKEN,
    MEMBER_PROVIDER, MEMBER_METHOD, MEMBER_PATH, MEMBER_DECISION, MEMBER_REASON, MEMBER_STATUS,
    MEMBER_BYTES_IN, MEMBER_BYTES_OUT, MEMBER_DURATION, MEMBER_CLIENT, MEMBER_COUNT,
    MEMBER_STATUS_CLASS = MEMBER_COUNT /* in indexes: the first digit of the status */
};

/* A line, its newline left out, taken apart; views into it. */
struct line {
    uint64_t seq;
    struct view time;   /* as clock_text() writes it, so that it can be compared as bytes */
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

/* The raw JSON values of all members of FIELDS (RET_MEMBERS takes MEMBER_COUNT), texts without their
 * quotes, null as an empty view; false unless FIELDS is what line_fields() makes. */
bool line_members(struct view fields, struct view *ret_members);

/* The raw JSON value of a text member of FIELDS, without its quotes; empty when null. */
struct view line_text(struct view fields, const char *name);

/* ---- recent.c ---- */

struct recent;
struct recent *recent_new(void); /* NULL for want of memory */
void recent_free(struct recent **recent);

/* Who sent a record: the process (of its instance id; 0: not known), and its own number for it; and for an
 * intent what its grant is bound to. */
struct sender {
    uint64_t process, call, bound;
};

/* What a record is known by.  Views as line_fields() made them. */
struct known {
    uint64_t key;    /* of kind and request, and for some kinds of all fields */
    uint64_t digest; /* of all fields */
    uint8_t kind;    /* a letter; 0 for a record without a request, never known again */
    uint8_t request_size;
    char request[ID_SIZE_MAX];
};
/* Has the processor fetch what finding RECORD will look at, while its line is made. */
void recent_expect(const struct recent *recent, const struct audit_record *record);
void recent_describe(const struct recent *recent, struct view fields, struct known *ret_known);

/* STATUS_OK: there, as number RET_SEQ, and sent again.  STATUS_CONFLICT: an intent, an outcome or an
 * account's deed of this request is there, but it is not the same or was not just sent again.  STATUS_NOT_FOUND. */
MUST_USE enum status recent_find(struct recent *recent, const struct known *known,
                                 struct sender sender, uint64_t *ret_seq);
void recent_add(struct recent *recent, const struct known *known, struct sender sender,
                uint64_t seq);
void recent_forget(struct recent *recent, size_t count); /* the last COUNT that were added */

/* ---- running.c ---- */

struct running;
struct running *running_new(void); /* NULL for want of memory */
void running_free(struct running **running);
/* An intent was staged.  REQUEST as it stands in the line.  STATUS_BUSY past RUNNING_MAX. */
MUST_USE enum status running_add(struct running *running, struct view request, uint64_t seq,
                                 uint64_t now_ms);
bool running_has(const struct running *running, struct view request);
void running_close(struct running *running, struct view request); /* its outcome was staged */
void running_commit(struct running *running);                     /* that is on disk */
void running_take_back(struct running *running, uint64_t committed_seq); /* or is not */
/* A proxy says that the call is running; or all are taken to be, after a halt. */
void running_claim(struct running *running, struct view request, uint64_t now_ms);
void running_claim_oldest(struct running *running, uint64_t now_ms);
void running_claim_all(struct running *running, uint64_t now_ms);
/* The one that was claimed longest ago; false when none runs. */
bool running_oldest(const struct running *running, uint64_t *ret_seq, uint64_t *ret_claimed_ms);
size_t running_count(const struct running *running);
/* The lowest number that runs; false when none does. */
bool running_lowest(const struct running *running, uint64_t *ret_seq);
/* Appends the numbers below BELOW, as uint64_t. */
void running_below(const struct running *running, uint64_t below, struct buffer *ret_seqs);

/* ---- unknown.c ---- */

/* The fields of the outcome that INTENT's get when nobody knows how it ended. */
MUST_USE enum status unknown_fields(struct view intent, struct buffer *ret_fields);
/* Keeps the numbers of the intents that run and are below BELOW in DIR_FD/audit.open, when they are
 * not those in SAVED; and reads them back. */
void unknown_save(int dir_fd, struct running *running, uint64_t below, struct buffer *saved);
MUST_USE enum status unknown_load(int dir_fd, struct buffer *ret_seqs);

/* ---- segments.c ---- */

#define ACTIVE_LOG "audit.log" /* is being written */
#define ACTIVE_SIG "audit.sig" /* its checkpoints */
enum { SEGMENT_NAME_SIZE = 31 }; /* "audit-00000000000000000001.log" and its NUL */

/* A file that is done. */
struct segment {
    uint64_t first; /* number of its first record */
    uint64_t bytes;
    uint64_t last_ms; /* wall time of its last write */
};
struct segments {
    struct segment *list; /* oldest first */
    size_t count;
};
/* Lists what DIR_FD has.  Logs its own failure. */
MUST_USE enum status segments_scan(int dir_fd, struct segments *ret_segments);
bool segments_add(struct segments *segments, uint64_t first, uint64_t bytes, uint64_t last_ms);
void segments_free(struct segments *segments);
/* RET_NAME takes SEGMENT_NAME_SIZE bytes; SUFFIX is "log" or "sig". */
void segment_name(uint64_t first, const char *suffix, char *ret_name);
int segment_open(int dir_fd, uint64_t first, const char *suffix); /* for reading; -1 and errno */
/* Renames the active files to the segment that begins with FIRST; STATUS_CONFLICT when there is one
 * of that name, STATUS_STORAGE_FULL; errno says why. */
MUST_USE enum status segment_archive(int dir_fd, uint64_t first);
/* Ends what a crash cut in two.  Logs its own failure. */
MUST_USE enum status segment_finish_archive(int dir_fd, const struct segments *segments);
/* Reads exactly SIZE bytes at OFFSET onto the end of RET_BYTES; writes all of BYTES. */
MUST_USE enum status file_read(int fd, uint64_t offset, size_t size, struct buffer *ret_bytes);
MUST_USE bool file_write(int fd, struct view bytes);

/* ---- checkpoints.c ---- */

struct signer {
    uint8_t seed[CRYPTO_KEY_BYTES];
    uint8_t public_key[CRYPTO_KEY_BYTES];
    unsigned shard; /* the number of this daemon; audit_messages.h */
};
struct checkpoints;
/* Opens DIR_FD/audit.sig and reads the newest checkpoint there is; STATUS_CONFLICT when it is that of another
 * audit daemon.  Logs its own failure. */
MUST_USE enum status checkpoints_open(int dir_fd, const struct signer *signer,
                                      const struct segments *segments,
                                      struct checkpoints **ret_checkpoints);
void checkpoints_close(struct checkpoints **checkpoints);
/* Signs HEAD, durably; STATUS_NOT_FOUND when it is signed already. */
MUST_USE enum status checkpoints_sign(struct checkpoints *checkpoints, const struct head *head);
MUST_USE enum status checkpoints_next_file(struct checkpoints *checkpoints); /* after archiving */
/* The statement that all up to HEAD was removed. */
MUST_USE enum status checkpoints_removed(struct checkpoints *checkpoints, const struct head *head,
                                         struct buffer *ret_note);
/* Whether the newest checkpoint of the file that begins with FIRST is good and of HEAD. */
bool checkpoints_vouch(const struct checkpoints *checkpoints, uint64_t first,
                       const struct head *head);
const struct checkpoint *checkpoints_last(const struct checkpoints *checkpoints);
struct view checkpoints_note(const struct checkpoints *checkpoints); /* empty before the first */

/* ---- recover.c ---- */

enum { TORN_NAME_SIZE = 64 };
struct recovered {
    uint64_t size;             /* of what stays */
    struct head head;          /* its last record */
    char torn[TORN_NAME_SIZE]; /* the file with the torn end; empty when there was none */
    bool damaged;              /* records that were signed are not what they were */
};

/* Finds the end of what is whole in the active log FD, whose first record follows BEFORE.  Records up
 * to SIGNED_SEQ were signed, so they were on disk: only what is behind them can be torn, and goes to
 * a new file in DIR_FD.  Damage before stays as it is, for verification to name.  Logs its own
 * failure. */
MUST_USE enum status recover_tail(int dir_fd, int fd, const struct head *before,
                                  uint64_t signed_seq, struct recovered *ret);

/* The last whole line of FD, and its time; head_of_nothing and 0 when there is none. */
MUST_USE enum status recover_head(int fd, struct head *ret_head, uint64_t *ret_wall_ms);

/* Calls FN for each whole line of the last REBUILD_BYTES_MAX of FD's first SIZE bytes. */
typedef void line_fn(void *arg, const struct line *line);
MUST_USE enum status recover_lines(int fd, uint64_t size, line_fn *fn, void *arg);

/* ---- ledger.c ---- */

struct ledger;

struct ledger_options {
    const char *dir;
    struct signer signer;
    uint64_t segment_bytes; /* a file that has more is ended; so is one of yesterday */
};

/* Opens the log in OPTIONS' directory (made when missing), alone.  Logs its own failure. */
MUST_USE enum status ledger_open(const struct ledger_options *options, struct ledger **ret_ledger);
/* Signs what is committed; what is not is lost. */
void ledger_close(struct ledger **ledger);

/* Stages RECORD of process SENDER (0: not known) as number RET_SEQ, or finds it there already.
 * STATUS_CONFLICT: another intent, outcome or account's deed has its request id, or its call is over.  STATUS_NOT_FOUND:
 * an outcome without an intent. */
MUST_USE enum status ledger_take(struct ledger *ledger, const struct audit_record *record,
                                 uint64_t sender, uint64_t *ret_seq);
/* The same for a record of nobody's. */
MUST_USE enum status ledger_add(struct ledger *ledger, const struct audit_record *record,
                                uint64_t *ret_seq);

/* Writes and syncs all that is staged, or takes all of it back: STATUS_STORAGE_FULL. */
MUST_USE enum status ledger_commit(struct ledger *ledger);

/* Stages and commits a record of the daemon itself; DURATION_MS may be AUDIT_NONE. */
MUST_USE enum status ledger_note(struct ledger *ledger, const char *action, const char *reason,
                                 uint64_t duration_ms);

/* ---- retain.c ---- */

/* Removes the oldest files: those whose last record is older than KEEP_MS, which a signature has to
 * confirm, and more while all have more than KEEP_BYTES (0: no limit); returns how many.  Never the
 * last that is done, nor one with a call that runs. */
size_t ledger_retain(struct ledger *ledger, uint64_t keep_ms, uint64_t keep_bytes);

/* ---- ledger.c, again ---- */

/* A proxy has this call in its hands. */
void ledger_claim(struct ledger *ledger, struct view request);
void ledger_claim_all(struct ledger *ledger);
/* Writes `unknown` for what nobody has claimed for WAIT_MS; returns how many. */
size_t ledger_give_up(struct ledger *ledger, uint64_t wait_ms);
size_t ledger_running(const struct ledger *ledger);

/* Signs the head; true when there is a new checkpoint. */
bool ledger_sign(struct ledger *ledger);
struct view ledger_checkpoint(const struct ledger *ledger); /* the newest, as text */

size_t ledger_staged(const struct ledger *ledger);       /* bytes */
const struct head *ledger_head(const struct ledger *ledger); /* of what is on disk */
uint64_t ledger_size(const struct ledger *ledger);       /* bytes of all files */
size_t ledger_files(const struct ledger *ledger);
unsigned ledger_shard(const struct ledger *ledger); /* the number of this daemon */
bool ledger_failing(const struct ledger *ledger); /* the last commit failed */
uint64_t ledger_taken_back(const struct ledger *ledger); /* batches, since the start */

/* All files of a log as far as they are on disk: those that are done, and the open one with its
 * size and first number (0: it has none). */
struct files {
    int dir_fd;
    const struct segments *done;
    int fd;
    uint64_t size, first;
};
struct files ledger_files_of(const struct ledger *ledger); /* until the next commit */

/* ---- lookup.c ---- */

/* Appends the line of record SEQ, without its newline; STATUS_NOT_FOUND. */
MUST_USE enum status query_line(const struct files *files, uint64_t seq, struct buffer *ret_line);

/* ---- desk.c ---- */

struct desk;

/* Listens for the vault and for the proxies. */
MUST_USE enum status desk_open(struct loop *loop, struct ledger *ledger, const char *listen_vault,
                               const char *listen_proxy, struct desk **ret_desk);
void desk_close(struct desk **desk);
/* Tells every vault that is up the newest checkpoint. */
void desk_tell_head(struct desk *desk);
/* Has what was written since the last time made ready for questions. */
void desk_follow(struct desk *desk);
void desk_metrics(const struct desk *desk, struct buffer *text);

#endif
