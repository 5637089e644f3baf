/* space.h: what an observation or action may be, after Gymnasium's spaces.
 *
 * A space is a Box, a Discrete, or a Dict of those; deeper nesting is refused. All three are
 * kept as a list of leaves: a Dict has one a key in the file's order, the others have a
 * single leaf with the key "".
 *
 *   {"type": "Box", "shape": [3], "dtype": "float32", "low": -1, "high": [1, 1, null]}
 *   {"type": "Discrete", "n": 5, "start": 0}
 *   {"type": "Dict", "spaces": {"image": {...}, "state": {...}}}
 *
 * A bound is one number for all elements or a flat, row-major list; null (or absent) means
 * none: -inf below, +inf above.
 */
#ifndef DR_FORMAT_SPACE_H
#define DR_FORMAT_SPACE_H
#include <stdint.h>

#include "models/base/error.h"
#include "models/format/json.h"
#include "models/tensor/tensor.h"

typedef enum { DR_SPACE_BOX, DR_SPACE_DISCRETE, DR_SPACE_DICT } dr_space_kind;

enum {
    DR_SPACE_LEAVES_MAX = 64,
    DR_SPACE_RANK_MAX = 4,
    DR_SPACE_ELEMENTS_MAX = 1 << 20, /* of one leaf */
    DR_SPACE_KEY_MAX = 63            /* bytes of a Dict's key */
};

typedef struct {
    char key[DR_SPACE_KEY_MAX + 1]; /* "" where the space is no Dict */
    dr_space_kind kind;             /* BOX or DISCRETE */
    dr_dtype dtype;                 /* of a Box; Discrete: int64 */
    int rank;                       /* Discrete: 0 */
    int64_t shape[DR_SPACE_RANK_MAX];
    int64_t count;      /* elements: the product of shape; Discrete: 1 */
    const double *low;  /* [count], row-major; Box only; -inf = unbounded */
    const double *high; /* [count] */
    int64_t n, start;   /* Discrete: values start ... start + n - 1 */
} dr_space_leaf;

typedef struct {
    dr_space_kind kind;
    uint32_t leaf_count;
    dr_space_leaf *leaves; /* owned, with their bounds */
} dr_space;

/* Reads the object at `key`. INVALID_ARGUMENT with the path of what is wrong. */
DR_CHECKED dr_code dr_space_parse(dr_space **out, const dr_json_scope *in, const char *key,
                                  dr_error *err);
void dr_space_destroy(dr_space *space);
/* The leaf of that key, or NULL. */
const dr_space_leaf *dr_space_find(const dr_space *space, const char *key);
/* Sum of elements of all leaves; a Discrete counts as 1. */
int64_t dr_space_elements(const dr_space *space);
/* 1 where kind, keys in order, shapes, dtypes and bounds agree. */
int dr_space_equal(const dr_space *a, const dr_space *b);
/* Writes it as above, equal bounds as one number. */
void dr_space_write(dr_json_writer *w, const char *key, const dr_space *space);

#endif
