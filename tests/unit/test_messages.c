/* test_messages.c - every message: golden bytes, round trips, truncation, excess, limits, msgpack-c. */
#include "tests/unit/unit.h"

#include <msgpack.h>

#include "common/crypto.h"
#include "proto/messages.h"

enum { MESSAGE_BYTES_MAX = 4096 };

union any {
    uint64_t align;
    uint8_t bytes[MESSAGE_BYTES_MAX];
};

/* Fills every field with something: SIZE bytes in texts, numbers and lists at their limit. */
static void fill(const struct schema *schema, union any *message, size_t size, struct buffer *rows)
{
    static const uint8_t letters[65536] = {[0 ... 65535] = 'a'};
    memset(message, 0, sizeof *message);
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct field *field = &schema->fields[i];
        uint8_t *at = message->bytes + field->offset;
        struct view text = view_of(letters, size < field->max ? size : (size_t)field->max);
        switch (field->kind) {
        case FIELD_UINT:
            memcpy(at, &field->max, sizeof field->max);
            break;
        case FIELD_BOOL:
            *(bool *)at = true;
            break;
        case FIELD_TEXT:
        case FIELD_BYTES:
            memcpy(at, &text, sizeof text);
            break;
        case FIELD_LIST: {
            union any row;
            struct list list = {0, {NULL, 0}};
            fill(field->row, &row, size, rows);
            assert_int_equal(proto_list_add(field->row, &row, rows, &list), STATUS_OK);
            assert_int_equal(proto_list_add(field->row, &row, rows, &list), STATUS_OK);
            memcpy(at, &list, sizeof list);
        }
        }
    }
}

static void test_round_trips(void **state)
{
    (void)state;
    for (const struct schema *const *at = proto_schemas; *at; at++) {
        struct buffer rows = BUFFER_EMPTY, bytes = BUFFER_EMPTY, again = BUFFER_EMPTY;
        union any message, decoded;
        fill(*at, &message, 300, &rows);
        assert_int_equal(proto_encode(*at, &message, &bytes), STATUS_OK);
        assert_int_equal(proto_id(buffer_view(&bytes)), (*at)->id);
        assert_int_equal(proto_decode(*at, buffer_view(&bytes), &decoded), STATUS_OK);
        assert_int_equal(proto_encode(*at, &decoded, &again), STATUS_OK);
        assert_true(view_equal(buffer_view(&bytes), buffer_view(&again)));
        buffer_free(&rows);
        buffer_free(&bytes);
        buffer_free(&again);
    }
}

static void refused(const struct schema *schema, struct view bytes)
{
    union any decoded, untouched;
    memset(&decoded, 0x5a, sizeof decoded);
    untouched = decoded;
    assert_int_equal(proto_decode(schema, bytes, &decoded), STATUS_PROTOCOL);
    assert_memory_equal(&decoded, &untouched, sizeof decoded);
}

static void test_truncation_excess_and_wrong_id(void **state)
{
    (void)state;
    for (const struct schema *const *at = proto_schemas; *at; at++) {
        struct buffer rows = BUFFER_EMPTY, bytes = BUFFER_EMPTY;
        union any message;
        fill(*at, &message, 40, &rows);
        assert_int_equal(proto_encode(*at, &message, &bytes), STATUS_OK);
        for (size_t size = 0; size < bytes.size; size++) {
            uint8_t *exact = malloc(size ? size : 1); /* so that ASan sees a read past the end */
            assert_non_null(exact);
            memcpy(exact, bytes.data, size);
            refused(*at, view_of(exact, size));
            free(exact);
        }
        buffer_append_byte(&bytes, 0xc0);
        refused(*at, buffer_view(&bytes));
        bytes.size--;
        for (const struct schema *const *other = proto_schemas; *other; other++) {
            if ((*other)->id != (*at)->id || (*other)->field_count != (*at)->field_count) {
                refused(*other, buffer_view(&bytes));
            }
        }
        buffer_free(&rows);
        buffer_free(&bytes);
    }
}

