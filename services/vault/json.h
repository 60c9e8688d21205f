/* json.h - writes JSON: commas are put where they belong; KEY is NULL inside an array. */
#ifndef VAULT_JSON_H
#define VAULT_JSON_H

#include "common/bytes.h"

void json_begin(struct buffer *json, const char *key, char bracket);
void json_end(struct buffer *json, char bracket);
void json_text(struct buffer *json, const char *key, struct view text);
void json_number(struct buffer *json, const char *key, uint64_t number);
void json_bool(struct buffer *json, const char *key, bool value);
void json_time(struct buffer *json, const char *key, uint64_t wall_ms); /* 0: null */
void json_raw(struct buffer *json, const char *key, struct view value);

#endif
