/* tensor.h: element types, shapes, and views of arrays that belong to somebody else.
 *
 * A dr_tensor never owns its data: it is a contiguous, row-major view into a file, a
 * message or an arena. Data may start at any byte (it comes from the wire), so whoever
 * reads it as numbers goes through dr_dtype_to_f32() or checks the alignment first.
 * Bytes are little-endian, as in safetensors and in the Open Inference Protocol.
 */
#ifndef DR_TENSOR_TENSOR_H
#define DR_TENSOR_TENSOR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/base/error.h"

/* name (as in safetensors), bytes an element, name in the Open Inference Protocol */
#define DR_DTYPES(X)    \
    X(F64, 8, "FP64")   \
    X(F32, 4, "FP32")   \
    X(F16, 2, "FP16")   \
    X(BF16, 2, "BF16")  \
    X(I64, 8, "INT64")  \
    X(I32, 4, "INT32")  \
    X(I16, 2, "INT16")  \
    X(I8, 1, "INT8")    \
    X(U64, 8, "UINT64") \
    X(U32, 4, "UINT32") \
    X(U16, 2, "UINT16") \
    X(U8, 1, "UINT8")   \
    X(BOOL, 1, "BOOL")

typedef enum {
#define DR_DTYPE_ENUM(name, size, wire) DR_##name,
    DR_DTYPES(DR_DTYPE_ENUM)
#undef DR_DTYPE_ENUM
        DR_DTYPE_COUNT
} dr_dtype;

#define DR_RANK_MAX 8

typedef struct {
    dr_dtype dtype;
    int rank;                   /* 0 (a scalar) to DR_RANK_MAX */
    int64_t shape[DR_RANK_MAX]; /* the first `rank` entries hold, each >= 0 */
    const void *data;           /* borrowed; any alignment; may be NULL where bytes is 0 */
    size_t bytes;               /* count * size, checked by dr_tensor_check() */
} dr_tensor;

const char *dr_dtype_name(dr_dtype dtype);      /* "F32" */
const char *dr_dtype_wire_name(dr_dtype dtype); /* "FP32" */
size_t dr_dtype_size(dr_dtype dtype);           /* bytes an element */
bool dr_dtype_is_float(dr_dtype dtype);         /* F32, F64, F16, BF16 */
/* False when no type has that name; `out` is then untouched. */
bool dr_dtype_find(dr_dtype *out, const char *name);
bool dr_dtype_find_wire(dr_dtype *out, const char *wire_name);

/* The number of elements of a shape; 1 for rank 0.
 *   DR_INVALID_ARGUMENT  rank outside 0..DR_RANK_MAX, a negative entry, or a product past
 *                        INT64_MAX / 8, so that a count times any size fits a size_t */
DR_CHECKED dr_code dr_shape_count(size_t *out, int rank, const int64_t *shape, dr_error *err);
/* "[16, 3]"; always terminated, cut where it does not fit. Returns `text`. */
char *dr_shape_format(char *text, size_t text_bytes, int rank, const int64_t *shape);

/* The type is known, the shape is sound, and `bytes` is exactly what they ask for. */
DR_CHECKED dr_code dr_tensor_check(const dr_tensor *tensor, dr_error *err);

/* count elements of `dtype` (any alignment) become float32: integers and F64 are rounded to
 * nearest even, BOOL becomes 0 or 1. */
void dr_dtype_to_f32(float *out, dr_dtype dtype, const void *in, size_t count);
/* float32 becomes `dtype` (any alignment). F16 and BF16 round to nearest even, past their range
 * to infinity; integers round to nearest even and saturate, NaN becomes 0; BOOL is value != 0. */
void dr_dtype_from_f32(void *out, dr_dtype dtype, const float *in, size_t count);

#endif
