/* throttle.c - how often a password may be tried, by account and by address.
 *
 * Beyond a few free tries each has to wait, longer each time up to a limit; nothing is ever locked,
 * and tries are forgotten with time.  An address from which an account was logged in to before has
 * tries of its own there, so strangers who use up the account's do not keep its owner out.  An e-mail
 * without an account counts like one that has one.
 *
 * Kept in memory that does not grow: what was used least lately makes room.  Names are keyed hashes,
 * so nobody can choose what they push out, and only right passwords fill the table of known addresses.  127.0.0.1 and ::1 stand for whoever is behind a proxy
 * on this host: they are not counted as an address, and not remembered as one.
 *
 * Where several vaults share a store the counts are rows of it (`tries`), under the same keyed hashes, so
 * that a guesser has no more tries for asking another vault.  Rows are locked while they are counted. */
#include "vault.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum {
    SETS = 4096, WAYS = 4, /* 16,384 entries of 40 bytes in each of three tables */
    TRIES_FREE = 10, WAIT_MAX_MS = 60 * 1000,
    ADDRESS_TRIES_FREE = 30, /* an office behind one address */
    ADDRESS_WAIT_MAX_MS = 5 * 60 * 1000,
    WAIT_FIRST_MS = 1000,
    FORGET_MS = 60 * 1000, /* one try is forgotten */
    TRIES_KEPT_MS = 2 * 60 * 60 * 1000, /* in the store: later all of an entry's are forgotten */
    KNOWN_KEPT_DAYS = 90,
    KEY_BYTES = 16, TEXT_MAX = EMAIL_MAX + CLIENT_MAX + 4,
};

enum scope { ACCOUNT = 'a', ADDRESS = 'c', PAIR = 'p', KNOWN = 'k' };

struct entry {
    uint8_t key[KEY_BYTES];
    uint64_t used_ms, next_ms;
    uint64_t tries;
};

struct throttle {
    uint8_t secret[CRYPTO_KEY_BYTES];
    struct store *store;     /* NULL: this memory is all there is */
    struct entry rows[3];    /* of the store, while they are counted: address, account, known */
    struct entry tries[SETS][WAYS];     /* at accounts */
    struct entry addresses[SETS][WAYS]; /* apart: one try takes an entry in both, never the same */
    struct entry known[SETS][WAYS];
};

struct throttle *throttle_new(void)
{
    struct throttle *throttle = calloc(1, sizeof *throttle);
    if (throttle) {
        crypto_random(throttle->secret, sizeof throttle->secret);
    }
    return throttle;
}

void throttle_free(struct throttle **throttle)
{
    free(*throttle);
    *throttle = NULL;
}

enum status throttle_share(struct throttle *throttle, struct store *store, struct view key)
{
    throttle->store = store;
    return crypto_hkdf(key, VIEW(""), VIEW("seks throttle 1"), throttle->secret,
                       sizeof throttle->secret);
}

uint64_t throttle_now(const struct throttle *throttle)
{
    return throttle->store ? clock_wall_ms() : clock_mono_ms(); /* one clock for all vaults */
}

void throttle_prune(struct throttle *throttle)
{
    static const char sql[] = "DELETE FROM tries WHERE used_ms < ? OR (tries > 0 AND used_ms < ?)";
    const uint64_t known_ms = KNOWN_KEPT_DAYS * 24ull * 60 * 60 * 1000;
    if (!throttle->store || store_is_away(throttle->store)) {
        return;
    }
    CLEANUP(query_end) struct query query = query_new(throttle->store, sql);
    query_number(&query, clock_wall_ms() - known_ms);
    query_number(&query, clock_wall_ms() - TRIES_KEPT_MS);
    (void)!query_run(&query); /* the next time */
}

/* ---- entries that are rows ---- */

static bool read_row(struct throttle *throttle, struct entry *entry)
{
    static const char sql[] =
        "SELECT used_ms, next_ms, tries FROM tries WHERE key = ? FOR UPDATE";
    CLEANUP(query_end) struct query query = query_new(throttle->store, sql);
    query_bytes(&query, view_of(entry->key, KEY_BYTES));
    if (query_only_row(&query) != STATUS_OK) {
        return false;
    }
    entry->used_ms = query_get_number(&query);
    entry->next_ms = query_get_number(&query);
    entry->tries = query_get_number(&query);
    return true;
}

