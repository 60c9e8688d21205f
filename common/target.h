/* target.h - request targets that every server on the way reads alike. */
#ifndef COMMON_TARGET_H
#define COMMON_TARGET_H

#include "common/bytes.h"

enum { TARGET_PLAIN_MAX = 8192 }; /* bytes */

/* Whether TARGET, a path in origin-form (or none) and perhaps a query (RFC 9112 section 3.2.1), has one
 * meaning only: no byte that no target has, no fragment, no segment that is "." or ".." once decoded (also
 * twice, also cut at `;` or `\`), no encoded control byte, no overlong UTF-8; a backslash, encoded or not,
 * only when BACKSLASH: it is part of an S3 key. */
bool target_plain(struct view target, bool backslash);

#endif
