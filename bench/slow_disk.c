/* A disk whose fsync takes SLOW_DISK_US microseconds longer; preload it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_for_it(void)
{
    const char *us = getenv("SLOW_DISK_US");
    usleep(us ? (useconds_t)atoi(us) : 0);
}

int fsync(int fd)
{
    wait_for_it();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd)
{
    wait_for_it();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
