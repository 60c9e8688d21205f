/* broker.c - the HTTP contract as a client: one question, one JSON answer, by libcurl.
 *
 * The account key goes to the one URL that was named and nowhere else: no redirect is followed.
 * Whatever libcurl gives back is zeroed, because its buffers held the key and what was sent. */
#include "cli/cli.h"

#include <curl/curl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MAX = 16 << 20 }; /* the longest is 1000 audit records, under 2 KiB each */
enum { CONNECT_S = 10, WHOLE_S = 90 };

struct broker {
    CURL *curl;
    char *url;
    struct secret *key; /* NULL when none is needed */
    char csrf[128];
    char error[CURL_ERROR_SIZE + 256]; /* of the last question */
    char problem[CURL_ERROR_SIZE];
    CURLcode code;
};

/* ---- memory that is wiped ---- */

static void wiping_free(void *memory)
{
    if (memory) {
        explicit_bzero(memory, malloc_usable_size(memory));
        free(memory);
    }
}

static void *wiping_realloc(void *memory, size_t size)
{
    size_t there = memory ? malloc_usable_size(memory) : 0;
    void *moved = malloc(size ? size : 1);
    if (moved && memory) {
        memcpy(moved, memory, there < size ? there : size);
        wiping_free(memory);
    }
    return moved;
}

/* ---- one that is ready to be asked ---- */

static bool set_options(struct broker *broker, const char *ca_file)
{
    CURL *curl = broker->curl;
    bool tls = strncmp(broker->url, "https://", 8) == 0;
    CURLcode code = curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    code |= curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    code |= curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    code |= curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    code |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    code |= curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    code |= curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)WHOLE_S);
    code |= curl_easy_setopt(curl, CURLOPT_USERAGENT, "seks/" SEKS_VERSION);
    code |= curl_easy_setopt(curl, CURLOPT_COOKIEFILE, ""); /* in memory: logging in needs one */
    code |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, broker->problem);
    if (!tls) { /* a proxy would read the key; over TLS it only sees the name */
        code |= curl_easy_setopt(curl, CURLOPT_PROXY, "");
    }
    if (ca_file && *ca_file) {
        code |= curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
    }
    return code == CURLE_OK;
}

static int find_key(struct broker *broker, json_t *config, enum need need)
{
    const char *key = getenv("SEKS_ACCOUNT_KEY");
    if (!key || !*key) {
        key = text_at(config_server(config, broker->url), "key");
    }
    if (!key && need == NEED_ANY) {
        return SEKS_OK;
    }
    if (!key) {
        return fail(SEKS_LOGIN, "run: seks login (or seks signup)", "not logged in to %s",
                    broker->url);
    }
    broker->key = secret_new(key, strlen(key));
    return broker->key ? SEKS_OK : fail(SEKS_FAILED, NULL, "no memory");
}

int broker_open(const struct args *args, enum need need, struct broker **ret)
{
    const char *ca_file = args->option[OPT_CA_FILE];
    json_t *config = NULL;
    struct broker *broker = calloc(1, sizeof *broker);
    int status = broker ? files_load("config.json", &config) : SEKS_FAILED;
    if (status == SEKS_OK) {
        status = config_url(args, config, &broker->url);
    }
    if (status == SEKS_OK && need != NEED_NOTHING) {
        status = find_key(broker, config, need);
    }
    json_decref(config);
    if (status == SEKS_OK) {
        (void)curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free, wiping_realloc, strdup,
                                   calloc);
        broker->curl = curl_easy_init();
        if (!broker->curl || !set_options(broker, ca_file ? ca_file : getenv("SEKS_CA_FILE"))) {
            status = fail(SEKS_FAILED, NULL, "libcurl cannot be set up");
        }
    }
    if (status != SEKS_OK) {
        broker_close(&broker);
    }
    *ret = broker;
    return status;
}

