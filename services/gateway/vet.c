/* vet.c - the grammar of a request as a table of states, each a function that takes a run of bytes.
 *
 * Refused is what RFC 9110 and 9112 forbid, and what they leave to the recipient but two parsers
 * could read differently: both ways of framing, repeated lengths, line ends without CR, folded
 * lines, whitespace around what is compared, any coding but "chunked". */
#include "services/gateway/vet_private.h"

#include <string.h>
#include <strings.h>

#include "proto/messages.h"

/* What a field is here; those after ONCE may come once. */
enum special { OTHER, ONCE, HOST, LENGTH, CODING, EXPECT, AUTHORIZATION, CONTENT_TYPE };

static const struct {
    const char *name;
    enum special field;
} known[] = {
    {"host", HOST},
    {"content-length", LENGTH},
    {"transfer-encoding", CODING},
    {"expect", EXPECT},
    {"authorization", AUTHORIZATION},
    {"content-type", CONTENT_TYPE},
};

/* RFC 9110 section 9.3: a tunnel, and echoes of the request, credentials and all. */
static const char *const refused_methods[] = {"CONNECT", "TRACE", "TRACK", "DEBUG"};

enum {
    EMPTY_LINES_MAX = 2,
    VERSION_SIZE = sizeof "HTTP/1.1" - 1,
    LENGTH_DIGITS_MAX = 18, /* fewer than 2^60 */
    STEP_BYTES_MAX = 65536, /* so that a run's size cannot overflow a counter */
};

#define TOKEN (IS_TOKEN | IS_TARGET | IS_VALUE)
#define DELIMITER (IS_TARGET | IS_VALUE)
const uint8_t vet_classes[256] = {
    ['\t'] = IS_VALUE, [' '] = IS_VALUE, ['!'] = TOKEN, ['"'] = DELIMITER,
    ['#'] = IS_TOKEN | IS_VALUE, /* a fragment is never sent (RFC 9112 section 3.2) */
    ['$' ... '\''] = TOKEN, ['(' ... ')'] = DELIMITER, ['*' ... '+'] = TOKEN, [','] = DELIMITER,
    ['-' ... '.'] = TOKEN, ['/'] = DELIMITER, ['0' ... '9'] = TOKEN, [':' ... '@'] = DELIMITER,
    ['A' ... 'Z'] = TOKEN, ['[' ... ']'] = DELIMITER, ['^' ... 'z'] = TOKEN, ['{'] = DELIMITER,
    ['|'] = TOKEN, ['}'] = DELIMITER, ['~'] = TOKEN, [0x80 ... 0xff] = IS_VALUE,
};

/* Yields 0: the byte at hand is not taken. */
static size_t refuse(struct vet *vet, unsigned http, const char *why)
{
    vet->http = http;
    vet->why = why;
    return 0;
}

size_t vet_malformed(struct vet *vet, const char *why)
{
    return refuse(vet, 400, why);
}

void vet_enter(struct vet *vet, enum state state)
{
    vet->state = (uint8_t)state;
    vet->run = 0;
    vet->kept_size = 0;
}

/* The bytes of CLASS at the beginning. */
size_t vet_run_of(uint8_t class, const uint8_t *at, size_t size)
{
    size_t run = 0;
    while (run < size && vet_classes[at[run]] & class) {
        run++;
    }
    return run;
}

/* Keeps the beginning of a name or value for a comparison; kept_size says when it was longer. */
static void keep(struct vet *vet, const uint8_t *at, size_t size)
{
    for (size_t i = 0; i < size && vet->kept_size <= VET_KEPT; i++) {
        if (vet->kept_size < VET_KEPT) {
            vet->kept[vet->kept_size] = (char)at[i];
        }
        vet->kept_size++;
    }
}

static bool kept_is(const struct vet *vet, const char *text)
{
    return vet->kept_size == strlen(text) && memcmp(vet->kept, text, vet->kept_size) == 0;
}

static bool kept_is_nocase(const struct vet *vet, const char *text)
{
    return vet->kept_size == strlen(text) && strncasecmp(vet->kept, text, vet->kept_size) == 0;
}

/* Counts SIZE bytes of a head or trailer; false when there are too many. */
static bool grow(struct vet *vet, size_t size)
{
    vet->run += (uint32_t)size; /* a step takes at most STEP_BYTES_MAX */
    vet->head_bytes += (uint32_t)size;
    if (vet->head_bytes <= (vet->trailer ? VET_TRAILER_BYTES_MAX : VET_HEAD_BYTES_MAX)) {
        return true;
    }
    (void)refuse(vet, 431, "the header fields are larger than this broker takes");
    return false;
}

/* Takes a line end's LF and goes on with STATE. */
size_t vet_take_lf(struct vet *vet, const uint8_t *at, enum state state)
{
    if (*at != '\n') {
        return vet_malformed(vet, "a line must end with CR LF");
    }
    vet_enter(vet, state);
    return 1;
}

/* ---- the request line (RFC 9112 section 3) ---- */

