/* peers.c - channels to all daemons of a kind: who is there, and who is to be given the next thing.
 *
 * Knows no message: proxies.c and links.c say what is sent and what an answer means. */
#include "services/gateway/peers.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "services/gateway/discover.h"

enum {
    RETIRE_MS = 10000, /* an address that was missing in one answer of the DNS may be back in the next */
    RETIRE_LOOK_MS = 1000,
    QUIET_MS = 2 * CHANNEL_BEAT_MS + 200, /* two heartbeats were not answered */
};

struct peers {
    struct loop *loop;
    const struct peers_kind *kind;
    struct peer *first;
    int retire_timer;
    struct discover *discover;
    const char *names[OPTION_LIST_MAX];
    char hosts[OPTION_LIST_MAX][PEER_ENDPOINT_SIZE];
    const char *ports[OPTION_LIST_MAX];
    size_t name_count;
};

/* ---- which one ---- */

bool peer_quiet(const struct peer *peer)
{
    return channel_peer_quiet_ms(peer_channel(peer)) > QUIET_MS;
}

enum peer_fitness peer_fitness(const struct peer *peer)
{
    if (peer->leaving || peer->gone_ms != 0 || !channel_peer_up(peer_channel(peer))) {
        return PEER_UNUSABLE;
    }
    if (peer->closed[0]) {
        return PEER_CLOSED;
    }
    return peer->avoid || peer_quiet(peer) ? PEER_DOUBTFUL : PEER_GOOD;
}

struct peer *peers_best(const struct peers *peers)
{
    struct peer *best = NULL;
    enum peer_fitness best_fitness = PEER_UNUSABLE;
    for (struct peer *peer = peers->first; peer; peer = peer->next) {
        enum peer_fitness fitness = peer_fitness(peer);
        if (fitness > best_fitness ||
            (best && fitness == best_fitness && peer->busy < best->busy)) {
            best = peer;
            best_fitness = fitness;
        }
    }
    return best;
}

static void unlink_peer(struct peer *peer)
{
    for (struct peer **at = &peer->set->first; *at; at = &(*at)->next) {
        if (*at == peer) {
            *at = peer->next;
            return;
        }
    }
}

static void append(struct peer *peer)
{
    struct peer **end = &peer->set->first;
    while (*end) {
        end = &(*end)->next;
    }
    peer->next = NULL;
    *end = peer;
}

void peer_take(struct peer *peer)
{
    peer->busy++;
    if (peer->set->kind->in_turns && peer->next) {
        unlink_peer(peer);
        append(peer);
    }
}

void peer_leave(struct peer *peer)
{
    peer->busy--;
}

struct channel_peer *peer_channel(const struct peer *peer)
{
    return channel_server(peer->channel);
}

struct peer *peer_of(struct channel_peer *channel_peer)
{
    return *channel_peer_slot(channel_peer);
}

struct peer *peers_next(const struct peers *peers, const struct peer *peer)
{
    return peer ? peer->next : peers ? peers->first : NULL;
}

size_t peers_busy(const struct peers *peers)
{
    size_t count = 0;
    for (const struct peer *peer = NULL; (peer = peers_next(peers, peer));) {
        count += peer->busy;
    }
    return count;
}

size_t peers_usable(const struct peers *peers)
{
    size_t count = 0;
    for (const struct peer *peer = NULL; (peer = peers_next(peers, peer));) {
        count += peer_fitness(peer) > PEER_CLOSED;
    }
    return count;
}

static void append_label(struct buffer *text, const char *value)
{
    for (; *value; value++) {
        buffer_append_text(text, *value == '"' || *value == '\\' ? "\\" : "");
        buffer_append_byte(text, (uint8_t)*value);
    }
}

void peers_metrics(const struct peers *peers, struct buffer *text)
{
    static const char *const names[] = {"unusable", "closed", "doubtful", "good"};
    size_t counts[sizeof names / sizeof names[0]] = {0};
    const char *server = peers ? peers->kind->server : "";
    if (!peers_next(peers, NULL)) {
        return;
    }
    buffer_printf(text, "# TYPE seks_gateway_%s_busy gauge\n", server);
    for (const struct peer *peer = NULL; (peer = peers_next(peers, peer));) {
        counts[peer_fitness(peer)]++;
        buffer_printf(text, "seks_gateway_%s_busy{peer=\"", server);
        append_label(text, peer->endpoint);
        buffer_printf(text, "\"} %zu\n", peer->busy);
    }
    buffer_printf(text, "# TYPE seks_gateway_%s_peers gauge\n", server);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        buffer_printf(text, "seks_gateway_%s_peers{state=\"%s\"} %zu\n", server, names[i], counts[i]);
    }
}

/* ---- what their channels tell ---- */

static void on_record(void *arg, struct channel_peer *channel_peer, struct view record)
{
    struct peer *peer = arg;
    (void)channel_peer;
    peer->set->kind->record(peer, record);
}

static void on_lost(void *arg, struct channel_peer *channel_peer)
{
    struct peer *peer = arg;
    (void)channel_peer;
    log_info(peer->set->kind->server, "%s does not answer", peer->endpoint);
    peer->set->kind->lost(peer);
}

