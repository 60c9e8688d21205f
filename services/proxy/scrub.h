/* scrub.h - takes a call's real credentials out of what comes back, whatever their spelling.
 *
 * Every hit is overwritten by '*' at the same length, so sizes and framing hold.  Spellings: as it
 * is, percent-encoded (also doubled), JSON and C escapes, HTML entities, in any mixture; hex,
 * base64 and base64url at the three alignments, with escapes and across line breaks; UTF-16.  A secret under
 * SCRUB_MIN_BYTES is looked for only as it is. */
#ifndef SERVICES_PROXY_SCRUB_H
#define SERVICES_PROXY_SCRUB_H

#include "common/bytes.h"

enum { SCRUB_MIN_BYTES = 8 };

struct scrub;

/* Copies the secrets into locked memory.  NULL for want of memory. */
struct scrub *scrub_new(const struct view *secrets, size_t count);
void scrub_free(struct scrub **scrub);

/* How many bytes at the beginning of IN can pass as they are, when they are next in the stream: what is
 * behind them goes to scrub_feed(). */
size_t scrub_clean(const struct scrub *scrub, struct view in);

/* Streams: appends to OUT what can no longer be part of a secret and keeps the tail that still
 * can; END gives that out too.  Every split of the same bytes gives the same output.
 * STATUS_INTERNAL for want of memory. */
MUST_USE enum status scrub_feed(struct scrub *scrub, struct view in, bool end, struct buffer *out);

/* Whether one complete text, such as a header's value, holds no secret. */
bool scrub_passes(const struct scrub *scrub, struct view text);
/* One complete text; leaves the stream alone. */
MUST_USE enum status scrub_text(struct scrub *scrub, struct view in, struct buffer *out);

/* The text is an event stream: a secret may go on in the next event's data, whose frame is kept. */
void scrub_events(struct scrub *scrub);

/* How many times something was overwritten so far. */
size_t scrub_hits(const struct scrub *scrub);

#endif
