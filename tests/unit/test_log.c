/* test_log.c - log lines: one object a line whatever is in them, the request's id on those about one. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>

#include "common/json_text.h"
#include "common/log.h"

static char written[65536];

/* What FN writes on standard error. */
static const char *written_by(void (*fn)(void))
{
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    assert_non_null(file);
    assert_true(saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    fn();
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    rewind(file);
    written[fread(written, 1, sizeof written - 1, file)] = 0;
    fclose(file);
    return written;
}

/* The one line of TEXT as an object; every other form fails the test. */
static json_t *object_of(const char *text)
{
    const char *end = strchr(text, '\n');
    assert_non_null(end);
    assert_string_equal(end, "\n");
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_true(json_is_object(object));
    return object;
}

static const char *member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void write_hostile(void)
{
    char text[0x120];
    for (size_t i = 0; i < sizeof text - 1; i++) {
        text[i] = (char)(i % 255 + 1); /* every byte but NUL: invalid UTF-8 among them */
    }
    text[sizeof text - 1] = 0;
    log_info("test", "%s \"}\n{\"level\":\"error\" \xc2\x9b \xc3\xa9 \xf0\x9f\x98\x80", text);
}

static void test_json_cannot_be_forged(void **state)
{
    (void)state;
    log_use(LOG_JSON);
    const char *text = written_by(write_hostile);
    for (const char *at = text; at[1]; at++) { /* all but the last: no byte that steers anything */
        assert_true((unsigned char)*at >= 0x20 && *at != 0x7f);
        assert_false((unsigned char)at[0] == 0xc2 && (unsigned char)at[1] < 0xa0);
    }
    json_t *object = object_of(text);
    assert_string_equal(member(object, "level"), "info");
    assert_string_equal(member(object, "component"), "test");
    assert_string_equal(member(object, "daemon"), "tester");
    assert_int_equal(strlen(member(object, "time")), 24);
    assert_non_null(strstr(member(object, "message"), "\"}\n{\"level\":\"error\" \xc2\x9b \xc3\xa9 \xf0\x9f\x98\x80"));
    assert_null(json_object_get(object, "request"));
    json_decref(object);
}

static void write_long(void)
{
    static char text[5000];
    memset(text, 1, sizeof text - 1); /* six bytes each */
    LOG_ABOUT(log_id(text), log_id(text));
    log_warn("test", "%s", text);
}

static void test_a_long_line_is_cut_and_whole(void **state)
{
    (void)state;
    log_use(LOG_JSON);
    json_t *object = object_of(written_by(write_long));
    assert_int_equal(strlen(member(object, "message")), 1023);
    assert_int_equal(strlen(member(object, "request")), 64);
    assert_int_equal(strlen(member(object, "tenant")), 64);
    json_decref(object);
}

static void write_inner(void)
{
    LOG_ABOUT(VIEW("req_2\n"), VIEW(""));
    log_info("b", "second");
}

static void write_about(void)
{
    char tenant[8] = "";
    LOG_ABOUT(VIEW("req_1"), log_id(tenant));
    log_info("a", "first");
    memcpy(tenant, "ten\"1\n", 7);
    write_inner();
    log_info("c", "third");
    log_about_nothing();
    log_info("d", "fourth");
}

static void test_subjects(void **state)
{
    (void)state;
    static const char *const requests[] = {"req_1", "req_2\n", "req_1", NULL};
    static const char *const tenants[] = {NULL, NULL, "ten\"1\n", NULL};
    log_use(LOG_JSON);
    char *at = strdup(written_by(write_about)), *rest = at;
    for (size_t i = 0; i < 4; i++) {
        char *line = strsep(&rest, "\n");
        json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        const char *request = member(object, "request"), *tenant = member(object, "tenant");
        assert_true(request ? requests[i] && strcmp(request, requests[i]) == 0 : !requests[i]);
        assert_true(tenant ? tenants[i] && strcmp(tenant, tenants[i]) == 0 : !tenants[i]);
        json_decref(object);
    }
    free(at);
    assert_null(log_subject.request.data);
    log_use(LOG_TEXT);
    written_by(write_about);
    assert_non_null(strstr(written, " info tester a first request=req_1\n"));
    assert_non_null(strstr(written, " info tester b second request=req_2\\x0a\n"));
    assert_non_null(strstr(written, " info tester c third request=req_1 tenant=ten\"1\\x0a\n"));
    assert_non_null(strstr(written, " info tester d fourth\n"));
}

static void test_text_cannot_be_forged(void **state)
{
    (void)state;
    log_use(LOG_TEXT);
    const char *text = written_by(write_hostile);
    assert_string_equal(strchr(text, '\n'), "\n");
    for (const char *at = text; at[1]; at++) {
        assert_true((unsigned char)*at >= 0x20 && (unsigned char)*at < 0x7f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_cannot_be_forged), cmocka_unit_test(test_a_long_line_is_cut_and_whole),
        cmocka_unit_test(test_subjects),              cmocka_unit_test(test_text_cannot_be_forged),
    };
    log_open("tester", LEVEL_INFO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
