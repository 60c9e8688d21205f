/* audit_chain.c - record after record: which was changed, removed, doubled, moved or put in.
 *
 * A finding is named by the number of its record.  After one the walk goes on from what it found, so
 * that one change is told once and the next one is still seen. */
#include "cli/audit_log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/keyfile.h"

typedef unsigned long long number;

struct walk {
    struct log_stream *stream;
    struct log_notes *notes;
    struct log_report *report;
    FILE *out;
    uint64_t expect;          /* the number of the next record */
    char prev[LOG_HASH_CHARS]; /* its `prev`, when known */
    bool prev_known;
    bool prev_signed;   /* a checkpoint says that hash */
    uint64_t agreed;    /* up to here a checkpoint agreed */
    bool found_since;   /* something, since then */
    uint64_t removed;   /* records up to here were removed on purpose, or are about to be */
};

__attribute__((format(printf, 2, 3))) static void find(struct walk *walk, const char *format, ...)
{
    char text[sizeof walk->report->verdict];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (walk->report->findings++ == 0) {
        memcpy(walk->report->verdict, text, sizeof text);
    }
    if (walk->out && walk->report->findings <= LOG_FINDINGS_SHOWN) {
        fprintf(walk->out, "%s\n", text);
    }
    walk->found_since = true;
}

static void find_range(struct walk *walk, uint64_t first, uint64_t last, const char *what)
{
    if (first == last) {
        find(walk, "record %llu was %s", (number)first, what);
    } else {
        find(walk, "records %llu to %llu were %s", (number)first, (number)last, what);
    }
}

/* ---- checkpoints ---- */

static void disagrees(struct walk *walk, const struct checkpoint *note)
{
    if (!log_notes_good(walk->notes)) {
        find(walk, "the checkpoint of record %llu was changed", (number)note->size);
    } else if (log_notes_kept(walk->notes)) {
        find(walk, "the head that was kept elsewhere has another record %llu", (number)note->size);
    } else if (!walk->found_since) {
        find(walk, "records %llu to %llu are not those that were signed",
             (number)walk->agreed + 1, (number)note->size);
    }
}

static void agrees(struct walk *walk, const struct checkpoint *note)
{
    if (log_notes_last_of_file(walk->notes) || log_notes_kept(walk->notes)) {
        if (!log_notes_good(walk->notes)) {
            find(walk, "the checkpoint of record %llu is not signed by this key",
                 (number)note->size);
            return;
        }
        walk->report->signed_up_to = note->size;
    }
    walk->report->checkpoints++;
    walk->agreed = note->size;
    walk->found_since = false;
    walk->prev_signed = true;
}

/* The checkpoints up to record SEQ, which has HASH. */
static void check_notes(struct walk *walk, uint64_t seq, const char *hash)
{
    struct checkpoint note;
    char wanted[LOG_HASH_CHARS + 1];
    while (log_notes_peek(walk->notes, &note) && note.size <= seq) {
        hex_encode(view_of(note.hash, sizeof note.hash), wanted);
        if (note.size < seq) { /* its record is not there, which was said, or it came again */
            if (!walk->found_since && note.size >= walk->report->first) {
                find(walk, "the checkpoint of record %llu stands after that of record %llu",
                     (number)note.size, (number)walk->agreed);
            }
        } else if (memcmp(wanted, hash, LOG_HASH_CHARS) != 0) {
            disagrees(walk, &note);
        } else {
            agrees(walk, &note);
        }
        log_notes_take(walk->notes);
    }
}

/* ---- records ---- */

/* Goes on behind LINE. */
static void accept(struct walk *walk, const struct log_line *line)
{
    struct log_report *report = walk->report;
    report->first = report->records == 0 ? line->seq : report->first;
    report->last = line->seq;
    report->records++;
    memcpy(walk->prev, line->hash, LOG_HASH_CHARS);
    walk->prev_known = true;
    walk->prev_signed = false;
    walk->expect = line->seq + 1;
    check_notes(walk, line->seq, line->hash);
    log_stream_next(walk->stream);
}

static bool follows(const struct log_line *next, const struct log_line *line)
{
    return next && next->whole && memcmp(next->prev, line->hash, LOG_HASH_CHARS) == 0;
}

