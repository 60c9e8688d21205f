/* codec.c - encodes and decodes any message by walking its table.
 *
 * Decoding is our own because msgpack-c's unpacker allocates what the wire asks for (five bytes can
 * ask for 8 GiB), encoding because its packer calls back for every few bytes: four daemons spent a
 * tenth of their time there. */
#include "proto/codec.h"

#include <string.h>

enum { FIELDS_MAX = 64, LIST_DEPTH_MAX = 2 };

/* ---- encoding ---- */

static const void *member(const struct field *field, const void *message)
{
    return (const uint8_t *)message + field->offset;
}

static bool text_valid(struct view text)
{
    return text.size == 0 || !memchr(text.data, 0, text.size);
}

/* How many bytes a number takes behind its tag. */
static size_t number_size(uint64_t number)
{
    return number <= UINT8_MAX ? 1 : number <= UINT16_MAX ? 2 : number <= UINT32_MAX ? 4 : 8;
}

/* The most that the field can take, or 0 when it passes its limit. */
static size_t room_for(const struct field *field, const void *message)
{
    enum { HEAD_MAX = 9 };
    const void *at = member(field, message);
    const struct view *view = at;
    const struct list *list = at;
    bool good = true;
    size_t size = 0;
    switch (field->kind) {
    case FIELD_UINT:
        good = *(const uint64_t *)at <= field->max;
        break;
    case FIELD_BOOL:
        break;
    case FIELD_TEXT:
    case FIELD_BYTES:
        good = view->size <= field->max && (field->kind == FIELD_BYTES || text_valid(*view));
        size = view->size;
        break;
    case FIELD_LIST:
        good = list->count <= field->max;
        size = list->rows.size;
        break;
    }
    return good ? HEAD_MAX + size : 0;
}

/* TAG, and behind it NUMBER in SIZE bytes, big-endian. */
static uint8_t *put_tagged(uint8_t *to, int tag, uint64_t number, size_t size)
{
    *to++ = (uint8_t)tag;
    for (size_t i = size; i-- > 0;) {
        *to++ = (uint8_t)(number >> (8 * i));
    }
    return to;
}

static uint8_t *put_uint(uint8_t *to, uint64_t number)
{
    size_t size = number_size(number);
    int tag = size == 1 ? 0xcc : size == 2 ? 0xcd : size == 4 ? 0xce : 0xcf;
    return number <= 0x7f ? put_tagged(to, (int)number, 0, 0) : put_tagged(to, tag, number, size);
}

static uint8_t *put_bytes(uint8_t *to, const struct view *bytes, bool text)
{
    size_t size = number_size(bytes->size);
    int tag = (text ? 0xd9 : 0xc4) + (size == 1 ? 0 : size == 2 ? 1 : 2);
    to = text && bytes->size <= 31 ? put_tagged(to, 0xa0 | (int)bytes->size, 0, 0)
                                   : put_tagged(to, tag, bytes->size, size);
    if (bytes->size > 0) {
        memcpy(to, bytes->data, bytes->size);
    }
    return to + bytes->size;
}

static uint8_t *put_array(uint8_t *to, uint64_t count)
{
    bool small = count <= UINT16_MAX;
    return count <= 15 ? put_tagged(to, 0x90 | (int)count, 0, 0)
                       : put_tagged(to, small ? 0xdc : 0xdd, count, small ? 2 : 4);
}

static uint8_t *put_field(uint8_t *to, const struct field *field, const void *message)
{
    const void *at = member(field, message);
    const struct list *list = at;
    switch (field->kind) {
    case FIELD_UINT:
        return put_uint(to, *(const uint64_t *)at);
    case FIELD_BOOL:
        return put_tagged(to, *(const bool *)at ? 0xc3 : 0xc2, 0, 0);
    case FIELD_TEXT:
        return put_bytes(to, at, true);
    case FIELD_BYTES:
        return put_bytes(to, at, false);
    case FIELD_LIST:
        to = put_array(to, list->count);
        if (list->rows.size > 0) {
            memcpy(to, list->rows.data, list->rows.size);
        }
        return to + list->rows.size;
    }
    return to;
}

