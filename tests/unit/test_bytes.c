/* test_bytes.c - views and buffers at their edges, and the list of outcomes. */
#include "tests/unit/unit.h"

#include "common/bytes.h"
#include "common/clock.h"

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

static void times_are_read(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {
        {"1970-01-01", 0},
        {"2026-11-24", 1795478400000},
        {"2026-11-24T23:59:58Z", 1795564798000},
        {"2026-11-24t23:59:58.5z", 1795564798500},
        {"2026-11-24T23:59:58.123456789Z", 1795564798123},
        {"2026-11-25T01:29:58+01:30", 1795564798000},
        {"2026-11-25T01:29:58 01:30", 1795564798000},
        {"2026-11-24T18:59:58-05:00", 1795564798000},
        {"2024-02-29T00:00:00Z", 1709164800000},
        {"2000-02-29T00:00:00Z", 951782400000},
        {"1970-01-01T00:00:00+01:00", 0},
    };
    static const char *const bad[] = {
        "", "2026", "2026-1-01", "2026-13-01", "2026-00-01", "2026-02-29", "1900-02-29", "2026-04-31",
        "2026-11-24T", "2026-11-24T23:59:58", "2026-11-24T24:00:00Z", "2026-11-24T23:60:00Z",
        "2026-11-24T23:59:58.Z", "2026-11-24T23:59:58.1234567890Z", "2026-11-24T23:59:58Zx",
        "2026-11-24T23:59:58+1:00", "2026-11-24T23:59:58+24:00", "2026-11-24 23:59:58Z", "1969-12-31",
        "10000-01-01", "2026-11-24T23:59:58+", "today",
    };
    char text[CLOCK_TEXT_SIZE];
    uint64_t ms = 0;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(clock_parse(view_text(good[i].text), &ms));
        assert_int_equal(ms, good[i].ms);
        clock_text(ms, text);
        assert_true(clock_parse(view_text(text), &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(clock_parse(view_text(bad[i]), &ms));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_compare),
        cmocka_unit_test(copy_refuses_what_does_not_fit),
        cmocka_unit_test(buffer_stops_at_its_limit),
        cmocka_unit_test(buffer_grows_and_prints),
        cmocka_unit_test(statuses_travel),
        cmocka_unit_test(times_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