/* RFC 9112 section 2.2: empty lines before a request may be ignored. */
static size_t at_begin(struct vet *vet, const uint8_t *at, size_t size)
{
    (void)size;
    if (*at == '\r' && vet->empty_lines < EMPTY_LINES_MAX) {
        vet->empty_lines++;
        vet_enter(vet, BEGIN_LF);
        return 1;
    }
    if (!(vet_classes[*at] & IS_TOKEN)) {
        return vet_malformed(vet, "this is not an HTTP/1.1 request");
    }
    vet->seen = vet->fields = vet->head_bytes = 0;
    vet->left = 0;
    vet->api = vet->coded = vet->sized = vet->version10 = false;
    vet->empty_lines = 0;
    vet_enter(vet, METHOD);
    return 0;
}

static size_t at_begin_lf(struct vet *vet, const uint8_t *at, size_t size)
{
    (void)size;
    return vet_take_lf(vet, at, BEGIN);
}

static size_t in_method(struct vet *vet, const uint8_t *at, size_t size)
{
    size_t run = vet_run_of(IS_TOKEN, at, size);
    keep(vet, at, run);
    if (vet->run + run > METHOD_MAX) {
        return refuse(vet, 501, "the method is too long");
    }
    vet->run += (uint32_t)run;
    if (run == size) {
        return run;
    }
    if (at[run] != ' ') {
        return vet_malformed(vet, "the request line is malformed");
    }
    for (size_t i = 0; i < sizeof refused_methods / sizeof refused_methods[0]; i++) {
        if (kept_is_nocase(vet, refused_methods[i])) {
            return refuse(vet, 405, "this method is not permitted");
        }
    }
    vet->head_bytes = vet->run + 1;
    vet_enter(vet, TARGET);
    return run + 1;
}

/* Only the origin-form; what target.c knows of paths is not looked at here. */
static size_t in_target(struct vet *vet, const uint8_t *at, size_t size)
{
    size_t run = vet_run_of(IS_TARGET, at, size);
    keep(vet, at, run);
    if (vet->run == 0 && *at != '/') {
        return vet_malformed(vet, "the request target is not in origin-form");
    }
    vet->api = vet->kept_size >= 5 && memcmp(vet->kept, "/api/", 5) == 0;
    if (vet->run + run > TARGET_MAX) {
        return refuse(vet, 414, "a target has at most 8192 bytes");
    }
    if (!grow(vet, run)) {
        return 0;
    }
    if (run == size) {
        return run;
    }
    if (at[run] != ' ') {
        return vet_malformed(vet, "the request target is malformed");
    }
    vet->target_run = vet->run;
    vet_enter(vet, VERSION);
    return run + 1;
}

static bool digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static size_t in_version(struct vet *vet, const uint8_t *at, size_t size)
{
    (void)size;
    if (*at != '\r') {
        if (vet->kept_size == VERSION_SIZE || !(vet_classes[*at] & IS_TARGET)) {
            return vet_malformed(vet, "the request line is malformed");
        }
        keep(vet, at, 1);
        return 1;
    }
    const char *kept = vet->kept;
    vet->version10 = kept_is(vet, "HTTP/1.0");
    if (!vet->version10 && !kept_is(vet, "HTTP/1.1")) {
        bool other = vet->kept_size == VERSION_SIZE && memcmp(kept, "HTTP/", 5) == 0 &&
                     digit(kept[5]) && kept[6] == '.' && digit(kept[7]);
        return other ? refuse(vet, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
                     : vet_malformed(vet, "the request line is malformed");
    }
    vet_enter(vet, LINE_LF);
    return 1;
}

/* ---- header fields (RFC 9112 section 5), and those after a chunked body ---- */

static size_t at_field_lf(struct vet *vet, const uint8_t *at, size_t size)
{
    (void)size;
    return vet_take_lf(vet, at, FIELD);
}

static size_t at_field(struct vet *vet, const uint8_t *at, size_t size)
{
    (void)size;
    if (*at == '\r') {
        vet_enter(vet, END_LF);
        return 1;
    }
    if (!(vet_classes[*at] & IS_TOKEN)) {
        return vet_malformed(vet, "a header field is malformed or folded");
    }
    if (++vet->fields > HEADERS_MAX) {
        return refuse(vet, 431, "at most 100 header fields and 32 KiB");
    }
    vet_enter(vet, NAME);
    return 0;
}

static enum special field_of(const struct vet *vet)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0] && !vet->trailer; i++) {
        if (kept_is_nocase(vet, known[i].name)) {
            return known[i].field;
        }
    }
    return OTHER;
}

static size_t in_name(struct vet *vet, const uint8_t *at, size_t size)
{
    size_t run = vet_run_of(IS_TOKEN, at, size);
    keep(vet, at, run);
    if (!grow(vet, run)) {
        return 0;
    }
    if (vet->run > HEADER_NAME_MAX) {
        return refuse(vet, 431, "a header field's name is too long");
    }
    if (run == size) {
        return run;
    }
    if (at[run] != ':') {
        return vet_malformed(vet, "a header field is malformed");
    }
    enum special field = field_of(vet);
    if (field > ONCE && vet->seen & 1u << field) {
        return vet_malformed(vet, "a header field that may come once came twice");
    }
    vet->seen |= 1u << field;
    vet->field = (uint8_t)field;
    vet_enter(vet, VALUE);
    return run + 1;
}

