/* file.c: POSIX files with errors that name the path, and faults on request. */
#include "models/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/base/mem.h"

enum { REMOVE_DEPTH_MAX = 8, EXIT_AT_FAULT = 99 };

static dr_code code_of(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return DR_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return DR_ALREADY_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return DR_PERMISSION_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return DR_RESOURCE_EXHAUSTED;
    default:
        return DR_INTERNAL;
    }
}

dr_code dr_file_fail(dr_error *err, int number, const char *verb, const char *path)
{
    const char *why = number == ENOSPC ? "the disk is full" : strerror(number);
    return dr_fail(err, code_of(number), "cannot %s %s: %s", verb, path, why);
}

/* ---- faults ---- */

static _Atomic int fault_kind, fault_number;
static _Atomic uint64_t fault_countdown;

void dr_file_set_fault(dr_file_fault fault, uint64_t nth, int number)
{
    atomic_store(&fault_kind, DR_FILE_FAULT_NONE);
    atomic_store(&fault_number, number);
    atomic_store(&fault_countdown, nth);
    atomic_store(&fault_kind, fault);
}

static _Thread_local char *trace;
static _Thread_local size_t trace_left;

void dr_file_set_trace(char *out, size_t size)
{
    trace = out;
    trace_left = size;
    if (out) {
        *out = '\0';
    }
}

/* Every change passes here first. Nonzero, with errno set, where it is the one to fail. */
static int told_to_fail(char change)
{
    if (trace && trace_left > 1) {
        *trace++ = change;
        *trace = '\0';
        trace_left--;
    }
    int kind = atomic_load_explicit(&fault_kind, memory_order_relaxed);
    if (kind == DR_FILE_FAULT_NONE || atomic_load(&fault_countdown) == 0) {
        return 0;
    }
    if (atomic_fetch_sub(&fault_countdown, 1) != 1) {
        return 0;
    }
    if (kind == DR_FILE_FAULT_EXIT) {
        _exit(EXIT_AT_FAULT);
    }
    if (kind == DR_FILE_FAULT_FOREVER) {
        atomic_store(&fault_countdown, 1);
    }
    errno = atomic_load(&fault_number);
    return 1;
}

/* ---- changes ---- */

dr_code dr_file_create(int *out, const char *path, dr_error *err)
{
    int fd = told_to_fail('c') ? -1 : open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0) {
        return dr_file_fail(err, errno, "create", path);
    }
    *out = fd;
    return DR_OK;
}

dr_code dr_file_write(int fd, const void *bytes, size_t length, const char *path, dr_error *err)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t n = told_to_fail('w') ? -1 : write(fd, at, length < SSIZE_MAX ? length : SSIZE_MAX);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return dr_file_fail(err, errno, "write to", path);
        }
        at += n;
        length -= (size_t)n;
    }
    return DR_OK;
}

dr_code dr_file_sync(int fd, const char *path, dr_error *err)
{
    if (told_to_fail('s') || fsync(fd) != 0) {
        return dr_file_fail(err, errno, "sync", path);
    }
    return DR_OK;
}

dr_code dr_file_sync_folder(const char *path, dr_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return dr_file_fail(err, errno, "open", path);
    }
    dr_code code = DR_OK;
    if (told_to_fail('S') || fsync(fd) != 0) {
        code = dr_file_fail(err, errno, "sync", path);
    }
    close(fd);
    return code;
}

dr_code dr_file_rename(const char *from, const char *to, dr_error *err)
{
    if (told_to_fail('r') || rename(from, to) != 0) {
        return dr_file_fail(err, errno, "rename to", to);
    }
    return DR_OK;
}

dr_code dr_file_make_folder(const char *path, dr_error *err)
{
    if (told_to_fail('m') || (mkdir(path, 0755) != 0 && errno != EEXIST)) {
        return dr_file_fail(err, errno, "make the folder", path);
    }
    if (!dr_file_is_folder(path)) {
        return dr_file_fail(err, EEXIST, "make the folder", path);
    }
    return DR_OK;
}

static int remove_at(int folder, const char *name, int depth);

/* Empties the open folder `fd` (which is closed) as far as it can. */
static int empty_folder(int fd, int depth)
{
    DIR *list = fdopendir(fd);
    if (!list) {
        close(fd);
        return -1;
    }
    int result = 0;
    for (struct dirent *entry; (entry = readdir(list)) && result == 0;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            result = remove_at(dirfd(list), entry->d_name, depth);
        }
    }
    int number = errno;
    closedir(list);
    errno = number;
    return result;
}

static int remove_at(int folder, const char *name, int depth)
{
    if (told_to_fail('x')) {
        return -1;
    }
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno != EISDIR && errno != EPERM) {
        return -1;
    }
    if (depth >= REMOVE_DEPTH_MAX) {
        errno = ELOOP;
        return -1;
    }
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || empty_folder(fd, depth + 1) != 0) {
        return -1;
    }
    return unlinkat(folder, name, AT_REMOVEDIR);
}

