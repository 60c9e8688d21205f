/* test_providers_aws.c - what a signed row's targets name, and what its deny rules refuse. */
#include "tests/unit/unit.h"

#include "common/providers.h"

static struct providers *load(void)
{
    struct providers *table = NULL;
    const char *why = NULL;
    assert_int_equal(providers_load(NULL, &table, &why), STATUS_OK);
    return table;
}

static const struct provider *find(const struct providers *table, const char *name)
{
    const struct provider *row = providers_find(table, view_text(name));
    assert_non_null(row);
    return row;
}

static void queries_and_headers_deny_too(void **state)
{
    static const struct {
        const char *method, *target, *name, *value;
        enum status status;
    } cases[] = {
        {"PUT", "/s3/us-east-1/bucket?acl", NULL, NULL, STATUS_DENIED},
        {"PUT", "/s3/us-east-1/bucket/key?acl=", NULL, NULL, STATUS_DENIED},
        {"PUT", "/s3/us-east-1/bucket?x-id=a&%61cl", NULL, NULL, STATUS_DENIED},
        {"put", "/s3/us-east-1/bucket?ACL", NULL, NULL, STATUS_DENIED},
        {"DELETE", "/s3/us-east-1/bucket?policy", NULL, NULL, STATUS_DENIED},
        {"DELETE", "/s3/us-east-1/bucket?publicAccessBlock", NULL, NULL, STATUS_DENIED},
        {"POST", "/s3/us-east-1/bucket?metadataTable", NULL, NULL, STATUS_DENIED},
        {"GET", "/s3/us-east-1/bucket?acl", NULL, NULL, STATUS_OK},
        {"GET", "/s3/us-east-1/bucket?session", NULL, NULL, STATUS_DENIED},
        {"GET", "/s3/us-east-1/bucket?prefix=session&acl2", NULL, NULL, STATUS_OK},
        {"PUT", "/s3/us-east-1/bucket/acl?tagging", NULL, NULL, STATUS_OK},
        {"PUT", "/s3/us-east-1/bucket/k", "X-Amz-Acl", "public-read", STATUS_DENIED},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-acl", "private,public-read", STATUS_DENIED},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-acl", "", STATUS_DENIED},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-acl", " private ", STATUS_OK},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-acl", "bucket-owner-full-control", STATUS_OK},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-grant-read", "id=1", STATUS_DENIED},
        {"PUT", "/s3/us-east-1/bucket", "x-amz-object-ownership", "ObjectWriter", STATUS_DENIED},
        {"PUT", "/s3/us-east-1/bucket", "x-amz-object-ownership", "BucketOwnerEnforced", STATUS_OK},
        {"POST", "/dynamodb/us-east-1/", "X-Amz-Target", "DynamoDB_20120810.PutResourcePolicy",
         STATUS_DENIED},
        {"POST", "/dynamodb/us-east-1/", "X-Amz-Target", "DynamoDB_20120810.PutItem", STATUS_OK},
        {"GET", "/sqs/us-east-1/1/q?Action=AddPermission", NULL, NULL, STATUS_DENIED},
        {"GET", "/sqs/us-east-1/1/q?Action=SendMessage", NULL, NULL, STATUS_OK},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-copy-source", "other/k%20e?versionId=1", STATUS_OK},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-copy-source", "/other/a/b", STATUS_OK},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-copy-source", "Other/k", STATUS_INVALID},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-copy-source", "", STATUS_INVALID},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-copy-source", "//k", STATUS_INVALID},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-copy-source", "other", STATUS_INVALID},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-copy-source", "oth/%2e%2E/other/k", STATUS_INVALID},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-copy-source", "oth/..", STATUS_INVALID},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-copy-source", "oth/%252e%252e/k", STATUS_INVALID},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-copy-source", "oth/a%0ab", STATUS_INVALID},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-copy-source", "oth/..b/c..", STATUS_OK},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-copy-source",
         "arn:aws:s3:us-east-1:1:accesspoint/a/object/k", STATUS_INVALID},
        {"PUT", "/s3/us-east-1/bucket/k", "x-amz-copy-source", "secret/k", STATUS_DENIED},
        {"GET", "/s3/us-east-1/secret/k", NULL, NULL, STATUS_DENIED},
    };
    struct providers *builtin = load();
    const struct provider *row = find(builtin, "aws");
    (void)state;
    struct deny_rule rules[64];
    struct provider own = *row;
    assert_true(row->judges_headers);
    assert_false(find(builtin, "openai")->judges_headers);
    assert_true(provider_judges_header(row, VIEW("X-Amz-Grant-Write-Acp")));
    assert_true(provider_judges_header(row, VIEW("X-Amz-Copy-Source")));
    assert_false(provider_judges_header(row, VIEW("x-amz-meta-a")));
    assert_true(row->deny_count < 64);
    memcpy(rules, row->deny, row->deny_count * sizeof rules[0]);
    rules[row->deny_count] = (struct deny_rule){.method = "GET", .path = "/s3/*/secret/*"};
    own.deny = rules;
    own.deny_count = row->deny_count + 1;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct call_header header = {view_text(cases[i].name), view_text(cases[i].value)};
        const struct provider_call call = {view_text(cases[i].method), view_text(cases[i].target),
                                           &header, cases[i].name != NULL};
        const char *why;
        if (provider_judge(&own, &call, &why) != cases[i].status) {
            fail_msg("%s %s %s", cases[i].method, cases[i].target, cases[i].value);
        }
    }
    providers_free(&builtin);
}

