/* Let the disk below a store fail, for tests: preloaded into a server.
 *
 * DISK_FAULTS names a folder. While it has a file "syncs", this holds two numbers: how many syncs of
 * the WAL still succeed, and how many fail after these. While it has a file "reads", all reads of
 * the store and of its WAL fail. Each failure appends a byte to "failed-syncs" or "failed-reads".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long seen;

static const char *in_folder(const char *name, char *buffer, size_t size) {
    const char *folder = getenv("DISK_FAULTS");
    if (!folder) return NULL;
    snprintf(buffer, size, "%s/%s", folder, name);
    return buffer;
}

static int planned(const char *name) {
    char path[4096];
    return in_folder(name, path, sizeof path) && access(path, F_OK) == 0;
}

static int ends_with(int fd, const char *ending) {
    char link[64], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, name, sizeof name), length = strlen(ending);
    return size > length && memcmp(name + size - length, ending, length) == 0;
}

static int failed(const char *name) {
    char path[4096];
    int fd = open(in_folder(name, path, sizeof path), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0) {
        if (write(fd, ".", 1) != 1) abort();
        close(fd);
    }
    errno = EIO;
    return 1;
}

static int sync_fails(int fd) {
    char path[4096];
    long spared, failing;
    if (!planned("syncs")) {
        seen = 0;
        return 0;
    }
    if (!ends_with(fd, "-wal")) return 0;
    FILE *file = fopen(in_folder("syncs", path, sizeof path), "r");
    if (!file) return 0;
    int read = fscanf(file, "%ld %ld", &spared, &failing);
    fclose(file);
    long number = seen++;
    if (read != 2 || number < spared || number >= spared + failing) return 0;
    return failed("failed-syncs");
}

static int read_fails(int fd) {
    return planned("reads") && (ends_with(fd, ".db") || ends_with(fd, ".db-wal"))
        && failed("failed-reads");
}

#define REAL(name, type) \
    static type real; \
    if (!real) real = (type)dlsym(RTLD_NEXT, name)

typedef int (*sync_t)(int);
typedef ssize_t (*pread_t)(int, void *, size_t, off64_t);

int fdatasync(int fd) {
    REAL("fdatasync", sync_t);
    return sync_fails(fd) ? -1 : real(fd);
}

int fsync(int fd) {
    REAL("fsync", sync_t);
    return sync_fails(fd) ? -1 : real(fd);
}

ssize_t pread64(int fd, void *buffer, size_t size, off64_t at) {
    REAL("pread64", pread_t);
    return read_fails(fd) ? -1 : real(fd, buffer, size, at);
}

ssize_t pread(int fd, void *buffer, size_t size, off_t at) {
    REAL("pread64", pread_t);
    return read_fails(fd) ? -1 : real(fd, buffer, size, at);
}
