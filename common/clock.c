/* clock.c - reads the clocks; keeps nothing. */
#include "common/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t read_ms(clockid_t id)
{
    struct timespec now = {0, 0};
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_mono_ms(void)
{
    return read_ms(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}

void clock_text(uint64_t wall_ms, char *ret_text)
{
    const uint64_t year_9999_ms = UINT64_C(253402300799999);
    if (wall_ms > year_9999_ms) {
        wall_ms = year_9999_ms;
    }
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc = {0};
    char date[20];
    gmtime_r(&seconds, &utc);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(ret_text, CLOCK_TEXT_SIZE, "%s.%03uZ", date, (unsigned)(wall_ms % 1000));
}
