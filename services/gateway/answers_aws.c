/* answers_aws.c - errors of the broker's own for callers that sign as AWS clients do.
 *
 * Their SDKs choose the exception by a code, which S3 puts in XML, services with forms in other XML,
 * and the rest in JSON and a header.  Codes are those of "Error responses" in the S3 API reference and
 * "Common errors" in the references of the others. */
#include "services/gateway/gateway.h"

#include <string.h>

static const struct row {
    unsigned http;
    const char *objects, *form, *json;
} rows[] = {
    {400, "InvalidRequest", "ValidationError", "ValidationException"},
    {401, "InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"},
    {403, "AccessDenied", "AccessDenied", "AccessDeniedException"},
    {405, "MethodNotAllowed", "InvalidAction", "ValidationException"},
    {408, "RequestTimeout", "RequestTimeout", "RequestTimeoutException"},
    {409, "OperationAborted", "ConcurrentAccess", "ConflictException"},
    {411, "MissingContentLength", "ValidationError", "ValidationException"},
    {413, "EntityTooLarge", "RequestEntityTooLarge", "RequestTooLargeException"},
    {414, "InvalidURI", "ValidationError", "ValidationException"},
    {429, "SlowDown", "Throttling", "ThrottlingException"},
    {431, "RequestHeaderSectionTooLarge", "ValidationError", "ValidationException"},
    {500, "InternalError", "InternalFailure", "InternalServerException"},
    {501, "NotImplemented", "InvalidAction", "ValidationException"},
    {502, "BadGateway", "BadGateway", "BadGatewayException"},
    {503, "ServiceUnavailable", "ServiceUnavailable", "ServiceUnavailableException"},
    {504, "GatewayTimeout", "GatewayTimeout", "GatewayTimeoutException"},
    {507, "InternalError", "InternalFailure", "InternalServerException"},
};

bool aws_caller(const struct visit *visit)
{
    struct view authorization = visit_header(visit, "Authorization");
    return visit->target && strncmp(visit->target, "/api/", 5) == 0 &&
           (view_starts(authorization, "AWS4-HMAC-SHA256") || view_starts(authorization, "AWS ") ||
            strstr(visit->target, "X-Amz-Credential=") || strstr(visit->target, "AWSAccessKeyId="));
}

/* Whether the service speaks S3's XML: so its row signs it, and so a target that names none. */
static bool is_objects(const struct visit *visit)
{
    struct view name, rest;
    if (!target_provider(view_text(visit->target), &name, &rest)) {
        return true;
    }
    const struct provider *provider = providers_find(config.providers, name);
    const struct auth_rule *rule = provider ? provider_auth(provider, rest) : NULL;
    for (size_t i = 0; rule && i < rule->service_count; i++) {
        const struct auth_service *service = &rule->services[i];
        size_t size = strlen(service->name);
        if (rest.size > size && memcmp(rest.data + 1, service->name, size) == 0 &&
            (rest.size == size + 1 || rest.data[size + 1] == '/')) {
            return strcmp(service->sign_as, "s3") == 0;
        }
    }
    return true;
}

static void append_xml_text(struct buffer *xml, struct view text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte == '<' || byte == '>' || byte == '&' || byte < 0x20 || byte >= 0x7f) {
            buffer_printf(xml, "&#%u;", byte < 0x20 ? 0x20u : (unsigned)byte);
        } else {
            buffer_append_byte(xml, byte);
        }
    }
}

static void append_xml(struct buffer *xml, const char *code, struct view detail)
{
    buffer_printf(xml, "<Code>%s</Code><Message>", code);
    append_xml_text(xml, detail);
    buffer_append_text(xml, "</Message>");
}

static const struct row *find_row(unsigned http)
{
    const size_t count = sizeof rows / sizeof rows[0];
    for (size_t i = 0; i < count; i++) {
        if (rows[i].http == http) {
            return &rows[i];
        }
    }
    return http < 500 ? &rows[0] : &rows[count - 1];
}

struct aws_error aws_error(const struct visit *visit, unsigned http, struct view detail,
                           struct buffer *ret_body)
{
    static const char *const prolog = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    /* A key that is not stored is not an object that is not there: a client that syncs would believe
     * the latter. */
    http = http == 404 ? 403 : http;
    const struct row *row = find_row(http);
    if (is_objects(visit)) {
        buffer_printf(ret_body, "%s<Error>", prolog);
        append_xml(ret_body, row->objects, detail);
        buffer_printf(ret_body, "<RequestId>%s</RequestId></Error>", visit->request);
        return (struct aws_error){http, "application/xml", NULL};
    }
    if (view_starts(visit_header(visit, "Content-Type"), "application/x-www-form-urlencoded")) {
        buffer_printf(ret_body, "%s<ErrorResponse><Error><Type>%s</Type>", prolog,
                      http < 500 ? "Sender" : "Receiver");
        append_xml(ret_body, row->form, detail);
        buffer_printf(ret_body, "</Error><RequestId>%s</RequestId></ErrorResponse>", visit->request);
        return (struct aws_error){http, "text/xml", NULL};
    }
    buffer_printf(ret_body, "{\"__type\":\"%s\",\"message\":", row->json);
    json_append_text(ret_body, detail);
    buffer_append_text(ret_body, "}");
    return (struct aws_error){http, "application/json", row->json};
}
