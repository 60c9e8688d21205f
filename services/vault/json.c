/* json.c - writes the bodies of answers (RFC 8259) into a buffer; never reads any. */
#include "vault.h"

static void key_and_comma(struct buffer *json, const char *key)
{
    uint8_t last = json->size ? json->data[json->size - 1] : '{';
    if (last != '{' && last != '[' && last != ':') {
        buffer_append_byte(json, ',');
    }
    if (key) {
        buffer_printf(json, "\"%s\":", key);
    }
}

void json_begin(struct buffer *json, const char *key, char bracket)
{
    if (json->size) {
        key_and_comma(json, key);
    }
    buffer_append_byte(json, (uint8_t)bracket);
}

void json_end(struct buffer *json, char bracket)
{
    buffer_append_byte(json, (uint8_t)bracket);
}

void json_text(struct buffer *json, const char *key, struct view text)
{
    key_and_comma(json, key);
    buffer_append_byte(json, '"');
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte == '"' || byte == '\\') {
            buffer_append_byte(json, '\\');
            buffer_append_byte(json, byte);
        } else if (byte < 0x20 || byte == 0x7f || byte == '<') {
            buffer_printf(json, "\\u%04x", byte);
        } else {
            buffer_append_byte(json, byte);
        }
    }
    buffer_append_byte(json, '"');
}

void json_number(struct buffer *json, const char *key, uint64_t number)
{
    key_and_comma(json, key);
    buffer_printf(json, "%llu", (unsigned long long)number);
}

void json_bool(struct buffer *json, const char *key, bool value)
{
    json_raw(json, key, view_text(value ? "true" : "false"));
}

void json_time(struct buffer *json, const char *key, uint64_t wall_ms)
{
    char text[CLOCK_TEXT_SIZE];
    if (wall_ms == 0) {
        json_raw(json, key, VIEW("null"));
        return;
    }
    clock_text(wall_ms, text);
    json_text(json, key, view_text(text));
}

void json_raw(struct buffer *json, const char *key, struct view value)
{
    key_and_comma(json, key);
    buffer_append_view(json, value);
}
