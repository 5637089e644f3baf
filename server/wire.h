/* wire.h: what requests and replies with rows have in common, checked.
 *
 * The proto gives those messages the same field numbers (proto/README.md), so one reader and one
 * reply serve all verbs. Everything is checked before it is used: names, types, shapes,
 * lengths, finite numbers, values of a Discrete. Messages name the field as the client wrote
 * it, "tensors[1].shape", what was found and what is allowed. Nothing here keeps a pointer:
 * results live in the arena, or point into the request.
 */
#ifndef DR_SERVER_WIRE_H
#define DR_SERVER_WIRE_H
#include "dreamd/v1/simulation.pb-c.h"
#include "models/base/arena.h"
#include "server/compute.h"
#include "server/models.h"

/* The common fields of a request that names a session. */
typedef struct {
    const char *session_id;
    bool has_step_id; /* or at_step_id */
    uint64_t step_id;
    const Dreamd__V1__RowSelection *rows;
    size_t n_outputs;
    char **outputs;
    size_t n_tensors;
    Dreamd__V1__Tensor **tensors;
    size_t n_raw_contents;
    ProtobufCBinaryData *raw_contents;
    bool raw;
} dr_wire_request;

/* `id` is step_id or at_step_id. */
#define DR_WIRE_REQUEST(message, id)                                                               \
    ((dr_wire_request){(message)->session_id, (message)->optional_##id##_case != 0, (message)->id, \
                       (message)->rows, (message)->n_outputs, (message)->outputs,                  \
                       (message)->n_tensors, (message)->tensors, (message)->n_raw_contents,        \
                       (message)->raw_contents, (message)->raw})

/* ---- requests ---- */

/* The selected rows; *rows stays NULL where all are. */
DR_CHECKED dr_code dr_wire_rows(uint32_t **rows, uint32_t *count,
                                const Dreamd__V1__RowSelection *selection, uint32_t row_count,
                                dr_arena *arena, dr_error *err);

/* The same of a selection in another field than "rows". */
DR_CHECKED dr_code dr_wire_rows_of(uint32_t **rows, uint32_t *count, const char *field,
                                   const Dreamd__V1__RowSelection *selection, uint32_t row_count,
                                   dr_arena *arena, dr_error *err);

/* The tensors of a request; each name must be among those that are taken in the end. */
typedef struct {
    const char *name;
    dr_tensor tensor; /* its data is in the request */
    bool taken;
} dr_wire_tensor;
typedef struct {
    size_t count;
    dr_wire_tensor *list; /* index = that of the request's tensors */
} dr_wire_tensors;

DR_CHECKED dr_code dr_wire_tensors_read(dr_wire_tensors *out, size_t n_tensors,
                                        Dreamd__V1__Tensor *const *tensors, size_t n_raw_contents,
                                        const ProtobufCBinaryData *raw_contents, dr_arena *arena,
                                        dr_error *err);
bool dr_wire_tensors_has(const dr_wire_tensors *tensors, const char *name);
/* [rows, dims, shape of the leaf], numbers that suit it: becomes an input of that name. */
DR_CHECKED dr_code dr_wire_take_sequences(dr_verb_input *out, dr_wire_tensors *tensors,
                                          const char *name, const dr_space_leaf *leaf,
                                          uint32_t rows, int rank, const int64_t *dims,
                                          dr_error *err);
/* One input a leaf of the space, named with `prefix`; at most DR_SPACE_LEAVES_MAX. */
DR_CHECKED dr_code dr_wire_take_space(dr_verb_input *out, int *count, dr_wire_tensors *tensors,
                                      const char *prefix, const dr_space *space, uint32_t rows,
                                      dr_arena *arena, dr_error *err);
/* Actions of a Box [..., shape of the leaf] that were taken: beyond their bounds is fine, as it is
 * in most environments, but not so far that it could only be a mistake (DR_ACTION_MAX). */
DR_CHECKED dr_code dr_wire_check_actions(const dr_wire_tensors *tensors, const char *name,
                                         const dr_space_leaf *leaf, dr_error *err);
/* state.<part> [rows, ...], all parts, into states [rows, state_width]. */
DR_CHECKED dr_code dr_wire_take_state(float *states, dr_wire_tensors *tensors,
                                      const dr_model *model, uint32_t rows, dr_error *err);
/* [rows, shape] of any float type, into values. */
DR_CHECKED dr_code dr_wire_take_floats(float *values, dr_wire_tensors *tensors, const char *name,
                                       uint32_t rows, int rank, const int64_t *shape,
                                       dr_error *err);
/* [rows, shape] of this very type, as it is in the request. */
DR_CHECKED dr_code dr_wire_take_exact(const void **data, dr_wire_tensors *tensors, const char *name,
                                      dr_dtype dtype, uint32_t rows, int rank, const int64_t *shape,
                                      dr_error *err);