dr_code dr_file_remove(const char *path, dr_error *err)
{
    if (remove_at(AT_FDCWD, path, 0) != 0 && errno != ENOTDIR) {
        return dr_file_fail(err, errno, "remove", path);
    }
    return DR_OK;
}

void dr_file_discard(const char *path)
{
    int number = errno;
    remove_at(AT_FDCWD, path, 0);
    errno = number;
}

dr_code dr_file_write_new(const char *path, const void *bytes, size_t length, dr_error *err)
{
    int fd;
    dr_code code = dr_file_create(&fd, path, err);
    if (code != DR_OK) {
        return code;
    }
    code = dr_file_write(fd, bytes, length, path, err);
    if (code == DR_OK) {
        code = dr_file_sync(fd, path, err);
    }
    close(fd);
    if (code != DR_OK) {
        dr_file_discard(path);
    }
    return code;
}

/* ---- reading ---- */

dr_code dr_file_open(int *out, size_t *length, const char *path, dr_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        dr_code code = dr_file_fail(err, errno, "open", path);
        if (fd >= 0) {
            close(fd);
        }
        return code;
    }
    if (!S_ISREG(info.st_mode)) {
        close(fd);
        return dr_fail(err, DR_INVALID_ARGUMENT, "%s is not a regular file", path);
    }
    *out = fd;
    *length = (size_t)info.st_size;
    return DR_OK;
}

dr_code dr_file_read(dr_buf *out, const char *path, dr_error *err)
{
    int fd;
    size_t length;
    dr_code code = dr_file_open(&fd, &length, path, err);
    if (code != DR_OK) {
        return code;
    }
    code = dr_buf_reserve(out, length, err);
    while (code == DR_OK && length > 0) {
        ssize_t n = read(fd, out->bytes + out->length, length);
        if (n < 0 && errno != EINTR) {
            code = dr_file_fail(err, errno, "read", path);
        } else if (n == 0) {
            code = dr_fail(err, DR_INTERNAL, "%s became shorter while it was read", path);
        } else if (n > 0) {
            out->length += (size_t)n;
            length -= (size_t)n;
        }
    }
    close(fd);
    return code;
}

dr_code dr_file_map_open(dr_file_map *out, const char *path, size_t max_bytes, dr_error *err)
{
    int fd;
    size_t length;
    dr_code code = dr_file_open(&fd, &length, path, err);
    if (code != DR_OK) {
        return code;
    }
    *out = (dr_file_map){.length = length};
    if (length > max_bytes) {
        code = dr_fail(err, DR_INVALID_ARGUMENT, "%s has %zu bytes, expected at most %zu", path,
                       length, max_bytes);
    } else if (length > 0) {
        void *bytes = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED) {
            code = dr_file_fail(err, errno, "map", path);
        } else {
            out->bytes = bytes;
        }
    }
    close(fd);
    return code;
}

void dr_file_map_close(dr_file_map *map)
{
    if (map->bytes) {
        munmap((void *)map->bytes, map->length);
    }
    *map = (dr_file_map){0};
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static dr_code add_name(dr_file_names *names, size_t *room, const char *name, dr_error *err)
{
    if (names->count == *room) {
        size_t more = *room ? *room * 2 : 16;
        char **moved = dr_mem_realloc(names->names, more * sizeof *moved);
        if (!moved) {
            return dr_mem_fail(err, "names of a folder");
        }
        names->names = moved;
        *room = more;
    }
    char *copy = dr_mem_strdup(name);
    if (!copy) {
        return dr_mem_fail(err, "a name of a folder");
    }
    names->names[names->count++] = copy;
    return DR_OK;
}

dr_code dr_file_list(dr_file_names *out, const char *folder, size_t max, dr_error *err)
{
    *out = (dr_file_names){0};
    DIR *list = opendir(folder);
    if (!list) {
        return dr_file_fail(err, errno, "list", folder);
    }
    dr_code code = DR_OK;
    size_t room = 0;
    for (struct dirent *entry; code == DR_OK && (entry = readdir(list));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        code = out->count < max ? add_name(out, &room, entry->d_name, err)
                                : dr_fail(err, DR_RESOURCE_EXHAUSTED,
                                          "%s holds more than %zu files", folder, max);
    }
    closedir(list);
    if (code != DR_OK) {
        dr_file_names_deinit(out);
    } else if (out->count > 1) {
        qsort(out->names, out->count, sizeof *out->names, compare_names);
    }
    return code;
}

void dr_file_names_deinit(dr_file_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        dr_mem_free(names->names[i]);
    }
    dr_mem_free(names->names);
    *names = (dr_file_names){0};
}

int dr_file_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

int dr_file_exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}