void broker_close(struct broker **broker_at)
{
    struct broker *broker = *broker_at;
    *broker_at = NULL;
    if (!broker) {
        return;
    }
    if (broker->curl) {
        curl_easy_cleanup(broker->curl);
        curl_global_cleanup();
    }
    secret_free(&broker->key);
    free(broker->url);
    explicit_bzero(broker, sizeof *broker);
    free(broker);
}

const char *broker_url(const struct broker *broker)
{
    return broker->url;
}

bool broker_has_key(const struct broker *broker)
{
    return broker->key != NULL;
}

const char *broker_error(const struct broker *broker)
{
    return broker->error;
}

int broker_use_key(struct broker *broker, const char *key)
{
    (void)curl_easy_setopt(broker->curl, CURLOPT_COOKIELIST, "ALL"); /* forgets them */
    broker->csrf[0] = '\0';
    secret_free(&broker->key);
    broker->key = key ? secret_new(key, strlen(key)) : NULL;
    return broker->key ? SEKS_OK : fail(SEKS_FAILED, NULL, "no memory");
}

void broker_csrf(struct broker *broker, const char *csrf)
{
    snprintf(broker->csrf, sizeof broker->csrf, "%s", csrf ? csrf : "");
}

/* ---- one question ---- */

static size_t keep_answer(char *data, size_t size, size_t count, void *context)
{
    struct buffer *answer = context;
    buffer_append(answer, data, size * count);
    return answer->failed ? 0 : size * count;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, struct view value)
{
    struct buffer line = BUFFER_EMPTY;
    buffer_append_text(&line, name);
    buffer_append_view(&line, value);
    buffer_append_byte(&line, 0);
    struct curl_slist *grown =
        line.failed ? NULL : curl_slist_append(list, (const char *)line.data);
    buffer_wipe(&line);
    return grown ? grown : list;
}

static struct curl_slist *headers(const struct broker *broker, bool has_body)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    if (has_body) {
        list = add_header(list, "Content-Type: ", VIEW("application/json"));
    }
    if (broker->key) {
        list = add_header(list, "Authorization: Bearer ", secret_view(broker->key));
    }
    if (broker->csrf[0]) {
        list = add_header(list, "X-CSRF-Token: ", view_text(broker->csrf));
    }
    return list;
}

/* The HTTP status, 0 for none; what came is in ANSWER. */
static int perform(struct broker *broker, const char *method, const char *url, const char *body,
                   struct curl_slist *list, struct buffer *answer)
{
    CURL *curl = broker->curl;
    long http = 0;
    CURLcode code = curl_easy_setopt(curl, CURLOPT_URL, url);
    code |= curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    code |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_answer);
    code |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    code |= curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L); /* forgets the last body */
    if (body) {
        code |= curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        code |= curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    }
    code |= curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    broker->problem[0] = '\0';
    broker->code = code == CURLE_OK ? curl_easy_perform(curl) : code;
    if (broker->code == CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http);
    }
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, NULL);
    return (int)http;
}

/* The sentence for an answer that is no success. */
static void explain(struct broker *broker, int http, const json_t *answer)
{
    const char *error = text_at(answer, "error");
    if (http == 0) {
        snprintf(broker->error, sizeof broker->error, "%s does not answer: %s", broker->url,
                 broker->problem[0] ? broker->problem : curl_easy_strerror(broker->code));
    } else if (error) {
        snprintf(broker->error, sizeof broker->error, "%s", error);
    } else {
        snprintf(broker->error, sizeof broker->error, "%s answered %d, and not as a SEKS broker does",
                 broker->url, http);
    }
}

