/* A library, preloaded into a server and its workers, that shifts their time of day and slows their disk.

   FAULTS_CONTROL names a file of two 64-bit numbers, which may change while the server runs: the seconds by
   which the time of day is shifted, and the nanoseconds by which each call is delayed that reaches a file below
   FAULTS_FOLDER. The monotonic clock is not changed. Files that the server writes get the shifted time of day
   as their modification time. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BILLION 1000000000LL
#define DESCRIPTORS 65536

struct control {
    volatile long long clock;
    volatile long long disk;
};

static struct control none;
static struct control *control = &none;
static const char *folder = "";
static size_t folder_length = 0;
static volatile char watched[DESCRIPTORS];

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL");
    int descriptor = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (descriptor < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, descriptor, 0);
    syscall(SYS_close, descriptor);
    if (mapped != MAP_FAILED)
        control = mapped;
    if (getenv("FAULTS_FOLDER")) {
        folder = getenv("FAULTS_FOLDER");
        folder_length = strlen(folder);
    }
}

/* -- the time of day --------------------------------------------------------------------------------------- */

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += control->clock;
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

/* -- the disk ---------------------------------------------------------------------------------------------- */

static void wait_for_disk(void) {
    long long nanoseconds = control->disk;
    if (nanoseconds > 0) {
        struct timespec rest = {nanoseconds / BILLION, nanoseconds % BILLION};
        int before = errno;
        syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &rest, NULL);
        errno = before;
    }
}

static int below_folder(const char *path) {
    return folder_length > 0 && strncmp(path, folder, folder_length) == 0;
}

static int is_watched(int descriptor) {
    return descriptor >= 0 && descriptor < DESCRIPTORS && watched[descriptor];
}

static int reach(int at, const char *path, int flags, mode_t mode) {
    int below = below_folder(path);
    if (below)
        wait_for_disk();
    int descriptor = (int)syscall(SYS_openat, at, path, flags, mode);
    if (descriptor >= 0 && descriptor < DESCRIPTORS)
        watched[descriptor] = (char)(below && !(flags & O_DIRECTORY));
    return descriptor;
}

static void stamp(int descriptor) {
    if (control->clock && is_watched(descriptor)) {
        struct timespec times[2];
        int before = errno;
        clock_gettime(CLOCK_REALTIME, &times[0]);
        times[1] = times[0];
        syscall(SYS_utimensat, descriptor, NULL, times, 0);
        errno = before;
    }
}

#define MODE(flags, mode)                     \
    mode_t mode = 0;                          \
    if ((flags) & (O_CREAT | O_TMPFILE)) {    \
        va_list rest;                         \
        va_start(rest, flags);                \
        mode = (mode_t)va_arg(rest, unsigned); \
        va_end(rest);                         \
    }

int open(const char *path, int flags, ...) {
    MODE(flags, mode)
    return reach(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags, mode)
    return reach(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int close(int descriptor) {
    if (descriptor >= 0 && descriptor < DESCRIPTORS)
        watched[descriptor] = 0;
    return (int)syscall(SYS_close, descriptor);
}

ssize_t write(int descriptor, const void *data, size_t length) {
    if (is_watched(descriptor))
        wait_for_disk();
    ssize_t written = syscall(SYS_write, descriptor, data, length);
    stamp(descriptor);
    return written;
}

ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t offset) {
    if (is_watched(descriptor))
        wait_for_disk();
    ssize_t written = syscall(SYS_pwrite64, descriptor, data, length, offset);
    stamp(descriptor);
    return written;
}

ssize_t pwrite(int descriptor, const void *data, size_t length, off_t offset) {
    return pwrite64(descriptor, data, length, offset);
}

int fsync(int descriptor) {
    if (is_watched(descriptor))
        wait_for_disk();
    return (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor) {
    if (is_watched(descriptor))
        wait_for_disk();
    return (int)syscall(SYS_fdatasync, descriptor);
}

int unlink(const char *path) {
    if (below_folder(path))
        wait_for_disk();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int rename(const char *from, const char *to) {
    if (below_folder(from))
        wait_for_disk();
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
