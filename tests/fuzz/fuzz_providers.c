/* Any bytes as the operator's provider file: refused with a sentence, or a table that answers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/providers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct provider *provider)
{
    static const char *const targets[] = {"/", "/v1/x?a=b", "/v1/%2e%2e/y", "/a/b/c/permissions"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        struct buffer target = BUFFER_EMPTY;
        struct view text = view_text(targets[i]);
        if (provider_target(provider, text, &target) == STATUS_OK) {
            (void)provider_auth(provider, buffer_view(&target));
        }
        buffer_free(&target);
    }
    if (!provider->name || !provider->origin || provider->connect_ms == 0) {
        abort();
    }
    if (strncmp(provider->origin, "https://", 8) != 0 && !provider->allow_insecure) {
        abort(); /* a key would travel in the clear */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[64];
    static int fd = -1;
    struct providers *providers = NULL;
    const char *why = NULL;
    if (fd < 0) {
        fd = memfd_create("providers", MFD_CLOEXEC);
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size) {
        abort();
    }
    if (providers_load(path, &providers, &why) != STATUS_OK) {
        if (!why || !*why || providers) {
            abort();
        }
        return 0;
    }
    for (size_t i = 0; i < providers_count(providers); i++) {
        use(providers_at(providers, i));
    }
    providers_free(&providers);
    return 0;
}
