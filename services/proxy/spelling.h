/* spelling.h - one character of a text, in any way that it may be written, and what may stand between
 * two of them. */
#ifndef SERVICES_PROXY_SPELLING_H
#define SERVICES_PROXY_SPELLING_H

#include "common/bytes.h"

struct match {
    enum { MATCH_NO, MATCH_YES, MATCH_MORE /* the text ended before it was clear */ } kind;
    size_t size; /* bytes of text, for MATCH_YES */
};

/* Whether TEXT, which is not empty, begins with an escape, and for which character. */
struct match match_escape(struct view text, unsigned *ret_value);

/* Whether TEXT, which is not empty, begins with BYTE, as it is or as %XX, %25XX, \uXXXX, \xXX (both also behind a doubled
 * backslash), \c, &#N;, &#xX; or a named HTML entity. */
struct match match_byte(uint8_t byte, struct view text);

/* Whether TEXT begins with one line break, as it is or written "\n", "\r" or "\r\n". */
struct match match_line_break(struct view text);

/* Whether TEXT begins with the way from one line of an event stream's data to the next: a line's end,
 * the event's end, other fields, "data:" (HTML, section 9.2.5). */
struct match match_event_seam(struct view text);

#endif
