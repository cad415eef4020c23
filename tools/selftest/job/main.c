/*
 * spinner: a lane whose work is known to the step, for the self-test of the method.
 *
 * usage: spinner --input FILE [--repeats N] [--output PATH]
 *
 * FILE holds a number of steps. Each repeat takes so many steps of a xorshift generator; each step needs the one before,
 * so the time is proportional to the steps. EXTRA_PERMILLE more are taken in vain: the slow-down that is injected.
 *
 *   --repeats N     do the whole job N times (default 1)
 *   --output PATH   the answer: the last state, 31 hexadecimal digits and a line feed; `-` for stdout
 *
 * Exit codes: 0 done, 2 bad usage or input, 1 the machine failed it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXTRA_PERMILLE 0 /* the self-test writes its own number here */
#define MAX_NUMBER 1000000000000
#define ANSWER_BYTES 32 /* one stripe of XXH64, so that its hash below needs no tail */
#define START 88172645463325252u

struct options {
    const char *input, *output;
    uint64_t repeats;
};

/* XXH64 with seed 0 of any number of answers, one whole stripe each. */
#define P1 0x9E3779B185EBCA87u
#define P2 0xC2B2AE3D27D4EB4Fu
#define P3 0x165667B19E3779F9u
#define P4 0x85EBCA77C2B2AE63u

struct hash {
    uint64_t lane[4], length;
};

static uint64_t rotated(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static uint64_t mixed(uint64_t lane, uint64_t input)
{
    return rotated(lane + input * P2, 31) * P1;
}

static void hash_answer(struct hash *hash, const char *answer)
{
    for (int i = 0; i < 4; i++) {
        uint64_t word;
        memcpy(&word, answer + 8 * i, sizeof word);
        hash->lane[i] = mixed(hash->lane[i], word);
    }
    hash->length += ANSWER_BYTES;
}

static uint64_t hash_end(const struct hash *hash)
{
    static const int turns[4] = {1, 7, 12, 18};
    uint64_t h = 0;
    for (int i = 0; i < 4; i++)
        h += rotated(hash->lane[i], turns[i]);
    for (int i = 0; i < 4; i++)
        h = (h ^ mixed(0, hash->lane[i])) * P1 + P4;
    h += hash->length;
    h = (h ^ h >> 33) * P2;
    h = (h ^ h >> 29) * P3;
    return h ^ h >> 32;
}

static int refused(const char *what, const char *value)
{
    fprintf(stderr, "error: %s: %s\n", what, value);
    return 2;
}

/* A positive number that is the whole text, or 0. */
static uint64_t number(const char *text)
{
    char *end;
    if (*text < '0' || *text > '9')
        return 0;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    return errno == 0 && strspn(end, "\n") == strlen(end) && value <= MAX_NUMBER ? value : 0;
}

static int parse(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--input") != 0 && strcmp(name, "--output") != 0 && strcmp(name, "--repeats") != 0)
            return refused("unknown option", name);
        if (value == NULL)
            return refused("a value is missing", name);
        if (strcmp(name, "--input") == 0)
            options->input = value;
        else if (strcmp(name, "--output") == 0)
            options->output = value;
        else if ((options->repeats = number(value)) == 0)
            return refused("--repeats is not a positive number", value);
    }
    return options->input == NULL ? refused("missing option", "--input") : 0;
}

static int read_steps(const char *path, uint64_t *steps)
{
    char text[32] = "";
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return refused(path, strerror(errno));
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    *steps = number(text);
    return *steps == 0 ? refused(path, "not a positive number of steps") : 0;
}

/* Neither inlined nor cloned: the steps that count and those in vain are the same machine code. */
static __attribute__((noipa)) uint64_t spin(uint64_t x, uint64_t steps)
{
    while (steps-- > 0) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

static void work(const struct options *options, uint64_t steps, char *answer, struct hash *hash)
{
    static volatile uint64_t in_vain = START;
    for (uint64_t i = 0; i < options->repeats; i++) {
        snprintf(answer, ANSWER_BYTES + 1, "%031" PRIx64 "\n", spin(START, steps));
        in_vain = spin(in_vain, steps * EXTRA_PERMILLE / 1000);
        hash_answer(hash, answer);
    }
}

static double seconds_now(void)
{
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return (double)moment.tv_sec + (double)moment.tv_nsec / 1e9;
}

static int write_answer(const char *path, const char *answer)
{
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
    if (file == NULL || fputs(answer, file) < 0 || fflush(file) != 0) {
        fprintf(stderr, "error: cannot write %s: %s\n", path, strerror(errno));
        return 1;
    }
    return 0;
}

static void print_statistics(uint64_t items, uint64_t repeats, double seconds, uint64_t digest)
{
    printf("--- Statistics ---\nTotal processed: %" PRIu64 "\nProcessing time: %.9fs\n", items, seconds);
    printf("Average latency: %.6fms\n", seconds * 1000 / (double)repeats);
    printf("Throughput: %.2f items/sec\n", seconds > 0 ? (double)items / seconds : 0.0);
    printf("Digest: %016" PRIx64 "\n", digest);
}

int main(int argc, char **argv)
{
    struct options options = {.repeats = 1};
    struct hash hash = {.lane = {P1 + P2, P2, 0, 0 - P1}};
    char answer[ANSWER_BYTES + 1];
    uint64_t steps;
    int code;
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return puts("spinner c") < 0;
    if ((code = parse(argc, argv, &options)) != 0 || (code = read_steps(options.input, &steps)) != 0)
        return code;
    double start = seconds_now();
    work(&options, steps, answer, &hash);
    double seconds = seconds_now() - start;
    if (options.output != NULL && ((code = write_answer(options.output, answer)) != 0))
        return code;
    if (options.output == NULL || strcmp(options.output, "-") != 0)
        print_statistics(steps * options.repeats, options.repeats, seconds, hash_end(&hash));
    return 0;
}
