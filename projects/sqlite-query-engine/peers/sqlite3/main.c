/*
 * The sqlite3 peer: the same job under the same command line, done by SQLite's own library.
 *
 *     peer --db FILE --query SQL [--format json] [--repeats N] [--output PATH] [--version]
 *
 * Every repeat opens the file read-only, prepares the query, steps through it, renders each row in the
 * canonical form, adds it to the digest and closes the file again. SQLite is set up as for a program
 * that wants its speed: memory-mapped I/O, no mutexes, no memory statistics.
 *
 * It prints the statistics block of the lanes. SQLite does not tell how many rows a plan has read (the
 * counters for that are a compile option that distributions leave out), so "Total processed" is 0 and
 * project.yaml says `counts_items: false`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

enum { BUFFER_BYTES = 1 << 16, EXIT_MACHINE = 1, EXIT_INPUT = 2 };

struct options {
    const char *db, *query, *output;
    uint64_t repeats;
};

/* Where rendered bytes go: a buffer that is emptied into the digest and, in the first repeat, a file. */
struct sink {
    XXH64_state_t *digest;
    FILE *file;
    size_t used;
    char bytes[BUFFER_BYTES];
};

/* The output file until it is complete; nothing of it may be left after a failure. */
static char temporary[4096];

static _Noreturn void fail(int code, const char *subject, const char *problem) {
    const char *parts[] = {"error: ", subject, *subject ? ": " : "", problem};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (const char *c = parts[i]; *c; c++) fputc((unsigned char)*c < 0x20 ? '?' : *c, stderr);
    fputc('\n', stderr);
    if (*temporary) unlink(temporary);
    exit(code);
}

/* --- rendering --- */

static void sink_flush(struct sink *sink) {
    XXH64_update(sink->digest, sink->bytes, sink->used);
    if (sink->file && fwrite(sink->bytes, 1, sink->used, sink->file) != sink->used)
        fail(EXIT_MACHINE, "output", strerror(errno));
    sink->used = 0;
}

/* Make room for `bytes` (at most the buffer) and return where they go. */
static char *sink_room(struct sink *sink, size_t bytes) {
    if (sink->used + bytes > BUFFER_BYTES) sink_flush(sink);
    return sink->bytes + sink->used;
}

static void put(struct sink *sink, const char *bytes, size_t length) {
    while (length > 0) {
        size_t part = length < BUFFER_BYTES ? length : BUFFER_BYTES;
        memcpy(sink_room(sink, part), bytes, part);
        sink->used += part;
        bytes += part;
        length -= part;
    }
}

static void put_char(struct sink *sink, char c) {
    *sink_room(sink, 1) = c;
    sink->used++;
}

static void put_integer(struct sink *sink, int64_t value) {
    char digits[20];
    size_t at = sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do digits[--at] = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (value < 0) put_char(sink, '-');
    put(sink, digits + at, sizeof digits - at);
}

/* Shortest digits that read back as the same double, laid out as Python's repr does. */
static void put_shortest(struct sink *sink, double value) {
    char text[40], digits[20];
    int precision = 0, count = 0;
    do snprintf(text, sizeof text, "%.*e", precision, value);
    while (strtod(text, NULL) != value && ++precision < 17);
    for (const char *c = text; *c != 'e'; c++)
        if (*c >= '0' && *c <= '9') digits[count++] = *c;
    int exponent = atoi(strchr(text, 'e') + 1);
    if (value < 0) put_char(sink, '-');
    if (exponent < -4 || exponent >= 16) {
        int length = snprintf(text, sizeof text, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        put_char(sink, digits[0]);
        if (count > 1) put_char(sink, '.');
        put(sink, digits + 1, (size_t)count - 1);
        put(sink, text, (size_t)length);
        return;
    }
    if (exponent < 0) put(sink, "0.000", (size_t)(1 - exponent));
    for (int i = 0; i < count || i <= exponent; i++) {
        if (i == exponent + 1 && exponent >= 0) put_char(sink, '.');
        put_char(sink, i < count ? digits[i] : '0');
    }
    if (exponent >= count - 1) put(sink, ".0", 2);
}

static void put_real(struct sink *sink, double value) {
    static const char *const EIGHTHS[8] = {".0", ".125", ".25", ".375", ".5", ".625", ".75", ".875"};
    double eighths = fabs(value) * 8;
    if (isinf(value)) {
        put(sink, value < 0 ? "-9e999" : "9e999", value < 0 ? 6 : 5);
    } else if (eighths < 1e12 && eighths == (double)(int64_t)eighths) {
        /* At most 15 digits say such a value exactly, so no shorter text reads back as it. */
        if (signbit(value)) put_char(sink, '-');
        put_integer(sink, (int64_t)eighths / 8);
        const char *fraction = EIGHTHS[(int64_t)eighths % 8];
        put(sink, fraction, strlen(fraction));
    } else {
        put_shortest(sink, value);
    }
}

/* Length of the well-formed UTF-8 sequence at `text`, or minus the length of the ill-formed start. */
static int sequence(const unsigned char *text, const unsigned char *end) {
    unsigned char first = text[0], low = 0x80, high = 0xbf;
    int length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first < 0xc2 || first > 0xf4) return -1;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
    for (int i = 1; i < length; i++, low = 0x80, high = 0xbf)
        if (text + i >= end || text[i] < low || text[i] > high) return -i;
    return length;
}

static void put_escaped(struct sink *sink, unsigned char c) {
    static const char SHORT[] = "\bb\tt\nn\ff\rr\"\"\\\\";
    for (const char *pair = SHORT; *pair; pair += 2)
        if ((unsigned char)pair[0] == c) {
            put_char(sink, '\\');
            put_char(sink, pair[1]);
            return;
        }
    sink->used += (size_t)sprintf(sink_room(sink, 8), "\\u%04x", c);
}

