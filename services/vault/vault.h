/* vault.h - the map of the vault: what happens to a record from a gateway, in that order.
 *
 * vault.c        the daemon: opens, takes records in through the table of messages, closes
 * door.c         whether it is taken, held or refused
 * shared.c       other vaults on the same database: what each has to notice
 * epoch.c        whether the database is as new as the audit log says
 * authorize.c    VAULT_AUTHORIZE: may this token call this provider; sigv4.c derives AWS keys
 * ask.c          VAULT_ASK: who asks, checks, passwords, the audit record, the change, the answer
 * operations.c   the table of operations; ops_*.c their two halves (check, apply)
 * credentials.c  tokens, sessions, sealed input: from what was sent to a row
 * throttle.c     how often a password may be tried
 * hasher.c       the one helper thread, for passwords
 * audit_link.c   records on their way to the audit daemons, and their acknowledgements
 * shards.c       which of them has a tenant's; audit_pages.c one page of what lies in several
 * denials.c      refusals on that way: written, or counted when there are too many
 * audit_mark.c   how far the audit log went, so that a shorter one is noticed
 * touch.c        last-used times, written in batches; timing.c how long questions took
 * master.c       where the master key comes from; seal_plan.h, unseal.c when it comes from people
 * database.c     opens both; mark.c says that there has been a database
 * kek.c, rewrap.c what it wraps, and how it is changed
 * keys.h        keys.c, seal.c: the data keys, and secrets under those
 * control.c      the operator's commands; backup.c a copy of the database while it runs
 * commands.h     the same commands' other end: seks-vault rotate-master, backup, restore
 * reseal.c       secrets move to new data keys, in the background
 * store.h        the database
 * json.h         the bodies of answers
 *
 * Grants, secrets and passwords are never logged and leave only sealed. */
#ifndef VAULT_VAULT_H
#define VAULT_VAULT_H

#include "common/channel.h"
#include "common/clock.h"
#include "common/daemon.h"
#include "common/keyfile.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/providers.h"
#include "common/target.h"
#include "proto/audit_messages.h"
#include "proto/control_messages.h"
#include "proto/grant.h"
#include "proto/send.h"
#include "proto/trace_messages.h"
#include "json.h"
#include "keys.h"
#include "store.h"

struct hasher;
struct audit_link;
struct audit_mark;
struct denials;
struct touches;
struct throttle;
struct backup_job;
struct held_record;
struct epoch;
struct unseal;
struct masters;

enum {
    AUDIT_DEADLINE_MS = 1800,              /* design: a call is refused within 2 s */
    SESSION_IDLE_MS = 30 * 60 * 1000,      /* design: keys, tokens, rows */
    SESSION_LIFE_MS = 12 * 60 * 60 * 1000,
    SESSION_BYTES = 32,
    SESSION_TEXT = 2 * SESSION_BYTES,      /* hex */
    PASSWORD_MIN = 8,
    ROWS_MAX = 1000,                       /* of a kind in an account: keeps lists under 1 MiB */
    PENDING_MAX = 10000,                   /* requests in progress; about 10 KiB each */
};

/* A request of a gateway that waits for something. */
struct pending {
    struct pending *next, *prev;
    struct channel_peer *peer; /* NULL once the gateway has gone: nothing more is done */
    uint64_t call;             /* the gateway's number for it */
    void (*free)(struct pending *pending);
    uint64_t timed_us;         /* when it came (wall clock), if the gateway traces it; else 0 */
};

/* Whether gateways are served. */
enum door {
    DOOR_CHECKING, /* records are held: the audit log is asked how old the database may be */
    DOOR_SEALED,   /* refused: the master key is not here yet */
    DOOR_REFUSED,  /* refused: the database is older than the audit log */
    DOOR_OPEN,
};

/* How far a pass of re-sealing has come. */
struct reseal {
    bool worn_done, in_tenant;
    row_id tenant, newest;         /* the one in work, or the last; its newest data key */
    char name[NAME_MAX_BYTES + 1]; /* the last secret */
    uint64_t stuck;                /* secrets of the tenant that do not open */
    uint64_t sealed, tenants;      /* in the whole pass */
};

