/* test_trace.c - W3C Trace Context: the classes of cases of the W3C's own test suite, and the samplers. */
#include "tests/unit/unit.h"

#include "common/trace.h"

#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

/* ---- traceparent ---- */

static void test_valid_parents(void **state)
{
    static const struct {
        const char *text;
        bool sampled;
    } rows[] = {
        {"00-" ID "-" SPAN "-01", true},
        {"00-" ID "-" SPAN "-00", false},
        {"00-" ID "-" SPAN "-ff", true}, /* flags that are not known are not passed on */
        {"00-" ID "-" SPAN "-fe", false},
        {" \t00-" ID "-" SPAN "-01\t ", true}, /* blanks around a value are not part of it */
        {"01-" ID "-" SPAN "-01", true}, /* later versions: what is known of them is read */
        {"cc-" ID "-" SPAN "-01", true},
        {"cc-" ID "-" SPAN "-01-what-the-future-will-be-like", true},
        {"fe-" ID "-" SPAN "-00-", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct trace_context context;
        char text[TRACEPARENT_SIZE];
        assert_true(traceparent_read(view_text(rows[i].text), &context));
        assert_int_equal(context.sampled, rows[i].sampled);
        traceparent_write(&context, text);
        assert_string_equal(text, rows[i].sampled ? "00-" ID "-" SPAN "-01" : "00-" ID "-" SPAN "-00");
    }
}

static void test_invalid_parents(void **state)
{
    static const char *const rows[] = {
        "",
        "00",
        "ff-" ID "-" SPAN "-01", /* version */
        "ff-" ID "-" SPAN "-01-more",
        ".0-" ID "-" SPAN "-01",
        "0.-" ID "-" SPAN "-01",
        "0-" ID "-" SPAN "-01",
        "000-" ID "-" SPAN "-01",
        "0A-" ID "-" SPAN "-01",
        "00-" ID "-" SPAN "-01.", /* version 00 is exactly as long as it is */
        "00-" ID "-" SPAN "-01-what-the-future-will-be-like",
        "00-" ID "-" SPAN "-01-",
        "cc-" ID "-" SPAN "-01.what-the-future-will-be-like",
        "cc-" ID "-" SPAN "-0",
        "00-00000000000000000000000000000000-" SPAN "-01", /* trace-id */
        "00-.bf92f3577b34da6a3ce929d0e0e4736-" SPAN "-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473.-" SPAN "-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
        "00-" ID "0-" SPAN "-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-" SPAN "-01",
        "00-" ID "-0000000000000000-01", /* parent-id */
        "00-" ID "-.0f067aa0ba902b7-01",
        "00-" ID "-00F067AA0BA902B7-01",
        "00-" ID "-" SPAN "0-01",
        "00-" ID "-00f067aa0ba902b-01",
        "00-" ID "-" SPAN "-.0", /* trace-flags */
        "00-" ID "-" SPAN "-0.",
        "00-" ID "-" SPAN "-0A",
        "00-" ID "-" SPAN "-001",
        "00-" ID "-" SPAN "-1",
        "00-" ID "-" SPAN "-",
        "00-" ID "-" SPAN,
        "00 -" ID "-" SPAN "-01",
        "00-" ID "-" SPAN "-01,00-" ID "-" SPAN "-01", /* two of them in one */
        "00_" ID "_" SPAN "_01",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct trace_context context = {.sampled = true}, untouched = context;
        if (traceparent_read(view_text(rows[i]), &context)) {
            fail_msg("taken: %s", rows[i]);
        }
        assert_memory_equal(&context, &untouched, sizeof context);
    }
    struct trace_context context;
    assert_false(traceparent_read((struct view){NULL, 0}, &context));
    assert_false(traceparent_read(view_of("00-" ID "-" SPAN "-01\0", 56), &context));
}

/* ---- tracestate ---- */

static char *read_state(const char *text)
{
    struct buffer state = BUFFER_EMPTY;
    char *result = NULL;
    if (tracestate_read(view_text(text), &state)) {
        buffer_append_byte(&state, 0);
        result = (char *)state.data;
    } else {
        assert_int_equal(state.size, 0);
    }
    return result;
}

static const char *repeat(char byte, size_t count)
{
    static char texts[8][600];
    static unsigned next;
    char *text = texts[next++ % 8];
    memset(text, byte, count);
    text[count] = 0;
    return text;
}

static const char *join(const char *a, const char *b, const char *c)
{
    static char texts[4][1400];
    static unsigned next;
    char *text = texts[next++ % 4];
    snprintf(text, sizeof texts[0], "%s%s%s", a, b, c);
    return text;
}

static void expect_state(const char *text, const char *want)
{
    char *got = read_state(text);
    if (!got != !want || (got && strcmp(got, want) != 0)) {
        fail_msg("%s: %s, not %s", text, got ? got : "refused", want ? want : "refused");
    }
    free(got);
}

static void test_states(void **state)
{
    static const char printable[] = " !\"#$%&'()*+-./0123456789:;<>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`"
                                    "abcdefghijklmnopqrstuvwxyz{|}~";
    (void)state;
    expect_state("foo=1", "foo=1");
    expect_state("foo=1,bar=2", "foo=1,bar=2");
    expect_state("foo=1 \t , \t bar=2, \t baz=3", "foo=1,bar=2,baz=3");
    expect_state("foo=1\t \t,\t \tbar=2,\t \tbaz=3", "foo=1,bar=2,baz=3");
    expect_state("\t foo=1,bar=2\t ", "foo=1,bar=2");
    expect_state("", "");
    expect_state(" ", "");
    expect_state("foo=1,", "foo=1"); /* empty members are permitted */
    expect_state(",,foo=1,,bar=2,", "foo=1,bar=2");
    expect_state("foo@bar=1,0t@s=2", "foo@bar=1,0t@s=2");
    expect_state("az09_-*/=1", "az09_-*/=1");
    expect_state(join("a=", printable, ""), join("a=", printable, ""));
    expect_state(join("z", repeat('z', 255), "=1"), join("z", repeat('z', 255), "=1"));
    expect_state(join("t", repeat('t', 240), "@vvvvvvvvvvvvvv=1"), join("t", repeat('t', 240), "@vvvvvvvvvvvvvv=1"));
    expect_state(join("a=", repeat('v', 256), ""), join("a=", repeat('v', 256), ""));
}

static void test_states_that_are_refused(void **state)
{
    static const char *const rows[] = {
        "foo =1", "FOO=1", "foo.bar=1", "foo@=1,bar=2", "@foo=1,bar=2", "foo@@bar=1,bar=2",
        "foo@bar@baz=1,bar=2", "foo=bar=baz", "foo=,bar=3", "foo", "=", "=1", "1foo=1", "_foo=1", "foo@1bar=1",
        "foo= \x7f", "foo=\xc3\xa9", "foo=a\nb=2", "foo=a\tb", "a;b=1", "foo=1;bar=2", "foo=1,bar",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect_state(rows[i], NULL);
    }
    expect_state(join("z", repeat('z', 256), "=1"), NULL);
    expect_state(join("t", repeat('t', 241), "@v=1"), NULL);
    expect_state("t@vvvvvvvvvvvvvvv=1", NULL);
    expect_state(join("a=", repeat('v', 257), ""), NULL);
}

static void test_the_limits_of_states(void **state)
{
    struct buffer text = BUFFER_EMPTY, got = BUFFER_EMPTY;
    (void)state;
    for (int i = 0; i < TRACESTATE_MEMBERS; i++) {
        buffer_printf(&text, "%sbar%02d=%02d", i ? "," : "", i, i);
    }
    assert_true(tracestate_read(buffer_view(&text), &got));
    assert_true(view_equal(buffer_view(&text), buffer_view(&got)));
    buffer_append_text(&text, ",one=more");
    buffer_clear(&got);
    assert_false(tracestate_read(buffer_view(&text), &got));
    assert_int_equal(got.size, 0);
    buffer_clear(&text);
    for (int i = 0; i < 20; i++) { /* 20 members of 252 and one that is short, in the middle */
        buffer_printf(&text, "%s%sk%02d=%s", i ? "," : "", i == 9 ? "short=1," : "", i, repeat('x', 248));
    }
    assert_true(tracestate_read(buffer_view(&text), &got));
    assert_true(view_is(buffer_view(&got), "short=1"));
    buffer_clear(&text);
    buffer_clear(&got);
    for (int i = 0; i < TRACESTATE_MEMBERS; i++) { /* none is long, all together are too much */
        buffer_printf(&text, "%sk%02d=%s", i ? "," : "", i, repeat('y', 124));
    }
    buffer_append_text(&text, "");
    assert_true(text.size > TRACESTATE_MAX);
    assert_true(tracestate_read(buffer_view(&text), &got));
    assert_true(got.size <= TRACESTATE_MAX && got.size > TRACESTATE_MAX - 200);
    assert_memory_equal(got.data, text.data, got.size);
    assert_int_equal(text.data[got.size], ',');
    buffer_free(&text);
    buffer_free(&got);
}

/* ---- samplers ---- */

static void test_samplers(void **state)
{
    static const struct {
        const char *name;
        bool none, yes, no; /* without a parent, with a sampled one, with one that is not */
    } rows[] = {
        {"always_on", true, true, true},
        {"always_off", false, false, false},
        {"parentbased_always_on", true, true, false},
        {"parentbased_always_off", false, true, false},
    };
    uint8_t id[TRACE_ID_BYTES] = {[8] = 0x7f};
    struct trace_context yes = {.sampled = true}, no = {.sampled = false};
    struct sampler sampler;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(sampler_read(rows[i].name, "0.5", &sampler), STATUS_OK);
        assert_int_equal(sampler_takes(&sampler, id, NULL), rows[i].none);
        assert_int_equal(sampler_takes(&sampler, id, &yes), rows[i].yes);
        assert_int_equal(sampler_takes(&sampler, id, &no), rows[i].no);
    }
    static const char *const wrong[] = {"", "on", "parentbased_", "parentbased", "always_on ", "ALWAYS_ON",
                                        "parentbased_parentbased_always_on"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(sampler_read(wrong[i], "1", &sampler), STATUS_INVALID);
    }
    static const char *const ratios[] = {"", "x", "-0.1", "1.1", "nan", "inf", "0.5x"};
    for (size_t i = 0; i < sizeof ratios / sizeof ratios[0]; i++) {
        assert_int_equal(sampler_read("traceidratio", ratios[i], &sampler), STATUS_INVALID);
    }
}

