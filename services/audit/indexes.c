/* indexes.c - the index of each file of the log.
 *
 * That of a file that is done stands beside it in `.idx` and is mapped; that of the open one is in
 * memory.  One that is missing, cut or changed is made again from the log. */
#include "services/audit/reading.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crypto.h"
#include "common/log.h"

/* In this machine's order: an index never leaves it. */
struct head_of_file {
    char magic[8];
    uint64_t log_bytes, count, block_bytes;
    uint8_t hash[CRYPTO_HASH_BYTES]; /* of the blocks */
};
static const char magic[8] = "SEKSIDX2";

struct kept {
    uint64_t first; /* of its file */
    struct index index;
    void *map; /* NULL when the blocks are on the heap */
    size_t map_bytes;
};

struct indexes {
    struct kept *list;
    size_t count;
};

struct indexes *indexes_new(void)
{
    return calloc(1, sizeof(struct indexes));
}

static void let_go(struct kept *kept)
{
    if (kept->map) {
        (void)munmap(kept->map, kept->map_bytes); /* it is a mapping */
        kept->map = NULL;
        kept->index = (struct index){NULL, 0, 0, 0};
    }
    index_free(&kept->index);
}

void indexes_free(struct indexes **indexes)
{
    for (size_t i = 0; *indexes && i < (*indexes)->count; i++) {
        let_go(&(*indexes)->list[i]);
    }
    if (*indexes) {
        free((*indexes)->list);
    }
    free(*indexes);
    *indexes = NULL;
}

static struct kept *find(struct indexes *indexes, uint64_t first)
{
    for (size_t i = 0; i < indexes->count; i++) {
        if (indexes->list[i].first == first) {
            return &indexes->list[i];
        }
    }
    return NULL;
}

static struct kept *find_or_add(struct indexes *indexes, uint64_t first)
{
    struct kept *kept = find(indexes, first);
    if (kept) {
        return kept;
    }
    struct kept *grown = reallocarray(indexes->list, indexes->count + 1, sizeof *grown);
    if (!grown) {
        return NULL;
    }
    indexes->list = grown;
    grown[indexes->count] = (struct kept){first, {NULL, 0, 0, 0}, NULL, 0};
    return &grown[indexes->count++];
}

/* ---- on disk ---- */

static bool is_good(const struct head_of_file *head, size_t bytes, uint64_t log_bytes)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    size_t left = bytes - sizeof *head;
    return memcmp(head->magic, magic, sizeof magic) == 0 && head->log_bytes == log_bytes &&
           head->block_bytes == sizeof(struct block) && left % sizeof(struct block) == 0 &&
           head->count == left / sizeof(struct block) &&
           crypto_sha256(view_of(head + 1, left), hash) == STATUS_OK &&
           memcmp(hash, head->hash, sizeof hash) == 0;
}

/* Maps the index of the file that begins with KEPT's number; false when there is no good one. */
static bool load(int dir_fd, uint64_t log_bytes, struct kept *kept)
{
    struct stat info;
    int fd = segment_open(dir_fd, kept->first, "idx");
    if (fd < 0) {
        return false;
    }
    bool sized = fstat(fd, &info) == 0 && (uint64_t)info.st_size >= sizeof(struct head_of_file);
    size_t bytes = sized ? (size_t)info.st_size : 0;
    void *map = sized ? mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    (void)close(fd); /* only read from */
    if (map == MAP_FAILED) {
        return false;
    }
    struct head_of_file *head = map;
    if (!is_good(head, bytes, log_bytes)) {
        (void)munmap(map, bytes); /* it is a mapping */
        return false;
    }
    index_free(&kept->index);
    kept->index = (struct index){(struct block *)(head + 1), (size_t)head->count,
                                 (size_t)head->count, log_bytes};
    kept->map = map;
    kept->map_bytes = bytes;
    return true;
}