static void add_row(struct throttle *throttle, const struct entry *entry)
{
    static const char sql[] = "INSERT INTO tries (key, used_ms, next_ms, tries) VALUES (?, 0, 0, 0)"
                              " ON CONFLICT DO NOTHING";
    CLEANUP(query_end) struct query query = query_new(throttle->store, sql);
    query_bytes(&query, view_of(entry->key, KEY_BYTES));
    (void)!query_run(&query); /* reading it tells */
}

static void write_row(struct throttle *throttle, const struct entry *entry)
{
    static const char sql[] = "UPDATE tries SET used_ms = ?, next_ms = ?, tries = ? WHERE key = ?";
    if (!throttle->store || !entry) {
        return;
    }
    CLEANUP(query_end) struct query query = query_new(throttle->store, sql);
    query_number(&query, entry->used_ms);
    query_number(&query, entry->next_ms);
    query_number(&query, entry->tries);
    query_bytes(&query, view_of(entry->key, KEY_BYTES));
    (void)!query_run(&query); /* the commit tells */
}

static struct entry *row_of(struct throttle *throttle, enum scope scope, const uint8_t *key,
                            bool make)
{
    struct entry *entry = &throttle->rows[scope == ADDRESS ? 0 : scope == KNOWN ? 2 : 1];
    *entry = (struct entry){.tries = 0};
    memcpy(entry->key, key, KEY_BYTES);
    if (make) {
        add_row(throttle, entry);
    }
    return read_row(throttle, entry) ? entry : NULL;
}

/* ---- entries ---- */

/* The client's address in a form of its own, an IPv6 network as one; false for this host's. */
static bool client_key(struct view client, char *ret_key, size_t size)
{
    char text[CLIENT_MAX + 1];
    struct in6_addr v6;
    if (!view_copy(client, text, sizeof text) || strcmp(text, "127.0.0.1") == 0 ||
        strcmp(text, "::1") == 0) {
        return false;
    }
    if (inet_pton(AF_INET6, text, &v6) == 1 && !IN6_IS_ADDR_V4MAPPED(&v6)) {
        memset(v6.s6_addr + 8, 0, 8);
        return inet_ntop(AF_INET6, &v6, ret_key, (socklen_t)size) != NULL;
    }
    return view_copy(client, ret_key, size);
}

/* The entry of that name; when there is none NULL, or with MAKE the one used least lately. */
static struct entry *entry_of(struct throttle *throttle, enum scope scope, struct view account,
                              const char *client, bool make)
{
    CLEANUP(buffer_free) struct buffer text = BUFFER_EMPTY;
    uint8_t mac[CRYPTO_HASH_BYTES];
    text.max = TEXT_MAX;
    buffer_append_byte(&text, (uint8_t)scope);
    buffer_append_view(&text, scope == ADDRESS ? view_text("") : account);
    buffer_append_byte(&text, 0);
    buffer_append_text(&text, scope == ACCOUNT ? "" : client);
    if (text.failed ||
        crypto_hmac(view_of(throttle->secret, sizeof throttle->secret), buffer_view(&text), mac) !=
            STATUS_OK) {
        return NULL;
    }
    if (throttle->store) {
        return row_of(throttle, scope, mac, make);
    }
    size_t at = (size_t)(mac[30] << 8 | mac[31]) % SETS;
    struct entry *set = scope == KNOWN     ? throttle->known[at]
                        : scope == ADDRESS ? throttle->addresses[at]
                                           : throttle->tries[at];
    struct entry *oldest = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (memcmp(set[i].key, mac, KEY_BYTES) == 0) {
            return &set[i];
        }
        oldest = set[i].used_ms < oldest->used_ms ? &set[i] : oldest;
    }
    if (!make) {
        return NULL;
    }
    *oldest = (struct entry){.tries = 0};
    memcpy(oldest->key, mac, KEY_BYTES);
    return oldest;
}

