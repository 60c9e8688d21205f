/* test_providers.c - the table of providers: built in, laid over, refused; prefixes and denials. */
#include "tests/unit/unit.h"

#include <unistd.h>

#include "common/providers.h"

static char file[] = "/tmp/seks-providers-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(file);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(file);
}

static enum status load_text(const char *text, struct providers **ret, const char **ret_why)
{
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
    return providers_load(file, ret, ret_why);
}

static struct providers *load_good(const char *text)
{
    struct providers *table = NULL;
    const char *why = NULL;
    enum status status = text ? load_text(text, &table, &why) : providers_load(NULL, &table, &why);
    if (status != STATUS_OK) {
        fail_msg("%s", why);
    }
    return table;
}

static const struct provider *find(const struct providers *table, const char *name)
{
    const struct provider *row = providers_find(table, view_text(name));
    assert_non_null(row);
    return row;
}

static void the_eight_are_there(void **state)
{
    (void)state;
    static const char *const names[] = {"openai", "anthropic",  "github", "notion",
                                        "gemini", "cloudflare", "brave",  "aws",
                                        "github-git"};
    struct providers *table = load_good(NULL);
    assert_int_equal(providers_count(table), 9);
    for (size_t i = 0; i < 9; i++) {
        const struct provider *row = providers_at(table, i);
        assert_string_equal(row->name, names[i]);
        assert_ptr_equal(row, find(table, names[i]));
        assert_true(strncmp(row->origin, "https://", 8) == 0);
        assert_false(row->allow_insecure);
        assert_non_null(row->secrets[0]);
        assert_int_equal(row->connect_ms, 10000);
        assert_int_equal(row->idle_ms, 600000);
        assert_true(strlen(row->example) > 0);
        assert_true(row->test_path[0] == '/');
        assert_true(row->env_count >= 2);
        assert_non_null(row->hidden_env[0]);
        assert_true(row->snippet_count >= 1);
        if (i < 8) { /* the ninth is git, which reads its settings elsewhere */
            assert_string_equal(row->env[0].name, row->secrets[0]);
            assert_string_equal(row->env[0].text, "{token}");
            assert_string_equal(row->snippets[0].name, "Python");
        }
    }
    assert_null(providers_at(table, 9));
    assert_ptr_equal(find(table, "claude"), find(table, "anthropic"));
    assert_null(providers_find(table, VIEW("OpenAI")));
    assert_null(providers_find(table, VIEW("")));
    assert_string_equal(find(table, "aws")->optional_secrets[0], "AWS_SESSION_TOKEN");
    assert_string_equal(find(table, "aws")->auth[0].services[0].name, "s3");
    assert_string_equal(find(table, "anthropic")->default_headers[0].value, "2023-06-01");
    providers_free(&table);
    providers_free(&table);
}

static void a_row_overrides_just_its_fields(void **state)
{
    (void)state;
    struct providers *table = load_good(
        "{\"providers\":[{\"name\":\"openai\",\"origin\":\"http://127.0.0.1:9901\","
        "\"allow_insecure\":true,\"timeouts_ms\":{\"idle\":5}},"
        "{\"name\":\"acme-2\",\"origin\":\"https://api.acme.example:8443\"}]}");
    const struct provider *openai = find(table, "openai");
    assert_string_equal(openai->origin, "http://127.0.0.1:9901");
    assert_true(openai->allow_insecure);
    assert_string_equal(openai->path_prefix, "/v1");
    assert_string_equal(openai->secrets[0], "OPENAI_API_KEY");
    assert_true(openai->deny_count > 0);
    assert_int_equal(openai->idle_ms, 5);
    assert_int_equal(openai->connect_ms, 10000);
    const struct provider *acme = find(table, "acme-2");
    assert_string_equal(acme->secrets[0], "ACME_2_API_KEY");
    assert_string_equal(acme->title, "acme-2");
    assert_string_equal(find(table, "openai")->title, "OpenAI");
    assert_int_equal(acme->env_count, 2);
    assert_string_equal(acme->env[0].name, "ACME_2_API_KEY");
    assert_string_equal(acme->env[1].name, "ACME_2_BASE_URL");
    assert_string_equal(acme->env[1].text, "{base_url}");
    assert_int_equal(acme->snippet_count, 0);
    assert_string_equal(acme->test_path, "");
    assert_int_equal(acme->auth[0].type, AUTH_BEARER);
    assert_null(acme->path_prefix);
    assert_int_equal(providers_count(table), 10);
    providers_free(&table);
}

