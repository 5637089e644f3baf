/* safetensors_write.c: writing. Sorted by element size, then name, so that equal tensors
 * give equal bytes and every tensor is aligned. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/base/check.h"
#include "models/base/file.h"
#include "models/base/mem.h"
#include "models/base/text.h"
#include "models/format/json.h"
#include "models/format/safetensors.h"

enum { DATA_ALIGN = 64, LENGTH_BYTES = 8 };

typedef struct {
    char *name; /* owned */
    dr_tensor tensor;
} entry;

typedef struct {
    char *key, *text; /* owned */
} note;

struct dr_safetensors_writer {
    entry *entries; /* sorted as they are written */
    uint32_t count, room;
    note *notes; /* sorted by key */
    uint32_t note_count, note_room;
};

dr_code dr_safetensors_writer_create(dr_safetensors_writer **out, dr_error *err)
{
    *out = dr_mem_zalloc(1, sizeof **out);
    return *out ? DR_OK : dr_mem_fail(err, "a safetensors writer");
}

void dr_safetensors_writer_destroy(dr_safetensors_writer *writer)
{
    if (!writer) {
        return;
    }
    for (uint32_t i = 0; i < writer->count; i++) {
        dr_mem_free(writer->entries[i].name);
    }
    for (uint32_t i = 0; i < writer->note_count; i++) {
        dr_mem_free(writer->notes[i].key);
        dr_mem_free(writer->notes[i].text);
    }
    dr_mem_free(writer->entries);
    dr_mem_free(writer->notes);
    dr_mem_free(writer);
}

/* Room for one more of `size` bytes. */
static dr_code grow(void **array, uint32_t *room, uint32_t count, size_t size, dr_error *err)
{
    if (count < *room) {
        return DR_OK;
    }
    uint32_t more = *room ? *room * 2 : 32;
    void *moved = dr_mem_realloc(*array, more * size);
    if (!moved) {
        return dr_mem_fail(err, "a safetensors writer");
    }
    *array = moved;
    *room = more;
    return DR_OK;
}

static int goes_before(const entry *e, size_t size, const char *name)
{
    size_t other = dr_dtype_size(e->tensor.dtype);
    return other != size ? other > size : strcmp(e->name, name) < 0;
}

static dr_code check_new(const dr_safetensors_writer *writer, const char *name,
                         const dr_tensor *tensor, dr_error *err)
{
    size_t length = strlen(name);
    if (length == 0 || length > DR_SAFETENSORS_NAME_MAX || !dr_text_is_utf8(name, length) ||
        strcmp(name, "__metadata__") == 0) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "tensor name \"%.100s\": expected 1 to %d bytes of UTF-8, not __metadata__",
                       name, DR_SAFETENSORS_NAME_MAX);
    }
    if (writer->count == DR_SAFETENSORS_TENSORS_MAX) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "tensor %.100s is one more than %d in a file",
                       name, DR_SAFETENSORS_TENSORS_MAX);
    }
    for (uint32_t i = 0; i < writer->count; i++) {
        if (strcmp(writer->entries[i].name, name) == 0) {
            return dr_fail(err, DR_INVALID_ARGUMENT, "tensor %.100s is there already", name);
        }
    }
    dr_code code = dr_tensor_check(tensor, err);
    if (code != DR_OK) {
        dr_error_prefix(err, "tensor %.100s", name);
    }
    return code;
}

dr_code dr_safetensors_writer_add(dr_safetensors_writer *writer, const char *name,
                                  const dr_tensor *tensor, dr_error *err)
{
    dr_code code = check_new(writer, name, tensor, err);
    if (code == DR_OK) {
        code = grow((void **)&writer->entries, &writer->room, writer->count, sizeof(entry), err);
    }
    if (code != DR_OK) {
        return code;
    }
    char *copy = dr_mem_strdup(name);
    if (!copy) {
        return dr_mem_fail(err, "a tensor's name");
    }
    size_t size = dr_dtype_size(tensor->dtype);
    uint32_t at = writer->count++;
    for (; at > 0 && !goes_before(&writer->entries[at - 1], size, name); at--) {
        writer->entries[at] = writer->entries[at - 1];
    }
    writer->entries[at] = (entry){.name = copy, .tensor = *tensor};
    return DR_OK;
}

