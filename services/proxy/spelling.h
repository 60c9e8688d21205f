/* spelling.h - one text against a secret whose characters may each be written in several ways. */
#ifndef SERVICES_PROXY_SPELLING_H
#define SERVICES_PROXY_SPELLING_H

#include "common/bytes.h"

struct match {
    enum { MATCH_NO, MATCH_YES, MATCH_MORE /* the text ended before it was clear */ } kind;
    size_t size; /* bytes of text, for MATCH_YES */
};

/* Whether TEXT begins with SECRET, each byte as it is or as %XX, %25XX, \uXXXX, \xXX, \c,
 * &#N;, &#xX; or a named HTML entity. */
struct match match_spelled(struct view secret, struct view text);

#endif
