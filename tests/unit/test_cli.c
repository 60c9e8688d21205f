/* test_cli.c - what the command does without a broker: .env files, variables, its line, its files. */
#include "cli/cli.h" /* before cmocka, which has a fail() of its own */

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

/* ---- .env files ---- */

/* Writes "NAME=[value]" for each variable, with what is no text as it is. */
static bool collect(void *context, struct view name, struct view value)
{
    struct buffer *out = context;
    buffer_append_view(out, name);
    buffer_append_text(out, "=[");
    buffer_append_view(out, value);
    buffer_append_text(out, "]");
    return true;
}

static const struct {
    const char *text, *want;
    size_t bad; /* the line that cannot be read, 0 for none */
} files[] = {
    {"", "", 0},
    {"A=b", "A=[b]", 0},
    {"A=b\nC=d\n", "A=[b]C=[d]", 0},
    {"A=b\r\nC=d\r\n", "A=[b]C=[d]", 0},
    {"\xef\xbb\xbf" "A=b", "A=[b]", 0},
    {"# a=b\n\n   # c\nA=b", "A=[b]", 0},
    {"export A=b\nexport\tC = d ", "A=[b]C=[d]", 0},
    {"exported=b", "exported=[b]", 0},
    {"A=", "A=[]", 0},
    {"A=\"\"", "A=[]", 0},
    {"A=b # comment", "A=[b]", 0},
    {"A=b#no comment", "A=[b#no comment]", 0},
    {"A=#all comment", "A=[]", 0},
    {"A='b # c' # d", "A=[b # c]", 0},
    {"A='b\\n$c'", "A=[b\\n$c]", 0},
    {"A=\"b\\\"\\\\\\$c\\t\"", "A=[b\"\\$c\t]", 0},
    {"A=$HOME", "A=[$HOME]", 0},
    {"A=\"b\nc\"\nD=e", "A=[b\nc]D=[e]", 0},
    {"A=sk-1/2+3==", "A=[sk-1/2+3==]", 0},
    {"A=b\nno assignment\nC=d", "A=[b]", 2},
    {"1A=b", "", 1},
    {"=b", "", 1},
    {"A B=c", "", 1},
    {"A=\"b", "", 1},
    {"A='b'c", "", 1},
    {"A=1\nB=2\nC='", "A=[1]B=[2]", 3},
};

static void dotenv_files_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct buffer out = BUFFER_EMPTY;
        /* A copy of just that size: a read past its end is seen. */
        size_t size = strlen(files[i].text);
        char *text = malloc(size ? size : 1);
        memcpy(text, files[i].text, size);
        size_t bad = dotenv_read(view_of(text, size), collect, &out);
        buffer_append_byte(&out, 0);
        if (bad != files[i].bad || strcmp((const char *)out.data, files[i].want) != 0) {
            fail_msg("%s: line %zu, %s", files[i].text, bad, (const char *)out.data);
        }
        buffer_free(&out);
        free(text);
    }
}

static bool stop(void *context, struct view name, struct view value)
{
    (void)name, (void)value;
    ++*(int *)context;
    return false;
}

static void dotenv_stops_when_asked(void **state)
{
    (void)state;
    int count = 0;
    assert_int_equal(dotenv_read(VIEW("A=1\nB=2\nbad"), stop, &count), 0);
    assert_int_equal(count, 1);
}

/* ---- variables ---- */

static json_t *table(void)
{
    json_t *rows = json_loads(
        "[{\"name\":\"one\",\"secrets\":[\"ONE_KEY\"],\"optional_secrets\":[\"ONE_MORE\"],"
        "\"hidden_env\":[\"ONE_ADMIN\"],\"env\":{\"ONE_KEY\":\"{token}\",\"ONE_TOKEN\":\"{token}\","
        "\"ONE_URL\":\"{base_url}/v1\",\"ONE_BOTH\":\"{token}@{base_url}\",\"ONE_REGION\":\"far\"}},"
        "{\"name\":\"two\",\"secrets\":[\"TWO_ID\",\"TWO_SECRET\"],"
        "\"env\":{\"TWO_ID\":\"{token}\",\"TWO_SECRET\":\"any\",\"ONE_REGION\":\"near\"}}]",
        0, NULL);
    assert_non_null(rows);
    return rows;
}

