/* Loaded before the C library (LD_PRELOAD) into a service, a worker or Redis: the faults that no system call of a test can cause.
 *
 *   CHAOS_SYNC=FILE     each fsync and fdatasync first reads FILE: "delay 500" waits so many milliseconds, "fail 5" fails with
 *                       that errno; an absent or empty file does nothing. So a test switches while the process runs.
 *   CHAOS_CLOCK=3600    the clock of the day is so many seconds ahead; what measures durations is left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int asked(void) {
    const char *path = getenv("CHAOS_SYNC");
    char text[64] = {0};
    long number = 0;
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length > 0 && sscanf(text, "delay %ld", &number) == 1) {
        struct timespec wait = {number / 1000, number % 1000 * 1000000};
        while (nanosleep(&wait, &wait) < 0 && errno == EINTR) {}
        return 0;
    }
    return length > 0 && sscanf(text, "fail %ld", &number) == 1 ? (int)number : 0;
}

static int synced(const char *name, int file) {
    int fault = asked();
    if (fault) {
        errno = fault;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(file);
}

int fsync(int file) { return synced("fsync", file); }
int fdatasync(int file) { return synced("fdatasync", file); }

static long ahead(void) {
    static long seconds = 0;
    static int known = 0;
    if (!known) {
        const char *text = getenv("CHAOS_CLOCK");
        seconds = text ? atol(text) : 0;
        known = 1;
    }
    return seconds;
}

int clock_gettime(clockid_t which, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *) = NULL;
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int outcome = real(which, at);
    if (outcome == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) at->tv_sec += ahead();
    return outcome;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    static int (*real)(struct timeval *, void *) = NULL;
    if (!real) real = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
    int outcome = real(at, zone);
    if (outcome == 0) at->tv_sec += ahead();
    return outcome;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
