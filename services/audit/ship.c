/* ship.c - the log as JSON lines on standard output, for a log pipeline.
 *
 * A follower of the files in a thread of its own: it writes what is on disk, in order, as fast as the
 * reader of standard output takes it, and holds nothing up.  How far it came is in audit.shipped, so
 * a restart goes on there: a line may come twice, none is left out. */
#include "services/audit/reading.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/cores.h"
#include "common/log.h"

enum {
    PIECE_BYTES = 256 << 10,
    WRITE_BYTES = 4096, /* PIPE_BUF: written whole when a pipe has room at all, so lines stay whole */
    POLL_MS = 200,
    LAST_MS = 1000, /* to go on for after it was told to stop: the rest comes after the next start */
};
static const char mark_name[] = "audit.shipped", new_name[] = "audit.shipped.new";

struct ship {
    int dir_fd, out;
    pthread_t thread;
    bool started;
    uint64_t next;  /* the number of the next record; the thread's alone, as is the next */
    uint64_t saved; /* what audit.shipped says */
    struct log_limit limit;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct files_copy *follow; /* under the lock, as is the next */
    uint64_t told; /* `next`, after each round */
    bool stop;
    uint64_t stop_ms; /* when that was said */
};

/* Told to stop, and time is up: a pipeline that lags behind by hours keeps no daemon from stopping. */
static bool is_over(struct ship *ship)
{
    pthread_mutex_lock(&ship->lock);
    bool over = ship->stop && clock_mono_ms() - ship->stop_ms >= LAST_MS;
    pthread_mutex_unlock(&ship->lock);
    return over;
}

static bool is_stopping(struct ship *ship)
{
    pthread_mutex_lock(&ship->lock);
    bool stop = ship->stop;
    pthread_mutex_unlock(&ship->lock);
    return stop;
}

/* ---- how far it came ---- */

static bool read_mark(struct ship *ship)
{
    char text[24];
    int fd = openat(ship->dir_fd, mark_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) {
        (void)close(fd); /* only read from */
    }
    if (got <= 0) {
        return false;
    }
    text[got] = '\0';
    ship->next = ship->saved = strtoull(text, NULL, 10);
    return ship->next > 0;
}

/* Not synced: after a crash of the machine some lines come again. */
static void write_mark(struct ship *ship)
{
    char text[24];
    int size = snprintf(text, sizeof text, "%llu\n", (unsigned long long)ship->next);
    int fd = openat(ship->dir_fd, new_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                    0600);
    bool good = fd >= 0 && file_write(fd, view_of(text, (size_t)size));
    if (fd >= 0) {
        good = close(fd) == 0 && good;
    }
    if (good && renameat(ship->dir_fd, new_name, ship->dir_fd, mark_name) == 0) {
        ship->saved = ship->next;
    } /* else it is tried again after the next lines */
}

/* ---- writing ---- */

/* All of BYTES, or false: told to stop, or nobody reads. */
static bool put(struct ship *ship, struct view bytes)
{
    while (bytes.size > 0) {
        struct pollfd out = {ship->out, POLLOUT, 0};
        int ready = poll(&out, 1, POLL_MS);
        if (is_stopping(ship) && ready <= 0) {
            return false;
        }
        if (ready <= 0) {
            continue;
        }
        size_t part = bytes.size < WRITE_BYTES ? bytes.size : WRITE_BYTES;
        ssize_t done = write(ship->out, bytes.data, part);
        if (done < 0 && errno != EINTR && errno != EAGAIN) {
            uint64_t count;
            if (log_due(&ship->limit, &count)) {
                log_warn("ship", "standard output cannot be written to: %s", strerror(errno));
            }
            return false;
        }
        bytes = done > 0 ? view_of(bytes.data + done, bytes.size - (size_t)done) : bytes;
    }
    return true;
}

/* The size of the whole lines at the front of BYTES that fit into one write; of one line when that
 * alone does not. */
static size_t lines_for_one_write(struct view bytes, uint64_t *ret_last)
{
    size_t end = 0;
    struct line line;
    while (end < bytes.size) {
        const uint8_t *newline = memchr(bytes.data + end, '\n', bytes.size - end);
        size_t next = newline ? (size_t)(newline - bytes.data) + 1 : 0;
        if (!newline || (end > 0 && next > WRITE_BYTES)) {
            break;
        }
        if (line_split(view_of(bytes.data + end, next - 1 - end), &line)) {
            *ret_last = line.seq;
        }
        end = next;
    }
    return end;
}