static void put_text(struct sink *sink, const unsigned char *text, int bytes) {
    const unsigned char *end = text + bytes, *plain = text;
    put_char(sink, '"');
    while (text < end) {
        int length = 1;
        bool keep = *text >= 0x20 && *text < 0x80 && *text != '"' && *text != '\\';
        if (*text >= 0x80) keep = (length = sequence(text, end)) > 0;
        if (!keep) {
            put(sink, (const char *)plain, (size_t)(text - plain));
            if (*text < 0x80) put_escaped(sink, *text);
            else put(sink, "\xef\xbf\xbd", 3);
            plain = text + abs(length);
        }
        text += abs(length);
    }
    put(sink, (const char *)plain, (size_t)(end - plain));
    put_char(sink, '"');
}

static void put_blob(struct sink *sink, const unsigned char *blob, int bytes) {
    static const char HEX[] = "0123456789abcdef";
    put(sink, "{\"blob\":\"", 9);
    for (int i = 0; i < bytes; i++) {
        put_char(sink, HEX[blob[i] >> 4]);
        put_char(sink, HEX[blob[i] & 15]);
    }
    put(sink, "\"}", 2);
}

static void put_row(struct sink *sink, sqlite3_stmt *statement, int columns) {
    for (int i = 0; i < columns; i++) {
        put_char(sink, i == 0 ? '[' : ',');
        switch (sqlite3_column_type(statement, i)) {
        case SQLITE_INTEGER: put_integer(sink, sqlite3_column_int64(statement, i)); break;
        case SQLITE_FLOAT: put_real(sink, sqlite3_column_double(statement, i)); break;
        case SQLITE_TEXT: {
            const unsigned char *text = sqlite3_column_text(statement, i);
            put_text(sink, text, sqlite3_column_bytes(statement, i));
            break;
        }
        case SQLITE_BLOB: {
            const unsigned char *blob = sqlite3_column_blob(statement, i);
            put_blob(sink, blob, sqlite3_column_bytes(statement, i));
            break;
        }
        default: put(sink, "null", 4);
        }
    }
    put(sink, "]\n", 2);
}

/* --- the job --- */

/* The measured work: one repeat, from opening the file to closing it. */
static void run_once(const struct options *options, struct sink *sink) {
    sqlite3 *connection;
    sqlite3_stmt *statement;
    if (sqlite3_open_v2(options->db, &connection, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(connection, options->query, -1, &statement, NULL) != SQLITE_OK)
        fail(EXIT_INPUT, options->db, sqlite3_errmsg(connection));
    int columns = sqlite3_column_count(statement), state;
    while ((state = sqlite3_step(statement)) == SQLITE_ROW) put_row(sink, statement, columns);
    if (state != SQLITE_DONE) fail(EXIT_INPUT, options->db, sqlite3_errmsg(connection));
    sqlite3_finalize(statement);
    sqlite3_close(connection);
    sink_flush(sink);
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run_all(const struct options *options, struct sink *sink) {
    if (options->output) {
        snprintf(temporary, sizeof temporary, "%s.tmp-%ld", options->output, (long)getpid());
        sink->file = fopen(temporary, "wb");
        if (!sink->file) fail(EXIT_MACHINE, options->output, strerror(errno));
    }
    double start = seconds_now();
    for (uint64_t repeat = 0; repeat < options->repeats; repeat++) {
        run_once(options, sink);
        if (sink->file) {
            if (fclose(sink->file) != 0 || rename(temporary, options->output) != 0)
                fail(EXIT_MACHINE, options->output, strerror(errno));
            sink->file = NULL;
            *temporary = 0;
        }
    }
    double wall = seconds_now() - start;
    printf("--- Statistics ---\nTotal processed: 0\nProcessing time: %.6fs\nAverage latency: %.6fms\n"
           "Throughput: 0.00 items/sec\nDigest: %016" PRIx64 "\n",
           wall, wall * 1e3 / (double)options->repeats, (uint64_t)XXH64_digest(sink->digest));
}

static struct options parse(int count, char **args) {
    struct options options = {.repeats = 1};
    for (int i = 1; i < count; i++) {
        if (strcmp(args[i], "--version") == 0) {
            printf("sqlite-query-engine sqlite3 %s\n", sqlite3_libversion());
            exit(0);
        }
        if (i + 1 >= count) fail(EXIT_INPUT, args[i], "unknown option or missing value");
        const char *name = args[i], *value = args[++i];
        if (strcmp(name, "--db") == 0) options.db = value;
        else if (strcmp(name, "--query") == 0) options.query = value;
        else if (strcmp(name, "--output") == 0) options.output = value;
        else if (strcmp(name, "--repeats") == 0) options.repeats = strtoull(value, NULL, 10);
        else if (strcmp(name, "--format") != 0 || strcmp(value, "json") != 0)
            fail(EXIT_INPUT, name, "unknown option or value");
    }
    if (!options.db || !options.query || options.repeats == 0)
        fail(EXIT_INPUT, "", "--db and --query are required, --repeats is at least 1");
    return options;
}

int main(int count, char **args) {
    static struct sink sink;
    struct options options = parse(count, args);
    sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_config(SQLITE_CONFIG_MMAP_SIZE, (sqlite3_int64)1 << 40, (sqlite3_int64)1 << 40);
    sink.digest = XXH64_createState();
    if (!sink.digest) fail(EXIT_MACHINE, "", "out of memory");
    XXH64_reset(sink.digest, 0);
    run_all(&options, &sink);
    XXH64_freeState(sink.digest);
    return fflush(stdout) == 0 ? 0 : EXIT_MACHINE;
}
