/* blob.c: files that come in: temporary folder → write → sync → rename → sync the folder above.
 * Only what was placed here is ever catalogued. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "models/base/check.h"
#include "models/base/file.h"
#include "models/base/mem.h"
#include "storage/store_impl.h"

enum { COPY_BYTES = 1 << 20 };

dr_code dr__blob_begin(dr_blob *blob, dr_store *store, dr_error *err)
{
    *blob = (dr_blob){0};
    for (int i = 0; i < DR_CHECKPOINT_FILES; i++) {
        blob->fds[i] = -1;
    }
    dr__store_path(blob->path, store, "incoming/%llu", (unsigned long long)store->incoming_next++);
    dr_code code = dr_file_make_folder(blob->path, err);
    if (code != DR_OK) {
        blob->path[0] = '\0';
    }
    return code;
}

static dr_code find_file(int *out, const char *file, dr_error *err)
{
    *out = dr_checkpoint_file_find(file);
    if (*out < 0) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "\"%.100s\" is no file of a checkpoint, expected card.md, manifest.json, "
                       "probe.safetensors, starts.safetensors or weights.safetensors",
                       file);
    }
    return DR_OK;
}

static void make_path(char path[DR_STORE_PATH_BYTES + 32], const dr_blob *blob, int file)
{
    snprintf(path, DR_STORE_PATH_BYTES + 32, "%s/%s", blob->path, dr_checkpoint_files[file].name);
}

dr_code dr__blob_write(dr_blob *blob, const char *file, const void *bytes, size_t length,
                       dr_error *err)
{
    int at;
    char path[DR_STORE_PATH_BYTES + 32];
    dr_code code = find_file(&at, file, err);
    if (code != DR_OK) {
        return code;
    }
    if (length > dr_checkpoint_files[at].max_bytes - blob->bytes[at]) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "%s is longer than %llu bytes, which is the limit",
                       dr_checkpoint_files[at].name,
                       (unsigned long long)dr_checkpoint_files[at].max_bytes);
    }
    make_path(path, blob, at);
    if (blob->fds[at] < 0) {
        code = dr_file_create(&blob->fds[at], path, err);
    }
    if (code == DR_OK) {
        code = dr_file_write(blob->fds[at], bytes, length, path, err);
        blob->bytes[at] += length;
    }
    return code;
}

/* ---- copying ---- */

static dr_code open_file(int *fd, size_t *length, char path[DR_STORE_PATH_BYTES],
                         const char *folder, const char *file, dr_error *err)
{
    int at;
    dr_code code = find_file(&at, file, err);
    if (code != DR_OK) {
        return code;
    }
    if (snprintf(path, DR_STORE_PATH_BYTES, "%s/%s", folder, file) >= DR_STORE_PATH_BYTES) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "%.200s: the path is too long", folder);
    }
    return dr_file_open(fd, length, path, err);
}

/* Before a byte is copied. */
static dr_code check_sum(const char *folder, const dr_file_names *names, dr_error *err)
{
    dr_code code = DR_OK;
    uint64_t sum = 0;
    for (size_t i = 0; code == DR_OK && i < names->count; i++) {
        char path[DR_STORE_PATH_BYTES];
        int fd;
        size_t length;
        code = open_file(&fd, &length, path, folder, names->names[i], err);
        if (code == DR_OK) {
            close(fd);
            sum += length;
        }
    }
    return code == DR_OK ? dr_checkpoint_check_bytes(sum, err) : code;
}

/* Read, not mapped: the file is somebody else's and may become shorter meanwhile. */
static dr_code copy_file(dr_blob *blob, const char *folder, const char *file, void *block,
                         dr_error *err)
{
    char path[DR_STORE_PATH_BYTES];
    int fd;
    size_t length;
    dr_code code = open_file(&fd, &length, path, folder, file, err);
    if (code != DR_OK) {
        return code;
    }
    /* An empty file is a file too. */
    code = dr__blob_write(blob, file, "", 0, err);
    for (ssize_t n = 1; code == DR_OK && n != 0;) {
        n = read(fd, block, COPY_BYTES);
        if (n < 0 && errno != EINTR) {
            code = dr_file_fail(err, errno, "read", path);
        } else if (n > 0) {
            code = dr__blob_write(blob, file, block, (size_t)n, err);
        }
    }
    close(fd);
    return code;
}

dr_code dr__blob_copy(dr_blob *blob, const char *folder, dr_error *err)
{
    dr_file_names names;
    dr_code code = dr_file_list(&names, folder, 4 * DR_CHECKPOINT_FILES, err);
    if (code != DR_OK) {
        return code;
    }
    code = check_sum(folder, &names, err);
    void *block = code == DR_OK ? dr_mem_alloc(COPY_BYTES) : NULL;
    if (code == DR_OK && !block) {
        code = dr_mem_fail(err, "a block to copy with");
    }
    for (size_t i = 0; code == DR_OK && i < names.count; i++) {
        code = copy_file(blob, folder, names.names[i], block, err);
    }
    dr_mem_free(block);
    dr_file_names_deinit(&names);
    return code;
}

/* ---- the end ---- */

static void close_file(dr_blob *blob, int file)
{
    if (blob->fds[file] >= 0) {
        close(blob->fds[file]);
        blob->fds[file] = -1;
    }
}

dr_code dr__blob_sync(dr_blob *blob, dr_error *err)
{
    for (int i = 0; i < DR_CHECKPOINT_FILES; i++) {
        char path[DR_STORE_PATH_BYTES + 32];
        make_path(path, blob, i);
        dr_code code = blob->fds[i] < 0 ? DR_OK : dr_file_sync(blob->fds[i], path, err);
        close_file(blob, i);
        if (code != DR_OK) {
            return code;
        }
    }
    return dr_file_sync_folder(blob->path, err);
}

dr_code dr__blob_place(dr_blob *blob, dr_store *store, const char *digest, dr_error *err)
{
    char target[DR_STORE_PATH_BYTES], above[DR_STORE_PATH_BYTES];
    dr__store_path(target, store, "checkpoints/%s", digest);
    dr__store_path(above, store, "checkpoints");
    dr_code code = dr_file_remove(target, err);
    if (code == DR_OK) {
        code = dr_file_rename(blob->path, target, err);
    }
    if (code == DR_OK) {
        blob->path[0] = '\0';
        code = dr_file_sync_folder(above, err);
    }
    return code;
}

void dr__blob_end(dr_blob *blob)
{
    for (int i = 0; i < DR_CHECKPOINT_FILES; i++) {
        close_file(blob, i);
    }
    if (blob->path[0]) {
        dr_file_discard(blob->path); /* what remains goes at the next start */
        blob->path[0] = '\0';
    }
}
