/* sign_lines.c - for test_aws_differential.py: each line of standard input is a request as JSON
 * ({"method","target","headers":[[name,value],...],"body","date","key"}), each line of standard output
 * what the proxy would send for it ({"status","url","headers":["name: value",...]}). */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/proxy/request.h"

static const char *text(const json_t *of, const char *name)
{
    const char *found = json_string_value(json_object_get(of, name));
    return found ? found : "";
}

static struct list header_list(const json_t *headers, struct buffer *rows)
{
    struct list list = {0};
    for (size_t i = 0; i < json_array_size(headers); i++) {
        const json_t *pair = json_array_get(headers, i);
        const struct header_row row = {view_text(json_string_value(json_array_get(pair, 0))),
                                       view_text(json_string_value(json_array_get(pair, 1)))};
        if (proto_list_add(&header_row_schema, &row, rows, &list) != STATUS_OK) {
            exit(1);
        }
    }
    return list;
}

static struct list credential_list(const json_t *line, struct buffer *rows)
{
    struct list list = {0};
    uint8_t key[32];
    for (size_t i = 0; i < sizeof key; i++) {
        const char pair[3] = {text(line, "key")[2 * i], text(line, "key")[2 * i + 1], 0};
        key[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    const struct grant_row parts[] = {{VIEW("AWS_ACCESS_KEY_ID"), view_text(text(line, "id"))},
                                      {VIEW("signing-key"), view_of(key, sizeof key)},
                                      {VIEW("date"), view_text(text(line, "date"))}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (proto_list_add(&grant_row_schema, &parts[i], rows, &list) != STATUS_OK) {
            exit(1);
        }
    }
    return list;
}

static void answer(enum status status, const struct request *request)
{
    json_t *headers = json_array();
    for (const struct curl_slist *at = request->headers; at; at = at->next) {
        json_array_append_new(headers, json_stringn_nocheck(at->data, strlen(at->data)));
    }
    const char *url = request->url.data ? (const char *)request->url.data : "";
    json_t *root = json_pack("{s:s, s:s, s:o}", "status", status_name(status), "url", url, "headers",
                             headers);
    json_dumpf(root, stdout, JSON_COMPACT);
    (void)putchar('\n');
    json_decref(root);
}

static void run(const struct provider *provider, const json_t *line)
{
    CLEANUP(buffer_free) struct buffer headers = BUFFER_EMPTY;
    CLEANUP(buffer_free) struct buffer credentials = BUFFER_EMPTY;
    struct view body = view_text(text(line, "body"));
    struct request request = {0};
    const char *why;
    const struct proxy_call message = {
        .method = view_text(text(line, "method")),
        .target = view_text(text(line, "target")),
        .headers = header_list(json_object_get(line, "headers"), &headers),
        .body_size = body.size,
        .end = true,
    };
    enum status status = request_build(provider, &message, credential_list(line, &credentials),
                                       body, NULL, &request, &why);
    answer(status, &request);
    request_wipe(&request);
}

int main(void)
{
    struct providers *table = NULL;
    const char *why = NULL;
    if (providers_load(NULL, &table, &why) != STATUS_OK) {
        return 1;
    }
    for (json_t *line; (line = json_loadf(stdin, JSON_DISABLE_EOF_CHECK, NULL)); json_decref(line)) {
        run(providers_find(table, VIEW("aws")), line);
    }
    providers_free(&table);
    return 0;
}
