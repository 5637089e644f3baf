/* params.h: the named weights of one model, shared by every graph that reads them.
 *
 * Serving borrows the memory of a checkpoint (read-only, mapped); learning owns the
 * memory and changes it between runs. A weight that a layer multiplies with is packed
 * once, on first use, and the packed copy is shared by all compiled graphs.
 */
#ifndef DR_GRAPH_PARAMS_H
#define DR_GRAPH_PARAMS_H
#include "models/tensor/gemm.h"
#include "models/tensor/tensor.h"

typedef struct dr_params dr_params;

/* An empty set. Reference-counted: retain and release are safe from any thread. */
DR_CHECKED dr_code dr_params_create(dr_params **out, dr_error *err);
void dr_params_retain(dr_params *params);
void dr_params_release(dr_params *params);

/* Adds float32 values [shape] that stay the caller's and must outlive the set.
 * ALREADY_EXISTS for a second tensor of that name. `name` is copied. */
DR_CHECKED dr_code dr_params_borrow(dr_params *params, const char *name, const float *values,
                                    int rank, const int64_t *shape, dr_error *err);
/* Adds zeros that the set owns; the caller may write to *values. */
DR_CHECKED dr_code dr_params_add(dr_params *params, const char *name, int rank,
                                 const int64_t *shape, float **values, dr_error *err);

typedef struct {
    const char *name;
    int rank;
    int64_t shape[4];
    int64_t count; /* elements */
    float *values; /* written by the owner only, and only while no graph runs */
} dr_param;

int dr_params_count(const dr_params *params);
/* Index in order of addition; -1 if there is none. */
int dr_params_find(const dr_params *params, const char *name);
const dr_param *dr_params_get(const dr_params *params, int index);

/* In which order a weight's outputs stand in its packed form. */
typedef enum {
    DR_PACK_NONE,
    DR_PACK_ROWS,   /* [out, ...]: `out` outputs of all the rest */
    DR_PACK_TAPS,   /* [out, kh, kw, in]: kh * kw * out outputs of `in`, taps outermost */
    DR_PACK_GROUPS, /* [groups, out, in]: each group begins a panel, zeros up to the next */
} dr_pack_form;

/* Outputs from the beginning of one group to the next, for DR_PACK_GROUPS. */
static inline size_t dr_pack_group_stride(size_t out)
{
    return (out + DR_PANEL_WIDTH - 1) / DR_PANEL_WIDTH * DR_PANEL_WIDTH;
}
/* Packs a weight, and packs its present values again. */
DR_CHECKED dr_code dr_param_pack(dr_packed **out, const dr_param *param, dr_pack_form form,
                                 dr_error *err);
void dr_param_repack(dr_packed *packed, const dr_param *param, dr_pack_form form);

/* The packed form of a weight; made on first use under a lock. [any thread]
 *   DR_INVALID_ARGUMENT  a rank that has no such form, or another form was asked for before */
DR_CHECKED dr_code dr_params_get_packed(const dr_packed **out, dr_params *params, int index,
                                        dr_pack_form form, dr_error *err);

/* Packs the current values again, in place, wherever a packed copy exists: what learning calls
 * before graphs compiled for serving run on weights that it has changed. No graph that
 * reads `params` may run meanwhile. */
void dr_params_repack(dr_params *params);

#endif