static bool next_is(const struct log_line *next, uint64_t seq)
{
    return next && next->whole && next->seq == seq;
}

/* Whether the checkpoint of just this record names its hash. */
static bool is_signed(struct walk *walk, const struct log_line *line)
{
    struct checkpoint note;
    char wanted[LOG_HASH_CHARS + 1];
    if (!log_notes_peek(walk->notes, &note) || note.size != line->seq) {
        return false;
    }
    hex_encode(view_of(note.hash, sizeof note.hash), wanted);
    return memcmp(wanted, line->hash, LOG_HASH_CHARS) == 0;
}

/* LINE has its number but not the hash of the one before: one of the two is not what it was.  The
 * record behind tells which. */
static void replaced(struct walk *walk, const struct log_line *line, const struct log_line *next)
{
    bool attested = follows(next, line) || is_signed(walk, line);
    bool before = attested && !walk->prev_signed && walk->report->records > 0;
    find_range(walk, line->seq - before, line->seq - before, "replaced");
    accept(walk, line);
    walk->prev_known = attested || !next;
}

/* LINE's number is too high. */
static void jumped(struct walk *walk, const struct log_line *line, const struct log_line *next)
{
    uint64_t seq = line->seq;
    if (seq == walk->expect + 1 && next_is(next, walk->expect)) {
        find(walk, "records %llu and %llu were swapped", (number)walk->expect, (number)seq);
        walk->report->records++;
        log_stream_next(walk->stream);
        accept(walk, log_stream_at(walk->stream, 0));
        walk->expect = seq + 1;
        walk->report->last = seq;
        walk->prev_known = false;
    } else if (next_is(next, walk->expect + 1)) {
        find(walk, "record %llu stands in the place of record %llu", (number)seq,
             (number)walk->expect);
        log_stream_next(walk->stream);
        walk->expect++;
        walk->prev_known = false;
    } else {
        if (seq - 1 > walk->removed) {
            find_range(walk, walk->expect, seq - 1, "removed");
        }
        accept(walk, line);
    }
}

/* LINE's number was there already. */
static void behind(struct walk *walk, const struct log_line *line, const struct log_line *next)
{
    uint64_t seq = line->seq;
    bool last = seq + 1 == walk->expect;
    if (last && walk->prev_known && memcmp(walk->prev, line->hash, LOG_HASH_CHARS) == 0) {
        find(walk, "record %llu was doubled", (number)seq);
    } else if (last) {
        find(walk, "two records are numbered %llu: one was inserted", (number)seq);
        if (follows(next, line)) {
            memcpy(walk->prev, line->hash, LOG_HASH_CHARS);
        }
    } else if (next_is(next, walk->expect + 1)) {
        find(walk, "record %llu stands in the place of record %llu", (number)seq,
             (number)walk->expect);
        walk->expect++;
        walk->prev_known = false;
    } else {
        find(walk, "record %llu was inserted again after record %llu", (number)seq,
             (number)walk->expect - 1);
    }
    log_stream_next(walk->stream);
}

/* Half a line, or zeroes that a file system put in its place. */
static bool looks_torn(const struct log_line *line)
{
    static const char begin[] = "{\"seq\":";
    size_t size = line->text.size < sizeof begin - 1 ? line->text.size : sizeof begin - 1;
    const uint8_t *text = line->text.data;
    bool ended = line->text.size > 12 && memmem(text, line->text.size, "\",\"hash\":\"", 10) &&
                 (text[line->text.size - 1] == '}' || text[line->text.size - 2] == '}');
    bool zero = line->text.size > 0 && text[0] == 0;
    return line->open && !ended && (zero || (!line->newline && memcmp(text, begin, size) == 0));
}

/* Nothing whole comes any more. */
static void broken_end(struct walk *walk, bool torn, uint64_t bytes)
{
    struct checkpoint note;
    uint64_t known = walk->expect - 1; /* records that were there, by the checkpoints left */
    while (log_notes_peek(walk->notes, &note)) {
        known = note.size > known && log_notes_good(walk->notes) ? note.size : known;
        log_notes_take(walk->notes);
    }
    if (known >= walk->expect) {
        find_range(walk, walk->expect, known, "changed or removed");
    } else if (torn) {
        walk->report->torn_bytes = bytes;
    } else {
        find_range(walk, walk->expect, walk->expect, "changed");
    }
}

