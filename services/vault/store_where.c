/* store_where.c - from the option --store to what store_open() takes, with what it may not be.
 *
 * A password is never on a command line, and a connection that leaves the host is checked both ways
 * (sslmode=verify-full) unless the operator says that it need not be.
 */
#include "pg.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/keyfile.h"

enum { WHERE_MAX = 4096, PATH_BYTES = 4096, DEFAULT_PORT = 5432 };

/* ---- hosts ---- */

/* Calls FN for each of the comma-separated items of TEXT (one empty item, when it is empty) until that
 * yields false; whether none did. */
static bool each_item(const char *text, bool (*fn)(void *arg, const char *item), void *arg)
{
    char item[256];
    for (;;) {
        size_t size = strcspn(text, ",");
        if (!view_copy(view_of(text, size), item, sizeof item) || !fn(arg, item)) {
            return false;
        }
        if (!text[size]) {
            return true;
        }
        text += size + 1;
    }
}

static bool is_local(void *arg, const char *host)
{
    (void)arg;
    return host[0] == 0 || host[0] == '/' || host[0] == '@' || strcmp(host, "localhost") == 0 ||
           strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

static bool is_socket(void *arg, const char *host)
{
    (void)arg;
    return host[0] == 0 || host[0] == '/' || host[0] == '@';
}

static bool is_address(void *arg, const char *host)
{
    struct in6_addr address;
    return is_socket(arg, host) || inet_pton(AF_INET, host, &address) == 1 ||
           inet_pton(AF_INET6, host, &address) == 1;
}

/* hostaddr, where it is given, is what is connected to. */
static const char *hosts(const PQconninfoOption *options)
{
    const char *addresses = pg_parameter(options, "hostaddr");
    return addresses[0] ? addresses : pg_parameter(options, "host");
}

/* ---- what may be asked for ---- */

static enum status refuse(const char *why)
{
    log_error("store", "--store: %s", why);
    return STATUS_INVALID;
}

static enum status check(const PQconninfoOption *options, bool on_command_line, bool allow_insecure)
{
    if (on_command_line && pg_parameter(options, "password")[0]) {
        return refuse("a password is seen by everybody on a command line: put the URL into a file of "
                      "mode 0400 and give its name, or name a passfile in it (passfile=FILE)");
    }
    if (!pg_parameter(options, "user")[0]) {
        return refuse("the URL names no user (postgres://USER@HOST/DATABASE)");
    }
    if (pg_parameter(options, "service")[0]) {
        return refuse("service files are not read: give host, user and dbname");
    }
    bool verified = strcmp(pg_parameter(options, "sslmode"), "verify-full") == 0;
    if (!verified && !allow_insecure && !each_item(hosts(options), is_local, NULL)) {
        return refuse("a database on another host needs sslmode=verify-full (and sslrootcert=FILE); "
                      "--store-allow-insecure does without");
    }
    return STATUS_OK;
}

static enum status check_text(const char *where, bool on_command_line, bool allow_insecure)
{
    char *why = NULL;
    PQconninfoOption *options = pg_parameters(where, &why);
    enum status status = options ? check(options, on_command_line, allow_insecure)
                                 : refuse(why ? why : "it is malformed");
    PQconninfoFree(options);
    PQfreemem(why);
    return status;
}

static enum status from_file(const char *path, struct buffer *ret_where)
{
    CLEANUP(buffer_wipe) struct buffer text = BUFFER_EMPTY;
    enum status status = keyfile_read_text(path, WHERE_MAX, &text);
    if (status != STATUS_OK) {
        return status;
    }
    while (text.size && strchr(" \t\r\n", text.data[text.size - 1])) {
        text.size--;
    }
    bool url = view_starts(buffer_view(&text), "postgres://") ||
               view_starts(buffer_view(&text), "postgresql://");
    if (!text.size || memchr(text.data, 0, text.size) || (!url && !memchr(text.data, '=', text.size))) {
        return refuse("the file holds neither a URL nor parameters (host=... user=... dbname=...)");
    }
    buffer_append_text(ret_where, url ? "" : "conninfo:");
    buffer_append_view(ret_where, buffer_view(&text));
    return STATUS_OK;
}

enum status store_where(const char *data, const char *option, bool allow_insecure, char **ret_where)
{
    CLEANUP(buffer_wipe) struct buffer where = BUFFER_EMPTY;
    bool url = option && store_is_remote(option);
    enum status status = STATUS_OK;
    if (!option) {
        buffer_append_text(&where, data);
        buffer_append_text(&where, "/vault.db");
    } else if (url) {
        buffer_append_text(&where, option);
    } else {
        status = from_file(option, &where);
    }
    buffer_append_byte(&where, 0);
    if (status == STATUS_OK && where.failed) {
        status = STATUS_INTERNAL;
    }
    if (status == STATUS_OK && option) {
        status = check_text((const char *)where.data, url, allow_insecure);
    }
    if (status == STATUS_OK) {
        *ret_where = (char *)where.data;
        where = BUFFER_EMPTY;
    }
    return status;
}

const char *store_title(const char *where)
{
    return store_is_remote(where) ? "the PostgreSQL database" : where;
}

void store_describe(const char *where, char *ret)
{
    PQconninfoOption *options = store_is_remote(where) ? pg_parameters(where, NULL) : NULL;
    if (!options) {
        (void)snprintf(ret, MOVED_MAX, "%.*s", (int)MOVED_MAX - 1, where);
        return;
    }
    (void)snprintf(ret, MOVED_MAX, "the PostgreSQL database %.60s of %.120s",
                   pg_parameter(options, "dbname"), pg_parameter(options, "host"));
    PQconninfoFree(options);
}

/* ---- confinement ---- */

static bool connect_port(void *arg, const char *port)
{
    unsigned long number = port[0] ? strtoul(port, NULL, 10) : DEFAULT_PORT;
    confine_connect_tcp(arg, (uint16_t)number);
    return true;
}

/* The next connection is made by a thread, which may be begun after the filter is on. */
void store_confine(struct confinement *confinement, const char *where)
{
    static const char *const files[] = {"passfile", "sslrootcert", "sslcert", "sslkey", "sslcrl"};
    PQconninfoOption *options = store_is_remote(where) ? pg_parameters(where, NULL) : NULL;
    if (!options) {
        return;
    }
    confine_threads(confinement);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const char *path = pg_parameter(options, files[i]);
        confine_read(confinement, path[0] ? path : NULL);
    }
    if (!each_item(hosts(options), is_socket, NULL)) {
        (void)each_item(pg_parameter(options, "port"), connect_port, confinement); /* never false */
    }
    if (!each_item(hosts(options), is_address, NULL)) {
        confine_resolve(confinement);
    }
    PQconninfoFree(options);
}
