/* files.c - what a thread that reads needs to know of the files, as they were at one moment. */
#include "services/audit/reading.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct files_copy *files_copy_new(const struct files *files)
{
    CLEANUP(files_copy_free) struct files_copy *copy = calloc(1, sizeof *copy);
    if (!copy) {
        return NULL;
    }
    copy->files = *files;
    copy->files.done = &copy->done;
    copy->files.fd = files->fd >= 0 ? fcntl(files->fd, F_DUPFD_CLOEXEC, 0) : -1;
    bool good = files->fd < 0 || copy->files.fd >= 0;
    for (size_t i = 0; i < files->done->count && good; i++) {
        const struct segment *segment = &files->done->list[i];
        good = segments_add(&copy->done, segment->first, segment->bytes, segment->last_ms);
    }
    return good ? TAKE(copy) : NULL;
}

void files_copy_free(struct files_copy **copy)
{
    if (*copy && (*copy)->files.fd >= 0) {
        (void)close((*copy)->files.fd); /* only read from */
    }
    if (*copy) {
        segments_free(&(*copy)->done);
    }
    free(*copy);
    *copy = NULL;
}
