/* file.h: the only door through which files are changed.
 *
 * What is written is synced before it gets its final name, and a rename counts only
 * once its folder is synced. Every change passes through here, so that tests can let
 * the n-th one fail, or end the process there, and look at what is left.
 * All functions are safe from any thread; all of them block.
 *
 * Codes of a failing system call: NOT_FOUND (no such file), ALREADY_EXISTS,
 * PERMISSION_DENIED, RESOURCE_EXHAUSTED (disk full, quota, file too large, too many
 * open files), INTERNAL for the rest. The message names the path.
 */
#ifndef DR_BASE_FILE_H
#define DR_BASE_FILE_H
#include <stddef.h>
#include <stdint.h>

#include "models/base/buf.h"
#include "models/base/error.h"

/* Fails with the code that suits `number` (an errno): "cannot <verb> PATH: why". */
dr_code dr_file_fail(dr_error *err, int number, const char *verb, const char *path);

/* ---- changes ---- */

/* A new file for writing; ALREADY_EXISTS where there is one. */
DR_CHECKED dr_code dr_file_create(int *out, const char *path, dr_error *err);
/* All of `bytes`, or an error; `path` is for the message. */
DR_CHECKED dr_code dr_file_write(int fd, const void *bytes, size_t length, const char *path,
                                 dr_error *err);
/* Data and size are on the disk afterwards. */
DR_CHECKED dr_code dr_file_sync(int fd, const char *path, dr_error *err);
/* The names in a folder are on the disk afterwards. */
DR_CHECKED dr_code dr_file_sync_folder(const char *path, dr_error *err);
/* Replaces a file; ALREADY_EXISTS where `to` is a folder that holds something. */
DR_CHECKED dr_code dr_file_rename(const char *from, const char *to, dr_error *err);
/* Fine where the folder exists already. */
DR_CHECKED dr_code dr_file_make_folder(const char *path, dr_error *err);
/* A file, a symbolic link (not what it points to), or a folder with all in it, at most
 * 8 folders deep. Fine where there is nothing. */
DR_CHECKED dr_code dr_file_remove(const char *path, dr_error *err);
/* The same as far as it goes, on a path that fails already. Changes no errno. */
void dr_file_discard(const char *path);
/* create, write, sync, close. What was begun is removed where it fails. */
DR_CHECKED dr_code dr_file_write_new(const char *path, const void *bytes, size_t length,
                                     dr_error *err);

/* ---- reading ---- */

/* A regular file for reading, and its size now. INVALID_ARGUMENT: a folder, a pipe, a device. */
DR_CHECKED dr_code dr_file_open(int *out, size_t *length, const char *path, dr_error *err);
/* Appends the whole file to `out`, whose maximum is the limit. */
DR_CHECKED dr_code dr_file_read(dr_buf *out, const char *path, dr_error *err);

typedef struct {
    const void *bytes; /* NULL where the file is empty */
    size_t length;
} dr_file_map;
/* A read-only view of a regular file of at most `max_bytes`. Whoever cuts the file short
 * while it is mapped ends the process: map only files that belong to the daemon, or copy. */
DR_CHECKED dr_code dr_file_map_open(dr_file_map *out, const char *path, size_t max_bytes,
                                    dr_error *err);
void dr_file_map_close(dr_file_map *map);

typedef struct {
    char **names; /* sorted by bytes; owned */
    size_t count;
} dr_file_names;
/* The names in a folder without "." and "..", at most `max` of them (RESOURCE_EXHAUSTED). */
DR_CHECKED dr_code dr_file_list(dr_file_names *out, const char *folder, size_t max, dr_error *err);
void dr_file_names_deinit(dr_file_names *names);

/* 1 = a folder, 0 = something else or nothing. Links are followed. */
int dr_file_is_folder(const char *path);
/* 1 = there is something of this name, a dangling link too. */
int dr_file_exists(const char *path);

/* ---- faults, for tests ---- */

typedef enum {
    DR_FILE_FAULT_NONE,
    DR_FILE_FAULT_ONCE,    /* the n-th change fails with `number`, later ones work */
    DR_FILE_FAULT_FOREVER, /* the n-th and all later ones fail: a disk that is full */
    DR_FILE_FAULT_EXIT     /* the process ends at the n-th change, as by kill -9 */
} dr_file_fault;
/* Counts from now on, 1 = the next change; `number` is the errno they fail with. */
void dr_file_set_fault(dr_file_fault fault, uint64_t nth, int number);
/* Appends a letter a change to `out`, which ends in NUL, until called with NULL; of one thread
 * only: c create, w write, s sync, S sync a folder, r rename, m make a folder, x remove. */
void dr_file_set_trace(char *out, size_t size);

#endif
