/* Let syncs of a store's WAL fail, for tests: preloaded into a server.
 *
 * SYNC_FAULTS names a file. While it exists, it holds two numbers: how many syncs still succeed, and
 * how many fail after these. Each failure appends a line to the file of that name with ".failed".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long seen;

static int is_wal(int fd) {
    char link[64], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, name, sizeof name);
    return size > 4 && memcmp(name + size - 4, "-wal", 4) == 0;
}

static int fails(int fd) {
    const char *plan = getenv("SYNC_FAULTS");
    long spared, failing;
    if (!plan || !is_wal(fd)) return 0;
    FILE *file = fopen(plan, "r");
    if (!file) {
        seen = 0;
        return 0;
    }
    int read = fscanf(file, "%ld %ld", &spared, &failing);
    fclose(file);
    long number = seen++;
    if (read != 2 || number < spared || number >= spared + failing) return 0;
    char name[4096];
    snprintf(name, sizeof name, "%s.failed", plan);
    if ((file = fopen(name, "a"))) {
        fprintf(file, "%ld\n", number);
        fclose(file);
    }
    errno = EIO;
    return 1;
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails(fd) ? -1 : real(fd);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails(fd) ? -1 : real(fd);
}