struct vault {
    struct vault_options {
        const char *data, *keys, *listen, *providers, *signup;
        struct option_list audit; /* in the order of the daemons' numbers */
        uint64_t accept_rollback; /* the epoch of the log behind which the database may be */
        const char *store;        /* NULL: DATA/vault.db */
        bool store_allow_insecure;
    } options;
    char *where;                        /* of the options, what store_open() takes; owned */
    enum door door;
    char closed_because[STATE_MAX + 1]; /* empty when the door is open */
    struct held_record *held;           /* a list, oldest first, while checking */
    size_t held_count;
    bool taking;                        /* what is held, after a look at the shared store */
    int away_timer, forget_timer;       /* shared.c's */
    struct epoch *epoch;
    struct unseal *unseal;              /* NULL unless sealed */
    struct reseal reseal;
    bool resealing, reseal_again;
    struct loop *loop;
    struct store *store;
    struct keys *keys;
    struct providers *providers;
    struct secret *grant_key;
    struct secret *intake_private;
    uint8_t intake_public[CRYPTO_KEY_BYTES];
    struct hasher *hasher;
    struct throttle *throttle;
    struct audit_link *audit;
    struct audit_mark *marks[AUDIT_SHARDS_MAX];
    struct denials *denials;
    struct touches *touches;
    struct channel *gateways;
    struct channel *control;     /* NULL: none could be had */
    struct backup_job *backup;   /* the one that runs; it is in `pending` */
    struct pending *pending; /* a list */
    size_t pending_count;
    bool away;               /* as gateways were told: it misses the audit log or its database */
    uint64_t looks;          /* at that */
    bool leaving;            /* gateways were told to ask others */
    bool draining;           /* records are dropped: the gateway asks another vault, or again */
    struct vault_counters {
        uint64_t granted, refused, unavailable, answered, failed, strange, resealed;
    } counters;
    struct tally refusals;         /* by reason */
    struct histogram decided, audit_wait; /* to a grant; then from an intent to its acknowledgement */
    struct log_limit strange_limit;
    struct { const struct channel_peer *peer; uint64_t call, at_us; } timing; /* the next is timed */
};

/* ---- vault.c ---- */

enum { VAULT_PATH_SIZE = 4096 };
/* DIR/NAME; STATUS_INVALID with a log line when it is too long.  RET_PATH takes VAULT_PATH_SIZE. */
MUST_USE enum status vault_path(const char *dir, const char *name, char *ret_path);
MUST_USE enum status vault_open(struct vault *vault, struct loop *loop);
void vault_close(struct vault *vault);
void vault_metrics(const struct vault *vault, struct buffer *text);
/* One record of a gateway; what is not in the table of messages is counted and dropped. */
void vault_take_record(struct vault *vault, struct channel_peer *peer, struct view record);
/* Counts a record that is not for this door, and logs so now and then. */
void vault_refuse_record(struct vault *vault, const char *why);
void vault_forget_peer(struct vault *vault, struct channel_peer *peer);
/* PENDING's `free` is set. */
void pending_add(struct vault *vault, struct pending *pending, struct channel_peer *peer);
void pending_remove(struct vault *vault, struct pending *pending);
/* Whether the same question of the same gateway is there already: what was on its way to a vault that died
 * may reach the next one too, besides the gateway's asking again. */
bool pending_twice(const struct vault *vault, const struct pending *pending);
/* Encodes and queues; a peer that has gone is no failure. */
void vault_send(struct channel_peer *peer, const struct schema *schema, const void *message);

/* The two steps for which the master key is needed, at the start or when it is unsealed. */
MUST_USE enum status vault_use_database(struct vault *vault, const struct masters *masters);
MUST_USE enum status vault_serve(struct vault *vault);

/* ---- unseal.c ---- */

/* Seals the door until unseal_take() has had what KEYS/master.unseal says. */
MUST_USE enum status unseal_open(struct vault *vault);
void unseal_close(struct vault *vault);
/* A share, or the passphrase.  RET_WHY is a sentence about what came of it, empty when more shares are
 * needed. */
MUST_USE enum status unseal_take(struct vault *vault, struct view word, const char **ret_why);

/* ---- door.c ---- */

/* Moves to DOOR; BECAUSE is a sentence for callers and /readyz (NULL when it opens).  What was held
 * is taken, refused or, when the door stays at checking, refused too. */
void door_set(struct vault *vault, enum door door, const char *because);
/* Whether RECORD is to be taken now; else it is held or refused here. */
bool door_admits(struct vault *vault, struct channel_peer *peer, struct view record);
void door_forget(struct vault *vault, const struct channel_peer *peer);
/* The door is at checking for a moment, which nobody is told: what is held and what comes is kept. */
void door_wait(struct vault *vault, const char *because);
/* RECORD, which was admitted, is held after all: the store went away below it. */
void door_again(struct vault *vault, struct channel_peer *peer, struct view record);
/* At the end of each turn of the loop: with a store that others change too, what came is taken only now,
 * after one look at how far that is.  ARG: the vault. */