static void test_the_ratio(void **state)
{
    enum { COUNT = 20000 };
    struct trace_context yes = {.sampled = true};
    struct sampler sampler, more, all;
    size_t taken = 0;
    (void)state;
    assert_int_equal(sampler_read("parentbased_traceidratio", "0.25", &sampler), STATUS_OK);
    assert_int_equal(sampler_read("traceidratio", "0.5", &more), STATUS_OK);
    assert_int_equal(sampler_read("traceidratio", "1", &all), STATUS_OK);
    for (size_t i = 0; i < COUNT; i++) {
        uint8_t id[TRACE_ID_BYTES];
        trace_id_new(id);
        bool took = sampler_takes(&sampler, id, NULL);
        taken += took;
        assert_true(!took || sampler_takes(&more, id, NULL)); /* the same ones, and others */
        assert_true(sampler_takes(&all, id, NULL) && sampler_takes(&sampler, id, &yes));
    }
    /* 5,000 with a standard deviation of 61. */
    assert_in_range(taken, 4400, 5600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_parents), cmocka_unit_test(test_invalid_parents),
        cmocka_unit_test(test_states),        cmocka_unit_test(test_states_that_are_refused),
        cmocka_unit_test(test_the_limits_of_states), cmocka_unit_test(test_samplers),
        cmocka_unit_test(test_the_ratio),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
