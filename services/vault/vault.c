/* vault.c - opens what the vault has, takes records in, closes in reverse.
 *
 * The master key is checked against the database before anything is written: a wrong one leaves
 * the files as they were.
 */
#include "vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TOUCH_MS = 5000,
    DEAD_KEPT_MS_DAYS = 90,
};
static const uint64_t day_ms = 24ull * 60 * 60 * 1000;

/* ---- opening ---- */

/* The two halves come in two files: whether they fit is tried. */
static enum status intake_fits(struct vault *vault)
{
    CLEANUP(buffer_free) struct buffer box = BUFFER_EMPTY;
    CLEANUP(secret_free) struct secret *plain = NULL;
    enum status status = crypto_sealed_make(vault->intake_public, VIEW("probe"), &box);
    if (status == STATUS_OK) {
        status = crypto_sealed_open(vault->intake_public, secret_data(vault->intake_private),
                                    buffer_view(&box), &plain);
    }
    if (status != STATUS_OK) {
        log_error("vault", "intake.key and intake.pub are not a pair");
    }
    return status;
}

static enum status read_keys(struct vault *vault)
{
    const char *dir = vault->options.keys;
    enum status status = keyfile_read(dir, "grant.key", CRYPTO_KEY_BYTES, &vault->grant_key);
    if (status == STATUS_OK) {
        status = keyfile_read(dir, "intake.key", CRYPTO_KEY_BYTES, &vault->intake_private);
    }
    if (status == STATUS_OK) {
        status = keyfile_read_public(dir, "intake.pub", CRYPTO_KEY_BYTES, vault->intake_public);
    }
    return status == STATUS_OK ? intake_fits(vault) : status;
}

static enum status read_providers(struct vault *vault)
{
    const char *why = "";
    enum status status = providers_load(vault->options.providers, &vault->providers, &why);
    if (status != STATUS_OK) {
        log_error("providers", "%s", why);
    }
    return status;
}

static bool signup_known(const char *mode)
{
    return strcmp(mode, "open") == 0 || strcmp(mode, "first") == 0 ||
           strcmp(mode, "closed") == 0;
}

static void write_touches(void *arg)
{
    touches_write(((struct vault *)arg)->touches);
}

static void record_came(void *arg, struct channel_peer *peer, struct view record)
{
    vault_take_record(arg, peer, record);
}

static void gateway_up(void *arg, struct channel_peer *peer)
{
    door_tell(arg, peer);
}

static void gateway_down(void *arg, struct channel_peer *peer)
{
    vault_forget_peer(arg, peer);
    door_forget(arg, peer);
}

static enum status open_audit(struct vault *vault)
{
    const struct option_list *endpoints = &vault->options.audit;
    enum status status = audit_link_new(vault->loop, endpoints, &vault->audit);
    for (unsigned i = 0; status == STATUS_OK && i < audit_shards(vault->audit); i++) {
        status = audit_mark_open(vault->options.data, i, &vault->marks[i]);
        audit_link_mark(vault->audit, i, vault->marks[i]);
    }
    return status;
}

static enum status open_sockets(struct vault *vault)
{
    static const struct channel_events events = {record_came, gateway_up, gateway_down};
    enum status status = channel_keys(vault->options.keys, "vault");
    if (status == STATUS_OK) { /* before the channels: what it answers leaves at the end of the same turn */
        status = loop_turn_end(vault->loop, door_turn, vault);
    }
    if (status == STATUS_OK) {
        status = open_audit(vault);
    }
    if (status == STATUS_OK) {
        status = denials_new(vault->loop, vault->audit, &vault->denials);
    }
    if (status == STATUS_OK) {
        status = channel_listen(vault->loop, vault->options.listen, "gateway", &events, vault,
                                &vault->gateways);
    }
    if (status == STATUS_OK) {
        status = door_look_around(vault);
    }
    return status == STATUS_OK ? control_open(vault) : status;
}