void door_turn(void *arg);
void door_tell_all(const struct vault *vault);
/* Tells a gateway that has come up how the door is. */
void door_tell(const struct vault *vault, struct channel_peer *peer);
/* Looks now and then whether audit log and database can be reached: gateways ask others meanwhile. */
MUST_USE enum status door_look_around(struct vault *vault);
/* From now on gateways ask others; what crosses that message is still taken. */
void door_leave(struct vault *vault);

/* ---- epoch.c ---- */

/* Begins to compare the database's epoch with the one in the audit log; the door opens, or is
 * refused, when that has answered. */
MUST_USE enum status epoch_open(struct vault *vault);
void epoch_close(struct vault *vault);
/* Compares once more, after the connection to the database was lost: another server may answer now, and
 * know less. */
void epoch_again(struct vault *vault);
/* Counts a change; in its transaction. */
MUST_USE enum status epoch_bump(struct vault *vault);
/* After the commit: the audit log is told, now and until it knows. */
void epoch_changed(struct vault *vault);

/* ---- shared.c ---- */

/* Nothing, for a store that is this process's own. */
MUST_USE enum status shared_open(struct vault *vault);
void shared_close(struct vault *vault);
/* Looks at the store: false when it is away, and the door is at checking then, or when this vault can
 * serve no more.  After true what is decided until store_stale() is decided on rows as new as this look. */
bool shared_look(struct vault *vault);

/* ---- authorize.c, ask.c, timing.h ---- */

void take_authorize(struct vault *vault, struct channel_peer *peer, struct view record);
void take_ask(struct vault *vault, struct channel_peer *peer, struct view record);
void take_time(struct vault *vault, struct channel_peer *peer, struct view record); /* TRACE_TIME */

/* ---- sigv4.c ---- */

/* The key for one day, region and service (RET_KEY takes 32 bytes). */
MUST_USE enum status sigv4_key(struct view secret, struct view date, struct view region,
                               struct view service, uint8_t *ret_key);

/* ---- credentials.c ---- */

/* HMAC-SHA256 under the install's token key, by which tokens and sessions are found. */
MUST_USE enum status credential_hash(struct vault *vault, struct view credential,
                                     uint8_t *ret_hash);
/* The same for a token of an import, by its SHA-256: another domain, so that only rows that were
 * imported are found by such a token. */
MUST_USE enum status credential_hash_imported(const struct keys *keys, struct view sha256,
                                              uint8_t *ret_hash);
/* The session's CSRF token: SESSION_TEXT digits and a NUL. */
MUST_USE enum status session_csrf(struct vault *vault, struct view session, char *ret_csrf);
/* Opens a sealed box of the gateway. */
MUST_USE enum status intake_open(struct vault *vault, struct view box,
                                 struct secret **ret_plain);
/* HMAC under the install's pepper; RET takes 32 bytes. */
MUST_USE enum status password_pepper(struct vault *vault, struct view password, uint8_t *ret);
/* Whether AGENT may read the secret's raw value. */
bool agent_may_read(const struct agent *agent, struct view name);
bool secret_name_valid(struct view name);
bool label_valid(struct view text); /* UTF-8 without control characters, 1 to 128 bytes */
/* Trims, lower-cases and checks. */
bool email_normal(struct view email, char *ret_email);
void last_chars(const char *token, char *ret_last4);

/* ---- throttle.c ---- */

struct throttle *throttle_new(void); /* NULL for want of memory */
void throttle_free(struct throttle **throttle);
/* From now on the counts are kept in STORE, which other vaults share, under hashes keyed by KEY. */
MUST_USE enum status throttle_share(struct throttle *throttle, struct store *store, struct view key);
uint64_t throttle_now(const struct throttle *throttle); /* for NOW_MS */
void throttle_prune(struct throttle *throttle);         /* now and then */
/* Counts a try of ACCOUNT's password (an e-mail, or an account's id; empty: of none) from the address
 * CLIENT, and yields 0; or counts nothing and yields the milliseconds that it is too early. */
uint64_t throttle_take(struct throttle *throttle, struct view account, struct view client,
                       uint64_t now_ms);
/* The password was right: the account's tries are forgotten and the address is known to it. */
void throttle_right(struct throttle *throttle, struct view account, struct view client,
                    uint64_t now_ms);

/* ---- hasher.c ---- */