/* One file from OFFSET on. */
static bool ship_file(struct ship *ship, int fd, uint64_t offset, uint64_t size)
{
    CLEANUP(buffer_free) struct buffer bytes = BUFFER_EMPTY;
    while (offset < size) {
        size_t part = size - offset < PIECE_BYTES ? (size_t)(size - offset) : PIECE_BYTES, at = 0;
        buffer_clear(&bytes);
        if (file_read(fd, offset, part, &bytes) != STATUS_OK) {
            return false;
        }
        for (;;) {
            uint64_t last = ship->next - 1;
            size_t lines = lines_for_one_write(view_of(bytes.data + at, part - at), &last);
            if (lines == 0) {
                break;
            }
            if (is_over(ship) || !put(ship, view_of(bytes.data + at, lines))) {
                return false;
            }
            ship->next = last + 1;
            at += lines;
        }
        if (at == 0) {
            return true; /* what has no newline for so long is no record */
        }
        offset += at;
    }
    return true;
}

/* The first file that has records from `next` on, and where. */
static bool find_place(struct ship *ship, const struct files *files, size_t *ret_index,
                       uint64_t *ret_offset)
{
    uint64_t oldest = files->done->count ? files->done->list[0].first : files->first;
    if (ship->next < oldest) {
        log_warn("ship", "records %llu to %llu were removed before they were written out",
                 (unsigned long long)ship->next, (unsigned long long)oldest - 1);
        ship->next = oldest;
    }
    return query_place(files, ship->next, ret_index, ret_offset);
}

static void ship_files(struct ship *ship, const struct files *files)
{
    size_t index;
    uint64_t offset;
    if (!find_place(ship, files, &index, &offset)) {
        return;
    }
    for (; index <= files->done->count; index++, offset = 0) {
        bool open = index == files->done->count;
        int fd = open ? files->fd : segment_open(files->dir_fd, files->done->list[index].first, "log");
        bool good = fd < 0 || ship_file(ship, fd, offset, open ? files->size
                                                               : files->done->list[index].bytes);
        if (!open && fd >= 0) {
            (void)close(fd); /* only read from */
        }
        if (!good) {
            break;
        }
    }
    if (ship->next != ship->saved) {
        write_mark(ship);
    }
}

static void *thread_main(void *arg)
{
    struct ship *ship = arg;
    cores_leave();
    pthread_mutex_lock(&ship->lock);
    while (!ship->stop || ship->follow) {
        struct files_copy *copy = TAKE(ship->follow);
        if (!copy) {
            pthread_cond_wait(&ship->wake, &ship->lock);
            continue;
        }
        pthread_mutex_unlock(&ship->lock);
        ship_files(ship, &copy->files);
        files_copy_free(&copy);
        pthread_mutex_lock(&ship->lock);
        ship->told = ship->next;
    }
    pthread_mutex_unlock(&ship->lock);
    return NULL;
}

enum status ship_new(int out, const struct files *files, uint64_t next, struct ship **ret_ship)
{
    CLEANUP(ship_free) struct ship *ship = calloc(1, sizeof *ship);
    if (!ship) {
        return STATUS_INTERNAL;
    }
    ship->dir_fd = files->dir_fd;
    ship->out = out;
    pthread_mutex_init(&ship->lock, NULL);
    pthread_cond_init(&ship->wake, NULL);
    if (!read_mark(ship) || ship->next > next) {
        ship->next = next;
    }
    ship->told = ship->next;
    ship->started = pthread_create(&ship->thread, NULL, thread_main, ship) == 0;
    if (!ship->started) {
        return STATUS_INTERNAL;
    }
    *ret_ship = TAKE(ship);
    return STATUS_OK;
}

void ship_free(struct ship **ship_at)
{
    struct ship *ship = *ship_at;
    if (!ship) {
        return;
    }
    if (ship->started) {
        pthread_mutex_lock(&ship->lock);
        ship->stop = true;
        ship->stop_ms = clock_mono_ms();
        pthread_cond_signal(&ship->wake);
        pthread_mutex_unlock(&ship->lock);
        pthread_join(ship->thread, NULL);
    }
    files_copy_free(&ship->follow);
    pthread_cond_destroy(&ship->wake);
    pthread_mutex_destroy(&ship->lock);
    free(ship);
    *ship_at = NULL;
}

uint64_t ship_next(struct ship *ship)
{
    pthread_mutex_lock(&ship->lock);
    uint64_t next = ship->told;
    pthread_mutex_unlock(&ship->lock);
    return next;
}

void ship_follow(struct ship *ship, const struct files *files)
{
    struct files_copy *copy = files_copy_new(files), *old;
    if (!copy) {
        return; /* a second later again */
    }
    pthread_mutex_lock(&ship->lock);
    old = ship->follow;
    ship->follow = copy;
    pthread_cond_signal(&ship->wake);
    pthread_mutex_unlock(&ship->lock);
    files_copy_free(&old);
}