static void templates_are_filled(void **state)
{
    static const struct {
        const char *template, *want;
    } cases[] = {{"{token}", "T"},       {"{base_url}", "http://b"}, {"{base_url}/v1", "http://b/v1"},
                 {"x{token}y{token}", "xTyT"}, {"{other}", "{other}"}, {"{token", "{token"}, {"", ""}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer out = BUFFER_EMPTY;
        environment_fill(&out, cases[i].template, "T", "http://b");
        buffer_append_byte(&out, 0);
        assert_string_equal(out.data, cases[i].want);
        buffer_free(&out);
    }
}

static void a_providers_variables_are_added(void **state)
{
    (void)state;
    json_t *rows = table(), *variables = json_object();
    environment_add(variables, json_array_get(rows, 0), "T", "http://b");
    environment_add(variables, json_array_get(rows, 1), "U", "http://c");
    assert_string_equal(text_at(variables, "ONE_BOTH"), "T@http://b");
    assert_string_equal(text_at(variables, "TWO_ID"), "U");
    assert_string_equal(text_at(variables, "TWO_SECRET"), "any");
    assert_string_equal(text_at(variables, "ONE_REGION"), "far"); /* the first stays */
    assert_int_equal(json_object_size(variables), 7);
    json_decref(rows);
    json_decref(variables);
}

static void a_variable_names_a_secret(void **state)
{
    static const struct {
        const char *variable, *secret, *provider;
    } cases[] = {{"ONE_KEY", "ONE_KEY", "one"},   {"ONE_MORE", "ONE_MORE", "one"},
                 {"ONE_TOKEN", "ONE_KEY", "one"}, {"TWO_SECRET", "TWO_SECRET", "two"},
                 {"ONE_URL", NULL, NULL},         {"ONE_ADMIN", NULL, NULL},
                 {"PATH", NULL, NULL}};
    (void)state;
    json_t *rows = table();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *provider = NULL;
        const char *secret = environment_secret(rows, cases[i].variable, &provider);
        assert_int_equal(secret == NULL, cases[i].secret == NULL);
        if (secret) {
            assert_string_equal(secret, cases[i].secret);
            assert_string_equal(provider, cases[i].provider);
        }
    }
    json_decref(rows);
}

static void credentials_are_known(void **state)
{
    static const char *const yes[] = {"ONE_KEY", "ONE_MORE", "ONE_TOKEN", "ONE_ADMIN", "TWO_SECRET",
                                      "SEKS_ACCOUNT_KEY"};
    static const char *const no[] = {"PATH", "ONE_URL", "ONE_REGION", "SEKS_SERVER", ""};
    (void)state;
    json_t *rows = table();
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        assert_true(environment_is_credential(rows, yes[i]));
    }
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        assert_false(environment_is_credential(rows, no[i]));
    }
    json_decref(rows);
}

static void environments_are_written(void **state)
{
    static const struct {
        const char *format, *want;
    } cases[] = {{"shell", "export A='it'\\''s $x'\nexport B='http://b'\nunset C\n"},
                 {"dotenv", "A=\"it's \\$x\"\nB=http://b\n"},
                 {"docker", "A=it's $x\nB=http://b\n"},
                 {"json", "{\n  \"A\": \"it's $x\",\n  \"B\": \"http://b\"\n}\n"}};
    (void)state;
    json_t *variables = json_pack("{s:s,s:s}", "A", "it's $x", "B", "http://b");
    json_t *unset = json_pack("[s]", "C");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer out = BUFFER_EMPTY;
        assert_true(environment_write(&out, cases[i].format, variables, unset));
        buffer_append_byte(&out, 0);
        assert_string_equal(out.data, cases[i].want);
        buffer_free(&out);
    }
    struct buffer none = BUFFER_EMPTY;
    assert_false(environment_write(&none, "ini", variables, unset));
    json_decref(variables);
    json_decref(unset);
}