/* Not synced: what a crash leaves half is not good and is made again. */
static bool save(int dir_fd, const struct kept *kept)
{
    char name[SEGMENT_NAME_SIZE], new_name[SEGMENT_NAME_SIZE + 4];
    struct view blocks = view_of(kept->index.blocks, kept->index.count * sizeof(struct block));
    struct head_of_file head = {.log_bytes = kept->index.size, .count = kept->index.count,
                                .block_bytes = sizeof(struct block)};
    memcpy(head.magic, magic, sizeof magic);
    if (crypto_sha256(blocks, head.hash) != STATUS_OK) {
        return false;
    }
    segment_name(kept->first, "idx", name);
    (void)snprintf(new_name, sizeof new_name, "%s.new", name);
    int fd = openat(dir_fd, new_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return false;
    }
    bool good = file_write(fd, view_of(&head, sizeof head)) && file_write(fd, blocks);
    good = close(fd) == 0 && good;
    if (!good || renameat(dir_fd, new_name, dir_fd, name) != 0) {
        (void)unlinkat(dir_fd, new_name, 0); /* it may not be there */
        return false;
    }
    return true;
}

/* ---- for one file ---- */

static enum status make(const struct files *files, const struct segment *segment,
                        struct kept *kept)
{
    int fd = segment_open(files->dir_fd, segment->first, "log");
    if (fd < 0) {
        return STATUS_NOT_FOUND; /* removed meanwhile */
    }
    enum status status = index_extend(&kept->index, fd, segment->bytes);
    (void)close(fd); /* only read from */
    if (status != STATUS_OK) {
        return status;
    }
    bool saved = save(files->dir_fd, kept);
    fd = segment_open(files->dir_fd, segment->first, "log");
    if (fd < 0) { /* removed meanwhile: nothing of it is to stay */
        char name[SEGMENT_NAME_SIZE];
        segment_name(segment->first, "idx", name);
        (void)unlinkat(files->dir_fd, name, 0); /* it may not be there */
        return STATUS_NOT_FOUND;
    }
    (void)close(fd); /* only looked for */
    if (!saved || !load(files->dir_fd, segment->bytes, kept)) {
        log_debug("index", "kept in memory"); /* no room on the disk */
    }
    return STATUS_OK;
}

enum status indexes_get(struct indexes *indexes, const struct files *files, size_t index,
                        const struct index **ret_index)
{
    static const struct index nothing = {NULL, 0, 0, 0};
    bool open = index == files->done->count;
    uint64_t first = open ? files->first : files->done->list[index].first;
    uint64_t bytes = open ? files->size : files->done->list[index].bytes;
    if (first == 0 || bytes == 0) {
        *ret_index = &nothing;
        return STATUS_OK;
    }
    struct kept *kept = find_or_add(indexes, first);
    if (!kept) {
        return STATUS_INTERNAL;
    }
    enum status status = STATUS_OK;
    if (kept->index.size < bytes && open) {
        status = index_extend(&kept->index, files->fd, bytes);
    } else if (kept->index.size < bytes && !load(files->dir_fd, bytes, kept)) {
        status = make(files, &files->done->list[index], kept);
    }
    *ret_index = &kept->index;
    return status;
}

static bool is_listed(const struct files *files, uint64_t first)
{
    bool listed = files->first == first;
    for (size_t i = 0; i < files->done->count && !listed; i++) {
        listed = files->done->list[i].first == first;
    }
    return listed;
}

bool indexes_tidy(struct indexes *indexes, const struct files *files)
{
    const struct index *ignored;
    for (size_t i = indexes->count; i-- > 0;) {
        if (!is_listed(files, indexes->list[i].first)) {
            let_go(&indexes->list[i]);
            indexes->list[i] = indexes->list[--indexes->count];
        }
    }
    (void)!indexes_get(indexes, files, files->done->count, &ignored); /* a question tries again */
    bool made = false;
    for (size_t i = files->done->count; i-- > 0;) {
        const struct kept *kept = find(indexes, files->done->list[i].first);
        if (kept && kept->index.size >= files->done->list[i].bytes) {
            continue;
        }
        if (made) {
            return true;
        }
        made = true;
        if (indexes_get(indexes, files, i, &ignored) != STATUS_OK) {
            log_warn("index", "the file that begins with record %llu cannot be read",
                     (unsigned long long)files->done->list[i].first);
            return false;
        }
    }
    return false;
}
