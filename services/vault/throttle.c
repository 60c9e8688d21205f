/* throttle.c - how often a password may be tried, by account and by address.
 *
 * Beyond a few free tries each has to wait, longer each time up to a limit; nothing is ever locked,
 * and tries are forgotten with time.  An address from which an account was logged in to before has
 * tries of its own there, so strangers who use up the account's do not keep its owner out.  An e-mail
 * without an account counts like one that has one.
 *
 * Kept in memory that does not grow: what was used least lately makes room.  Names are keyed hashes,
 * so nobody can choose what they push out, and only right passwords fill the table of known addresses.  127.0.0.1 and ::1 stand for whoever is behind a proxy
 * on this host: they are not counted as an address, and not remembered as one. */
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
    uint64_t forgotten = entry->tries > 0 ? (now_ms - entry->used_ms) / FORGET_MS : 0;
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

uint64_t throttle_take(struct throttle *throttle, struct view account, struct view client,
                       uint64_t now_ms)
{
    char name[CLIENT_MAX + 1] = "";
    struct entry *by_address = client_key(client, name, sizeof name)
                                   ? entry_of(throttle, ADDRESS, account, name, true) : NULL;
    struct entry *by_account = account_entry(throttle, account, name);
    uint64_t wait_ms = wait_of(by_address, now_ms), account_ms = wait_of(by_account, now_ms);
    wait_ms = wait_ms > account_ms ? wait_ms : account_ms;
    if (wait_ms == 0) {
        count(by_address, ADDRESS_TRIES_FREE, ADDRESS_WAIT_MAX_MS, now_ms);
        count(by_account, TRIES_FREE, WAIT_MAX_MS, now_ms);
    }
    return wait_ms;
}

void throttle_right(struct throttle *throttle, struct view account, struct view client,
                    uint64_t now_ms)
{
    char name[CLIENT_MAX + 1] = "";
    bool counted = client_key(client, name, sizeof name);
    struct entry *by_account = account_entry(throttle, account, name);
    struct entry *by_address = counted ? entry_of(throttle, ADDRESS, account, name, true) : NULL;
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
}