static enum status scope_of(const char *target, struct signing_scope *scope)
{
    static const struct auth_service services[] = {{"s3", "s3"}, {"bedrock-runtime", "bedrock"}};
    static const char *regions[] = {"auto", NULL};
    const struct auth_rule rule = {.type = AUTH_SIGV4,
                                   .services = services,
                                   .service_count = 2,
                                   .regions = regions};
    const char *why = NULL;
    enum status status = signing_scope(&rule, view_text(target), scope, &why);
    assert_int_equal(status == STATUS_OK, why == NULL);
    return status;
}

static void scopes_are_strict(void **state)
{
    (void)state;
    struct signing_scope scope;
    assert_int_equal(scope_of("/s3/us-gov-west-1/bucket/k/e?y", &scope), STATUS_OK);
    assert_true(view_is(scope.service, "s3"));
    assert_true(view_is(scope.region, "us-gov-west-1"));
    assert_true(view_is(scope.rest, "/bucket/k/e?y"));
    assert_true(scope.objects);
    assert_int_equal(scope_of("/bedrock-runtime/eu-west-12/model/A%2FB/invoke", &scope), STATUS_OK);
    assert_string_equal(scope.sign_as, "bedrock");
    assert_false(scope.objects);
    assert_int_equal(scope_of("/iam/us-east-1/", &scope), STATUS_DENIED);
    assert_int_equal(scope_of("/bedrock/us-east-1/", &scope), STATUS_DENIED);
    static const char *const good[] = {"/s3/us-east-1", "/s3/us-east-1/", "/s3/us-east-1?x=/",
                                       "/s3/us-east-1/?x-id=ListBuckets", "/s3/us-east-1/a-b",
                                       "/s3/us-east-1/a.b-c/", "/s3/us-east-1/abc?list-type=2",
                                       "/s3/auto/abc/k", "/s3/us-east-1/abc//k//"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(scope_of(good[i], &scope), STATUS_OK);
    }
    static const char *const bad[] = {
        "/s3", "/s3/", "/s3/us-east-1.evil.com/", "/s3/us-east-/", "/s3/us--1/", "/s3/us-1/",
        "/s3/USA-east-1/", "/s3/us-east-1@x/", "/s3/us-east1/", "/s3/us/", "/s3/us-east-1%2e/",
        "/s3/us-east-1//key", "/s3/us-east-1/ab", "/s3/us-east-1/Bucket/k", "/s3/us-east-1/a_b/k",
        "/s3/us-east-1/-ab/k", "/s3/us-east-1/ab-/k", "/s3/us-east-1/a..b/k", "/s3/us-east-1/a%62c/k",
        "/s3/us-east-1/arn:aws:s3:::x/k", "/s3/aut/abc/k",
        "/s3/us-east-1/aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg/k",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(scope_of(bad[i], &scope), STATUS_INVALID);
    }
}

static void a_template_becomes_an_origin(void **state)
{
    (void)state;
    static const struct {
        const char *target, *origin;
    } rows[] = {
        {"/s3/us-east-1/abc/k", "https://s3.us-east-1.amazonaws.com"},
        {"/bedrock-runtime/eu-west-1/x", "https://bedrock-runtime.eu-west-1.amazonaws.com"},
        {"/s3/cn-north-1/abc/k", "https://s3.cn-north-1.amazonaws.com.cn"},
    };
    struct providers *table = load();
    const struct provider *row = find(table, "aws");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buffer origin = BUFFER_EMPTY;
        struct signing_scope scope;
        const char *why = NULL;
        assert_int_equal(signing_scope(row->auth, view_text(rows[i].target), &scope, &why),
                         STATUS_OK);
        assert_int_equal(signing_origin(row, &scope, &origin), STATUS_OK);
        assert_true(view_is(buffer_view(&origin), rows[i].origin));
        buffer_free(&origin);
    }
    providers_free(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_and_headers_deny_too),
        cmocka_unit_test(scopes_are_strict),
        cmocka_unit_test(a_template_becomes_an_origin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