/* Each text and binary field one byte over its limit: refused on both sides. */
static void test_limits(void **state)
{
    (void)state;
    for (const struct schema *const *at = proto_schemas; *at; at++) {
        for (size_t i = 0; i < (*at)->field_count; i++) {
            const struct field *field = &(*at)->fields[i];
            struct buffer rows = BUFFER_EMPTY, bytes = BUFFER_EMPTY;
            union any message;
            if (field->kind != FIELD_TEXT && field->kind != FIELD_BYTES) {
                continue;
            }
            uint8_t *long_text = calloc(1, (size_t)field->max + 1);
            assert_non_null(long_text);
            memset(long_text, 'x', (size_t)field->max + 1);
            fill(*at, &message, 10, &rows);
            struct view *view = (struct view *)(void *)(message.bytes + field->offset);
            *view = view_of(long_text, (size_t)field->max + 1);
            assert_int_equal(proto_encode(*at, &message, &bytes), STATUS_INVALID);
            assert_int_equal(bytes.size, 0);
            view->size--;
            assert_int_equal(proto_encode(*at, &message, &bytes), STATUS_OK);
            /* The decoder against a schema whose limit is one less. */
            struct field fields[64];
            memcpy(fields, (*at)->fields, (*at)->field_count * sizeof *fields);
            fields[i].max--;
            struct schema tighter = **at;
            tighter.fields = fields;
            if (field->max > 0) {
                refused(&tighter, buffer_view(&bytes));
            }
            free(long_text);
            buffer_free(&rows);
            buffer_free(&bytes);
        }
    }
}

static void test_golden_bytes(void **state)
{
    static const uint8_t golden[] = {0x93, 0x06, 0xcd, 0x01, 0x00, 0x05};
    static const uint8_t end[] = {0x94, 0x07, 0x01, 0x0a, 0xa3, 'w', 'h', 'y'};
    static const uint8_t data[] = {0x94, 0x05, 0x01, 0xc4, 0x02, 0x00, 0xff, 0xc3};
    struct buffer bytes = BUFFER_EMPTY;
    struct proxy_credit credit = {256, 5};
    struct proxy_end ended = {1, 10, VIEW("why")};
    struct proxy_data piece = {1, VIEW("\0\377"), true};
    (void)state;
    assert_int_equal(proto_encode(&proxy_credit_schema, &credit, &bytes), STATUS_OK);
    assert_int_equal(bytes.size, sizeof golden);
    assert_memory_equal(bytes.data, golden, sizeof golden);
    buffer_clear(&bytes);
    assert_int_equal(proto_encode(&proxy_end_schema, &ended, &bytes), STATUS_OK);
    assert_int_equal(bytes.size, sizeof end);
    assert_memory_equal(bytes.data, end, sizeof end);
    buffer_clear(&bytes);
    assert_int_equal(proto_encode(&proxy_data_schema, &piece, &bytes), STATUS_OK);
    assert_int_equal(bytes.size, sizeof data);
    assert_memory_equal(bytes.data, data, sizeof data);
    buffer_free(&bytes);
}

static void test_hostile_bytes(void **state)
{
    static const struct {
        uint8_t bytes[12];
        size_t size;
    } rows[] = {
        {{0xdd, 0x10, 0x00, 0x00, 0x00}, 5},                   /* 268 million elements */
        {{0x93, 0x06, 0xcc, 0x05, 0x05}, 5},                   /* 5 not in its shortest form */
        {{0x93, 0xcc, 0x06, 0x05, 0x05}, 5},                   /* nor the id */
        {{0xdc, 0x00, 0x03, 0x06, 0x05, 0x05}, 6},             /* nor the count */
        {{0x93, 0x06, 0xff, 0x05}, 4},                         /* negative */
        {{0x93, 0x06, 0xa1, 'a', 0x05}, 5},                    /* text for a number */
        {{0x93, 0x06, 0x05, 0xce, 0xff, 0xff, 0xff, 0xff}, 8}, /* good */
    };
    struct proxy_credit credit;
    (void)state;
    for (size_t i = 0; i + 1 < sizeof rows / sizeof rows[0]; i++) {
        refused(&proxy_credit_schema, view_of(rows[i].bytes, rows[i].size));
    }
    assert_int_equal(proto_decode(&proxy_credit_schema, view_of(rows[6].bytes, 8), &credit),
                     STATUS_OK);
    assert_true(credit.bytes == UINT32_MAX);
    static const uint8_t nul[] = {0x94, 0x07, 0x01, 0x0a, 0xa3, 'w', 0, 'y'};
    refused(&proxy_end_schema, view_of(nul, sizeof nul));
}

