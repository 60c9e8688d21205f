/* peers.h - the daemons of one kind that the gateway speaks to: one channel for each address.
 *
 * An endpoint with a name in it stands for all its addresses, which come and go as the name says
 * (discover.h).  A peer that is leaving, or whose address is gone, is given nothing new; it is
 * forgotten once it holds nothing and was not listed for RETIRE_MS. */
#ifndef SERVICES_GATEWAY_PEERS_H
#define SERVICES_GATEWAY_PEERS_H

#include "common/channel.h"
#include "common/options.h"
#include "proto/vault_messages.h"

enum { PEER_ENDPOINT_SIZE = 256 };

struct peers;

/* Its owner counts `busy` and says what it knows of the rest. */
struct peer {
    struct peer *next;
    struct peers *set;
    struct channel *channel;
    char endpoint[PEER_ENDPOINT_SIZE];
    size_t busy;                /* what it was given and has not finished */
    bool leaving;               /* it said so; over when another process answers there */
    bool avoid;                 /* it said that others are better asked */
    uint64_t shards;            /* audit daemons that it knows, 0: it did not say yet */
    char closed[STATE_MAX + 1]; /* why it does not serve; empty when it does */
    /* of peers.c alone: */
    uint8_t instance[CHANNEL_INSTANCE_BYTES];
    size_t source;       /* the index of the name that it came from */
    uint64_t gone_ms;    /* since when its address is no longer the name's; 0: it is */
    bool seen;
};

struct peers_kind {
    const char *server; /* "vault", as its key is called */
    bool in_turns;      /* of those that are equally busy the one is next that was taken longest ago,
                         * else always the same one, whose connections to others are then warm */
    void (*record)(struct peer *peer, struct view record);
    void (*up)(struct peer *peer);   /* it answers for the first time, or again, or is a new process */
    void (*lost)(struct peer *peer); /* it is silent, or another process: what it held is not known */
};

/* Connects to ENDPOINTS (borrowed, as KIND is).  Logs its own failure. */
MUST_USE enum status peers_open(struct loop *loop, const struct peers_kind *kind,
                                const struct option_list *endpoints, struct peers **ret_peers);
void peers_close(struct peers **peers); /* takes NULL */

/* The one to be given something: the least busy of the fittest.  NULL when none may be. */
struct peer *peers_best(const struct peers *peers);
/* Takes it: it is one more busy, and then comes last among its equals when they take turns. */
void peer_take(struct peer *peer);
void peer_leave(struct peer *peer); /* the end of one peer_take() */

/* 0: nothing may be given to it; then, from worse to better: closed, to be avoided or not heard from for
 * a moment, good. */
enum peer_fitness { PEER_UNUSABLE, PEER_CLOSED, PEER_DOUBTFUL, PEER_GOOD };
enum peer_fitness peer_fitness(const struct peer *peer);
bool peer_quiet(const struct peer *peer); /* not heard from for a moment */

struct channel_peer *peer_channel(const struct peer *peer);
struct peer *peer_of(struct channel_peer *channel_peer); /* the way back */
struct peer *peers_next(const struct peers *peers, const struct peer *peer); /* NULL: the first */
size_t peers_busy(const struct peers *peers);
size_t peers_usable(const struct peers *peers);
/* seks_gateway_<server>_busy for each peer, seks_gateway_<server>_peers for each fitness. */
void peers_metrics(const struct peers *peers, struct buffer *text);

#endif
