/* slots.c - an id is a counter; its low bits are the row, so a row's ids never repeat. */
#include "services/gateway/slots.h"

uint64_t slots_add(struct slots *slots, void *thing)
{
    if (slots->count >= SLOTS_MAX - SLOTS_MAX / 8) { /* a free row is then found in a few steps */
        return 0;
    }
    do {
        slots->next++;
    } while (slots->next % SLOTS_MAX == 0 || slots->rows[slots->next % SLOTS_MAX].thing);
    slots->rows[slots->next % SLOTS_MAX].id = slots->next;
    slots->rows[slots->next % SLOTS_MAX].thing = thing;
    slots->count++;
    return slots->next;
}

void *slots_find(const struct slots *slots, uint64_t id)
{
    size_t row = id % SLOTS_MAX;
    return slots->rows[row].id == id ? slots->rows[row].thing : NULL;
}

void slots_remove(struct slots *slots, uint64_t id)
{
    if (slots_find(slots, id)) {
        slots->rows[id % SLOTS_MAX].thing = NULL;
        slots->count--;
    }
}