/* Lines that are none, up to the next that is one. */
static void broken(struct walk *walk)
{
    bool torn = true;
    uint64_t bytes = 0;
    const struct log_line *line;
    while ((line = log_stream_at(walk->stream, 0)) != NULL && !line->whole) {
        torn = torn && looks_torn(line);
        bytes += line->text.size + line->newline;
        log_stream_next(walk->stream);
    }
    if (!line) {
        broken_end(walk, torn, bytes);
    } else if (line->seq > walk->expect) {
        find_range(walk, walk->expect, line->seq - 1, "changed");
        walk->expect = line->seq;
        walk->prev_known = false;
    } else {
        find(walk, "%llu bytes that are no record were inserted before record %llu", (number)bytes,
             (number)line->seq);
    }
}

static void step(struct walk *walk, const struct log_line *line)
{
    if (!line->whole) {
        broken(walk);
        return;
    }
    /* The one behind is asked for only where something is wrong: that keeps the usual way short. */
    bool right = line->seq == walk->expect &&
                 (!walk->prev_known || memcmp(line->prev, walk->prev, LOG_HASH_CHARS) == 0);
    if (right) {
        accept(walk, line);
        return;
    }
    const struct log_line *next = log_stream_at(walk->stream, 1);
    if (line->seq == walk->expect) {
        replaced(walk, line, next);
    } else if (line->seq > walk->expect) {
        jumped(walk, line, next);
    } else {
        behind(walk, line, next);
    }
}

/* Where the log has to begin. */
static void begin(struct walk *walk)
{
    struct checkpoint removed;
    char hash[LOG_HASH_CHARS + 1];
    const struct log_line *line = log_stream_at(walk->stream, 0);
    walk->expect = 1;
    memset(walk->prev, '0', sizeof walk->prev);
    walk->prev_known = true;
    if (!log_notes_removed(walk->notes, &removed)) {
        return;
    }
    walk->removed = removed.size;
    walk->expect = removed.size + 1;
    hex_encode(view_of(removed.hash, sizeof removed.hash), hash);
    memcpy(walk->prev, hash, LOG_HASH_CHARS);
    if (line && line->whole && line->seq <= removed.size) { /* said, and not yet done */
        walk->expect = line->seq;
        walk->prev_known = false;
    }
    walk->agreed = walk->expect - 1;
}

static void finish(struct walk *walk)
{
    struct checkpoint note;
    uint64_t known = walk->expect - 1;
    bool kept = false;
    while (log_notes_peek(walk->notes, &note)) {
        if (!log_notes_good(walk->notes)) {
            find(walk, "the checkpoint of record %llu was changed", (number)note.size);
        } else if (note.size > known) {
            known = note.size;
            kept = log_notes_kept(walk->notes);
        }
        log_notes_take(walk->notes);
    }
    if (known >= walk->expect) {
        find_range(walk, walk->expect, known,
                   kept ? "removed: a head that was kept elsewhere has them"
                        : "removed: they had been signed");
    }
    if (log_notes_strange(walk->notes) > 0) {
        find(walk, "%zu bytes beside the log are no checkpoint", log_notes_strange(walk->notes));
    }
    if (walk->report->records > 0 && walk->report->checkpoints == 0 &&
        walk->report->findings == 0) {
        find(walk, "no checkpoint covers records %llu to %llu", (number)walk->report->first,
             (number)walk->report->last);
    }
}

void log_check(struct log_stream *stream, struct log_notes *notes, FILE *out,
               struct log_report *ret_report)
{
    struct walk walk = {.stream = stream, .notes = notes, .out = out, .report = ret_report};
    const struct log_line *line;
    memset(ret_report, 0, sizeof *ret_report);
    begin(&walk);
    while ((line = log_stream_at(stream, 0)) != NULL) {
        step(&walk, line);
    }
    if (!log_stream_failed(stream)) {
        finish(&walk);
    }
}