static void null_and_empty_override_too(void **state)
{
    (void)state;
    struct providers *table = load_good(
        "{\"providers\":[{\"name\":\"openai\",\"path_prefix\":null,\"deny\":[],\"auth\":null},"
        "{\"name\":\"anthropic\",\"aliases\":[],\"default_headers\":null,\"deny\":null}]}");
    const struct provider *openai = find(table, "openai");
    assert_null(openai->path_prefix);
    assert_int_equal(openai->deny_count, 0);
    assert_null(provider_auth(openai, VIEW("/v1/models")));
    assert_null(providers_find(table, VIEW("claude")));
    assert_int_equal(find(table, "anthropic")->default_header_count, 0);
    assert_int_equal(find(table, "anthropic")->deny_count, 0);
    providers_free(&table);
}

static void every_kind_of_auth_is_read(void **state)
{
    (void)state;
    struct providers *table = load_good(
        "{\"providers\":[{\"name\":\"x\",\"origin\":\"https://[::1]:1\",\"secrets\":[],\"auth\":["
        "{\"path\":\"/a*\",\"type\":\"basic\",\"user\":\"me\"},"
        "{\"path\":\"/b\",\"type\":\"query\",\"name\":\"key\"},"
        "{\"path\":null,\"type\":\"header\",\"name\":\"X-Key\"}]}]}");
    const struct provider *row = find(table, "x");
    assert_null(row->secrets[0]);
    assert_int_equal(provider_auth(row, VIEW("/abc?d"))->type, AUTH_BASIC);
    assert_string_equal(provider_auth(row, VIEW("/a"))->name, "me");
    assert_int_equal(provider_auth(row, VIEW("/b?c"))->type, AUTH_QUERY);
    assert_string_equal(provider_auth(row, VIEW("/bb"))->name, "X-Key");
    providers_free(&table);
}

static void auth_goes_by_path(void **state)
{
    (void)state;
    struct providers *table = load_good(NULL);
    const struct provider *gemini = find(table, "gemini");
    assert_int_equal(provider_auth(gemini, VIEW("/v1beta/openai/models"))->type, AUTH_BEARER);
    const struct auth_rule *rule = provider_auth(gemini, VIEW("/v1beta/models?x=/v1beta/openai/"));
    assert_int_equal(rule->type, AUTH_HEADER);
    assert_string_equal(rule->name, "x-goog-api-key");
    providers_free(&table);
}

