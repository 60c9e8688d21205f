/* json_text.h - text of unknown origin as JSON (RFC 8259 section 7). */
#ifndef COMMON_JSON_TEXT_H
#define COMMON_JSON_TEXT_H

#include "common/bytes.h"

/* Appends TEXT as it stands between the quotes of a JSON string: quotes, backslashes and the controls
 * (C0, DEL and C1, by which a terminal can be steered) escaped, bytes that are not UTF-8 become U+FFFD. */
void json_escape(struct view text, struct buffer *ret_text);

#endif
