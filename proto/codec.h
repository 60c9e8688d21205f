/* codec.h - messages as tables: one list of fields makes the struct, encodes it and decodes it.
 *
 * A message is a msgpack array [id, field, ...]; its fields are the rows of one macro, see
 * vault_messages.h.
 * Decoding is exact: right id, right count, right types in their shortest form, every limit held,
 * nothing left over.  It allocates nothing: text, bytes and lists are views into the input. */
#ifndef PROTO_CODEC_H
#define PROTO_CODEC_H

#include "common/bytes.h"

enum field_kind {
    FIELD_UINT,  /* uint64_t, at most `max` */
    FIELD_BOOL,  /* bool */
    FIELD_TEXT,  /* struct view, msgpack str, at most `max` bytes, no NUL; empty for "none" */
    FIELD_BYTES, /* struct view, msgpack bin, at most `max` bytes */
    FIELD_LIST,  /* struct list, msgpack array of rows, at most `max` of them */
};

struct schema;

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset;
    uint64_t max;
    const struct schema *row; /* FIELD_LIST only */
};

/* A row of a list is a schema too, with id 0: its array has no id in front. */
struct schema {
    unsigned id;
    const char *name;
    size_t size; /* of the struct */
    size_t field_count;
    const struct field *fields;
};

/* Encoded rows, one after the other; owned by whoever made them. */
struct list {
    uint64_t count;
    struct view rows;
};

/* Appends MESSAGE.  STATUS_INVALID when a field passes its limit (nothing is appended then),
 * STATUS_INTERNAL for want of memory. */
MUST_USE enum status proto_encode(const struct schema *schema, const void *message,
                                  struct buffer *ret_bytes);

/* Fills MESSAGE, whose views point into BYTES.  STATUS_PROTOCOL (and MESSAGE untouched) unless
 * BYTES is exactly what proto_encode() makes of it. */
MUST_USE enum status proto_decode(const struct schema *schema, struct view bytes,
                                  void *ret_message);

/* The message id of BYTES, or 0 when it does not begin like a message. */
unsigned proto_id(struct view bytes);

/* Appends one row to a list under construction: ROWS holds the encoded rows so far. */
MUST_USE enum status proto_list_add(const struct schema *row, const void *value,
                                    struct buffer *rows, struct list *list);

/* Takes the next row off LIST (a list that proto_decode() accepted); false at its end. */
bool proto_list_next(const struct schema *row, struct list *list, void *ret_row);

/* The struct and the table of a message NAME, from its list of fields
 * FIELDS_NAME(F, L, NAME) with rows F(NAME, field, KIND, limit) and L(NAME, field, row, limit). */
#define PROTO_TYPE_UINT uint64_t
#define PROTO_TYPE_BOOL bool
#define PROTO_TYPE_TEXT struct view
#define PROTO_TYPE_BYTES struct view

#define PROTO_MEMBER(message, name_, kind_, max_) PROTO_TYPE_##kind_ name_;
#define PROTO_LIST_MEMBER(message, name_, row_, max_) struct list name_;
#define PROTO_ROW(message, name_, kind_, max_) \
    {#name_, FIELD_##kind_, offsetof(struct message, name_), max_, NULL},
#define PROTO_LIST_ROW(message, name_, row_, max_) \
    {#name_, FIELD_LIST, offsetof(struct message, name_), max_, &row_##_schema},

#define PROTO_DECLARE(message)                                              \
    struct message {                                                        \
        FIELDS_##message(PROTO_MEMBER, PROTO_LIST_MEMBER, message)          \
    };                                                                      \
    extern const struct schema message##_schema

enum { DECODED_BYTES_MAX = 1024 }; /* of a struct: decoding fills one on the stack first */

#define PROTO_DEFINE(message, id_)                                          \
    _Static_assert(sizeof(struct message) <= DECODED_BYTES_MAX, "decoding has room for it"); \
    static const struct field message##_fields[] = {                        \
        FIELDS_##message(PROTO_ROW, PROTO_LIST_ROW, message)};              \
    const struct schema message##_schema = {                                \
        id_, #message, sizeof(struct message),                              \
        sizeof message##_fields / sizeof message##_fields[0], message##_fields}

#endif
