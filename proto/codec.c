/* codec.c - encodes and decodes any message by walking its table.
 *
 * Encoding goes through msgpack-c's packer.  Decoding is our own, because msgpack-c's unpacker
 * allocates what the wire asks for (five bytes can ask for 8 GiB). */
#include "proto/codec.h"

#include <msgpack.h>
#include <string.h>

enum { FIELDS_MAX = 64, LIST_DEPTH_MAX = 2 };

/* ---- encoding ---- */

static int write_bytes(void *buffer, const char *data, size_t size)
{
    buffer_append(buffer, data, size);
    return ((struct buffer *)buffer)->failed ? -1 : 0;
}

static const void *member(const struct field *field, const void *message)
{
    return (const uint8_t *)message + field->offset;
}

static bool text_valid(struct view text)
{
    return text.size == 0 || !memchr(text.data, 0, text.size);
}

static bool within_limit(const struct field *field, const void *message)
{
    const void *at = member(field, message);
    const struct view *view = at;
    switch (field->kind) {
    case FIELD_UINT:
        return *(const uint64_t *)at <= field->max;
    case FIELD_BOOL:
        return true;
    case FIELD_TEXT:
        return view->size <= field->max && text_valid(*view);
    case FIELD_BYTES:
        return view->size <= field->max;
    case FIELD_LIST:
        return ((const struct list *)at)->count <= field->max;
    }
    return false;
}

static void pack_field(msgpack_packer *packer, const struct field *field, const void *message)
{
    const void *at = member(field, message);
    const struct view *view = at;
    const struct list *list = at;
    switch (field->kind) {
    case FIELD_UINT:
        msgpack_pack_uint64(packer, *(const uint64_t *)at);
        break;
    case FIELD_BOOL:
        (void)(*(const bool *)at ? msgpack_pack_true(packer) : msgpack_pack_false(packer));
        break;
    case FIELD_TEXT:
        msgpack_pack_str(packer, view->size);
        msgpack_pack_str_body(packer, view->data, view->size);
        break;
    case FIELD_BYTES:
        msgpack_pack_bin(packer, view->size);
        msgpack_pack_bin_body(packer, view->data, view->size);
        break;
    case FIELD_LIST:
        msgpack_pack_array(packer, list->count);
        buffer_append_view(packer->data, list->rows);
        break;
    }
}

enum status proto_encode(const struct schema *schema, const void *message,
                         struct buffer *ret_bytes)
{
    msgpack_packer packer;
    size_t start = ret_bytes->size;
    for (size_t i = 0; i < schema->field_count; i++) {
        if (!within_limit(&schema->fields[i], message)) {
            return STATUS_INVALID;
        }
    }
    msgpack_packer_init(&packer, ret_bytes, write_bytes);
    msgpack_pack_array(&packer, schema->field_count + (schema->id ? 1 : 0));
    if (schema->id) {
        msgpack_pack_uint64(&packer, schema->id);
    }
    for (size_t i = 0; i < schema->field_count; i++) {
        pack_field(&packer, &schema->fields[i], message);
    }
    if (ret_bytes->failed) {
        ret_bytes->size = start;
        return STATUS_INTERNAL;
    }
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

static bool take_form(const struct form *form, struct view *in, uint64_t *ret_number)
{
    const uint8_t *tag;
    if (!take(in, 1, &tag)) {
        return false;
    }
    bool has_short = form->short_base >= 0;
    if (has_short && *tag >= form->short_base &&
        *tag <= (uint64_t)form->short_base + form->short_max) {
        *ret_number = (uint64_t)(*tag - form->short_base);
        return true;
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
    struct view in = bytes;
    if (!take_message(schema, &in, NULL, 0) || in.size != 0) {
        return STATUS_PROTOCOL;
    }
    in = bytes;
    return take_message(schema, &in, ret_message, 0) ? STATUS_OK : STATUS_PROTOCOL;
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