static void on_up(void *arg, struct channel_peer *channel_peer)
{
    struct peer *peer = arg;
    struct view instance = channel_peer_instance(channel_peer);
    if (!view_equal(instance, view_of(peer->instance, sizeof peer->instance))) {
        memcpy(peer->instance, instance.data, sizeof peer->instance);
        peer->leaving = peer->avoid = false;
        peer->closed[0] = 0;
        peer->set->kind->lost(peer); /* what it held was held by another process */
    }
    peer->set->kind->up(peer);
}

/* ---- coming and going ---- */

static enum status connect_to(struct peers *peers, const char *endpoint, size_t source)
{
    static const struct channel_events events = {on_record, on_up, on_lost};
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer) {
        return STATUS_INTERNAL;
    }
    snprintf(peer->endpoint, sizeof peer->endpoint, "%s", endpoint);
    peer->set = peers;
    peer->source = source;
    peer->seen = true;
    enum status status = channel_connect(peers->loop, endpoint, peers->kind->server, &events, peer,
                                         &peer->channel);
    if (status != STATUS_OK) {
        free(peer);
        return status;
    }
    *channel_peer_slot(peer_channel(peer)) = peer;
    append(peer);
    return STATUS_OK;
}

static void disconnect(struct peer *peer)
{
    unlink_peer(peer);
    channel_close(&peer->channel);
    free(peer);
}

static void see(struct peers *peers, const char *endpoint, size_t source)
{
    for (struct peer *peer = peers->first; peer; peer = peer->next) {
        if (peer->source == source && strcmp(peer->endpoint, endpoint) == 0) {
            peer->seen = true;
            peer->gone_ms = 0;
            return;
        }
    }
    if (connect_to(peers, endpoint, source) == STATUS_OK) {
        log_info(peers->kind->server, "%s came", endpoint);
    }
}

static void on_discovered(void *arg, size_t name, const struct discovered *found)
{
    struct peers *peers = arg;
    char endpoint[PEER_ENDPOINT_SIZE];
    for (struct peer *peer = peers->first; peer; peer = peer->next) {
        peer->seen = peer->source != name;
    }
    for (size_t i = 0; i < found->count; i++) {
        snprintf(endpoint, sizeof endpoint, "tcp://%s:%s", found->address[i], peers->ports[name]);
        see(peers, endpoint, name);
    }
    for (struct peer *peer = peers->first; peer; peer = peer->next) {
        if (!peer->seen && peer->gone_ms == 0) {
            log_info(peers->kind->server, "%s is no longer listed", peer->endpoint);
            peer->gone_ms = clock_mono_ms();
        }
    }
}

static void retire(void *arg)
{
    struct peers *peers = arg;
    uint64_t now = clock_mono_ms();
    for (struct peer *peer = peers->first, *next; peer; peer = next) {
        next = peer->next;
        if (peer->gone_ms != 0 && peer->busy == 0 && now - peer->gone_ms >= RETIRE_MS) {
            disconnect(peer);
        }
    }
}

/* Whether ENDPOINT is tcp with a name, which is then kept for discovery. */
static bool take_name(struct peers *peers, const char *endpoint)
{
    uint8_t address[sizeof(struct in6_addr)];
    const char *host = endpoint + strlen("tcp://");
    const char *colon = strrchr(endpoint, ':');
    if (strncmp(endpoint, "tcp://", strlen("tcp://")) != 0 || colon < host || *host == '[' ||
        colon - host >= PEER_ENDPOINT_SIZE) {
        return false;
    }
    char *name = peers->hosts[peers->name_count];
    snprintf(name, PEER_ENDPOINT_SIZE, "%.*s", (int)(colon - host), host);
    if (inet_pton(AF_INET, name, address) == 1) {
        return false;
    }
    peers->ports[peers->name_count] = colon + 1;
    peers->names[peers->name_count] = name;
    peers->name_count++;
    return true;
}

enum status peers_open(struct loop *loop, const struct peers_kind *kind,
                       const struct option_list *endpoints, struct peers **ret_peers)
{
    enum status status = STATUS_OK;
    struct peers *peers = calloc(1, sizeof *peers);
    if (!peers) {
        return STATUS_INTERNAL;
    }
    peers->loop = loop;
    peers->kind = kind;
    peers->retire_timer = loop_every(loop, RETIRE_LOOK_MS, retire, peers);
    *ret_peers = peers; /* half-opened too: peers_close() takes it */
    for (size_t i = 0; i < endpoints->count && status == STATUS_OK; i++) {
        if (!take_name(peers, endpoints->values[i])) {
            status = connect_to(peers, endpoints->values[i], OPTION_LIST_MAX);
        }
    }
    if (status == STATUS_OK && peers->name_count > 0) {
        status = discover_open(loop, peers->names, peers->name_count, on_discovered, peers,
                               &peers->discover);
    }
    return peers->retire_timer < 0 ? STATUS_INTERNAL : status;
}

void peers_close(struct peers **peers_at)
{
    struct peers *peers = *peers_at;
    if (!peers) {
        return;
    }
    discover_close(&peers->discover);
    loop_unevery(peers->loop, peers->retire_timer);
    while (peers->first) {
        disconnect(peers->first);
    }
    free(peers);
    *peers_at = NULL;
}
