/* clock.c - reads the clocks, and times as text; keeps nothing. */
#include "common/clock.h"

#include <stdio.h>
#include <string.h>
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

static uint64_t read_us(clockid_t id)
{
    struct timespec now = {0, 0};
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

uint64_t clock_wall_us(void)
{
    return read_us(CLOCK_REALTIME);
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
    /* Most texts are of the second of the one before. */
    static _Thread_local struct {
        time_t seconds;
        char date[20];
    } last;
    time_t seconds = (time_t)(wall_ms / 1000);
    unsigned ms = (unsigned)(wall_ms % 1000);
    if (last.seconds != seconds || last.date[0] == 0) {
        struct tm utc = {0};
        gmtime_r(&seconds, &utc);
        strftime(last.date, sizeof last.date, "%Y-%m-%dT%H:%M:%S", &utc);
        last.seconds = seconds;
    }
    size_t size = sizeof last.date - 1;
    memcpy(ret_text, last.date, size);
    ret_text[size++] = '.';
    ret_text[size++] = (char)('0' + ms / 100);
    ret_text[size++] = (char)('0' + ms / 10 % 10);
    ret_text[size++] = (char)('0' + ms % 10);
    memcpy(ret_text + size, "Z", 2);
}

/* Takes COUNT digits off TEXT; false unless the number is from LOW to HIGH. */
static bool take_digits(struct view *text, size_t count, int low, int high, int *ret_number)
{
    int number = 0;
    if (text->size < count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (text->data[i] < '0' || text->data[i] > '9') {
            return false;
        }
        number = number * 10 + text->data[i] - '0';
    }
    *text = view_of(text->data + count, text->size - count);
    *ret_number = number;
    return number >= low && number <= high;
}

static bool take_byte(struct view *text, const char *any)
{
    if (text->size == 0 || !strchr(any, text->data[0]) || text->data[0] == 0) {
        return false;
    }
    *text = view_of(text->data + 1, text->size - 1);
    return true;
}

static bool take_date(struct view *text, struct tm *ret)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day;
    if (!take_digits(text, 4, 1970, 9999, &year) || !take_byte(text, "-") ||
        !take_digits(text, 2, 1, 12, &month) || !take_byte(text, "-") ||
        !take_digits(text, 2, 1, 31, &day)) {
        return false;
    }
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    ret->tm_year = year - 1900;
    ret->tm_mon = month - 1;
    ret->tm_mday = day;
    return day <= days[month - 1] + (month == 2 && leap);
}

/* ".25" and so on; nothing is no fraction. */
static bool take_fraction(struct view *text, int *ret_ms)
{
    int ms = 0, digit;
    size_t count = 0;
    if (take_byte(text, ".")) {
        for (; text->size > 0 && take_digits(text, 1, 0, 9, &digit); count++) {
            ms = count < 3 ? ms * 10 + digit : ms;
        }
        if (count == 0 || count > 9) {
            return false;
        }
        for (; count < 3; count++) {
            ms *= 10;
        }
    }
    *ret_ms = ms;
    return true;
}

/* Seconds east of UTC. */
static bool take_offset(struct view *text, int *ret_seconds)
{
    int hours, minutes, sign = text->size > 0 && text->data[0] == '-' ? -1 : 1;
    *ret_seconds = 0;
    if (take_byte(text, "Zz")) {
        return true;
    }
    if (!take_byte(text, "+- ") || !take_digits(text, 2, 0, 23, &hours) || !take_byte(text, ":") ||
        !take_digits(text, 2, 0, 59, &minutes)) {
        return false;
    }
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool clock_parse(struct view text, uint64_t *ret_wall_ms)
{
    struct tm utc = {0};
    int ms = 0, east = 0;
    if (!take_date(&text, &utc)) {
        return false;
    }
    if (text.size > 0 &&
        (!take_byte(&text, "Tt") || !take_digits(&text, 2, 0, 23, &utc.tm_hour) ||
         !take_byte(&text, ":") || !take_digits(&text, 2, 0, 59, &utc.tm_min) ||
         !take_byte(&text, ":") || !take_digits(&text, 2, 0, 60, &utc.tm_sec) ||
         !take_fraction(&text, &ms) || !take_offset(&text, &east) || text.size > 0)) {
        return false;
    }
    time_t seconds = timegm(&utc) - east;
    *ret_wall_ms = seconds < 0 ? 0 : (uint64_t)seconds * 1000 + (uint64_t)ms;
    return true;
}
