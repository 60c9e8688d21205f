/* audit_files.c - the directory's files as one stream of lines, each parsed and hashed once.
 *
 * Two lines are held, so that a line can be judged by the one behind it. */
#include "cli/audit_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/keyfile.h"

/* Room for the two lines that are held and one that is not all there. */
enum { BLOCK_BYTES = 4 * (LOG_LINE_MAX + 1), NAME_CHARS = 30 };

static const char hash_name[] = ",\"hash\":\"", prev_name[] = ",\"prev\":\"";
enum {
    TAIL_CHARS = sizeof hash_name - 1 + LOG_HASH_CHARS + 2, /* with its quote and brace */
    PREV_CHARS = sizeof prev_name - 1 + LOG_HASH_CHARS + 1,
    TIME_CHARS = 24,
};

/* ---- the files ---- */

static bool is_segment(const char *name)
{
    return strlen(name) == NAME_CHARS && strncmp(name, "audit-", 6) == 0 &&
           strspn(name + 6, "0123456789") == 20 && strcmp(name + 26, ".log") == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add_name(struct log_files *files, const char *name)
{
    char **grown = reallocarray(files->names, files->count + 1, sizeof *grown);
    if (!grown) {
        return false;
    }
    files->names = grown;
    grown[files->count] = strdup(name);
    return grown[files->count] && ++files->count > 0;
}

enum status log_files_open(const char *dir, struct log_files *ret_files)
{
    struct log_files files = {NULL, 0, open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    DIR *list = files.dir_fd >= 0 ? opendir(dir) : NULL;
    bool active = false, good = true;
    if (!list) {
        fprintf(stderr, "seks: cannot open the directory %s: %s\n", dir, strerror(errno));
        log_files_close(&files);
        return STATUS_NOT_FOUND;
    }
    for (struct dirent *at; good && (at = readdir(list)) != NULL;) {
        active = active || strcmp(at->d_name, "audit.log") == 0;
        good = !is_segment(at->d_name) || add_name(&files, at->d_name);
    }
    (void)closedir(list); /* only read from */
    if (good && files.count > 0) {
        qsort(files.names, files.count, sizeof *files.names, by_name);
    }
    good = good && (!active || add_name(&files, "audit.log"));
    if (!good || files.count == 0) {
        fprintf(stderr, "seks: %s in %s\n", good ? "no audit.log" : "no memory for the names", dir);
        log_files_close(&files);
        return good ? STATUS_NOT_FOUND : STATUS_INTERNAL;
    }
    *ret_files = files;
    return STATUS_OK;
}

void log_files_close(struct log_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->names[i]);
    }
    free(files->names);
    if (files->dir_fd >= 0) {
        (void)close(files->dir_fd); /* a directory */
    }
    *files = (struct log_files){NULL, 0, -1};
}

/* ---- the stream ---- */

struct log_stream {
    const struct log_files *files;
    size_t next_file;
    int fd; /* -1 before the first and after the last */
    bool is_open_file, end_of_file;
    uint8_t *room; /* BLOCK_BYTES and a line's worth */
    size_t begin, end;
    struct log_line lines[2];
    unsigned held; /* of `lines` */
    uint64_t bytes;
    bool failed;
};

