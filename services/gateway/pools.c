/* pools.c - mmap() and munmap() of this program, and the area that pools come from. */
#include "services/gateway/pools.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    TRIM_MS = 1000,    /* a connection that is busy keeps its pool */
    TRIMS_MAX = 128,
};

static _Thread_local bool here; /* other threads' memory is not looked at */

static struct {
    unsigned char *area;
    size_t page, bytes, count, last;
    uint32_t *free; /* numbers of pools, a stack */
    size_t free_count;
    uint64_t now_ms; /* of the trims that are counted */
    size_t trims;
} pools = {.last = POOLS_NONE};

/* The program's own; the labels make them the functions that libraries call. */
void *pools_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) __asm__("mmap");
int pools_munmap(void *at, size_t size) __asm__("munmap");

static void *really(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

void pools_open(size_t bytes, size_t count)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    bytes = (bytes + page - 1) / page * page; /* what libmicrohttpd asks for */
    uint32_t *numbers = calloc(count, sizeof *numbers);
    void *area = numbers ? really(NULL, bytes * count, PROT_READ | PROT_WRITE, flags, -1, 0) : MAP_FAILED;
    if (area == MAP_FAILED) {
        free(numbers);
        return;
    }
    (void)madvise(area, bytes * count, MADV_NOHUGEPAGE); /* a page is given back by itself */
    pools.area = area;
    pools.page = page;
    pools.bytes = bytes;
    pools.count = pools.free_count = count;
    pools.free = numbers;
    for (size_t i = 0; i < count; i++) {
        numbers[i] = (uint32_t)(count - 1 - i);
    }
    here = true;
}

void pools_close(void)
{
    if (pools.area) {
        (void)syscall(SYS_munmap, pools.area, pools.bytes * pools.count);
        free(pools.free);
        pools.area = NULL;
        pools.free = NULL;
        here = false;
    }
}

void *pools_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    bool pool = here && !at && size == pools.bytes && fd == -1 &&
                protection == (PROT_READ | PROT_WRITE) && flags == (MAP_PRIVATE | MAP_ANONYMOUS);
    if (!pool || pools.free_count == 0) {
        return really(at, size, protection, flags, fd, offset);
    }
    pools.last = pools.free[--pools.free_count];
    return pools.area + pools.last * pools.bytes;
}

int pools_munmap(void *at, size_t size)
{
    uintptr_t offset = (uintptr_t)at - (uintptr_t)pools.area;
    if (!here || (uintptr_t)at < (uintptr_t)pools.area || offset >= pools.bytes * pools.count) {
        return (int)syscall(SYS_munmap, at, size);
    }
    if (madvise(at, size, MADV_DONTNEED) != 0) {
        memset(at, 0, size); /* either way the next one finds zeros, as in a new mapping */
    }
    pools.free[pools.free_count++] = (uint32_t)(offset / pools.bytes);
    return 0;
}

struct pool pools_take_last(void)
{
    struct pool last = {.number = pools.last};
    pools.last = POOLS_NONE;
    return last;
}

static bool is_zero(const unsigned char *page)
{
    const uint64_t *words = (const void *)page;
    uint64_t any = 0;
    for (size_t i = 0; i < pools.page / sizeof *words; i++) {
        any |= words[i];
    }
    return any == 0;
}

void pools_trim(size_t number)
{
    if (!pools.area || number >= pools.count) {
        return;
    }
    unsigned char *start = pools.area + number * pools.bytes, *end = start + pools.bytes;
    while (start < end) {
        unsigned char *zeros = start;
        while (zeros < end && is_zero(zeros)) {
            zeros += pools.page;
        }
        if (zeros > start) {
            (void)madvise(start, (size_t)(zeros - start), MADV_DONTNEED);
        }
        start = zeros + pools.page;
    }
}

void pools_tend(struct pool *pool, uint64_t since_ms, uint64_t now_ms)
{
    if (now_ms != pools.now_ms) {
        pools.now_ms = now_ms;
        pools.trims = 0;
    }
    if (!pool->trimmed && now_ms - since_ms >= TRIM_MS && pools.trims < TRIMS_MAX) {
        pools_trim(pool->number);
        pool->trimmed = true;
        pools.trims++;
    }
}
