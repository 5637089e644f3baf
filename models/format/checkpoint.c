/* checkpoint.c: opening a folder: names → manifest → weights → digest, in that order, so that
 * the cheap checks come first. Writing one: temporary name → read back → rename → sync. */
#include "models/format/checkpoint.h"

#include <libgen.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "models/base/check.h"
#include "models/base/file.h"
#include "models/base/mem.h"
#include "models/base/text.h"

enum { PATH_BYTES = 4096 };

struct dr_checkpoint {
    atomic_uint references;
    dr_manifest *manifest;
    dr_safetensors *files[DR_CHECKPOINT_FILES];    /* probe, starts, weights; others NULL */
    char *card;                                    /* owned, or NULL */
    char *manifest_text;                           /* owned */
    char sums[DR_CHECKPOINT_FILES][DR_DIGEST_HEX]; /* "" where there is no such file */
    uint64_t sizes[DR_CHECKPOINT_FILES];
    uint64_t bytes; /* all of them */
    char digest[DR_DIGEST_HEX];
};

const dr_checkpoint_file_info dr_checkpoint_files[DR_CHECKPOINT_FILES] = {
    [DR_CHECKPOINT_CARD] = {"card.md", 1 << 20, 0},
    [DR_CHECKPOINT_MANIFEST] = {"manifest.json", DR_MANIFEST_BYTES_MAX, 1},
    [DR_CHECKPOINT_PROBE] = {"probe.safetensors", 256 << 20, 0},
    [DR_CHECKPOINT_STARTS] = {"starts.safetensors", 256 << 20, 0},
    [DR_CHECKPOINT_WEIGHTS] = {"weights.safetensors", 4ull << 30, 1},
};

int dr_checkpoint_file_find(const char *name)
{
    for (int i = 0; i < DR_CHECKPOINT_FILES; i++) {
        if (strcmp(name, dr_checkpoint_files[i].name) == 0) {
            return i;
        }
    }
    return -1;
}

dr_code dr_checkpoint_check_bytes(uint64_t bytes, dr_error *err)
{
    return bytes <= DR_CHECKPOINT_BYTES_MAX
               ? DR_OK
               : dr_fail(err, DR_INVALID_ARGUMENT,
                         "manifest and files are %llu bytes together, at most %llu are allowed "
                         "(Limits.checkpoint_bytes_max)",
                         (unsigned long long)bytes, DR_CHECKPOINT_BYTES_MAX);
}

static dr_code join(char path[PATH_BYTES], const char *folder, const char *name, dr_error *err)
{
    if (snprintf(path, PATH_BYTES, "%s/%s", folder, name) >= PATH_BYTES) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "%.200s: the path is too long", folder);
    }
    return DR_OK;
}

/* ---- opening ---- */

typedef struct {
    const char *folder;
    uint8_t present[DR_CHECKPOINT_FILES];
    dr_digest *whole; /* over the listing */
} reader;

static dr_code check_names(reader *r, dr_error *err)
{
    dr_file_names names;
    dr_code code = dr_file_list(&names, r->folder, 4 * DR_CHECKPOINT_FILES, err);
    if (code != DR_OK) {
        return code;
    }
    for (size_t i = 0; code == DR_OK && i < names.count; i++) {
        int file = dr_checkpoint_file_find(names.names[i]);
        if (file < 0) {
            code = dr_fail(err, DR_INVALID_ARGUMENT,
                           "%.100s is no part of a checkpoint, expected card.md, manifest.json, "
                           "probe.safetensors, starts.safetensors, weights.safetensors",
                           names.names[i]);
        } else {
            r->present[file] = 1;
        }
    }
    dr_file_names_deinit(&names);
    for (int i = 0; code == DR_OK && i < DR_CHECKPOINT_FILES; i++) {
        if (dr_checkpoint_files[i].required && !r->present[i]) {
            code = dr_fail(err, DR_INVALID_ARGUMENT, "%s is missing", dr_checkpoint_files[i].name);
        }
    }
    return code;
}

/* The listing's line of one file. */
static dr_code add_to_digest(reader *r, dr_checkpoint *c, int file, const void *bytes,
                             size_t length, dr_error *err)
{
    char size[24], *sum = c->sums[file];
    dr_code code = dr_digest_of(sum, bytes, length, err);
    if (code == DR_OK) {
        const char *name = dr_checkpoint_files[file].name;
        int digits = snprintf(size, sizeof size, "%zu", length);
        dr_digest_update(r->whole, name, strlen(name) + 1);
        dr_digest_update(r->whole, size, (size_t)digits + 1);
        dr_digest_update(r->whole, sum, strlen(sum));
        dr_digest_update(r->whole, "\n", 1);
        c->sizes[file] = length;
        c->bytes += length;
    }
    return code;
}