static bool next_file(struct log_stream *stream)
{
    if (stream->next_file == stream->files->count) {
        return false;
    }
    const char *name = stream->files->names[stream->next_file++];
    stream->fd = openat(stream->files->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (stream->fd < 0) {
        fprintf(stderr, "seks: cannot open %s: %s\n", name, strerror(errno));
        stream->failed = true;
        return false;
    }
    (void)posix_fadvise(stream->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* only advice */
    stream->is_open_file = strcmp(name, "audit.log") == 0;
    stream->end_of_file = false;
    return true;
}

/* Reads more behind what is there.  The held lines' bytes move with it. */
static void fill(struct log_stream *stream)
{
    const uint8_t *from = stream->held ? stream->lines[0].text.data : stream->room + stream->begin;
    size_t kept = (size_t)(stream->room + stream->end - from), shift = (size_t)(from - stream->room);
    if (shift > 0) {
        memmove(stream->room, from, kept);
        stream->begin -= shift;
        stream->end -= shift;
        for (unsigned i = 0; i < stream->held; i++) {
            stream->lines[i].text.data -= shift;
            stream->lines[i].prev -= stream->lines[i].whole ? shift : 0;
            stream->lines[i].hash -= stream->lines[i].whole ? shift : 0;
        }
    }
    size_t space = BLOCK_BYTES - stream->end;
    ssize_t got = space > 0 ? read(stream->fd, stream->room + stream->end, space) : 0;
    if (got < 0 && errno != EINTR) {
        fprintf(stderr, "seks: cannot read the log: %s\n", strerror(errno));
        stream->failed = true;
    }
    if (got == 0 || stream->failed) {
        stream->end_of_file = true;
    } else if (got > 0) {
        stream->end += (size_t)got;
        stream->bytes += (uint64_t)got;
    }
}

/* The line's own hash: over all of it but the hash member.  The byte where that begins becomes the
 * closing brace for as long as it is hashed. */
static bool hash_is_right(uint8_t *text, size_t size)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    char hex[LOG_HASH_CHARS + 1];
    size_t covered = size - TAIL_CHARS;
    text[covered] = '}';
    enum status status = crypto_sha256(view_of(text, covered + 1), hash);
    text[covered] = ',';
    hex_encode(view_of(hash, sizeof hash), hex);
    return status == STATUS_OK &&
           memcmp(text + covered + sizeof hash_name - 1, hex, LOG_HASH_CHARS) == 0;
}

static bool read_seq(const uint8_t *text, size_t size, uint64_t *ret_seq)
{
    static const char begin[] = "{\"seq\":", after[] = ",\"time\":\"";
    size_t at = sizeof begin - 1, digits = 0;
    uint64_t seq = 0;
    if (size < 64 || memcmp(text, begin, at) != 0) {
        return false;
    }
    for (; digits < 19 && text[at] >= '0' && text[at] <= '9'; at++, digits++) {
        seq = seq * 10 + (uint64_t)(text[at] - '0');
    }
    *ret_seq = seq;
    return digits > 0 && text[sizeof begin - 1] != '0' &&
           memcmp(text + at, after, sizeof after - 1) == 0;
}

static void parse(struct log_line *line, uint8_t *text)
{
    size_t size = line->text.size;
    line->whole = false;
    line->prev = line->hash = NULL;
    line->seq = 0;
    if (!line->newline || size < TAIL_CHARS + PREV_CHARS + 64 || size > LOG_LINE_MAX ||
        memcmp(text + size - 2, "\"}", 2) != 0 ||
        memcmp(text + size - TAIL_CHARS, hash_name, sizeof hash_name - 1) != 0 ||
        memcmp(text + size - TAIL_CHARS - PREV_CHARS, prev_name, sizeof prev_name - 1) != 0 ||
        !read_seq(text, size, &line->seq)) {
        return;
    }
    line->hash = (const char *)text + size - TAIL_CHARS + sizeof hash_name - 1;
    line->prev = (const char *)text + size - TAIL_CHARS - PREV_CHARS + sizeof prev_name - 1;
    line->whole = hash_is_right(text, size);
}

/* Takes the next line of the file into LINE; false at its end. */
static bool cut_line(struct log_stream *stream, struct log_line *line)
{
    size_t looked = 0;
    const uint8_t *newline;
    for (;;) {
        uint8_t *from = stream->room + stream->begin;
        size_t size = stream->end - stream->begin;
        newline = size > looked ? memchr(from + looked, '\n', size - looked) : NULL;
        if (newline || stream->end_of_file || size > LOG_LINE_MAX) {
            break; /* a piece of what has no newline for so long is no record */
        }
        looked = size;
        fill(stream);
    }
    uint8_t *from = stream->room + stream->begin;
    size_t size = newline ? (size_t)(newline - from) : stream->end - stream->begin;
    if (!newline && size == 0) {
        return false;
    }
    if (size > LOG_LINE_MAX) {
        size = LOG_LINE_MAX + 1;
        newline = NULL;
    }
    *line = (struct log_line){.text = view_of(from, size), .newline = newline != NULL,
                              .open = stream->is_open_file};
    parse(line, from);
    stream->begin += size + (newline ? 1 : 0);
    return true;
}

static bool pull(struct log_stream *stream)
{
    while (!stream->failed) {
        if (stream->fd >= 0) {
            if (cut_line(stream, &stream->lines[stream->held])) {
                stream->held++;
                return true;
            }
            (void)close(stream->fd); /* only read from */
            stream->fd = -1;
        }
        if (!next_file(stream)) {
            return false;
        }
    }
    return false;
}

enum status log_stream_new(const struct log_files *files, struct log_stream **ret_stream)
{
    struct log_stream *stream = calloc(1, sizeof *stream);
    if (stream) {
        stream->files = files;
        stream->fd = -1;
        stream->room = malloc(BLOCK_BYTES);
    }
    if (!stream || !stream->room) {
        free(stream);
        return STATUS_INTERNAL;
    }
    *ret_stream = stream;
    return STATUS_OK;
}

void log_stream_free(struct log_stream **stream)
{
    if (*stream) {
        if ((*stream)->fd >= 0) {
            (void)close((*stream)->fd); /* only read from */
        }
        free((*stream)->room);
    }
    free(*stream);
    *stream = NULL;
}

const struct log_line *log_stream_at(struct log_stream *stream, unsigned ahead)
{
    while (stream->held <= ahead) {
        if (!pull(stream)) {
            return NULL;
        }
    }
    return &stream->lines[ahead];
}

void log_stream_next(struct log_stream *stream)
{
    stream->lines[0] = stream->lines[1];
    stream->held--;
}

bool log_stream_failed(const struct log_stream *stream)
{
    return stream->failed;
}

uint64_t log_stream_bytes(const struct log_stream *stream)
{
    return stream->bytes;
}
