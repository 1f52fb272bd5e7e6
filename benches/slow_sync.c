/* A disk whose every sync takes longer: preloaded into a broker, it lets fdatasync and fsync wait before they begin.
   SLOW_SYNC_US says how long. The syncs of different threads wait at the same time, as those of a disk with a queue do. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

typedef int (*sync_call)(int);

static int slowly(sync_call real, int file)
{
    const char *text = getenv("SLOW_SYNC_US");
    long us = text ? atol(text) : 0;
    struct timespec left = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&left, &left) != 0) {
        /* a signal came: the rest */
    }
    return real(file);
}

int fdatasync(int file)
{
    return slowly((sync_call)dlsym(RTLD_NEXT, "fdatasync"), file);
}

int fsync(int file)
{
    return slowly((sync_call)dlsym(RTLD_NEXT, "fsync"), file);
}
