/* Feeds files to a fuzz target, and each of them shortened and with bytes changed: a fuzz target's
 * smoke run where there is no libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 16 };

static size_t changes = 2000, cuts = 500; /* of each seed; `-changes=N` for targets that take long */

/* A copy of its own size, so that the sanitizer sees every read past the end. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        abort();
    }
    memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static uint32_t next_random(void)
{
    static uint32_t state = 2463534242;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static void replay(const char *path)
{
    static uint8_t data[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    size_t size = fread(data, 1, sizeof data, file);
    (void)fclose(file);
    for (size_t cut = 0; cut <= size; cut += 1 + size / cuts) {
        feed(data, cut);
    }
    feed(data, size);
    for (size_t i = 0; size && i < changes; i++) {
        size_t at = next_random() % size;
        uint8_t before = data[at];
        data[at] = (uint8_t)next_random();
        feed(data, size);
        data[at] = i % 50 ? before : data[at]; /* some changes stay and pile up */
    }
}

int main(int count, char **folders)
{
    size_t files = 0;
    for (int i = 1; i < count; i++) {
        if (strncmp(folders[i], "-changes=", 9) == 0) {
            changes = strtoul(folders[i] + 9, NULL, 10);
            cuts = 1 + changes / 4;
            continue;
        }
        DIR *folder = opendir(folders[i]);
        if (!folder) {
            perror(folders[i]);
            return 1;
        }
        for (struct dirent *entry; (entry = readdir(folder));) {
            char path[4096];
            if (entry->d_name[0] != '.') {
                (void)snprintf(path, sizeof path, "%s/%s", folders[i], entry->d_name);
                replay(path);
                files++;
            }
        }
        (void)closedir(folder);
    }
    printf("%zu seeds replayed\n", files);
    return files ? 0 : 1;
}
