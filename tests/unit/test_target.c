/* Which raw targets may go on, and what they name. */
#include "unit.h"

#include "services/gateway/gateway.h"

static void expect(const char *target, enum status status)
{
    if (target_check(view_text(target)) != status) {
        fail_msg("%s", target);
    }
}

static void good(void **state)
{
    static const char *const targets[] = {
        "/", "/api/openai/", "/api/openai", "/api/openai/v1/models?url=http://127.0.0.1/&x=../..",
        "/api/openai/v1/files/a%20b%2Bc~d", "/api/openai/v1/a..b/..c/d../...", "/api/x//y///z",
        "/api/openai/v1/models?q=a>b|{c}\"\\^`<", "/api/github/repos/o/r/contents/%E2%82%AC.md",
        "/api/gemini/v1beta/models/m:generateContent", "/api/x/a;b=c/d,e=f!g'(h)*[i]@j$k&l",
        "/api/aws/s3/us-west-2/bucket/a\\b", "/api/aws/s3/us-west-2/bucket/a%5Cb//c",
        "/api/x/100%25", "/api/x/%25zz", "/api/x/%F0%9F%98%80", "/api/x/%ED%9F%BF", "/api/x/.well-known",
    };
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        expect(targets[i], STATUS_OK);
    }
}

static void refused(void **state)
{
    static const char *const targets[] = {
        "", "x", "*", "http://a/", "//a#b", "/a#b", "/a b", "/a\tb", "/a\x7f", "/\xc3\xa9",
        /* segments of dots, in every dress */
        "/api/x/..", "/api/x/.", "/api/x/../y", "/api/x/./y", "/..", "/../x", "/api/x/%2e", "/api/x/%2E%2e/y",
        "/api/x/.%2e/y", "/api/x/%252e%252e/y", "/api/x/%25%32%65/y", "/api/x/..%2fy", "/api/x/..%252fy",
        "/api/x/y%2f..%2fz", "/api/x/..;/y", "/api/x/..;a=b/y", "/api/x/..%3b/y", "/api/x/.;/y", "/api/x/..%5cy",
        "/api/x/..%255cy", "/api/x/y%5c..%5cz", "/api/aws/s3/us-west-2/b/../c", "/api/aws/s3/us-west-2/b/..\\c",
        "/api/x/..?q",
        /* control bytes */
        "/api/x/%00", "/api/x/a%0ab", "/api/x/a%0d%0aX:y", "/api/x/a%7f", "/api/x/%2500", "/api/x/%250a",
        /* not UTF-8's only form */
        "/api/x/%c0%ae%c0%ae/y", "/api/x/%c0%af", "/api/x/%C1%9C", "/api/x/%e0%80%ae", "/api/x/%f0%80%80%ae",
        "/api/x/%25c0%25ae",
        /* what no URL holds as it is */
        "/api/x/<y>", "/api/x/{y}", "/api/x/a|b", "/api/x/a^b", "/api/x/a`b", "/api/x/a\"b", "/api/x/a\\b",
        "/api/x/a%5cb", "/api/x/%", "/api/x/%z", "/api/x/%2", "/api/x/%zz?q",
    };
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        expect(targets[i], STATUS_INVALID);
    }
}

static void sizes(void **state)
{
    char target[TARGET_MAX + 2];
    (void)state;
    memset(target, 'a', sizeof target);
    target[0] = '/';
    assert_int_equal(target_check(view_of(target, TARGET_MAX)), STATUS_OK);
    assert_int_equal(target_check(view_of(target, TARGET_MAX + 1)), STATUS_TOO_LARGE);
    memcpy(target + TARGET_MAX - 3, "/..", 3);
    assert_int_equal(target_check(view_of(target, TARGET_MAX)), STATUS_INVALID);
    assert_int_equal(target_check(view_of("/\0", 2)), STATUS_INVALID);
}

static void names(void **state)
{
    struct view provider, rest;
    (void)state;
    assert_true(target_provider(VIEW("/api/openai/v1?x"), &provider, &rest));
    assert_true(view_is(provider, "openai") && view_is(rest, "/v1?x"));
    assert_true(target_provider(VIEW("/api/openai?x"), &provider, &rest));
    assert_true(view_is(provider, "openai") && view_is(rest, "?x"));
    assert_true(target_provider(VIEW("/api/openai:80@127.0.0.1:1/"), &provider, &rest));
    assert_true(view_is(provider, "openai:80@127.0.0.1:1")); /* no provider has this name */
    assert_false(target_provider(VIEW("/api"), &provider, &rest));
    assert_false(target_provider(VIEW("/api/"), &provider, &rest));
    assert_false(target_provider(VIEW("/api//openai/v1"), &provider, &rest));
    assert_false(target_provider(VIEW("/API/openai/v1"), &provider, &rest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good), cmocka_unit_test(refused), cmocka_unit_test(sizes),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
