/* secret.c - the type that holds a key.  Never logs, never copies out on its own. */
#include "common/secret.h"

#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One in a slot stands before its bytes, so that no allocation goes with it. */
struct secret {
    size_t size;
    uint8_t *data;
};

/* A guarded allocation costs six system calls, and a call through the broker needs a dozen: small
 * secrets share locked arenas, whose slots are zeroed when they come back.  Under the sanitizer
 * each has an allocation of its own, so that a read past its end is seen. */
#ifdef __SANITIZE_ADDRESS__
enum { SLOT_BYTES = 0 };
#else
enum { SLOT_BYTES = 256 };
#endif
enum { ARENA_SLOTS = 256, ARENA_BYTES = 256 * 256, GUARD_BYTES = 65536 /* the largest page */ };

struct slot {
    struct slot *next;
};

static struct {
    pthread_mutex_t lock; /* the vault's hasher has a thread of its own */
    struct slot *free;
} slots = {PTHREAD_MUTEX_INITIALIZER, NULL};

static const char hidden[] = "memfd_secret", locked[] = "locked memory",
                  swappable[] = "memory that may be swapped out (raise the memlock limit)";
static const char *memory_name;

/* Memory that is in no other mapping, the kernel's own included: nobody reads it through /proc, a
 * trace or a dump, and it is never swapped (memfd_secret(2)).  NULL where the kernel has none. */
static uint8_t *map_hidden(void)
{
    uint8_t *whole = mmap(NULL, ARENA_BYTES + 2 * GUARD_BYTES, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
    void *arena = MAP_FAILED;
    if (whole != MAP_FAILED && fd >= 0 && ftruncate(fd, ARENA_BYTES) == 0) {
        arena = mmap(whole + GUARD_BYTES, ARENA_BYTES, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_FIXED, fd, 0);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (arena == MAP_FAILED && whole != MAP_FAILED) {
        munmap(whole, ARENA_BYTES + 2 * GUARD_BYTES);
    }
    return arena == MAP_FAILED ? NULL : arena;
}

/* Arenas are kept until the process ends. */
static void add_arena(void)
{
    uint8_t *arena = map_hidden();
    memory_name = arena ? hidden : locked;
    if (!arena) {
        arena = sodium_malloc((size_t)SLOT_BYTES * ARENA_SLOTS);
        memory_name = arena && sodium_mlock(arena, (size_t)SLOT_BYTES * ARENA_SLOTS) == 0
                          ? locked
                          : swappable;
    }
    for (size_t i = 0; arena && i < ARENA_SLOTS; i++) {
        struct slot *slot = (struct slot *)(void *)(arena + i * SLOT_BYTES);
        slot->next = slots.free;
        slots.free = slot;
    }
}

static struct secret *take_slot(void)
{
    pthread_mutex_lock(&slots.lock);
    if (!slots.free) {
        add_arena();
    }
    struct slot *slot = slots.free;
    slots.free = slot ? slot->next : NULL;
    pthread_mutex_unlock(&slots.lock);
    return (struct secret *)(void *)slot;
}

/* Of SIZE bytes, zeroed. */
static void give_slot(void *memory, size_t size)
{
    sodium_memzero(memory, size);
    struct slot *slot = memory;
    pthread_mutex_lock(&slots.lock);
    slot->next = slots.free;
    slots.free = slot;
    pthread_mutex_unlock(&slots.lock);
}

static bool is_small(size_t size)
{
    return size <= SLOT_BYTES && size + sizeof(struct secret) <= SLOT_BYTES;
}

static struct secret *new_large(size_t size)
{
    struct secret *secret = malloc(sizeof *secret);
    if (secret) {
        secret->data = sodium_malloc(size ? size : 1);
    }
    if (secret && !secret->data) {
        free(secret);
        return NULL;
    }
    return secret;
}

struct secret *secret_new(const void *data, size_t size)
{
    if (sodium_init() < 0) {
        return NULL;
    }
    bool small = is_small(size);
    struct secret *secret = small ? take_slot() : new_large(size);
    if (!secret) {
        return NULL;
    }
    secret->size = size;
    secret->data = small ? (uint8_t *)(secret + 1) : secret->data;
    if (data && size > 0) {
        memcpy(secret->data, data, size);
    } else {
        memset(secret->data, 0, size);
    }
    return secret;
}

void secret_free(struct secret **secret)
{
    if (!*secret) {
        return;
    }
    if (is_small((*secret)->size)) {
        give_slot(*secret, sizeof **secret + (*secret)->size);
    } else {
        sodium_free((*secret)->data); /* zeroes first */
        free(*secret);
    }
    *secret = NULL;
}

uint8_t *secret_data(struct secret *secret)
{
    return secret->data;
}

size_t secret_size(const struct secret *secret)
{
    return secret->size;
}

struct view secret_view(const struct secret *secret)
{
    return view_of(secret->data, secret->size);
}

bool secret_equal(struct view a, struct view b)
{
    return a.size == b.size && (a.size == 0 || sodium_memcmp(a.data, b.data, a.size) == 0);
}

const char *secret_memory_name(void)
{
    struct secret *probe = secret_new(NULL, 1);
    if (SLOT_BYTES == 0 && probe) {
        memory_name = sodium_mlock(probe->data, 1) == 0 ? locked : swappable;
    }
    secret_free(&probe);
    return memory_name ? memory_name : swappable;
}
