/* A disk that keeps what was synced, and nothing else: preload it into a process, cut the power, open the images.
 *
 * FORGETFUL_DISK names a folder; FORGETFUL_IMAGES gets, for each file in it, its content as of its last fsync or
 * fdatasync. What is written, appended or cut off (write, truncate, open with O_TRUNC) counts from the next sync on; rename
 * and unlink count at once, as in a file system with a journal: the worst that may happen to content that was not synced.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* The image of a file directly in the folder; NULL if it is elsewhere. */
static const char *image_of(const char *path, char *into)
{
    const char *disk = getenv("FORGETFUL_DISK"), *images = getenv("FORGETFUL_IMAGES");
    size_t length = disk ? strlen(disk) : 0;
    if (!length || !images || strncmp(path, disk, length) || path[length] != '/' || strchr(path + length + 1, '/'))
        return NULL;
    snprintf(into, PATH_MAX, "%s%s", images, path + length);
    return into;
}

/* Whole or not at all: who looks between two moments sees the old image. */
static void keep(int fd)
{
    char link[64], path[PATH_MAX], image[PATH_MAX], making[PATH_MAX + 8], block[1 << 16];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return;
    path[length] = 0;
    if (!image_of(path, image))
        return;
    snprintf(making, sizeof making, "%s.making", image);
    int to = open(making, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    off_t at = 0;
    ssize_t many = to < 0 ? -1 : 1;
    for (; many > 0; at += many) /* by its descriptor: to open and close the file would drop SQLite's locks on it */
        if ((many = pread(fd, block, sizeof block, at)) > 0 && write(to, block, (size_t)many) != many)
            many = -1;
    if (many < 0 || REAL(rename)(making, image))
        abort(); /* a test must not pass because of a missing image */
    close(to);
}

int fsync(int fd)
{
    keep(fd);
    return REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    keep(fd);
    return REAL(fdatasync)(fd);
}

int rename(const char *from, const char *to)
{
    char old[PATH_MAX], new[PATH_MAX];
    int failed = REAL(rename)(from, to);
    if (!failed && image_of(to, new)) {
        REAL(unlink)(new);
        if (image_of(from, old))
            REAL(rename)(old, new);
    }
    return failed;
}

int unlink(const char *path)
{
    char image[PATH_MAX];
    int failed = REAL(unlink)(path);
    if (!failed && image_of(path, image))
        REAL(unlink)(image);
    return failed;
}