static void what_is_malformed_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *named;
    } cases[] = {
        {"", "line"},
        {"[]", "providers"},
        {"{\"providers\":[],\"more\":1}", "providers"},
        {"{\"providers\":{}}", "providers"},
        {"{\"providers\":[1]}", "row 1"},
        {"{\"providers\":[{\"origin\":\"https://a\"}]}", "'name'"},
        {"{\"providers\":[{\"name\":5}]}", "'name'"},
        {"{\"providers\":[{\"name\":null,\"origin\":\"https://a\"}]}", "'name'"},
        {"{\"providers\":[{\"name\":\"Acme\",\"origin\":\"https://a\"}]}", "'name'"},
        {"{\"providers\":[{\"name\":\"\",\"origin\":\"https://a\"}]}", "'name'"},
        {"{\"providers\":[{\"name\":\"a_b\",\"origin\":\"https://a\"}]}", "'name'"},
        {"{\"providers\":[{\"name\":\"agent\",\"origin\":\"https://a\"}]}", "'name'"},
        {"{\"providers\":[{\"name\":\"abcdefghijklmnopqrstuvwxyz1234567\",\"origin\":\"https://a\"}]}",
         "'name'"},
        {"{\"providers\":[{\"name\":\"x\"}]}", "'origin' is missing"},
        {"{\"providers\":[{\"name\":\"openai\",\"origin\":null}]}", "'origin'"},
        {"{\"providers\":[{\"name\":\"x\",\"origin\":\"ftp://a\"}]}", "'origin'"},
        {"{\"providers\":[{\"name\":\"x\",\"origin\":\"https://\"}]}", "'origin'"},
        {"{\"providers\":[{\"name\":\"x\",\"origin\":\"https://a/b\"}]}", "'origin'"},
        {"{\"providers\":[{\"name\":\"x\",\"origin\":\"https://a?b\"}]}", "'origin'"},
        {"{\"providers\":[{\"name\":\"x\",\"origin\":\"https://u@a\"}]}", "'origin'"},
        {"{\"providers\":[{\"name\":\"x\",\"origin\":\"https://u:p@a\"}]}", "'origin'"},
        {"{\"providers\":[{\"name\":\"x\",\"origin\":\"https://a:0\"}]}", "'origin'"},
        {"{\"providers\":[{\"name\":\"x\",\"origin\":\"https://a:65536\"}]}", "'origin'"},
        {"{\"providers\":[{\"name\":\"x\",\"origin\":\"https://[::1\"}]}", "'origin'"},
        {"{\"providers\":[{\"name\":\"x\",\"origin\":\"https://[::1]x\"}]}", "'origin'"},
        {"{\"providers\":[{\"name\":\"x\",\"origin\":\"https://{service}.a\"}]}", "'origin'"},
        {"{\"providers\":[{\"name\":\"aws\",\"origin\":\"https://{tenant}.a\"}]}", "'origin'"},
        {"{\"providers\":[{\"name\":\"x\",\"origin\":\"http://a\"}]}", "allow_insecure"},
        {"{\"providers\":[{\"name\":\"openai\",\"origin\":\"http://127.0.0.1\"}]}", "'openai'"},
        {"{\"providers\":[{\"name\":\"openai\",\"orign\":\"https://a\"}]}", "'orign' is unknown"},
        {"{\"providers\":[{\"name\":\"openai\",\"secrets\":\"K\"}]}", "'secrets'"},
        {"{\"providers\":[{\"name\":\"openai\",\"secrets\":[\"a b\"]}]}", "'secrets'"},
        {"{\"providers\":[{\"name\":\"openai\",\"auth\":[{\"type\":\"magic\"}]}]}", "'auth'"},
        {"{\"providers\":[{\"name\":\"openai\",\"auth\":[{\"type\":\"header\"}]}]}", "'auth'"},
        {"{\"providers\":[{\"name\":\"openai\",\"auth\":[{\"type\":\"bearer\",\"x\":1}]}]}", "'auth'"},
        {"{\"providers\":[{\"name\":\"openai\",\"auth\":[{\"type\":\"header\",\"name\":\"a:b\"}]}]}",
         "'auth'"},
        {"{\"providers\":[{\"name\":\"openai\",\"path_prefix\":\"/v1/\"}]}", "'path_prefix'"},
        {"{\"providers\":[{\"name\":\"openai\",\"default_headers\":{\"A\":\"b\\r\\nC: d\"}}]}",
         "'default_headers'"},
        {"{\"providers\":[{\"name\":\"openai\",\"deny\":[{\"method\":\"*\"}]}]}", "'deny'"},
        {"{\"providers\":[{\"name\":\"openai\",\"deny\":[{\"method\":\"*\",\"path\":\"/a\",\"value\":\"x\"}]}]}",
         "'deny'"},
        {"{\"providers\":[{\"name\":\"openai\",\"deny\":[{\"method\":\"*\",\"path\":\"/a\",\"heder\":\"x\"}]}]}",
         "'deny'"},
        {"{\"providers\":[{\"name\":\"openai\",\"deny\":[{\"method\":\"a b\",\"path\":\"/a\"}]}]}", "'deny'"},
        {"{\"providers\":[{\"name\":\"openai\",\"target_headers\":[\"x\"]}]}", "'target_headers'"},
        {"{\"providers\":[{\"name\":\"aws\",\"auth\":[{\"type\":\"sigv4\"}]}]}", "'auth'"},
        {"{\"providers\":[{\"name\":\"aws\",\"auth\":[{\"type\":\"sigv4\",\"services\":[{\"name\":\"s3\"}]}]}]}",
         "'auth'"},
        {"{\"providers\":[{\"name\":\"aws\",\"region_origins\":{\"cn-*\":\"https://a/b\"}}]}",
         "'region_origins'"},
        {"{\"providers\":[{\"name\":\"aws\",\"region_origins\":{\"cn-*\":\"http://a\"}}]}", "allow_insecure"},
        {"{\"providers\":[{\"name\":\"openai\",\"timeouts_ms\":{\"connect\":0}}]}", "'timeouts_ms'"},
        {"{\"providers\":[{\"name\":\"openai\",\"timeouts_ms\":{\"all\":1}}]}", "'timeouts_ms'"},
        {"{\"providers\":[{\"name\":\"openai\",\"allow_insecure\":1}]}", "'allow_insecure'"},
        {"{\"providers\":[{\"name\":\"openai\",\"env\":{\"A B\":\"x\"}}]}", "'env'"},
        {"{\"providers\":[{\"name\":\"openai\",\"env\":{\"1A\":\"x\"}}]}", "'env'"},
        {"{\"providers\":[{\"name\":\"openai\",\"env\":{\"A\":\"x\\ny\"}}]}", "'env'"},
        {"{\"providers\":[{\"name\":\"openai\",\"hidden_env\":[\"A B\"]}]}", "'hidden_env'"},
        {"{\"providers\":[{\"name\":\"openai\",\"hidden_env\":[\"\"]}]}", "'hidden_env'"},
        {"{\"providers\":[{\"name\":\"openai\",\"snippets\":{\"Go\":\"a\\rb\"}}]}", "'snippets'"},
        {"{\"providers\":[{\"name\":\"openai\",\"test_path\":\"models\"}]}", "'test_path'"},
        {"{\"providers\":[{\"name\":\"openai\",\"test_path\":\"/a b\"}]}", "'test_path'"},
        {"{\"providers\":[{\"name\":\"openai\"},{\"name\":\"openai\"}]}", "twice"},
        {"{\"providers\":[{\"name\":\"claude\",\"origin\":\"https://a\"}]}", "'claude' is taken"},
        {"{\"providers\":[{\"name\":\"openai\",\"aliases\":[\"claude\"]}]}", "'claude' is taken"},
        {"{\"providers\":[{\"name\":\"openai\",\"aliases\":[\"openai\"]}]}", "taken"},
        {"{\"providers\":[{\"name\":\"openai\",\"aliases\":[\"o\",\"o\"]}]}", "taken"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct providers *table = NULL;
        const char *why = NULL;
        assert_int_equal(load_text(cases[i].text, &table, &why), STATUS_INVALID);
        assert_null(table);
        if (!strstr(why, cases[i].named)) {
            fail_msg("%s: %s", cases[i].text, why);
        }
    }
    struct providers *table = NULL;
    const char *why = NULL;
    assert_int_equal(providers_load("/nowhere/at/all", &table, &why), STATUS_NOT_FOUND);
    assert_non_null(strstr(why, "/nowhere/at/all"));
}