/* ---- the command line ---- */

static void durations_are_read(void **state)
{
    static const struct {
        const char *text;
        uint64_t seconds; /* 0 when it is none */
    } cases[] = {{"90", 90},     {"90s", 90},   {"15m", 900},  {"12h", 43200}, {"30d", 2592000},
                 {"2w", 1209600}, {"0", 0},     {"-1", 0},     {"1x", 0},      {"", 0},
                 {"m", 0},       {"1 m", 0},    {"99999999999999999999", 0},   {"11000d", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t seconds = 0;
        assert_int_equal(args_duration(cases[i].text, &seconds), cases[i].seconds != 0);
        assert_true(!cases[i].seconds || seconds == cases[i].seconds);
    }
}

static void lists_are_searched(void **state)
{
    (void)state;
    assert_true(args_lists("a,bc,d", "a") && args_lists("a,bc,d", "bc") && args_lists("a,bc,d", "d"));
    assert_false(args_lists("a,bc,d", "b") || args_lists("a,bc,d", "bc,d") || args_lists("", "a"));
    assert_true(args_lists(NULL, "a"));
}

static int parse(char **argv, struct args *ret)
{
    int argc = 0, used = 0;
    while (argv[argc]) {
        argc++;
    }
    const struct command *command = command_find(argc, argv, &used);
    assert_non_null(command);
    return args_parse(command, argc - used, argv + used, ret);
}

static void lines_are_parsed(void **state)
{
    struct args args;
    (void)state;
    char *run[] = {"run", "coder", "--ttl=5m", "--keep", "A,B", "--", "python", "--json", "-x", NULL};
    assert_int_equal(parse(run, &args), SEKS_OK);
    assert_string_equal(args.word[0], "coder");
    assert_string_equal(args.option[OPT_TTL], "5m");
    assert_string_equal(args.option[OPT_KEEP], "A,B");
    assert_null(args.option[OPT_JSON]);
    assert_string_equal(args.rest[0], "python");
    assert_string_equal(args.rest[2], "-x");
    char *set[] = {"secret", "set", "--file", "-", "NAME", NULL};
    assert_int_equal(parse(set, &args), SEKS_OK);
    assert_string_equal(args.option[OPT_FILE], "-");
    assert_string_equal(args.word[0], "NAME");
    char *help[] = {"token", "add", "-h", NULL};
    assert_int_equal(parse(help, &args), SEKS_OK);
    assert_non_null(args.option[OPT_HELP]);
}

static void wrong_lines_are_refused(void **state)
{
    static char *lines[][6] = {
        {"whoami", "extra"},           {"secret", "set"},          {"secret", "set", "A", "value"},
        {"secret", "list", "--file"},  {"env", "a", "--format"},   {"env", "a", "--json", "--json"},
        {"env", "a", "--json=yes"},    {"token", "add", "a"},      {"run", "a", "python"},
        {"agent", "add", "a", "-x"},   {"audit", "list", "--for"},
    };
    struct args args;
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_int_equal(parse(lines[i], &args), SEKS_USAGE);
    }
}

/* Every row can be found, runs something, and fits what holds its words. */
static void the_table_is_sound(void **state)
{
    (void)state;
    for (const struct command *row = commands; row->name; row++) {
        char *words[] = {(char *)row->name, (char *)row->verb, NULL};
        int used = 0;
        assert_ptr_equal(command_find(row->verb ? 2 : 1, words, &used), row);
        assert_true((row->run != NULL) != (row->raw != NULL));
        assert_true(row->max <= ARG_WORDS_MAX && row->min <= row->max);
        assert_int_equal(command_is_group(row->name), row->verb != NULL);
    }
    for (size_t i = 0; i < OPT_COUNT; i++) {
        assert_non_null(option_rows[i].name);
        assert_non_null(option_rows[i].help);
    }
}

