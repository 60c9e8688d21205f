/* main.c - the audit daemon: one append-only log, one writer.  Each of several has its own. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/clock.h"
#include "common/daemon.h"
#include "common/keyfile.h"
#include "common/log.h"
#include "services/audit/reading.h"

enum { TICK_MS = 1000, SAY_HEAD_MS = 60000, STALL_MS = 2000, KEEP_DAYS_MAX = 100000 };
static const uint64_t day_ms = 24ull * 60 * 60 * 1000;

static struct {
    const char *data, *keys, *listen_vault, *listen_proxy, *name;
    uint64_t segment_size, outcome_wait, keep_days, keep_bytes;
    bool ship_stdout;
    struct ledger *ledger;
    struct ship *ship;
    struct desk *desk;
    struct loop *loop;
    int timer;
    uint64_t unknown, removed; /* outcomes, and files, since the start */
    uint64_t ticked_ms, said_ms, shipped; /* the record up to which it was told to */
} self = {.name = "audit-0", .segment_size = 256 << 20, .outcome_wait = OUTCOME_WAIT_MS / 1000, .timer = -1};

static const struct option options[] = {
    {"data", OPTION_TEXT, &self.data, "DIR where the log is", true},
    {"keys", OPTION_TEXT, &self.keys, "DIR with this daemon's keys", true},
    {"listen-vault", OPTION_TEXT, &self.listen_vault, "ENDPOINT for the vault", true},
    {"listen-proxy", OPTION_TEXT, &self.listen_proxy, "ENDPOINT for the proxies", true},
    {"shard", OPTION_TEXT, &self.name,
     "NAME or number of this daemon; its last number is its place in the senders' lists (audit-0)", false},
    {"segment-size", OPTION_NUMBER, &self.segment_size,
     "BYTES after which a new file begins; one begins each day too", false},
    {"outcome-wait", OPTION_NUMBER, &self.outcome_wait,
     "SECONDS after which a call that no proxy claims is written down as unknown", false},
    {"keep-days", OPTION_NUMBER, &self.keep_days,
     "DAYS after which a file is removed; for ever unless given", false},
    {"keep-bytes", OPTION_NUMBER, &self.keep_bytes,
     "BYTES that all files may have before the oldest are removed; any number unless given", false},
    {"ship-stdout", OPTION_FLAG, &self.ship_stdout,
     "also write each record to standard output, as a line of JSON", false},
    {NULL, OPTION_TEXT, NULL, NULL, false},
};

static enum status read_signer(struct signer *ret_signer)
{
    CLEANUP(secret_free) struct secret *seed = NULL;
    uint8_t wanted[CRYPTO_KEY_BYTES];
    enum status status = keyfile_read(self.keys, "audit-sign.key", CRYPTO_KEY_BYTES, &seed);
    if (status == STATUS_OK) {
        status = keyfile_read_public(self.keys, "audit-sign.pub", CRYPTO_KEY_BYTES,
                                     ret_signer->public_key);
    }
    if (status != STATUS_OK) {
        return status;
    }
    memcpy(ret_signer->seed, secret_data(seed), CRYPTO_KEY_BYTES);
    status = crypto_sign_public(ret_signer->seed, wanted);
    if (status == STATUS_OK && memcmp(wanted, ret_signer->public_key, sizeof wanted) != 0) {
        log_error("keys", "audit-sign.key and audit-sign.pub are not a pair");
        return STATUS_INVALID;
    }
    return status;
}

/* The number at the end of "audit-2". */
static enum status read_shard(unsigned *ret_shard)
{
    size_t size = strlen(self.name), begin = size;
    while (begin > 0 && self.name[begin - 1] >= '0' && self.name[begin - 1] <= '9') {
        begin--;
    }
    unsigned long number = size - begin > 0 && size - begin < 4 ? strtoul(self.name + begin, NULL, 10) : AUDIT_SHARDS_MAX;
    if (number >= AUDIT_SHARDS_MAX) {
        log_error("open", "--shard takes a name that ends in a number from 0 to %d", AUDIT_SHARDS_MAX - 1);
        return STATUS_INVALID;
    }
    *ret_shard = (unsigned)number;
    return STATUS_OK;
}

static enum status open_ledger(void)
{
    if (self.keep_days > KEEP_DAYS_MAX) {
        log_error("open", "--keep-days takes at most %d", (int)KEEP_DAYS_MAX);
        return STATUS_INVALID;
    }
    struct ledger_options ledger = {.dir = self.data, .segment_bytes = self.segment_size};
    enum status status = read_signer(&ledger.signer);
    if (status == STATUS_OK) {
        status = read_shard(&ledger.signer.shard);
    }
    if (status == STATUS_OK) {
        status = ledger_open(&ledger, &self.ledger);
    }
    explicit_bzero(&ledger, sizeof ledger);
    return status;
}