/* The tensor of that name, or NULL. */
const dr_wire_tensor *dr_wire_tensors_find(const dr_wire_tensors *tensors, const char *name);
/* INVALID_ARGUMENT naming a tensor that nobody took; `allowed` says what there is. */
DR_CHECKED dr_code dr_wire_tensors_end(const dr_wire_tensors *tensors, const char *allowed,
                                       dr_error *err);
/* A 64-bit mark of everything in a request but its session id: a repeat has the same. */
uint64_t dr_wire_hash(const dr_wire_request *request, const void *more, size_t more_bytes);
/* The same of a whole message. */
DR_CHECKED dr_code dr_wire_hash_message(uint64_t *out, const ProtobufCMessage *message,
                                        dr_error *err);

/* ---- outputs ---- */

/* Outputs that the loop makes itself, not the graph. */
enum {
    DR_MAKES_TERMINATED = 1,
    DR_MAKES_TRUNCATED = 2,
    DR_MAKES_STATE = 4,  /* on offer: parts of the latent as it is ... */
    DR_MAKES_ACTION = 8, /* the action taken, where the graph's would be the next one */
    DR_MAKES_RETURN = 16,
    DR_MAKES_STARTED = 32,
    DR_MAKES_FINAL = 64,        /* on offer: final_observation, of what the verb decodes */
    DR_MAKES_OBSERVATION = 128, /* on offer: all of the observation; the graph is not asked */
    DR_MAKES_PART = 1 << 8      /* ... and, shifted by its number, a part that is wanted */
};

typedef struct {
    uint64_t set;    /* of the verb's outputs */
    unsigned makes;  /* DR_MAKES_... */
    uint64_t leaves; /* FINAL, OBSERVATION: parts of the observation space */
} dr_wire_outputs;

/* Of a name that a call does not give: FAILED_PRECONDITION where some call of some checkpoint does,
 * INVALID_ARGUMENT where none does. */
DR_CHECKED dr_code dr_wire_output_refusal(const char *name);
/* What a request asks of a verb, prefixes included. `makes` says what is on offer beside the
 * graph's. Fails as above. */
DR_CHECKED dr_code dr_wire_outputs_read(dr_wire_outputs *out, size_t count, char *const *names,
                                        const dr_served *served, dr_verb verb, unsigned makes,
                                        dr_error *err);
/* Adds those of `names` (ended by NULL) that the verb has: the defaults. Returns how many. */
int dr_wire_outputs_add(dr_wire_outputs *out, const dr_served *served, dr_verb verb,
                        const char *const *names);

/* ---- replies ---- */

/* A reply under construction: room for a fixed number of tensors, in an arena. */
typedef struct {
    size_t count, max;
    Dreamd__V1__Tensor *tensors;
    Dreamd__V1__Tensor **pointers;
    ProtobufCBinaryData *contents;
} dr_wire_reply;

DR_CHECKED dr_code dr_wire_reply_init(dr_wire_reply *reply, size_t max, dr_arena *arena,
                                      dr_error *err);
/* `shape` [rank] is of a row; data [rows, shape] is borrowed until the reply is packed. */
DR_CHECKED dr_code dr_wire_reply_add(dr_wire_reply *reply, const char *name, dr_dtype dtype,
                                     uint32_t rows, int rank, const int64_t *shape,
                                     const void *data, dr_arena *arena, dr_error *err);
/* The part of a space that an output is brought into on the wire: a Discrete always, which is its
 * number there, a Box unless it is asked for raw, nothing else. NULL: floats as they are. */
const dr_space_leaf *dr_wire_output_leaf(const dr_served_output *output, bool raw);
/* The type that part of a space has on the wire. */
dr_dtype dr_wire_leaf_dtype(const dr_space_leaf *leaf, bool raw);
/* The shape and type that an output has on the wire. */
void dr_wire_output_shape(const dr_served_output *output, bool raw, dr_dtype *dtype, int *rank,
                          int64_t shape[DR_RANK_MAX]);

/* ---- descriptions ---- */

DR_CHECKED dr_code dr_wire_space(Dreamd__V1__Space **out, const dr_space *space, dr_arena *arena,
                                 dr_error *err);
/* The parts of the latent; what `outputs` may name; the heads. */
DR_CHECKED dr_code dr_wire_specs(Dreamd__V1__TensorSpec ***state, size_t *state_count,
                                 Dreamd__V1__TensorSpec ***outputs, size_t *output_count,
                                 char ***heads, size_t *head_count, const dr_served *served,
                                 dr_arena *arena, dr_error *err);

#endif
