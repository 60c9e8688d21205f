/* test_sigv4.c - the signer against the published cases (SEKS_VECTORS/sigv4) and the examples of the
 * S3 documentation. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/crypto.h"
#include "services/proxy/sigv4.h"

enum { TEXT_MAX = 8192 };

static bool read_text(const char *folder, const char *name, char *room)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        return false;
    }
    size_t size = fread(room, 1, TEXT_MAX - 1, file);
    room[size] = 0;
    (void)fclose(file);
    return true;
}

static const char *text_of(const json_t *of, const char *name)
{
    return json_string_value(json_object_get(of, name));
}

static void derive(const char *secret, const struct sigv4_scope *scope, uint8_t key[32])
{
    char first[256];
    (void)snprintf(first, sizeof first, "AWS4%s", secret);
    const struct view steps[] = {view_of(scope->time, 8), scope->region, scope->service,
                                 VIEW("aws4_request")};
    struct view from = view_text(first);
    for (size_t i = 0; i < 4; i++) {
        uint8_t made[32];
        assert_int_equal(crypto_hmac(from, steps[i], made), STATUS_OK);
        memcpy(key, made, 32);
        from = view_of(key, 32);
    }
}

/* One published case, read from its raw request. */
struct sample {
    char text[TEXT_MAX];
    struct sigv4_request request;
    struct sigv4_header headers[32];
    struct buffer query;
    char time[SIGV4_TIME_SIZE], hash[SIGV4_HEX_SIZE];
};

static void add(struct sample *sample, struct view name, struct view value)
{
    sample->headers[sample->request.header_count++] = (struct sigv4_header){name, value};
}

static char *read_headers(struct sample *sample, char *at)
{
    while (at && *at && *at != '\n') {
        char *end = strchr(at, '\n'), *colon = strchr(at, ':');
        while (end && (end[1] == ' ' || end[1] == '\t')) { /* a folded line */
            end = strchr(end + 1, '\n');
        }
        struct view rest = view_of(colon + 1, end ? (size_t)(end - colon - 1) : strlen(colon + 1));
        add(sample, view_of(at, (size_t)(colon - at)), rest);
        at = end ? end + 1 : NULL;
    }
    return at && *at ? at + 1 : NULL;
}

static void read_request(struct sample *sample, const json_t *context)
{
    char *line_end = strchr(sample->text, '\n');
    char *space = strchr(sample->text, ' '), *last = line_end - strlen(" HTTP/1.1");
    char *query = memchr(space, '?', (size_t)(last - space));
    char *path_end = query ? query : last;
    sample->request.headers = sample->headers;
    sample->request.method = view_of(sample->text, (size_t)(space - sample->text));
    sample->request.path = view_of(space + 1, (size_t)(path_end - space - 1));
    if (query) {
        assert_int_equal(sigv4_query(view_of(query + 1, (size_t)(last - query - 1)),
                                     &sample->query), STATUS_OK);
    }
    sample->request.query = buffer_view(&sample->query);
    char *body = read_headers(sample, line_end + 1);
    const char *stamp = text_of(context, "timestamp");
    (void)snprintf(sample->time, sizeof sample->time, "%.4s%.2s%.5s%.2s%.3s", stamp, stamp + 5,
                   stamp + 8, stamp + 14, stamp + 17);
    (void)snprintf(sample->time + 11, 6, "%.2s%.3s", stamp + 14, stamp + 17);
    add(sample, VIEW("X-Amz-Date"), view_text(sample->time));
    const char *session = text_of(json_object_get(context, "credentials"), "token");
    if (session && !json_is_true(json_object_get(context, "omit_session_token"))) {
        add(sample, VIEW("X-Amz-Security-Token"), view_text(session));
    }
    assert_int_equal(sigv4_hash(view_text(body ? body : ""), sample->hash), STATUS_OK);
    sample->request.payload = view_text(sample->hash);
    if (json_is_true(json_object_get(context, "sign_body"))) {
        add(sample, VIEW("x-amz-content-sha256"), sample->request.payload);
    }
    sample->request.normalise = json_is_true(json_object_get(context, "normalize"));
    sample->request.encode_again = true;
}