static void test_msgpack_reads_it(void **state)
{
    (void)state;
    for (const struct schema *const *at = proto_schemas; *at; at++) {
        struct buffer rows = BUFFER_EMPTY, bytes = BUFFER_EMPTY;
        union any message;
        msgpack_unpacked unpacked;
        size_t used = 0;
        fill(*at, &message, 70, &rows);
        assert_int_equal(proto_encode(*at, &message, &bytes), STATUS_OK);
        msgpack_unpacked_init(&unpacked);
        assert_int_equal(msgpack_unpack_next(&unpacked, (const char *)bytes.data, bytes.size, &used),
                         MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(used, bytes.size);
        assert_int_equal(unpacked.data.type, MSGPACK_OBJECT_ARRAY);
        assert_int_equal(unpacked.data.via.array.size, (*at)->field_count + 1);
        assert_int_equal(unpacked.data.via.array.ptr[0].via.u64, (*at)->id);
        msgpack_unpacked_destroy(&unpacked);
        buffer_free(&rows);
        buffer_free(&bytes);
    }
}

static struct grant_binding good_binding(void)
{
    return (struct grant_binding){VIEW("req_1"),   VIEW("acc_1"), VIEW("tok_1"), VIEW("agt_1"), VIEW("openai"),
                                  VIEW("0123456789abcdef"), VIEW("POST"), VIEW("/v1/x"), VIEW("rows"),
                                  1030000, 1};
}

static enum status try_open(struct view key, const struct grant_binding *binding,
                            struct view grant, uint64_t now_ms)
{
    CLEANUP(secret_free) struct secret *content = NULL;
    struct list credentials;
    struct grant_row row;
    enum status status = grant_open(key, binding, grant, now_ms, &content, &credentials);
    if (status == STATUS_OK) {
        assert_true(proto_list_next(&grant_row_schema, &credentials, &row));
        assert_true(view_is(row.value, "sk-real"));
    }
    return status;
}

static void test_grants(void **state)
{
    static const uint8_t key[32] = {1}, other[32] = {2};
    struct buffer rows = BUFFER_EMPTY, grant = BUFFER_EMPTY;
    struct list list = {0, {NULL, 0}};
    struct grant_row row = {VIEW("KEY"), VIEW("sk-real")};
    struct grant_binding binding = good_binding();
    struct view good_key = view_of(key, 32);
    (void)state;
    assert_int_equal(proto_list_add(&grant_row_schema, &row, &rows, &list), STATUS_OK);
    assert_int_equal(grant_seal(good_key, &binding, list, &grant), STATUS_OK);
    struct view sealed = buffer_view(&grant);
    assert_int_equal(try_open(good_key, &binding, sealed, 1000000), STATUS_OK);
    assert_int_equal(try_open(view_of(other, 32), &binding, sealed, 1000000), STATUS_DENIED);
    assert_int_equal(try_open(good_key, &binding, sealed, 1030000), STATUS_DENIED);
    assert_int_equal(try_open(good_key, &binding, sealed, 900000), STATUS_DENIED);
    struct view *fields[] = {&binding.request, &binding.tenant, &binding.token_id, &binding.agent,
                             &binding.provider, &binding.proxy,  &binding.method,
                             &binding.target, &binding.headers};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        *fields[i] = VIEW("another");
        assert_int_equal(try_open(good_key, &binding, sealed, 1000000), STATUS_DENIED);
        binding = good_binding();
    }
    binding.expires_ms++;
    assert_int_equal(try_open(good_key, &binding, sealed, 1000000), STATUS_DENIED);
    binding = good_binding();
    binding.shard = 0; /* its outcome would be looked for in another log */
    assert_int_equal(try_open(good_key, &binding, sealed, 1000000), STATUS_DENIED);
    binding = good_binding();
    for (size_t i = 0; i < grant.size; i++) {
        grant.data[i] ^= 1;
        assert_int_equal(try_open(good_key, &binding, sealed, 1000000), STATUS_DENIED);
        grant.data[i] ^= 1;
    }
    buffer_free(&rows);
    buffer_free(&grant);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),      cmocka_unit_test(test_truncation_excess_and_wrong_id),
        cmocka_unit_test(test_limits),           cmocka_unit_test(test_golden_bytes),
        cmocka_unit_test(test_hostile_bytes),    cmocka_unit_test(test_msgpack_reads_it),
        cmocka_unit_test(test_grants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
