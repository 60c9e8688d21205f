/* catalog.c - writes the providers with this broker's own addresses; knows none by name. */
#include "services/gateway/catalog.h"

#include <stdio.h>
#include <string.h>

void json_append_utf8(struct buffer *json, struct view text)
{
    buffer_append_byte(json, '"');
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte == '"' || byte == '\\') {
            buffer_append_byte(json, '\\');
        }
        if (byte < 0x20) {
            buffer_printf(json, "\\u%04x", byte);
        } else {
            buffer_append_byte(json, byte);
        }
    }
    buffer_append_byte(json, '"');
}

static void append_list(struct buffer *json, const char *name, const char **list)
{
    buffer_printf(json, ",\"%s\":[", name);
    for (const char **at = list; at && *at; at++) {
        buffer_append_text(json, at == list ? "" : ",");
        json_append_utf8(json, view_text(*at));
    }
    buffer_append_text(json, "]");
}

/* As they stand in the table: whoever shows them has the token. */
static void append_texts(struct buffer *json, const char *name, const struct provider_text *texts,
                         size_t count)
{
    buffer_printf(json, ",\"%s\":{", name);
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(json, i ? "," : "");
        json_append_utf8(json, view_text(texts[i].name));
        buffer_append_byte(json, ':');
        json_append_utf8(json, view_text(texts[i].text));
    }
    buffer_append_text(json, "}");
}

static void base_url(const struct provider *provider, char *url, size_t size)
{
    snprintf(url, size, "%s/api/%s%s", config.public_url, provider->name,
             provider->base_url_suffix ? provider->base_url_suffix : "");
}

/* The example with {base_url} and {token} filled in. */
static void append_example(struct buffer *json, const struct provider *provider)
{
    CLEANUP(buffer_free) struct buffer text = BUFFER_EMPTY;
    char url[2 * URL_MAX], token[64];
    const char *at = provider->example ? provider->example : "";
    base_url(provider, url, sizeof url);
    snprintf(token, sizeof token, "seks_%s_...", provider->name);
    while (*at) {
        if (strncmp(at, "{base_url}", 10) == 0) {
            buffer_append_text(&text, url);
            at += 10;
        } else if (strncmp(at, "{token}", 7) == 0) {
            buffer_append_text(&text, token);
            at += 7;
        } else {
            buffer_append_byte(&text, (uint8_t)*at++);
        }
    }
    json_append_utf8(json, buffer_view(&text));
}

void catalog_write(struct buffer *json)
{
    char url[2 * URL_MAX];
    buffer_append_text(json, "{\"ok\":true,\"version\":\"" SEKS_VERSION "\",\"providers\":[");
    for (size_t i = 0; i < providers_count(config.providers); i++) {
        const struct provider *provider = providers_at(config.providers, i);
        base_url(provider, url, sizeof url);
        buffer_append_text(json, i ? ",{\"name\":" : "{\"name\":");
        json_append_utf8(json, view_text(provider->name));
        buffer_append_text(json, ",\"title\":");
        json_append_utf8(json, view_text(provider->title));
        append_list(json, "aliases", provider->aliases);
        append_list(json, "secrets", provider->secrets);
        append_list(json, "optional_secrets", provider->optional_secrets);
        buffer_append_text(json, ",\"base_url\":");
        json_append_utf8(json, view_text(url));
        buffer_append_text(json, ",\"example\":");
        append_example(json, provider);
        append_texts(json, "env", provider->env, provider->env_count);
        append_list(json, "hidden_env", provider->hidden_env);
        append_texts(json, "snippets", provider->snippets, provider->snippet_count);
        buffer_append_text(json, ",\"test_path\":");
        json_append_utf8(json, view_text(provider->test_path));
        buffer_append_text(json, "}");
    }
    buffer_append_text(json, "]}");
}