enum status proto_encode(const struct schema *schema, const void *message,
                         struct buffer *ret_bytes)
{
    size_t most = 16; /* the array's head, and the id */
    for (size_t i = 0; i < schema->field_count; i++) {
        size_t room = room_for(&schema->fields[i], message);
        if (room == 0) {
            return STATUS_INVALID;
        }
        most += room;
    }
    uint8_t *start = buffer_room(ret_bytes, most), *to = start;
    if (!start) {
        return STATUS_INTERNAL;
    }
    to = put_array(to, schema->field_count + (schema->id ? 1 : 0));
    if (schema->id) {
        to = put_uint(to, schema->id);
    }
    for (size_t i = 0; i < schema->field_count; i++) {
        to = put_field(to, &schema->fields[i], message);
    }
    ret_bytes->size += (size_t)(to - start);
    return STATUS_OK;
}

/* ---- decoding ---- */

static bool take(struct view *in, size_t size, const uint8_t **ret_at)
{
    if (in->size < size) {
        return false;
    }
    *ret_at = in->data;
    in->data += size;
    in->size -= size;
    return true;
}

/* A big-endian number of SIZE bytes. */
static bool take_number(struct view *in, size_t size, uint64_t *ret_number)
{
    const uint8_t *at;
    uint64_t number = 0;
    if (!take(in, size, &at)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        number = number << 8 | at[i];
    }
    *ret_number = number;
    return true;
}

/* How a type's length or value is written: a short form in the tag itself (base to base + short_max)
 * and longer ones behind a tag, each right only for what no shorter one holds. */
struct form {
    int short_base;
    uint64_t short_max;
    struct {
        int tag;
        size_t size;
    } longer[4];
};

static const struct form uint_form = {0x00, 0x7f, {{0xcc, 1}, {0xcd, 2}, {0xce, 4}, {0xcf, 8}}};
static const struct form text_form = {0xa0, 31, {{0xd9, 1}, {0xda, 2}, {0xdb, 4}, {-1, 0}}};
static const struct form bytes_form = {-1, 0, {{0xc4, 1}, {0xc5, 2}, {0xc6, 4}, {-1, 0}}};
static const struct form array_form = {0x90, 15, {{0xdc, 2}, {0xdd, 4}, {-1, 0}, {-1, 0}}};

static bool take_long(const struct form *form, struct view *in, uint64_t *ret_number)
{
    const uint8_t *tag;
    bool has_short = form->short_base >= 0;
    if (!take(in, 1, &tag)) {
        return false;
    }
    uint64_t shorter_holds = form->short_max;
    bool any_shorter = has_short;
    for (size_t i = 0; i < 4 && form->longer[i].tag >= 0; i++) {
        size_t size = form->longer[i].size;
        if (*tag == form->longer[i].tag) {
            return take_number(in, size, ret_number) &&
                   (!any_shorter || *ret_number > shorter_holds);
        }
        shorter_holds = size == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
        any_shorter = true;
    }
    return false;
}

static inline bool take_form(const struct form *form, struct view *in, uint64_t *ret_number)
{
    uint64_t number = in->size > 0 ? (uint64_t)*in->data - (uint64_t)form->short_base : UINT64_MAX;
    if (form->short_base < 0 || number > form->short_max) {
        return take_long(form, in, ret_number);
    }
    in->data++;
    in->size--;
    *ret_number = number;
    return true;
}

static bool take_view(const struct form *form, uint64_t max, struct view *in,
                      struct view *ret_view)
{
    uint64_t size;
    const uint8_t *at;
    if (!take_form(form, in, &size) || size > max || !take(in, (size_t)size, &at)) {
        return false;
    }
    *ret_view = view_of(at, (size_t)size);
    return true;
}