static int ask_with(struct broker *broker, const char *method, const char *path, const char *body,
                    json_t **ret)
{
    CLEANUP(buffer_wipe) struct buffer answer = {NULL, 0, 0, ANSWER_MAX, false};
    CLEANUP(buffer_free) struct buffer url = BUFFER_EMPTY;
    buffer_printf(&url, "%s%s", broker->url, path);
    buffer_append_byte(&url, 0);
    if (url.failed) {
        return 0;
    }
    struct curl_slist *list = headers(broker, body != NULL);
    int http = perform(broker, method, (const char *)url.data, body, list, &answer);
    curl_slist_free_all(list);
    json_t *json = json_loadb((const char *)answer.data, answer.size, 0, NULL);
    if (http / 100 != 2 || !json_is_object(json)) {
        explain(broker, http, json);
        json_decref(json);
        return http / 100 == 2 ? 0 : http;
    }
    if (ret) {
        *ret = json;
    } else {
        json_decref(json);
    }
    return http;
}

int broker_ask(struct broker *broker, const char *method, const char *path, json_t *body,
               json_t **ret)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (body && !text) {
        json_decref(body);
        snprintf(broker->error, sizeof broker->error, "no memory");
        return 0;
    }
    json_decref(body);
    int http = ask_with(broker, method, path, text, ret);
    if (text) {
        explicit_bzero(text, strlen(text));
    }
    free(text);
    return http;
}

/* ---- what an answer means ---- */

static const struct {
    int http, status;
    const char *next;
} meanings[] = {
    {0, SEKS_AWAY, "start it with ./run, or name another with --server"},
    {401, SEKS_LOGIN, "log in again: seks login"},
    {404, SEKS_MISSING, NULL},
    {429, SEKS_FAILED, "wait a moment, then try again"},
    {502, SEKS_AWAY, "try again in a few seconds; seks doctor tells more"},
    {503, SEKS_AWAY, "try again in a few seconds; seks doctor tells more"},
};

int broker_tell(struct broker *broker, int http)
{
    bool certificate = broker->code == CURLE_PEER_FAILED_VERIFICATION;
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].http == http) {
            return fail(meanings[i].status,
                        http == 0 && certificate ? "trust its authority with --ca-file"
                                                 : meanings[i].next,
                        "%s", broker->error);
        }
    }
    return fail(SEKS_FAILED, NULL, "%s", broker->error);
}

int broker_call(struct broker *broker, const char *method, const char *path, json_t *body,
                json_t **ret)
{
    int http = broker_ask(broker, method, path, body, ret);
    return http / 100 == 2 ? SEKS_OK : broker_tell(broker, http);
}

int broker_path(struct broker *broker, char *ret, size_t size, const char *path, const char *name,
                const char *more)
{
    char *coded = curl_easy_escape(broker->curl, name, 0);
    int used = coded && *coded ? snprintf(ret, size, "%s/%s%s", path, coded, more) : -1;
    curl_free(coded);
    return used > 0 && (size_t)used < size ? SEKS_OK
                                           : fail(SEKS_USAGE, NULL, "\"%s\" cannot be a name", name);
}

/* ---- a call through the broker, for doctor ---- */

/* The broker's own refusals are RFC 9457 objects; a provider would have to imitate one. */
static bool is_own(struct broker *broker, int http)
{
    char *type = NULL;
    (void)curl_easy_getinfo(broker->curl, CURLINFO_CONTENT_TYPE, &type);
    return http == 0 || (type && strncmp(type, "application/problem+json", 24) == 0);
}

int broker_probe(struct broker *broker, const char *url, const char *token, bool *ret_own)
{
    CLEANUP(buffer_wipe) struct buffer answer = {NULL, 0, 0, ANSWER_MAX, false};
    struct curl_slist *list = add_header(NULL, "Authorization: Bearer ", view_text(token));
    int http = perform(broker, "GET", url, NULL, list, &answer);
    *ret_own = is_own(broker, http);
    curl_slist_free_all(list);
    json_t *json = json_loadb((const char *)answer.data, answer.size, 0, NULL);
    const char *detail = text_at(json, "detail");
    snprintf(broker->error, sizeof broker->error, "%s",
             http == 0 ? curl_easy_strerror(broker->code) : detail ? detail : "");
    json_decref(json);
    return http;
}
