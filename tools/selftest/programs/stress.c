/*
 * stress SECONDS ON_MS OFF_MS: background load that we know.
 *
 * Keeps its core busy for ON_MS and idle for OFF_MS, in turn. Ends after SECONDS even when nobody stops it, so that a
 * killed self-test leaves no load behind.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return (int64_t)moment.tv_sec * 1000 + moment.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("error: usage: stress SECONDS ON_MS OFF_MS\n", stderr);
        return 2;
    }
    unsigned seconds = (unsigned)strtoul(argv[1], NULL, 10);
    int64_t on_ms = strtoll(argv[2], NULL, 10), off_ms = strtoll(argv[3], NULL, 10);
    alarm(seconds > 0 ? seconds : 1); /* SIGALRM ends us */
    for (;;) {
        int64_t end_ms = now_ms() + on_ms;
        while (now_ms() < end_ms)
            ;
        struct timespec pause = {.tv_sec = off_ms / 1000, .tv_nsec = off_ms % 1000 * 1000000};
        if (off_ms > 0)
            nanosleep(&pause, NULL);
    }
}
