/* refusals.c - counts requests without a well-formed token, by client, and tells the vault each second.
 *
 * So that a stranger's flood costs the vault one message a second and not one a request. */
#include "services/gateway/refusals.h"

#include <string.h>

enum { CLIENTS_MAX = 64, TELL_MS = 1000 };

struct refusal {
    const char *why; /* NULL for an unused place */
    char client[CLIENT_MAX + 1], request[ID_SIZE_MAX + 1]; /* the last one's */
    uint64_t count;
};

static struct {
    struct loop *loop;
    int timer;
    struct refusal list[CLIENTS_MAX + 1]; /* the last one is for all that find no place */
    size_t count;
} refusals = {.timer = -1};

/* False while the vault is away: then it is told later. */
static bool tell(const struct refusal *refusal)
{
    struct vault_refused message = {.request = view_text(refusal->request),
                                    .client = view_text(refusal->client),
                                    .reason = view_text(refusal->why),
                                    .count = refusal->count};
    return vault_tell(&vault_refused_schema, &message) == STATUS_OK;
}

static void tell_all(void *arg)
{
    struct refusal *others = &refusals.list[CLIENTS_MAX];
    (void)arg;
    for (size_t i = refusals.count; i-- > 0;) {
        if (tell(&refusals.list[i])) {
            refusals.list[i] = refusals.list[--refusals.count];
        }
    }
    if (others->count > 0 && tell(others)) {
        others->count = 0;
    }
}

static struct refusal *place_for(const struct visit *visit, const char *why)
{
    for (size_t i = 0; i < refusals.count; i++) {
        struct refusal *refusal = &refusals.list[i];
        if (refusal->why == why && strcmp(refusal->client, visit->client) == 0) {
            return refusal;
        }
    }
    struct refusal *refusal = &refusals.list[refusals.count];
    if (refusals.count < CLIENTS_MAX) {
        refusals.count++;
        *refusal = (struct refusal){.why = why};
        memcpy(refusal->client, visit->client, sizeof refusal->client);
    } else {
        refusal->why = why;
    }
    return refusal;
}

void refusals_count(const struct visit *visit, const char *why)
{
    struct refusal *refusal = place_for(visit, why);
    metrics_refusal(why);
    memcpy(refusal->request, visit->request, sizeof refusal->request);
    refusal->count++;
}

enum status refusals_open(struct loop *loop)
{
    refusals.loop = loop;
    refusals.timer = loop_every(loop, TELL_MS, tell_all, NULL);
    return refusals.timer < 0 ? STATUS_INTERNAL : STATUS_OK;
}

void refusals_close(void)
{
    if (refusals.timer >= 0) {
        tell_all(NULL);
        loop_unevery(refusals.loop, refusals.timer);
        refusals.timer = -1;
    }
}
