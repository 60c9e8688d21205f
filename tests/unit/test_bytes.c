/* test_bytes.c - views and buffers at their edges, and the list of outcomes. */
#include "tests/unit/unit.h"

#include "common/bytes.h"

static void views_compare(void **state)
{
    (void)state;
    assert_true(view_equal(VIEW(""), view_text(NULL)));
    assert_true(view_is(VIEW("abc"), "abc"));
    assert_false(view_is(VIEW("abc"), "ab"));
    assert_true(view_is_nocase(VIEW("BeArEr"), "bearer"));
    assert_true(view_starts(VIEW("seks_x"), "seks_"));
    assert_false(view_starts(VIEW("se"), "seks_"));
}

static void copy_refuses_what_does_not_fit(void **state)
{
    (void)state;
    char small[4] = "xyz";
    assert_false(view_copy(VIEW("abcd"), small, sizeof small));
    assert_false(view_copy(view_of("a\0b", 3), small, sizeof small));
    assert_string_equal(small, "xyz");
    assert_true(view_copy(VIEW("abc"), small, sizeof small));
    assert_string_equal(small, "abc");
}

static void buffer_stops_at_its_limit(void **state)
{
    (void)state;
    struct buffer buffer = BUFFER_EMPTY;
    buffer.max = 10;
    buffer_append_text(&buffer, "0123456789");
    assert_false(buffer.failed);
    buffer_append_byte(&buffer, 'x');
    assert_true(buffer.failed);
    assert_int_equal(buffer.size, 10);
    buffer_consume(&buffer, 4);
    assert_true(view_is(buffer_view(&buffer), "456789"));
    buffer_wipe(&buffer);
    assert_null(buffer.data);
}

static void buffer_grows_and_prints(void **state)
{
    (void)state;
    struct buffer buffer = BUFFER_EMPTY;
    for (int i = 0; i < 1000; i++) {
        buffer_printf(&buffer, "%04d", i);
    }
    assert_int_equal(buffer.size, 4000);
    assert_memory_equal(buffer.data + 3996, "0999", 4);
    buffer_free(&buffer);
}

static void statuses_travel(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STATUS_COUNT; i++) {
        enum status status = status_from_wire(i);
        assert_int_equal(status_to_wire(status), i);
        assert_true(status_http(status) >= 200);
        assert_true(strlen(status_text(status)) > 0);
    }
    assert_int_equal(status_from_wire(STATUS_COUNT), STATUS_PROTOCOL);
    assert_string_equal(status_name(STATUS_NOT_FOUND), "NOT_FOUND");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_compare),
        cmocka_unit_test(copy_refuses_what_does_not_fit),
        cmocka_unit_test(buffer_stops_at_its_limit),
        cmocka_unit_test(buffer_grows_and_prints),
        cmocka_unit_test(statuses_travel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
