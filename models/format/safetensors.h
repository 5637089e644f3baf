/* safetensors.h: named tensors in a file, with every offset checked.
 *
 *   0        8                 8 + H                                        end
 *   | H: u64 | header: H bytes | data: tensors, back to back, no holes       |
 *
 * H is little-endian. The header is one JSON object:
 *   {"__metadata__": {"key": "text", ...},
 *    "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [first, limit]}, ...}
 * Offsets count from the start of the data; values are little-endian, row-major.
 *
 * A file is accepted only where the tensors cover the data exactly: each inside, none
 * overlapping, no gap, size = shape x dtype, nothing behind the last. Otherwise
 * INVALID_ARGUMENT, naming the file, the tensor, what was found and what was expected.
 * Tensors are aligned to their elements: one that is not so in the file is copied.
 */
#ifndef DR_FORMAT_SAFETENSORS_H
#define DR_FORMAT_SAFETENSORS_H
#include <stddef.h>
#include <stdint.h>

#include "models/base/buf.h"
#include "models/base/error.h"
#include "models/tensor/tensor.h"

enum {
    DR_SAFETENSORS_HEADER_MAX = 4 << 20,  /* bytes of JSON */
    DR_SAFETENSORS_TENSORS_MAX = 1 << 14, /* tensors in a file */
    DR_SAFETENSORS_NAME_MAX = 256         /* bytes of a name */
};

/* ---- reading ---- */

/* A file's tensors, read-only: any number of threads may look. */
typedef struct dr_safetensors dr_safetensors;

/* Maps the file, which must not change while it is open; at most `max_bytes` long.
 * Messages begin with the last part of `path`. */
DR_CHECKED dr_code dr_safetensors_open(dr_safetensors **out, const char *path, size_t max_bytes,
                                       dr_error *err);
/* The same over memory, which is borrowed until dr_safetensors_close(). `what` begins messages. */
DR_CHECKED dr_code dr_safetensors_parse(dr_safetensors **out, const void *bytes, size_t length,
                                        const char *what, dr_error *err);
void dr_safetensors_close(dr_safetensors *file);

/* Tensors in the order of their data. All pointers are borrowed until close. */
uint32_t dr_safetensors_count(const dr_safetensors *file);
const char *dr_safetensors_name(const dr_safetensors *file, uint32_t index);
const dr_tensor *dr_safetensors_tensor(const dr_safetensors *file, uint32_t index);
/* NULL where there is none. */
const dr_tensor *dr_safetensors_find(const dr_safetensors *file, const char *name);
/* The tensor of that name, dtype and shape; a dimension of -1 allows any size.
 *   NOT_FOUND         no such tensor; the message names the nearest
 *   INVALID_ARGUMENT  another dtype or shape; the message says which */
DR_CHECKED dr_code dr_safetensors_get(const dr_tensor **out, const dr_safetensors *file,
                                      const char *name, dr_dtype dtype, int rank,
                                      const int64_t *shape, dr_error *err);
/* A text from __metadata__, or NULL. */
const char *dr_safetensors_metadata(const dr_safetensors *file, const char *key);
/* INVALID_ARGUMENT naming tensor and index where a float is NaN or infinite. */
DR_CHECKED dr_code dr_safetensors_check_finite(const dr_safetensors *file, dr_error *err);
/* The file's bytes, for a digest. */
const void *dr_safetensors_bytes(const dr_safetensors *file, size_t *length);

/* ---- writing ---- */

/* Collects tensors and writes them sorted by size of element (large first), then by name:
 * the same tensors give the same bytes, in whatever order they were added. The data starts
 * at a multiple of 64 bytes, each tensor at a multiple of its element. */
typedef struct dr_safetensors_writer dr_safetensors_writer;

DR_CHECKED dr_code dr_safetensors_writer_create(dr_safetensors_writer **out, dr_error *err);
void dr_safetensors_writer_destroy(dr_safetensors_writer *writer);
/* The name is copied; the tensor's data is borrowed until the writer is destroyed and must pass
 * dr_tensor_check(). INVALID_ARGUMENT: a name twice, empty, too long or no UTF-8. */
DR_CHECKED dr_code dr_safetensors_writer_add(dr_safetensors_writer *writer, const char *name,
                                             const dr_tensor *tensor, dr_error *err);
/* Both are copied. */
DR_CHECKED dr_code dr_safetensors_writer_add_metadata(dr_safetensors_writer *writer,
                                                      const char *key, const char *text,
                                                      dr_error *err);
/* A new file, synced; ALREADY_EXISTS where there is one. */
DR_CHECKED dr_code dr_safetensors_writer_save(const dr_safetensors_writer *writer, const char *path,
                                              dr_error *err);
/* Appends the same bytes to a buffer. */
DR_CHECKED dr_code dr_safetensors_writer_append(const dr_safetensors_writer *writer, dr_buf *out,
                                                dr_error *err);

#endif