struct hash_job {
    struct hash_job *next;
    bool check;                 /* OLD against STORED, first */
    bool make;                  /* then a hash of NEW, unless the check failed */
    uint8_t old[CRYPTO_HASH_BYTES], new[CRYPTO_HASH_BYTES]; /* peppered */
    struct secret *raw;         /* instead of OLD, when STORED came from an import; owned */
    char stored[CRYPTO_PASSWORD_SIZE];
    char made[CRYPTO_PASSWORD_SIZE];
    bool right;                 /* the check's outcome */
    enum status status;
    void (*done)(void *arg);    /* in the loop's thread */
    void *arg;
};
MUST_USE enum status hasher_new(struct loop *loop, struct hasher **ret_hasher);
void hasher_free(struct hasher **hasher); /* waits for the job in work; drops the others */
/* STATUS_BUSY when the queue is full.  JOB stays the caller's, in place until done. */
MUST_USE enum status hasher_submit(struct hasher *hasher, struct hash_job *job);
size_t hasher_waiting(struct hasher *hasher); /* jobs that are not done */
/* What an unknown account's password is checked against: the same work, never right. */
extern const char hasher_nobody[];

/* ---- audit_link.c ---- */

/* What came of a record or a query; RECORDS and NEXT only for a query. */
struct audit_result {
    enum status status;
    struct view records;
    uint64_t next;
};
typedef void audit_done(void *arg, const struct audit_result *result);

/* A record with every number AUDIT_NONE and every text empty. */
struct audit_record audit_blank(enum audit_kind kind, const char *action, struct view request);
/* ENDPOINTS, borrowed, are those of audit daemon 0, 1 and so on. */
MUST_USE enum status audit_link_new(struct loop *loop, const struct option_list *endpoints,
                                    struct audit_link **ret_link);
void audit_link_free(struct audit_link **link);
unsigned audit_shards(const struct audit_link *link);
unsigned audit_shards_up(const struct audit_link *link);
/* Whether a question that spreads tenants over SPREAD daemons can be decided here; says so when not: a gateway
 * has heard of a longer list than this vault has. */
MUST_USE bool audit_knows(struct audit_link *link, uint64_t spread);
/* The number for a record's `shard`: who has TENANT's when they are spread over SPREAD daemons, 0 for all. */
unsigned audit_shard(const struct audit_link *link, struct view tenant, uint64_t spread);
/* Sends RECORD to the daemon that its `shard` says.  Calls DONE once, later: with the acknowledgement's status, or STATUS_UNAVAILABLE at the deadline.
 * On a failure here DONE is not called. */
MUST_USE enum status audit_submit(struct audit_link *link, struct audit_record *record,
                                  audit_done *done, void *arg);
/* The same for a record that nobody waits for; it is tried for a while. */
void audit_tell(struct audit_link *link, struct audit_record *record);
MUST_USE enum status audit_ask(struct audit_link *link, struct audit_query *query,
                               audit_done *done, void *arg);
bool audit_up(const struct audit_link *link); /* all are */
size_t audit_waiting(const struct audit_link *link);
uint64_t audit_lost(const struct audit_link *link);
/* For tests: what the first one's channel would deliver. */
void audit_take_record(struct audit_link *link, struct view record);

/* From now on checkpoints that daemon NUMBER tells of are given to MARK; borrowed. */
void audit_link_mark(struct audit_link *link, unsigned number, struct audit_mark *mark);

/* ---- shards.c ---- */

/* Which of COUNT daemons, from 1 to AUDIT_SHARDS_MAX, has what TENANT does now; records of no tenant ("") have 0. */
unsigned shard_of(struct view tenant, unsigned count);
/* Those that have or may have had TENANT's records while the list grew to COUNT: bit N for daemon N. */
unsigned shards_with(struct view tenant, unsigned count);

/* ---- audit_pages.c ---- */

struct audit_pages;
/* RECORDS is a JSON array, NEXT JSON too: null, a number or, with several daemons, a text. */
typedef void audit_pages_done(void *arg, enum status status, struct view records, struct view next);
/* Asks for the page of QUERY, whose `limit` is set, before CURSOR, the text of a NEXT or empty.  Calls DONE
 * once, later; on a failure here not.  STATUS_INVALID for a cursor that is none.  The caller frees RET_PAGES once
 * DONE has run, or the link is gone. */
MUST_USE enum status audit_pages_ask(struct audit_link *link, const struct audit_query *query, struct view cursor,
                                     audit_pages_done *done, void *arg, struct audit_pages **ret_pages);
void audit_pages_free(struct audit_pages **pages); /* takes NULL */

/* ---- denials.c ---- */

MUST_USE enum status denials_new(struct loop *loop, struct audit_link *audit,
                                 struct denials **ret_denials);
