/* main.c - the audit daemon: one append-only log, one writer. */
#include "common/channel.h"
#include "common/daemon.h"
#include "services/audit/audit.h"

static struct {
    const char *data, *keys, *listen_vault, *listen_proxy;
    struct ledger *ledger;
    struct desk *desk;
} self;

static const struct option options[] = {
    {"data", OPTION_TEXT, &self.data, "DIR where the log is", true},
    {"keys", OPTION_TEXT, &self.keys, "DIR with this daemon's keys, needed for tcp", false},
    {"listen-vault", OPTION_TEXT, &self.listen_vault, "ENDPOINT for the vault", true},
    {"listen-proxy", OPTION_TEXT, &self.listen_proxy, "ENDPOINT for the proxies", true},
    {NULL, OPTION_TEXT, NULL, NULL, false},
};

static enum status audit_open(struct loop *loop)
{
    enum status status = channel_keys(self.keys, "audit");
    if (status == STATUS_OK) {
        status = ledger_open(self.data, &self.ledger);
    }
    if (status == STATUS_OK) {
        status = desk_open(loop, self.ledger, self.listen_vault, self.listen_proxy, &self.desk);
    }
    return status;
}

static bool audit_ready(void)
{
    return !ledger_failing(self.ledger);
}

static void audit_metrics(struct buffer *text)
{
    desk_metrics(self.desk, text);
}

static void audit_close(void)
{
    desk_close(&self.desk);
    ledger_close(&self.ledger);
}

int main(int argc, char **argv)
{
    static const struct daemon daemon = {
        .name = "audit",
        .options = options,
        .open = audit_open,
        .metrics = audit_metrics,
        .ready = audit_ready,
        .close = audit_close,
    };
    return daemon_run(&daemon, argc, argv);
}