static void forget(struct entry *entry, uint64_t now_ms)
{
    bool due = entry->tries > 0 && now_ms > entry->used_ms; /* another vault's clock may be ahead */
    uint64_t forgotten = due ? (now_ms - entry->used_ms) / FORGET_MS : 0;
    if (forgotten > 0) {
        entry->tries -= forgotten < entry->tries ? forgotten : entry->tries;
        entry->used_ms = now_ms;
    }
}

static uint64_t wait_of(struct entry *entry, uint64_t now_ms)
{
    if (!entry) {
        return 0;
    }
    forget(entry, now_ms);
    return entry->next_ms > now_ms ? entry->next_ms - now_ms : 0;
}

static void count(struct entry *entry, uint64_t free_tries, uint64_t wait_max_ms, uint64_t now_ms)
{
    if (!entry) {
        return;
    }
    entry->used_ms = now_ms;
    if (++entry->tries >= free_tries) {
        uint64_t doublings = entry->tries - free_tries;
        uint64_t wait_ms = doublings < 20 ? (uint64_t)WAIT_FIRST_MS << doublings : wait_max_ms;
        entry->next_ms = now_ms + (wait_ms < wait_max_ms ? wait_ms : wait_max_ms);
    }
}

static struct entry *account_entry(struct throttle *throttle, struct view account, const char *client)
{
    bool known = *client && entry_of(throttle, KNOWN, account, client, false);
    return account.size ? entry_of(throttle, known ? PAIR : ACCOUNT, account, client, true) : NULL;
}

struct try {
    struct throttle *throttle;
    struct view account, client;
    uint64_t now_ms, wait_ms;
};

static enum status take(void *arg)
{
    struct try *it = arg;
    struct throttle *throttle = it->throttle;
    struct view account = it->account;
    uint64_t now_ms = it->now_ms;
    char name[CLIENT_MAX + 1] = "";
    struct entry *by_address = client_key(it->client, name, sizeof name)
                                   ? entry_of(throttle, ADDRESS, account, name, true) : NULL;
    struct entry *by_account = account_entry(throttle, account, name);
    uint64_t wait_ms = wait_of(by_address, now_ms), account_ms = wait_of(by_account, now_ms);
    wait_ms = wait_ms > account_ms ? wait_ms : account_ms;
    if (wait_ms == 0) {
        count(by_address, ADDRESS_TRIES_FREE, ADDRESS_WAIT_MAX_MS, now_ms);
        count(by_account, TRIES_FREE, WAIT_MAX_MS, now_ms);
        write_row(throttle, by_address);
        write_row(throttle, by_account);
    }
    it->wait_ms = wait_ms;
    return STATUS_OK;
}

uint64_t throttle_take(struct throttle *throttle, struct view account, struct view client,
                       uint64_t now_ms)
{
    struct try it = {throttle, account, client, now_ms, 0};
    enum status status = throttle->store ? store_transact_quiet(throttle->store, take, &it) : take(&it);
    /* A store that is away decides nothing else either. */
    return status == STATUS_OK ? it.wait_ms : 0;
}

void throttle_right(struct throttle *throttle, struct view account, struct view client,
                    uint64_t now_ms)
{
    char name[CLIENT_MAX + 1] = "";
    bool counted = client_key(client, name, sizeof name);
    /* The address first, as in take(): rows are locked in the same order by all. */
    struct entry *by_address = counted ? entry_of(throttle, ADDRESS, account, name, true) : NULL;
    struct entry *by_account = account_entry(throttle, account, name);
    if (by_account) {
        by_account->tries = by_account->next_ms = 0;
    }
    if (by_address && by_address->tries > 0) {
        by_address->tries--; /* this try alone: others may have been at other accounts */
    }
    struct entry *known = counted && account.size ? entry_of(throttle, KNOWN, account, name, true)
                                                  : NULL;
    if (known) {
        known->used_ms = now_ms;
    }
    write_row(throttle, by_account);
    write_row(throttle, by_address);
    write_row(throttle, known);
}