/* RFC 9112 section 6.2; whitespace behind it is legal, but libmicrohttpd does not take it off. */
static bool read_length(struct vet *vet)
{
    if (vet->kept_size == 0 || vet->kept_size > LENGTH_DIGITS_MAX) {
        return false;
    }
    for (size_t i = 0; i < vet->kept_size; i++) {
        if (!digit(vet->kept[i])) {
            return false;
        }
        vet->left = vet->left * 10 + (uint64_t)(vet->kept[i] - '0');
    }
    vet->sized = true;
    return true;
}

/* The value is whole; its line end follows. */
static size_t end_value(struct vet *vet)
{
    if (vet->field == LENGTH && !read_length(vet)) {
        return vet_malformed(vet, "Content-Length is not a number of bytes");
    }
    if (vet->field == CODING) {
        vet->coded = kept_is_nocase(vet, "chunked");
        if (!vet->coded) {
            return vet_malformed(vet, "the only transfer coding taken is chunked");
        }
    }
    if (vet->field == EXPECT && !kept_is_nocase(vet, "100-continue")) {
        return refuse(vet, 417, "the only expectation met is 100-continue");
    }
    vet_enter(vet, FIELD_LF);
    return 1;
}

static size_t in_value(struct vet *vet, const uint8_t *at, size_t size)
{
    size_t run = vet_run_of(IS_VALUE, at, size), blanks = 0;
    if (vet->field > ONCE) {
        while (vet->kept_size == 0 && blanks < run && (at[blanks] == ' ' || at[blanks] == '\t')) {
            blanks++;
        }
        keep(vet, at + blanks, run - blanks);
    }
    if (!grow(vet, run)) {
        return 0;
    }
    if (run > 0) {
        return run;
    }
    return *at == '\r' ? end_value(vet) : vet_malformed(vet, "a header field's value is malformed");
}

size_t vet_end_message(struct vet *vet)
{
    vet->messages++;
    vet->trailer = false;
    vet_enter(vet, BEGIN);
    return 1;
}

/* RFC 9112 section 6.3. */
static size_t end_head(struct vet *vet)
{
    if (!vet->version10 && !(vet->seen & 1u << HOST)) {
        return vet_malformed(vet, "there is no Host header");
    }
    if (vet->coded && (vet->sized || vet->version10)) {
        return vet_malformed(vet, "Transfer-Encoding with Content-Length or in HTTP/1.0");
    }
    vet->heads++;
    vet->target_size = vet->target_run;
    vet->length = vet->coded ? BODY_SIZE_UNKNOWN : vet->left;
    if (vet->length == 0) {
        return vet_end_message(vet);
    }
    vet_enter(vet, vet->coded ? SIZE_FIRST : BODY);
    return 1;
}

/* The last LF of a head is what makes it one: it is not taken unless all the rest is good. */
static size_t at_end_lf(struct vet *vet, const uint8_t *at, size_t size)
{
    (void)size;
    if (*at != '\n') {
        return vet_malformed(vet, "a line must end with CR LF");
    }
    return vet->trailer ? vet_end_message(vet) : end_head(vet);
}

/* ---- driving ---- */

static vet_step *const steps[] = {
    [BEGIN] = at_begin,
    [BEGIN_LF] = at_begin_lf,
    [METHOD] = in_method,
    [TARGET] = in_target,
    [VERSION] = in_version,
    [LINE_LF] = at_field_lf,
    [FIELD] = at_field,
    [NAME] = in_name,
    [VALUE] = in_value,
    [FIELD_LF] = at_field_lf,
    [END_LF] = at_end_lf,
    [BODY] = vet_in_counted,
    [SIZE_FIRST] = vet_at_size,
    [SIZE] = vet_in_size,
    [EXTENSION] = vet_in_extension,
    [SIZE_LF] = vet_at_size_lf,
    [CHUNK] = vet_in_chunk,
    [CHUNK_CR] = vet_at_chunk_cr,
    [CHUNK_LF] = vet_at_chunk_lf,
};

bool vet_between(const struct vet *vet)
{
    return vet->state == BEGIN;
}

bool vet_in_body(const struct vet *vet)
{
    return vet->state >= BODY || vet->trailer;
}

size_t vet(struct vet *vet, const uint8_t *bytes, size_t size)
{
    size_t done = 0, whole = 0;
    while (done < size && vet->http == 0) {
        size_t left = size - done < STEP_BYTES_MAX ? size - done : STEP_BYTES_MAX;
        uint64_t messages = vet->messages;
        bool body = vet_in_body(vet);
        size_t taken = steps[vet->state](vet, bytes + done, left);
        done += taken;
        vet->body_bytes += body ? taken : 0;
        whole = vet->messages == messages ? whole : done;
    }
    return vet->http ? whole : size;
}