enum status vault_use_database(struct vault *vault, const struct masters *masters)
{
    enum status status = database_open(vault->options.data, vault->where, masters, &vault->store,
                                       &vault->keys);
    if (status == STATUS_OK) {
        status = dead_prune(vault->store, clock_wall_ms() - DEAD_KEPT_MS_DAYS * day_ms);
    }
    if (status == STATUS_OK) {
        vault->touches = touches_new(vault->store);
        status = vault->touches ? STATUS_OK : STATUS_INTERNAL;
    }
    if (status != STATUS_OK) { /* who unseals may try again */
        keys_free(&vault->keys);
        store_close(&vault->store);
    }
    return status;
}

enum status vault_serve(struct vault *vault)
{
    bool ticking = loop_every(vault->loop, TOUCH_MS, write_touches, vault) >= 0;
    enum status status = ticking ? reseal_open(vault) : STATUS_INTERNAL;
    if (status == STATUS_OK) {
        status = shared_open(vault);
    }
    return status == STATUS_OK ? epoch_open(vault) : status;
}

static enum status open_database(struct vault *vault)
{
    CLEANUP(master_free) struct master master = {0};
    enum status status = master_read(vault->options.keys, &master);
    const struct masters masters = master_views(&master);
    return status == STATUS_OK ? vault_use_database(vault, &masters) : status;
}

enum status vault_open(struct vault *vault, struct loop *loop)
{
    vault->loop = loop;
    if (!signup_known(vault->options.signup)) {
        log_error("vault", "--signup must be open, first or closed");
        return STATUS_INVALID;
    }
    enum status status = read_keys(vault);
    if (status == STATUS_OK) {
        status = read_providers(vault);
    }
    if (status == STATUS_OK && !vault->where) {
        status = store_where(vault->options.data, vault->options.store,
                             vault->options.store_allow_insecure, &vault->where);
    }
    bool sealed = status == STATUS_OK && master_is_sealed(vault->options.keys);
    if (status == STATUS_OK) {
        status = sealed ? database_directory(vault->options.data) : open_database(vault);
    }
    if (status == STATUS_OK) {
        vault->throttle = throttle_new();
        status = vault->throttle ? hasher_new(loop, &vault->hasher) : STATUS_INTERNAL;
    }
    if (status == STATUS_OK) {
        status = loop_turn_end(loop, door_turn, vault); /* before the channels', so that what it sends leaves */
    }
    if (status == STATUS_OK) {
        status = open_sockets(vault);
    }
    if (status == STATUS_OK) {
        status = sealed ? unseal_open(vault) : vault_serve(vault);
    }
    return status;
}

void vault_close(struct vault *vault)
{
    shared_close(vault);
    if (vault->loop) {
        loop_unturn_end(vault->loop, door_turn, vault);
    }
    epoch_close(vault);
    unseal_close(vault);
    door_forget(vault, NULL);
    hasher_free(&vault->hasher);
    denials_free(&vault->denials);
    throttle_free(&vault->throttle);
    audit_link_free(&vault->audit);
    for (unsigned i = 0; i < AUDIT_SHARDS_MAX; i++) {
        audit_mark_free(&vault->marks[i]);
    }
    while (vault->pending) {
        vault->pending->free(vault->pending);
    }
    channel_close(&vault->gateways);
    channel_close(&vault->control);
    touches_free(&vault->touches);
    keys_free(&vault->keys);
    store_close(&vault->store);
    free(vault->where);
    vault->where = NULL;
    providers_free(&vault->providers);
    secret_free(&vault->intake_private);
    secret_free(&vault->grant_key);
}

/* ---- records of gateways ---- */

void pending_add(struct vault *vault, struct pending *pending, struct channel_peer *peer)
{
    pending->peer = peer;
    pending->prev = NULL;
    pending->next = vault->pending;
    if (pending->next) {
        pending->next->prev = pending;
    }
    vault->pending = pending;
    vault->pending_count++;
}

void pending_remove(struct vault *vault, struct pending *pending)
{
    if (pending->next) {
        pending->next->prev = pending->prev;
    }
    if (pending->prev) {
        pending->prev->next = pending->next;
    } else {
        vault->pending = pending->next;
    }
    vault->pending_count--;
}

bool pending_twice(const struct vault *vault, const struct pending *pending)
{
    const struct pending *at = vault->pending;
    while (at && (at == pending || at->free != pending->free || at->peer != pending->peer ||
                  at->call != pending->call)) {
        at = at->next;
    }
    return at != NULL;
}

