/* keyfile.h - keys on disk: hexadecimal digits in a file that only its owner can read. */
#ifndef COMMON_KEYFILE_H
#define COMMON_KEYFILE_H

#include "common/secret.h"

/* Reads SIZE bytes written as 2 * SIZE hex digits (and at most one newline) from DIR/NAME, which
 * must be a regular file of this user (or root's) that group and others cannot read: mode 0400 or
 * 0600.  Of a file of root's this process's own group may read it too, as a mounted Kubernetes Secret
 * with fsGroup has it.
 * STATUS_NOT_FOUND, STATUS_DENIED (owner or mode) or STATUS_INVALID (content), each with one clear
 * log line that names the file. */
MUST_USE enum status keyfile_read(const char *dir, const char *name, size_t size,
                                  struct secret **ret_key);

/* The text of the file PATH, of MAX bytes at most, with the same checks of owner and mode; appended to
 * RET_TEXT. */
MUST_USE enum status keyfile_read_text(const char *path, size_t max, struct buffer *ret_text);

/* The same for a public key, which anybody may read. */
MUST_USE enum status keyfile_read_public(const char *dir, const char *name, size_t size,
                                         uint8_t *ret_key);

/* Creates DIR/NAME (mode 0400, or 0444 when PUBLIC) with the hex of KEY, durably (fsync of file and
 * directory); STATUS_CONFLICT when it exists, which leaves it as it is. */
MUST_USE enum status keyfile_create(const char *dir, const char *name, struct view key,
                                    bool public_key);

/* 2 * size lower-case digits and a NUL; RET_HEX takes 2 * size + 1 bytes. */
void hex_encode(struct view bytes, char *ret_hex);
/* False unless HEX is exactly 2 * size digits of either case. */
bool hex_decode(struct view hex, uint8_t *ret_bytes, size_t size);

#endif