dr_code dr_safetensors_writer_add_metadata(dr_safetensors_writer *writer, const char *key,
                                           const char *text, dr_error *err)
{
    if (!dr_text_is_utf8(key, strlen(key)) || !dr_text_is_utf8(text, strlen(text))) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "metadata %.100s is not UTF-8", key);
    }
    for (uint32_t i = 0; i < writer->note_count; i++) {
        if (strcmp(writer->notes[i].key, key) == 0) {
            return dr_fail(err, DR_INVALID_ARGUMENT, "metadata %.100s is there already", key);
        }
    }
    dr_code code =
        grow((void **)&writer->notes, &writer->note_room, writer->note_count, sizeof(note), err);
    if (code != DR_OK) {
        return code;
    }
    note n = {.key = dr_mem_strdup(key), .text = dr_mem_strdup(text)};
    if (!n.key || !n.text) {
        dr_mem_free(n.key);
        dr_mem_free(n.text);
        return dr_mem_fail(err, "metadata");
    }
    uint32_t at = writer->note_count++;
    for (; at > 0 && strcmp(writer->notes[at - 1].key, key) > 0; at--) {
        writer->notes[at] = writer->notes[at - 1];
    }
    writer->notes[at] = n;
    return DR_OK;
}

/* ---- the bytes ---- */

static void write_entry(dr_json_writer *w, const entry *e, uint64_t first)
{
    dr_json_write_object(w, e->name);
    dr_json_write_string(w, "dtype", dr_dtype_name(e->tensor.dtype));
    dr_json_write_array(w, "shape");
    for (int i = 0; i < e->tensor.rank; i++) {
        dr_json_write_int(w, NULL, e->tensor.shape[i]);
    }
    dr_json_write_end(w);
    dr_json_write_array(w, "data_offsets");
    dr_json_write_int(w, NULL, (int64_t)first);
    dr_json_write_int(w, NULL, (int64_t)(first + e->tensor.bytes));
    dr_json_write_end(w);
    dr_json_write_end(w);
}

/* Length, JSON and the blanks that bring the data to a multiple of DATA_ALIGN. */
static dr_code make_header(dr_buf *out, const dr_safetensors_writer *writer, dr_error *err)
{
    uint8_t length[LENGTH_BYTES] = {0};
    dr_code code = dr_buf_append(out, length, sizeof length, err);
    if (code != DR_OK) {
        return code;
    }
    dr_json_writer w;
    dr_json_writer_init(&w, out, 0);
    dr_json_write_object(&w, NULL);
    if (writer->note_count > 0) {
        dr_json_write_object(&w, "__metadata__");
        for (uint32_t i = 0; i < writer->note_count; i++) {
            dr_json_write_string(&w, writer->notes[i].key, writer->notes[i].text);
        }
        dr_json_write_end(&w);
    }
    uint64_t at = 0;
    for (uint32_t i = 0; i < writer->count; i++) {
        write_entry(&w, &writer->entries[i], at);
        at += writer->entries[i].tensor.bytes;
    }
    dr_json_write_end(&w);
    code = dr_json_writer_finish(&w, err);
    while (code == DR_OK && out->length % DATA_ALIGN != 0) {
        code = dr_buf_append(out, " ", 1, err);
    }
    for (int i = 0; code == DR_OK && i < LENGTH_BYTES; i++) {
        out->bytes[i] = (uint8_t)((out->length - LENGTH_BYTES) >> (8 * i));
    }
    return code;
}

dr_code dr_safetensors_writer_append(const dr_safetensors_writer *writer, dr_buf *out,
                                     dr_error *err)
{
    dr_buf header; /* of its own: the padding counts from the file's first byte */
    dr_buf_init(&header, DR_SAFETENSORS_HEADER_MAX);
    dr_code code = make_header(&header, writer, err);
    if (code == DR_OK) {
        code = dr_buf_append(out, header.bytes, header.length, err);
    }
    for (uint32_t i = 0; code == DR_OK && i < writer->count; i++) {
        const dr_tensor *t = &writer->entries[i].tensor;
        code = dr_buf_append(out, t->data, t->bytes, err);
    }
    dr_buf_deinit(&header);
    return code;
}

static dr_code write_to(int fd, const dr_safetensors_writer *writer, const char *path,
                        dr_error *err)
{
    dr_buf header;
    dr_buf_init(&header, DR_SAFETENSORS_HEADER_MAX);
    dr_code code = make_header(&header, writer, err);
    if (code == DR_OK) {
        code = dr_file_write(fd, header.bytes, header.length, path, err);
    }
    for (uint32_t i = 0; code == DR_OK && i < writer->count; i++) {
        const dr_tensor *t = &writer->entries[i].tensor;
        code = dr_file_write(fd, t->data, t->bytes, path, err);
    }
    dr_buf_deinit(&header);
    return code == DR_OK ? dr_file_sync(fd, path, err) : code;
}

dr_code dr_safetensors_writer_save(const dr_safetensors_writer *writer, const char *path,
                                   dr_error *err)
{
    int fd;
    dr_code code = dr_file_create(&fd, path, err);
    if (code != DR_OK) {
        return code;
    }
    code = write_to(fd, writer, path, err);
    close(fd);
    if (code != DR_OK) {
        dr_file_discard(path);
    }
    return code;
}