static void expect_target(const struct provider *row, const char *target, const char *wanted)
{
    CLEANUP(buffer_free) struct buffer got = BUFFER_EMPTY;
    assert_int_equal(provider_target(row, view_text(target), &got), STATUS_OK);
    if (!view_is(buffer_view(&got), wanted)) {
        fail_msg("%s became %.*s", target, (int)got.size, (const char *)got.data);
    }
}

static void the_prefix_goes_in_front_once(void **state)
{
    (void)state;
    struct providers *table = load_good(NULL);
    const struct provider *openai = find(table, "openai");
    expect_target(openai, "/chat/completions", "/v1/chat/completions");
    expect_target(openai, "/v1/chat/completions?a=b", "/v1/chat/completions?a=b");
    expect_target(openai, "/v1", "/v1");
    expect_target(openai, "/v1?x", "/v1?x");
    expect_target(openai, "/v1beta", "/v1/v1beta");
    expect_target(openai, "/a?/v1/", "/v1/a?/v1/");
    expect_target(openai, "", "/v1");
    expect_target(openai, "?x", "/v1?x");
    expect_target(openai, "//v1/a%2fb", "/v1//v1/a%2fb");
    expect_target(find(table, "anthropic"), "/messages", "/v1/messages");
    expect_target(find(table, "cloudflare"), "/zones", "/client/v4/zones");
    expect_target(find(table, "cloudflare"), "/client/v4/zones", "/client/v4/zones");
    expect_target(find(table, "brave"), "/web/search?q=a", "/res/v1/web/search?q=a");
    expect_target(find(table, "brave"), "/res/v1/web/search", "/res/v1/web/search");
    expect_target(find(table, "github"), "", "/");
    expect_target(find(table, "github"), "?a", "/?a");
    expect_target(find(table, "aws"), "/s3/us-east-1/b/k//x%5C", "/s3/us-east-1/b/k//x%5C");
    CLEANUP(buffer_free) struct buffer got = BUFFER_EMPTY;
    assert_int_equal(provider_target(openai, VIEW("chat"), &got), STATUS_INVALID);
    assert_int_equal(got.size, 0);
    providers_free(&table);
}