/* A copy that ends in NUL. */
static dr_code keep_text(char **out, const dr_buf *text, const char *name, dr_error *err)
{
    if (!dr_text_is_utf8((const char *)text->bytes, text->length)) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "%s is not UTF-8 text", name);
    }
    *out = dr_mem_zalloc(1, text->length + 1);
    if (!*out) {
        return dr_mem_fail(err, name);
    }
    if (text->length) {
        memcpy(*out, text->bytes, text->length);
    }
    return DR_OK;
}

static dr_code read_text(reader *r, dr_checkpoint *c, int file, const char *path, dr_error *err)
{
    dr_buf text;
    dr_buf_init(&text, dr_checkpoint_files[file].max_bytes);
    dr_code code = dr_file_read(&text, path, err);
    if (code == DR_OK) {
        code = add_to_digest(r, c, file, text.bytes, text.length, err);
    }
    if (code == DR_OK && file == DR_CHECKPOINT_MANIFEST) {
        code = dr_manifest_parse(&c->manifest, (const char *)text.bytes, text.length, err);
    }
    if (code == DR_OK) {
        code = keep_text(file == DR_CHECKPOINT_MANIFEST ? &c->manifest_text : &c->card, &text,
                         dr_checkpoint_files[file].name, err);
    }
    dr_buf_deinit(&text);
    return code;
}

static dr_code read_tensors(reader *r, dr_checkpoint *c, int file, const char *path, dr_error *err)
{
    dr_code code =
        dr_safetensors_open(&c->files[file], path, dr_checkpoint_files[file].max_bytes, err);
    if (code == DR_OK) {
        code = dr_safetensors_check_finite(c->files[file], err);
    }
    if (code == DR_OK) {
        size_t length;
        const void *bytes = dr_safetensors_bytes(c->files[file], &length);
        code = add_to_digest(r, c, file, bytes, length, err);
    }
    return code;
}

static dr_code read_files(reader *r, dr_checkpoint *c, dr_error *err)
{
    dr_code code = check_names(r, err);
    for (int i = 0; code == DR_OK && i < DR_CHECKPOINT_FILES; i++) {
        char path[PATH_BYTES];
        if (!r->present[i]) {
            continue;
        }
        code = join(path, r->folder, dr_checkpoint_files[i].name, err);
        if (code == DR_OK && (i == DR_CHECKPOINT_CARD || i == DR_CHECKPOINT_MANIFEST)) {
            code = read_text(r, c, i, path, err);
        } else if (code == DR_OK) {
            code = read_tensors(r, c, i, path, err);
        }
    }
    return code;
}

dr_code dr_checkpoint_open(dr_checkpoint **out, const char *folder, dr_error *err)
{
    reader r = {.folder = folder};
    dr_code code = dr_digest_create(&r.whole, err);
    if (code != DR_OK) {
        return code;
    }
    dr_checkpoint *c = dr_mem_zalloc(1, sizeof *c);
    if (c) {
        atomic_init(&c->references, 1);
        code = read_files(&r, c, err);
    } else {
        code = dr_mem_fail(err, "a checkpoint");
    }
    if (code == DR_OK) {
        dr_digest_finish(c->digest, r.whole);
        *out = c;
    } else {
        dr_checkpoint_release(c);
    }
    dr_digest_destroy(r.whole);
    return code;
}

dr_checkpoint *dr_checkpoint_retain(dr_checkpoint *checkpoint)
{
    DR_ASSERT(atomic_fetch_add(&checkpoint->references, 1) > 0);
    return checkpoint;
}

void dr_checkpoint_release(dr_checkpoint *checkpoint)
{
    if (!checkpoint) {
        return;
    }
    unsigned before = atomic_fetch_sub(&checkpoint->references, 1);
    DR_ASSERT(before > 0);
    if (before > 1) {
        return;
    }
    for (int i = 0; i < DR_CHECKPOINT_FILES; i++) {
        dr_safetensors_close(checkpoint->files[i]);
    }
    dr_manifest_destroy(checkpoint->manifest);
    dr_mem_free(checkpoint->card);
    dr_mem_free(checkpoint->manifest_text);
    dr_mem_free(checkpoint);
}

const dr_manifest *dr_checkpoint_manifest(const dr_checkpoint *checkpoint)
{
    return checkpoint->manifest;
}

const dr_safetensors *dr_checkpoint_weights(const dr_checkpoint *checkpoint)
{
    return checkpoint->files[DR_CHECKPOINT_WEIGHTS];
}

