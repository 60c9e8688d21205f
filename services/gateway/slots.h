/* slots.h - ids for things in flight, found again in constant time; an old id finds nothing. */
#ifndef SERVICES_GATEWAY_SLOTS_H
#define SERVICES_GATEWAY_SLOTS_H

#include <stddef.h>
#include <stdint.h>

enum { SLOTS_MAX = 65536 };

struct slots {
    struct {
        uint64_t id;
        void *thing;
    } rows[SLOTS_MAX];
    uint64_t next;
    size_t count;
};

uint64_t slots_add(struct slots *slots, void *thing); /* 0 when full */
void *slots_find(const struct slots *slots, uint64_t id);
void slots_remove(struct slots *slots, uint64_t id);

#endif