void denials_free(struct denials **denials); /* tells what is counted */
/* VAULT_REFUSED: what a gateway refused by itself. */
void take_refused(struct vault *vault, struct channel_peer *peer, struct view record);
/* Writes or counts that RECORD happened TIMES times; sets its kind and decision. */
void denials_tell(struct denials *denials, struct audit_record *record, uint64_t times);
uint64_t denials_counted(const struct denials *denials);

/* ---- audit_mark.c ---- */

enum { AUDIT_MARK_TEXT = 160 };
/* Reads DIR/audit.head, of daemon 1 DIR/audit-1.head, when it is there.  Logs its own failure. */
MUST_USE enum status audit_mark_open(const char *dir, unsigned shard, struct audit_mark **ret_mark);
void audit_mark_free(struct audit_mark **mark);
/* Keeps the checkpoint NOTE; ACKED is the highest number that was acknowledged; false, and a sentence in RET_TEXT (AUDIT_MARK_TEXT bytes), when the log
 * it speaks of is not the kept one grown. */
bool audit_mark_take(struct audit_mark *mark, struct view note, uint64_t acked,
                     char *ret_text);
uint64_t audit_mark_rewound(const struct audit_mark *mark);

/* ---- touch.c ---- */

enum touch_kind { TOUCH_SESSION, TOUCH_KEY, TOUCH_AGENT, TOUCH_TOKEN, TOUCH_SECRET };
struct touches *touches_new(struct store *store);
void touches_free(struct touches **touches); /* writes what is left */
void touch(struct touches *touches, enum touch_kind kind, struct view id, uint64_t now_ms);
void touches_write(struct touches *touches);

/* ---- master.c ---- */

struct master {
    struct secret *current, *previous; /* previous: NULL when there is none */
};
/* Whether DIR says how to unseal (seal_plan.h) and no master key is there or in the environment. */
bool master_is_sealed(const char *dir);
/* Takes MASTER_KEY and CREDENTIALS_DIRECTORY out of the environment; called by daemon_run(). */
void master_take_environment(void);
/* Names the files that master_read() may read. */
void master_confine(struct confinement *confinement, const char *dir);
/* From the environment (with a warning), the systemd credential or the file master.key in DIR; and
 * DIR/master.key.previous when it is there.  Logs its own failure. */
MUST_USE enum status master_read(const char *dir, struct master *ret_master);
void master_free(struct master *master);
struct masters master_views(const struct master *master);

/* ---- mark.c: DIR/vault.install says that there has been a database ---- */

/* STATUS_INVALID, with a log line, when DIR had a database: a new one is not made WHERE. */
MUST_USE enum status mark_absent(const char *dir, const char *where);
MUST_USE enum status mark_make(const char *dir, const char *install);

/* ---- database.c ---- */

/* Makes the directory PATH unless it is there. */
MUST_USE enum status database_directory(const char *path);
/* Opens the database WHERE for use, or makes it where there never was one, as DATA remembers; wrong
 * MASTERS, or a database that is damaged or lost, leave every file as it was.  Logs its own failure. */
MUST_USE enum status database_open(const char *data, const char *where, const struct masters *masters,
                                   struct store **ret_store, struct keys **ret_keys);
/* The same for a database that is there, with the master key of KEYS_DIR. */
MUST_USE enum status database_open_there(const char *where, const char *keys_dir,
                                        struct store **ret_store, struct keys **ret_keys);

/* ---- control.c, backup.c: what the operator's commands ask; control_messages.h ---- */

struct control_call {
    struct vault *vault;
    struct channel_peer *peer;
    uint64_t call;
};
MUST_USE enum status control_open(struct vault *vault);
/* PEER may be NULL: it has gone. */
void control_reply(struct vault *vault, struct channel_peer *peer, uint64_t call,
                   enum status status, uint64_t number, const char *text);
/* Answers later, with the path of the copy; STATUS_BUSY while another runs. */
MUST_USE enum status backup_start(const struct control_call *call);

/* ---- reseal.c ---- */

/* One step of PASS, some milliseconds; STATUS_NOT_FOUND when it is over.  Begin with a zeroed one. */
MUST_USE enum status reseal_step(struct reseal *pass, struct store *store, struct keys *keys);
/* Looks every hour for keys that have had their time. */
MUST_USE enum status reseal_open(struct vault *vault);
/* Begins a pass, after the one that runs, unless the door is not open. */
void reseal_kick(struct vault *vault);
/* A new data key for TENANT, or for all ("") and the pass that moves their secrets to it. */
MUST_USE enum status reseal_begin(struct vault *vault, const char *tenant, uint64_t *ret_tenants);

#endif
