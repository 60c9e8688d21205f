/* clock.h - the two clocks: one that only goes forward, one that people read. */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"

enum { CLOCK_TEXT_SIZE = 25 }; /* "2026-01-31T12:00:00.000Z" and its NUL */

uint64_t clock_mono_ms(void); /* for deadlines and durations */
uint64_t clock_mono_us(void); /* for what is measured */
uint64_t clock_wall_ms(void); /* since 1970, for what is stored and shown */
uint64_t clock_wall_us(void);

/* RFC 3339 in UTC with milliseconds; RET_TEXT takes CLOCK_TEXT_SIZE bytes. */
void clock_text(uint64_t wall_ms, char *ret_text);

/* Reads an RFC 3339 time with any offset and up to nine digits of a second's fraction (those behind
 * the third are dropped), or a day, which is its beginning in UTC; from 1970 to 9999.  A blank is
 * taken for the `+` of an offset, which it is in a query that was not encoded. */
bool clock_parse(struct view text, uint64_t *ret_wall_ms);

#endif