const dr_safetensors *dr_checkpoint_probe(const dr_checkpoint *checkpoint)
{
    return checkpoint->files[DR_CHECKPOINT_PROBE];
}

const dr_safetensors *dr_checkpoint_starts(const dr_checkpoint *checkpoint)
{
    return checkpoint->files[DR_CHECKPOINT_STARTS];
}

const char *dr_checkpoint_card(const dr_checkpoint *checkpoint)
{
    return checkpoint->card;
}

const char *dr_checkpoint_manifest_text(const dr_checkpoint *checkpoint)
{
    return checkpoint->manifest_text;
}

const char *dr_checkpoint_file_digest(const dr_checkpoint *checkpoint, dr_checkpoint_file file,
                                      uint64_t *bytes)
{
    *bytes = checkpoint->sizes[file];
    return checkpoint->sums[file][0] ? checkpoint->sums[file] : NULL;
}

const char *dr_checkpoint_digest(const dr_checkpoint *checkpoint)
{
    return checkpoint->digest;
}

uint64_t dr_checkpoint_bytes(const dr_checkpoint *checkpoint)
{
    return checkpoint->bytes;
}

/* ---- writing ---- */

static dr_code save_tensors(const char *folder, int file, const dr_safetensors_writer *writer,
                            dr_error *err)
{
    char path[PATH_BYTES];
    if (!writer) {
        return DR_OK;
    }
    dr_code code = join(path, folder, dr_checkpoint_files[file].name, err);
    return code == DR_OK ? dr_safetensors_writer_save(writer, path, err) : code;
}

static dr_code save_text(const char *folder, int file, const char *text, size_t length,
                         dr_error *err)
{
    char path[PATH_BYTES];
    dr_code code = join(path, folder, dr_checkpoint_files[file].name, err);
    return code == DR_OK ? dr_file_write_new(path, text, length, err) : code;
}

static dr_code fill_folder(char *digest, const char *folder, const dr_checkpoint_parts *parts,
                           dr_error *err)
{
    dr_code code =
        save_text(folder, DR_CHECKPOINT_MANIFEST, parts->manifest, parts->manifest_length, err);
    if (code == DR_OK) {
        code = save_tensors(folder, DR_CHECKPOINT_WEIGHTS, parts->weights, err);
    }
    if (code == DR_OK) {
        code = save_tensors(folder, DR_CHECKPOINT_PROBE, parts->probe, err);
    }
    if (code == DR_OK) {
        code = save_tensors(folder, DR_CHECKPOINT_STARTS, parts->starts, err);
    }
    if (code == DR_OK && parts->card) {
        code = save_text(folder, DR_CHECKPOINT_CARD, parts->card, strlen(parts->card), err);
    }
    if (code == DR_OK) {
        code = dr_file_sync_folder(folder, err);
    }
    dr_checkpoint *written;
    if (code == DR_OK) {
        code = dr_checkpoint_open(&written, folder, err);
    }
    if (code == DR_OK) {
        if (digest) {
            memcpy(digest, written->digest, DR_DIGEST_HEX);
        }
        dr_checkpoint_release(written);
    }
    return code;
}

/* The folder that holds `path`. */
static dr_code sync_parent(const char *path, dr_error *err)
{
    char copy[PATH_BYTES];
    snprintf(copy, sizeof copy, "%s", path);
    return dr_file_sync_folder(dirname(copy), err);
}

dr_code dr_checkpoint_write(char digest[DR_DIGEST_HEX], const char *folder,
                            const dr_checkpoint_parts *parts, dr_error *err)
{
    char temporary[PATH_BYTES];
    int length = (int)strnlen(folder, PATH_BYTES);
    while (length > 1 && folder[length - 1] == '/') {
        length--; /* "name/" and "name" are the same folder, with the same neighbours */
    }
    if (dr_file_exists(folder)) {
        return dr_fail(err, DR_ALREADY_EXISTS, "%s is there already, expected a new name", folder);
    }
    if (snprintf(temporary, sizeof temporary, "%.*s.incomplete-%ld", length, folder,
                 (long)getpid()) >= PATH_BYTES) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "%.200s: the path is too long", folder);
    }
    dr_code code = dr_file_make_folder(temporary, err);
    if (code != DR_OK) {
        return code;
    }
    code = fill_folder(digest, temporary, parts, err);
    if (code == DR_OK) {
        code = dr_file_rename(temporary, folder, err);
    }
    if (code != DR_OK) {
        dr_file_discard(temporary);
        return code;
    }
    return sync_parent(folder, err);
}