static void denials_hold_in_every_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *provider, *method, *target;
        bool denied;
    } cases[] = {
        {"openai", "POST", "/v1/chat/completions", false},
        {"openai", "GET", "/v1/organization/admin_api_keys", true},
        {"openai", "GET", "/organization/admin_api_keys", true},
        {"openai", "GET", "/v1/organization/costs", false},
        {"openai", "POST", "/v1/organization/projects", true},
        {"openai", "post", "/v1/organization/projects", true},
        {"openai", "POST", "/v1//organization///projects/", true},
        {"openai", "POST", "/v1/ORGANIZATION/projects", true},
        {"openai", "POST", "/v1/%6frganization/projects", true},
        {"openai", "POST", "/v1/%256frganization%2Fprojects", true},
        {"openai", "POST", "/v1/./organization/projects?x=y", true},
        {"openai", "POST", "/v1/organization;a=b/projects", true},
        {"openai", "POST", "/v1/organization\\\\projects", true},
        {"openai", "POST", "/v1/files?path=/v1/organization/projects", false},
        {"anthropic", "POST", "/v1/organizations/api_keys/abc", true},
        {"anthropic", "POST", "/v1/messages", false},
        {"github", "POST", "/repos/o/r/keys", true},
        {"github", "GET", "/repos/o/r/keys", false},
        {"github", "POST", "/repos/o/r/keys/", true},
        {"github", "POST", "/repos/o/r/issues", false},
        {"github", "POST", "/repos/o/r/actions/runners/registration-token", true},
        {"github", "POST", "/app/installations/5/access_tokens", true},
        {"github", "POST", "/user/keys", true},
        {"cloudflare", "POST", "/user/tokens", true},
        {"cloudflare", "GET", "/user/tokens/verify", false},
        {"cloudflare", "PUT", "/client/v4/accounts/a/tokens/b/value", true},
        {"gemini", "POST", "/v1beta/tunedModels/m/permissions", true},
        {"gemini", "POST", "/v1beta/models/m:generateContent", false},
        {"notion", "POST", "/v1/oauth/token", true},
        {"brave", "GET", "/web/search", false},
        {"aws", "POST", "/lambda/us-east-1/2015-03-31/functions/f/policy", true},
        {"aws", "PUT", "/s3/us-east-1/bucket/policy", false},
        {"openai", "GET", "no-slash", true},
    };
    struct providers *table = load_good(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct provider *row = find(table, cases[i].provider);
        const struct provider_call call = {.method = view_text(cases[i].method),
                                           .target = view_text(cases[i].target)};
        if (provider_denies(row, &call) != cases[i].denied) {
            fail_msg("%s %s %s", cases[i].provider, cases[i].method, cases[i].target);
        }
    }
    providers_free(&table);
}

static void patterns_match(void **state)
{
    (void)state;
    assert_true(pattern_match("*", VIEW("")));
    assert_true(pattern_match("", VIEW("")));
    assert_false(pattern_match("", VIEW("a")));
    assert_true(pattern_match("/a", VIEW("/a")));
    assert_false(pattern_match("/a", VIEW("/A")));
    assert_false(pattern_match("/a", VIEW("/ab")));
    assert_true(pattern_match("/a*", VIEW("/a")));
    assert_true(pattern_match("/a*c", VIEW("/abcbc")));
    assert_false(pattern_match("/a*c", VIEW("/abcb")));
    assert_true(pattern_match("*/x/*/y", VIEW("/q/x/x/y/x/y")));
    assert_true(pattern_match("**a**", VIEW("bab")));
    assert_false(pattern_match("a", VIEW("a\0b")));
    assert_true(pattern_match("a*b", VIEW("a\0b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_eight_are_there),
        cmocka_unit_test(a_row_overrides_just_its_fields),
        cmocka_unit_test(null_and_empty_override_too),
        cmocka_unit_test(every_kind_of_auth_is_read),
        cmocka_unit_test(auth_goes_by_path),
        cmocka_unit_test(what_is_malformed_is_named),
        cmocka_unit_test(the_prefix_goes_in_front_once),
        cmocka_unit_test(denials_hold_in_every_spelling),
        cmocka_unit_test(patterns_match),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