/* ---- its files ---- */

static char home[] = "/tmp/seks-test-XXXXXX";

static mode_t mode_of(const char *name)
{
    char path[256];
    struct stat info;
    snprintf(path, sizeof path, "%s/deep/seks/%s", home, name);
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 07777;
}

static int make_home(void **state)
{
    char config[64];
    (void)state;
    if (!mkdtemp(home)) {
        return -1;
    }
    snprintf(config, sizeof config, "%s/deep", home);
    return setenv("XDG_CONFIG_HOME", config, 1);
}

static int remove_home(void **state)
{
    char command[64];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", home);
    return system(command);
}

static void files_are_kept_private(void **state)
{
    json_t *content = NULL, *some = json_pack("{s:s}", "key", "value");
    char path[256];
    (void)state;
    umask(0);
    assert_int_equal(files_load("config.json", &content), SEKS_OK); /* absent */
    assert_int_equal(json_object_size(content), 0);
    json_decref(content);
    assert_int_equal(files_save("config.json", some), SEKS_OK);
    assert_int_equal(mode_of("config.json"), 0600);
    assert_int_equal(mode_of(""), 0700);
    assert_int_equal(files_load("config.json", &content), SEKS_OK);
    assert_true(json_equal(content, some));
    json_decref(content);
    snprintf(path, sizeof path, "%s/deep/seks/config.json", home);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(files_load("config.json", &content), SEKS_FAILED);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 5), 0);
    assert_int_equal(files_load("config.json", &content), SEKS_FAILED); /* damaged */
    json_decref(some);
}

static void the_lock_is_exclusive(void **state)
{
    (void)state;
    int first = files_lock();
    assert_true(first >= 0);
    pid_t other = fork();
    if (other == 0) {
        alarm(1); /* waits for the lock until then */
        _exit(files_lock() >= 0 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_true(WIFSIGNALED(status));
    close(first);
    int again = files_lock();
    assert_true(again >= 0);
    close(again);
}

static void a_server_is_chosen(void **state)
{
    struct args args = {0};
    char *url = NULL;
    (void)state;
    json_t *config = json_pack("{s:s}", "server", "https://last");
    unsetenv("SEKS_SERVER");
    assert_int_equal(config_url(&args, config, &url), SEKS_OK);
    assert_string_equal(url, "https://last");
    free(url);
    setenv("SEKS_SERVER", "http://environment//", 1);
    assert_int_equal(config_url(&args, config, &url), SEKS_OK);
    assert_string_equal(url, "http://environment");
    free(url);
    args.option[OPT_SERVER] = "http://option";
    assert_int_equal(config_url(&args, config, &url), SEKS_OK);
    assert_string_equal(url, "http://option");
    free(url);
    args.option[OPT_SERVER] = "file:///etc/passwd";
    assert_int_equal(config_url(&args, config, &url), SEKS_USAGE);
    json_decref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dotenv_files_are_read),
        cmocka_unit_test(dotenv_stops_when_asked),
        cmocka_unit_test(templates_are_filled),
        cmocka_unit_test(a_providers_variables_are_added),
        cmocka_unit_test(a_variable_names_a_secret),
        cmocka_unit_test(credentials_are_known),
        cmocka_unit_test(environments_are_written),
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(lists_are_searched),
        cmocka_unit_test(lines_are_parsed),
        cmocka_unit_test(wrong_lines_are_refused),
        cmocka_unit_test(the_table_is_sound),
        cmocka_unit_test(files_are_kept_private),
        cmocka_unit_test(the_lock_is_exclusive),
        cmocka_unit_test(a_server_is_chosen),
    };
    return cmocka_run_group_tests(tests, make_home, remove_home);
}