static bool take_message(const struct schema *schema, struct view *in, void *ret_message,
                         int depth);

static bool take_list(const struct field *field, struct view *in, struct list *ret_list, int depth)
{
    uint64_t count;
    if (depth >= LIST_DEPTH_MAX || !take_form(&array_form, in, &count) || count > field->max) {
        return false;
    }
    const uint8_t *start = in->data;
    for (uint64_t i = 0; i < count; i++) {
        if (!take_message(field->row, in, NULL, depth + 1)) {
            return false;
        }
    }
    *ret_list = (struct list){count, view_of(start, (size_t)(in->data - start))};
    return true;
}

static bool take_bool(struct view *in, bool *ret_bool)
{
    const uint8_t *tag;
    if (!take(in, 1, &tag) || (*tag != 0xc2 && *tag != 0xc3)) {
        return false;
    }
    *ret_bool = *tag == 0xc3;
    return true;
}

/* Takes one field; the value goes to MESSAGE, or nowhere when that is NULL. */
static bool take_field(const struct field *field, struct view *in, uint8_t *message, int depth)
{
    union {
        uint64_t number;
        bool flag;
        struct view view;
        struct list list;
    } value;
    size_t size = 0;
    bool good = false;
    switch (field->kind) {
    case FIELD_UINT:
        good = take_form(&uint_form, in, &value.number) && value.number <= field->max;
        size = sizeof value.number;
        break;
    case FIELD_BOOL:
        good = take_bool(in, &value.flag);
        size = sizeof value.flag;
        break;
    case FIELD_TEXT:
        good = take_view(&text_form, field->max, in, &value.view) && text_valid(value.view);
        size = sizeof value.view;
        break;
    case FIELD_BYTES:
        good = take_view(&bytes_form, field->max, in, &value.view);
        size = sizeof value.view;
        break;
    case FIELD_LIST:
        good = take_list(field, in, &value.list, depth);
        size = sizeof value.list;
        break;
    }
    if (good && message) {
        memcpy(message + field->offset, &value, size);
    }
    return good;
}

static bool take_message(const struct schema *schema, struct view *in, void *ret_message,
                         int depth)
{
    uint64_t count, id;
    if (!take_form(&array_form, in, &count) ||
        count != schema->field_count + (schema->id ? 1 : 0)) {
        return false;
    }
    if (schema->id && (!take_form(&uint_form, in, &id) || id != schema->id)) {
        return false;
    }
    for (size_t i = 0; i < schema->field_count; i++) {
        if (!take_field(&schema->fields[i], in, ret_message, depth)) {
            return false;
        }
    }
    return true;
}

enum status proto_decode(const struct schema *schema, struct view bytes, void *ret_message)
{
    _Alignas(max_align_t) uint8_t message[DECODED_BYTES_MAX];
    struct view in = bytes;
    if (schema->size > sizeof message || !take_message(schema, &in, message, 0) || in.size != 0) {
        return STATUS_PROTOCOL;
    }
    memcpy(ret_message, message, schema->size);
    return STATUS_OK;
}

unsigned proto_id(struct view bytes)
{
    uint64_t count, id;
    if (!take_form(&array_form, &bytes, &count) || count < 1 || count > FIELDS_MAX ||
        !take_form(&uint_form, &bytes, &id) || id > UINT16_MAX) {
        return 0;
    }
    return (unsigned)id;
}

enum status proto_list_add(const struct schema *row, const void *value, struct buffer *rows,
                           struct list *list)
{
    enum status status = proto_encode(row, value, rows);
    if (status == STATUS_OK) {
        list->count++;
        list->rows = buffer_view(rows);
    }
    return status;
}

bool proto_list_next(const struct schema *row, struct list *list, void *ret_row)
{
    if (list->count == 0 || !take_message(row, &list->rows, ret_row, LIST_DEPTH_MAX)) {
        return false;
    }
    list->count--;
    return true;
}