void vault_forget_peer(struct vault *vault, struct channel_peer *peer)
{
    for (struct pending *pending = vault->pending; pending; pending = pending->next) {
        if (pending->peer == peer) {
            pending->peer = NULL;
        }
    }
}

void vault_take_record(struct vault *vault, struct channel_peer *peer, struct view record)
{
    static const struct {
        unsigned message;
        void (*take)(struct vault *vault, struct channel_peer *peer, struct view record);
    } door[] = {
        {VAULT_AUTHORIZE, take_authorize},
        {VAULT_ASK, take_ask},
        {VAULT_REFUSED, take_refused},
        {TRACE_TIME, take_time},
    };
    unsigned message = proto_id(record);
    bool asks = message != VAULT_REFUSED; /* that is told, and goes to the log whatever the door is */
    if (vault->draining || (asks && !door_admits(vault, peer, record))) {
        return;
    }
    for (size_t i = 0; i < sizeof door / sizeof door[0]; i++) {
        if (door[i].message == message) {
            door[i].take(vault, peer, record);
            return;
        }
    }
    vault_refuse_record(vault, "that it may not send");
}

void vault_refuse_record(struct vault *vault, const char *why)
{
    uint64_t count;
    vault->counters.strange++;
    if (log_due(&vault->strange_limit, &count)) {
        log_warn("vault", "a gateway sent a record %s (%llu refused since the last such line)", why,
                 (unsigned long long)count);
    }
}

void vault_send(struct channel_peer *peer, const struct schema *schema, const void *message)
{
    enum status status = proto_send(peer, schema, message);
    if (status != STATUS_OK) {
        log_warn("vault", "an answer could not be sent: %s", status_name(status));
    }
}

void vault_metrics(const struct vault *vault, struct buffer *text)
{
    const struct vault_counters *counters = &vault->counters;
    uint64_t rewound = 0;
    for (unsigned i = 0; i < AUDIT_SHARDS_MAX; i++) {
        rewound += vault->marks[i] ? audit_mark_rewound(vault->marks[i]) : 0;
    }
    const struct metric rows[] = {
        {"seks_vault_grants_total", "counter", counters->granted},
        {"seks_vault_refusals_total", "counter", counters->refused},
        {"seks_vault_unavailable_total", "counter", counters->unavailable},
        {"seks_vault_answers_total", "counter", counters->answered},
        {"seks_vault_failures_total", "counter", counters->failed},
        {"seks_vault_strange_records_total", "counter", counters->strange},
        {"seks_vault_refused_frames_total", "counter", channel_refused()},
        {"seks_vault_resealed_total", "counter", counters->resealed},
        {"seks_vault_serving", "gauge", vault->door == DOOR_OPEN},
        {"seks_vault_pending", "gauge", vault->pending_count},
        {"seks_vault_hashes_waiting", "gauge", vault->hasher ? hasher_waiting(vault->hasher) : 0},
        {"seks_vault_audit_waiting", "gauge", vault->audit ? audit_waiting(vault->audit) : 0},
        {"seks_vault_denials_counted_total", "counter",
         vault->denials ? denials_counted(vault->denials) : 0},
        {"seks_vault_audits", "gauge", audit_shards(vault->audit)},
        {"seks_vault_audits_up", "gauge", audit_shards_up(vault->audit)},
        {"seks_vault_audit_rewound_total", "counter", rewound},
        {"seks_vault_store_connected", "gauge", vault->store && !store_is_away(vault->store)},
        {"seks_vault_store_lost_total", "counter", vault->store ? vault->store->lost : 0},
        {"seks_vault_store_repeated_total", "counter", vault->store ? vault->store->repeated : 0},
        {"seks_vault_audit_lost_total", "counter", vault->audit ? audit_lost(vault->audit) : 0},
    };
    metrics_rows(text, rows, sizeof rows / sizeof rows[0]);
    metrics_tally(text, "seks_vault_refusals_by_reason_total", "reason", NULL, &vault->refusals);
    metrics_histogram(text, "seks_vault_grant_seconds", &vault->decided);
    metrics_histogram(text, "seks_audit_wait_seconds", &vault->audit_wait);
}
