/* simple.c - what every list and every delete has in common. */
#include "cli/cli.h"

enum { PATH_BYTES = 512 };

int list_command(const struct args *args, const char *path, const char *member, print_fn *print)
{
    struct broker *broker = NULL;
    json_t *answer = NULL;
    int status = broker_open(args, NEED_KEY, &broker);
    if (status == SEKS_OK) {
        status = broker_call(broker, "GET", path, NULL, &answer);
    }
    if (status == SEKS_OK && out_is_json()) {
        status = out_json(answer);
    } else if (status == SEKS_OK) {
        print(json_object_get(answer, member));
    }
    json_decref(answer);
    broker_close(&broker);
    return status;
}

int delete_command(const struct args *args, const char *path, const char *name, const char *done)
{
    char whole[PATH_BYTES];
    struct broker *broker = NULL;
    json_t *answer = NULL;
    int status = broker_open(args, NEED_KEY, &broker);
    if (status == SEKS_OK) {
        status = broker_path(broker, whole, sizeof whole, path, name, "");
    }
    if (status == SEKS_OK) {
        status = broker_call(broker, "DELETE", whole, NULL, &answer);
    }
    status = finish(status, answer, "%s %s", done, name);
    json_decref(answer);
    broker_close(&broker);
    return status;
}