static void run_case(const char *folder)
{
    static struct sample sample;
    static char wanted[TEXT_MAX];
    struct buffer canonical = BUFFER_EMPTY, names = BUFFER_EMPTY, string = BUFFER_EMPTY;
    struct buffer path = BUFFER_EMPTY;
    char signature[SIGV4_HEX_SIZE];
    uint8_t key[32] = {0};
    memset(&sample, 0, sizeof sample);
    assert_true(read_text(folder, "context.json", wanted));
    json_t *context = json_loads(wanted, 0, NULL);
    assert_non_null(context);
    assert_true(read_text(folder, "request.txt", sample.text));
    read_request(&sample, context);
    struct sigv4_scope scope = {.key = view_of(key, 32),
                                .region = view_text(text_of(context, "region")),
                                .service = view_text(text_of(context, "service"))};
    memcpy(scope.time, sample.time, sizeof scope.time);
    derive(text_of(json_object_get(context, "credentials"), "secret_access_key"), &scope, key);

    assert_int_equal(sigv4_canonical(&sample.request, &canonical, &names), STATUS_OK);
    assert_true(read_text(folder, "header-canonical-request.txt", wanted));
    buffer_append_byte(&canonical, 0);
    canonical.size--;
    assert_string_equal((const char *)canonical.data, wanted);
    assert_int_equal(sigv4_string(&scope, buffer_view(&canonical), &string), STATUS_OK);
    assert_true(read_text(folder, "header-string-to-sign.txt", wanted));
    assert_true(view_is(buffer_view(&string), wanted));
    assert_int_equal(sigv4_sign(&scope, buffer_view(&string), signature), STATUS_OK);
    assert_true(read_text(folder, "header-signature.txt", wanted));
    assert_string_equal(signature, wanted);

    /* The rules of S3: the path as it is, escaped once.  Where nothing is folded they agree. */
    sigv4_path(sample.request.path, &path);
    struct sigv4_request s3 = sample.request;
    s3.path = buffer_view(&path);
    s3.normalise = s3.encode_again = false;
    struct buffer other = BUFFER_EMPTY, other_names = BUFFER_EMPTY;
    assert_int_equal(sigv4_canonical(&s3, &other, &other_names), STATUS_OK);
    bool folded = strstr(folder, "-normalized") && !strstr(folder, "space-normalized");
    assert_int_equal(view_equal(buffer_view(&other), buffer_view(&canonical)), !folded);
    struct buffer *all[] = {&canonical, &names, &string, &path, &other, &other_names, &sample.query};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        buffer_free(all[i]);
    }
    json_decref(context);
}

static void test_published_cases(void **state)
{
    const char *vectors = getenv("SEKS_VECTORS");
    char root[2048], folder[4096];
    size_t count = 0;
    (void)state;
    if (!vectors) {
        skip();
    }
    (void)snprintf(root, sizeof root, "%s/sigv4/cases", vectors);
    DIR *cases = opendir(root);
    assert_non_null(cases);
    for (struct dirent *entry; (entry = readdir(cases));) {
        if (entry->d_name[0] != '.') {
            (void)snprintf(folder, sizeof folder, "%s/%s", root, entry->d_name);
            print_message("%s\n", entry->d_name);
            run_case(folder);
            count++;
        }
    }
    (void)closedir(cases);
    assert_int_equal(count, 38);
}