/* The head stands in the daemon's own log too, which is kept elsewhere. */
static void say_head(void)
{
    const struct head *head = ledger_head(self.ledger);
    log_info("head", "%llu:%s", (unsigned long long)head->seq, head->hash);
    self.said_ms = clock_mono_ms();
}

/* What is on disk and was not yet is written out. */
static void ship_on(void)
{
    uint64_t seq = ledger_head(self.ledger)->seq;
    if (self.ship && seq != self.shipped) {
        struct files files = ledger_files_of(self.ledger);
        ship_follow(self.ship, &files);
        self.shipped = seq;
    }
}

static void tick(void *arg)
{
    uint64_t now_ms = clock_mono_ms(), late_ms = now_ms - self.ticked_ms;
    (void)arg;
    self.ticked_ms = now_ms;
    if (late_ms > TICK_MS + STALL_MS) {
        log_warn("stalled", "nothing was done for %llu ms", (unsigned long long)late_ms);
        (void)!ledger_note(self.ledger, "audit.stalled", "the daemon was held up", late_ms);
        ledger_claim_all(self.ledger); /* nobody could claim anything */
    }
    size_t unknown = ledger_give_up(self.ledger, self.outcome_wait * 1000);
    self.unknown += unknown;
    if (unknown > 0) {
        log_warn("unknown", "%zu calls got no outcome", unknown);
    }
    self.removed += ledger_retain(self.ledger, self.keep_days * day_ms, self.keep_bytes);
    desk_follow(self.desk);
    ship_on();
    if (ledger_sign(self.ledger)) {
        desk_tell_head(self.desk);
        if (now_ms - self.said_ms >= SAY_HEAD_MS) {
            say_head();
        }
    }
}

static enum status open_ship(void)
{
    struct files files = ledger_files_of(self.ledger);
    return self.ship_stdout
               ? ship_new(STDOUT_FILENO, &files, ledger_head(self.ledger)->seq + 1, &self.ship)
               : STATUS_OK;
}

static enum status audit_confine(struct confinement *confinement)
{
    confine_write(confinement, self.data);
    confine_read_in(confinement, self.keys, "audit.curve");
    confine_read_in(confinement, self.keys, "audit-sign.key");
    confine_read_public_keys(confinement, self.keys);
    confine_listen(confinement, self.listen_vault);
    confine_listen(confinement, self.listen_proxy);
    return STATUS_OK;
}

static enum status audit_open(struct loop *loop)
{
    self.loop = loop;
    enum status status = channel_keys(self.keys, "audit");
    if (status == STATUS_OK) {
        status = open_ledger();
    }
    if (status == STATUS_OK) {
        status = open_ship();
    }
    if (status == STATUS_OK) {
        /* On a full disk it is not written; the records are refused one by one. */
        (void)!ledger_note(self.ledger, "audit.start", SEKS_VERSION, AUDIT_NONE);
        status = desk_open(loop, self.ledger, self.listen_vault, self.listen_proxy, &self.desk);
    }
    if (status != STATUS_OK) {
        return status;
    }
    self.ticked_ms = clock_mono_ms();
    self.timer = loop_every(loop, TICK_MS, tick, NULL);
    (void)ledger_sign(self.ledger); /* the tick tries again */
    say_head();
    return self.timer >= 0 ? STATUS_OK : STATUS_INTERNAL;
}

static bool audit_ready(void)
{
    return !ledger_failing(self.ledger);
}

static void audit_metrics(struct buffer *text)
{
    const struct {
        const char *name, *kind;
        uint64_t value;
    } rows[] = {
        {"seks_audit_unknown_total", "counter", self.unknown},
        {"seks_audit_removed_files_total", "counter", self.removed},
        {"seks_audit_shipped_seq", "gauge", self.ship ? ship_next(self.ship) - 1 : 0},
    };
    desk_metrics(self.desk, text);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buffer_printf(text, "# TYPE %s %s\n%s %llu\n", rows[i].name, rows[i].kind, rows[i].name,
                      (unsigned long long)rows[i].value);
    }
}

static void audit_close(void)
{
    if (self.timer >= 0) {
        loop_unevery(self.loop, self.timer);
    }
    bool served = self.desk != NULL;
    desk_close(&self.desk);
    if (served && ledger_note(self.ledger, "audit.stop", "", AUDIT_NONE) == STATUS_OK) {
        (void)ledger_sign(self.ledger); /* or the next start does */
        say_head();
        ship_on();
    }
    ship_free(&self.ship);
    ledger_close(&self.ledger);
}

int main(int argc, char **argv)
{
    static const struct daemon daemon = {
        .name = "audit",
        .options = options,
        .confine = audit_confine,
        .open = audit_open,
        .metrics = audit_metrics,
        .ready = audit_ready,
        .close = audit_close,
    };
    return daemon_run(&daemon, argc, argv);
}
