/* append_bench.c - how fast the audit daemon makes records durable.
 *
 *     tests/audit/bench.sh [BUILD]
 *
 * Talks to a running daemon as the vault does: WINDOW intents (denials, in a run of very many) are on their way at any time, each
 * acknowledgement lets the next one go.  Prints records a second, and how long one took. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/log.h"
#include "proto/audit_messages.h"

enum {
    WINDOW_MAX = 4096,
    INTENTS_MAX = 100000, /* more at once without an outcome the daemon would refuse in the end */
};

static struct {
    struct loop *loop;
    struct channel *channel;
    size_t window, wanted, sent, acked;
    uint64_t sent_ns[WINDOW_MAX];
    uint32_t *took_us;
    char run[16];
} self;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void send_one(void)
{
    char request[64];
    struct buffer out = BUFFER_EMPTY;
    snprintf(request, sizeof request, "req_%s%zu", self.run, self.sent);
    struct audit_record record = {
        .call = self.sent + 1, .kind = self.wanted > INTENTS_MAX ? AUDIT_DENIED : AUDIT_INTENT,
        .action = VIEW("call"),
        .request = view_text(request), .tenant = VIEW("acc_0123456789abcdefghijkl"),
        .agent = VIEW("agt_0123456789abcdefghijkl"), .token = VIEW("tok_0123456789abcdefghijkl"),
        .provider = VIEW("openai"), .method = VIEW("POST"), .path = VIEW("/v1/chat/completions"),
        .decision = VIEW("allow"), .status = AUDIT_NONE, .bytes_in = AUDIT_NONE,
        .bytes_out = AUDIT_NONE, .duration_ms = AUDIT_NONE, .client = VIEW("127.0.0.1")};
    if (proto_encode(&audit_record_schema, &record, &out) != STATUS_OK ||
        channel_send(channel_server(self.channel), buffer_view(&out)) != STATUS_OK) {
        fprintf(stderr, "append_bench: a record cannot be sent\n");
        exit(1);
    }
    buffer_free(&out);
    self.sent_ns[self.sent % WINDOW_MAX] = now_ns();
    self.sent++;
}

static void on_up(void *arg, struct channel_peer *peer)
{
    (void)arg;
    (void)peer;
    while (self.sent < self.window) {
        send_one();
    }
}

static void on_record(void *arg, struct channel_peer *peer, struct view bytes)
{
    struct audit_ack ack;
    (void)arg;
    (void)peer;
    if (proto_decode(&audit_ack_schema, bytes, &ack) != STATUS_OK) {
        return; /* a checkpoint */
    }
    if (ack.status != STATUS_NUMBER_OK) {
        fprintf(stderr, "append_bench: a record was refused\n");
        exit(1);
    }
    uint64_t ns = now_ns() - self.sent_ns[(ack.call - 1) % WINDOW_MAX];
    self.took_us[self.acked++] = (uint32_t)(ns / 1000);
    if (self.acked == self.wanted) {
        loop_stop(self.loop);
    } else if (self.sent < self.wanted) {
        send_one();
    }
}

static int by_value(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

/* What the disk alone takes: as many bytes appended and synced, one after the other. */
static int disk(const char *path, size_t wanted)
{
    static const char line[560];
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_EXCL, 0600);
    uint32_t *took_us = calloc(wanted, sizeof *took_us);
    if (fd < 0 || !took_us || wanted == 0) {
        return 2;
    }
    for (size_t i = 0; i < wanted; i++) {
        uint64_t began_ns = now_ns();
        if (write(fd, line, sizeof line) != (ssize_t)sizeof line || fdatasync(fd) != 0) {
            return 1;
        }
        took_us[i] = (uint32_t)((now_ns() - began_ns) / 1000);
    }
    qsort(took_us, wanted, sizeof *took_us, by_value);
    printf("the disk alone:                       p50 %5u us, p99 %6u us\n",
           (unsigned)took_us[wanted / 2], (unsigned)took_us[wanted * 99 / 100]);
    free(took_us);
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct channel_events events = {on_record, on_up, NULL};
    if (argc == 4 && strcmp(argv[1], "disk") == 0) {
        return disk(argv[2], strtoul(argv[3], NULL, 10));
    }
    if (argc != 4) {
        fprintf(stderr, "usage: append_bench ENDPOINT WINDOW RECORDS | disk FILE RECORDS\n");
        return 2;
    }
    self.window = strtoul(argv[2], NULL, 10);
    self.wanted = strtoul(argv[3], NULL, 10);
    self.took_us = calloc(self.wanted, sizeof *self.took_us);
    self.loop = loop_new();
    snprintf(self.run, sizeof self.run, "%08x", (unsigned)now_ns());
    log_open("append_bench", LEVEL_WARN);
    if (self.window == 0 || self.window > WINDOW_MAX || self.wanted < self.window || !self.took_us ||
        !self.loop || channel_connect(self.loop, argv[1], "audit", &events, NULL,
                                      &self.channel) != STATUS_OK) {
        return 2;
    }
    uint64_t began_ns = now_ns();
    loop_run(self.loop);
    double seconds = (double)(now_ns() - began_ns) / 1e9;
    qsort(self.took_us, self.wanted, sizeof *self.took_us, by_value);
    printf("%6zu waiting: %8.0f records/s, p50 %5u us, p99 %6u us\n", self.window,
           (double)self.wanted / seconds, (unsigned)self.took_us[self.wanted / 2],
           (unsigned)self.took_us[self.wanted * 99 / 100]);
    channel_close(&self.channel);
    loop_free(&self.loop);
    free(self.took_us);
    return 0;
}