/* Amazon S3 API reference, "Examples: signature calculations". */
static const struct {
    const char *method, *path, *query, *payload;
    struct sigv4_header extra[4];
    const char *hash, *signature;
} examples[] = {
    {"GET", "/test.txt", "", SIGV4_EMPTY_HASH, {{VIEW("Range"), VIEW("bytes=0-9")}},
     "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972",
     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
    {"PUT", "/test$file.text", "", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
     {{VIEW("Date"), VIEW("Fri, 24 May 2013 00:00:00 GMT")},
      {VIEW("x-amz-storage-class"), VIEW("REDUCED_REDUNDANCY")}},
     "9e0e90d9c76de8fa5b200d8c849cd5b8dc7a3be3951ddb7f6a76b4158342019d",
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    {"GET", "/", "lifecycle", SIGV4_EMPTY_HASH, {{{0}, {0}}},
     "9766c798316ff2757b517bc739a67f6213b4ab36dd5da2f94eaebf79c77395ca",
     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
    {"GET", "/", "prefix=J&max-keys=2", SIGV4_EMPTY_HASH, {{{0}, {0}}},
     "df57d21db20da04d7fa30298dd4488ba3a2b47ca3a489c74750e0f1e7df1b9b7",
     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};

static void test_s3_examples(void **state)
{
    uint8_t key[32] = {0};
    struct sigv4_scope scope = {.key = view_of(key, 32), .region = VIEW("us-east-1"),
                                .service = VIEW("s3"), .time = "20130524T000000Z"};
    (void)state;
    derive("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &scope, key);
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        struct buffer path = BUFFER_EMPTY, query = BUFFER_EMPTY, canonical = BUFFER_EMPTY;
        struct buffer names = BUFFER_EMPTY, string = BUFFER_EMPTY;
        struct sigv4_header headers[8] = {
            {VIEW("Host"), VIEW("examplebucket.s3.amazonaws.com")},
            {VIEW("x-amz-date"), VIEW("20130524T000000Z")},
            {VIEW("x-amz-content-sha256"), view_text(examples[i].payload)}};
        struct sigv4_request request = {.method = view_text(examples[i].method),
                                        .headers = headers, .header_count = 3,
                                        .payload = view_text(examples[i].payload)};
        char hex[SIGV4_HEX_SIZE];
        for (size_t j = 0; j < 4 && examples[i].extra[j].name.size; j++) {
            headers[request.header_count++] = examples[i].extra[j];
        }
        sigv4_path(view_text(examples[i].path), &path);
        assert_int_equal(sigv4_query(view_text(examples[i].query), &query), STATUS_OK);
        request.path = buffer_view(&path);
        request.query = buffer_view(&query);
        assert_int_equal(sigv4_canonical(&request, &canonical, &names), STATUS_OK);
        assert_int_equal(sigv4_hash(buffer_view(&canonical), hex), STATUS_OK);
        assert_string_equal(hex, examples[i].hash);
        assert_int_equal(sigv4_string(&scope, buffer_view(&canonical), &string), STATUS_OK);
        assert_int_equal(sigv4_sign(&scope, buffer_view(&string), hex), STATUS_OK);
        assert_string_equal(hex, examples[i].signature);
        struct buffer *all[] = {&path, &query, &canonical, &names, &string};
        for (size_t j = 0; j < sizeof all / sizeof all[0]; j++) {
            buffer_free(all[j]);
        }
    }
}

/* "Authenticating Requests: Using Query Parameters": the broker makes no such URL, but its canonical
 * form is the same function's. */
static void test_presigned_example(void **state)
{
    uint8_t key[32] = {0};
    char hex[SIGV4_HEX_SIZE];
    struct buffer query = BUFFER_EMPTY, canonical = BUFFER_EMPTY, names = BUFFER_EMPTY;
    struct buffer string = BUFFER_EMPTY;
    struct sigv4_scope scope = {.key = view_of(key, 32), .region = VIEW("us-east-1"),
                                .service = VIEW("s3"), .time = "20130524T000000Z"};
    const struct sigv4_header host = {VIEW("host"), VIEW("examplebucket.s3.amazonaws.com")};
    (void)state;
    derive("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &scope, key);
    assert_int_equal(
        sigv4_query(VIEW("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE/"
                         "20130524/us-east-1/s3/aws4_request&X-Amz-Date=20130524T000000Z&"
                         "X-Amz-Expires=86400&X-Amz-SignedHeaders=host"), &query), STATUS_OK);
    const struct sigv4_request request = {.method = VIEW("GET"), .path = VIEW("/test.txt"),
                                          .query = buffer_view(&query), .headers = &host,
                                          .header_count = 1, .payload = VIEW("UNSIGNED-PAYLOAD")};
    assert_int_equal(sigv4_canonical(&request, &canonical, &names), STATUS_OK);
    assert_int_equal(sigv4_hash(buffer_view(&canonical), hex), STATUS_OK);
    assert_string_equal(hex, "3bfa292879f6447bbcda7001decf97f4a54dc650c8942174ae0a9121cf58ad04");
    assert_int_equal(sigv4_string(&scope, buffer_view(&canonical), &string), STATUS_OK);
    assert_int_equal(sigv4_sign(&scope, buffer_view(&string), hex), STATUS_OK);
    assert_string_equal(hex, "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
    struct buffer *all[] = {&query, &canonical, &names, &string};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        buffer_free(all[i]);
    }
}

static void test_queries(void **state)
{
    static const char *const rows[][2] = {
        {"", ""}, {"a", "a="}, {"b=2&a=1", "a=1&b=2"}, {"a=2&a=1", "a=1&a=2"},
        {"a=x+y&&c=%2f", "a=x%20y&c=%2F"}, {"a=1=2", "a=1%3D2"}, {"%zz=%4", "%25zz=%254"},
        {"a-b=1&a=2", "a=2&a-b=1"}, {"A=1&a=0", "A=1&a=0"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buffer made = BUFFER_EMPTY;
        assert_int_equal(sigv4_query(view_text(rows[i][0]), &made), STATUS_OK);
        assert_true(view_is(buffer_view(&made), rows[i][1]));
        buffer_free(&made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_cases),
        cmocka_unit_test(test_s3_examples),
        cmocka_unit_test(test_presigned_example),
        cmocka_unit_test(test_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
