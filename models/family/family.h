/* family.h: what a family is, and a model: a checkpoint that can be computed with.
 *
 * A family is an architecture. From a manifest's config it derives the parts of a latent state,
 * and builds one graph a verb; nothing else of it is known outside this folder. Names of inputs
 * and outputs are the same in every family, so that server, planners and tools need no
 * knowledge of the mathematics:
 *
 *   state.<part>      the latent, in and out         observation.<key>  in: real; out: decoded
 *   action            in: as the space has it, [A]; out: the actor's mode; action.sample: drawn
 *   reward continue value      heads, one number a row (continue: a probability)
 *   prior.logits posterior.logits reward.logits ...  distribution parameters, by family
 *   embedding         the encoded observation        noise.<site>       random numbers
 *
 *   verb      reads                             gives
 *   initial   -                                 state.*
 *   encode    observation.* (state.task)        embedding
 *   observe   state.*, action, observation.*    state.* (posterior), every head at the new state
 *   step      state.*, action                   state.* (prior), every head of that transition
 *   read      state.*                           every head at this state: decode, value, actor
 *
 * Step's reward and continue are those of the transition that `action` causes. What a family
 * does not have is absent. Actions at this border are in the units of the manifest's action
 * space, continuous ones are scaled to the family's own range inside the graph.
 *
 * A latent knows whether it was just reset (the part "first", 1 in the initial state and 0 ever
 * after), so that the first observe ignores its action, whatever the caller passes. Observations
 * are flat [elements], a Discrete one-hot [n]; where the space is no Dict the name is "observation"
 * alone.
 */
#ifndef DR_FAMILY_FAMILY_H
#define DR_FAMILY_FAMILY_H
#include "models/format/checkpoint.h"
#include "models/graph/graph.h"

#define DR_VERBS(X)       \
    X(INITIAL, "initial") \
    X(ENCODE, "encode")   \
    X(OBSERVE, "observe") \
    X(STEP, "step")       \
    X(READ, "read")
typedef enum {
#define DR_VERB_ENUM(name, text) DR_VERB_##name,
    DR_VERBS(DR_VERB_ENUM)
#undef DR_VERB_ENUM
        DR_VERB_COUNT
} dr_verb;
const char *dr_verb_name(dr_verb verb);

enum { DR_STATE_PARTS_MAX = 8, DR_PART_NAME_BYTES = 48 };
typedef struct {
    char name[32]; /* "deter": input and output "state.deter" */
    dr_shape shape;
} dr_state_part;
/* "state.deter"; returns `name`. */
const char *dr_state_part_name(char name[DR_PART_NAME_BYTES], const dr_state_part *part);
/* The same, and the dimensions [part->shape.rank] of a row's part. */
void dr_state_part_describe(char name[DR_PART_NAME_BYTES], int64_t dims[3],
                            const dr_state_part *part);

/* The inside of a model as far as others may know it. Filled by the family. */
typedef struct {
    dr_state_part parts[DR_STATE_PARTS_MAX];
    int part_count;
    int action_width; /* floats of one action: Box: its elements; Discrete: n (one-hot) */
    /* A multi-task model's: the part "task" is one-hot over these names, and goes through every
     * verb unchanged. An array of strings, the manifest's; NULL elsewhere. */
    const dr_json *task_names;
} dr_model_shape;

typedef struct dr_family {
    const char *name;
    /* Reads manifest.config (every field checked, unknown ones refused) and fills `shape`.
     * `*config` is the family's own struct, freed with dr_mem_free. */
    dr_code (*configure)(void **config, dr_model_shape *shape, const dr_manifest *manifest,
                         dr_error *err);
    /* Adds the verb's inputs, operations and outputs to an empty graph. A mistake is sticky
     * in the graph (graph.h). */
    void (*build)(const void *config, dr_verb verb, dr_graph *graph);
} dr_family;

/* NULL for a family that this build does not know. */
const dr_family *dr_family_find(const char *name);
/* "rssm, ..." for messages. */
const char *dr_family_names(void);

/* Floats of a row of latent state, from the manifest alone.
 *   UNIMPLEMENTED  a family this build does not know (the message lists those it does) */
DR_CHECKED dr_code dr_family_state_width(int *out, const dr_manifest *manifest, dr_error *err);

/* Adds every weight that the family's graphs read, as zeros that the set owns: for a model
 * that is yet to be learned. */
DR_CHECKED dr_code dr_family_add_params(dr_params *params, const dr_family *family,
                                        const void *config, dr_error *err);

/* ---- model ---- */

typedef struct dr_model dr_model;

/* Checks the weights against the graphs (missing, surplus, wrong shape → DATA_LOSS naming
 * the tensor), builds one graph a verb, and computes the checkpoint's probe again if it has one
 * (DATA_LOSS beyond the tolerance, with tensor, index and both values).
 *   UNIMPLEMENTED  a family this build does not know (the message lists those it does)
 * Keeps a reference to `checkpoint`. Reference-counted, read-only, any thread. */
DR_CHECKED dr_code dr_model_open(dr_model **out, dr_checkpoint *checkpoint, dr_error *err);
/* The same over weights in memory: for a learner that plans with what it has learned so far.
 * Keeps a reference to `params`, which must not change any more (they are packed); borrows
 * `manifest` for its life. */
DR_CHECKED dr_code dr_model_create(dr_model **out, const dr_manifest *manifest, dr_params *params,
                                   dr_error *err);
void dr_model_retain(dr_model *model);
void dr_model_release(dr_model *model); /* NULL is fine */

/* NULL for a model made by dr_model_create(). */
dr_checkpoint *dr_model_get_checkpoint(const dr_model *model);
const dr_manifest *dr_model_get_manifest(const dr_model *model);
const dr_model_shape *dr_model_get_shape(const dr_model *model);
const dr_graph *dr_model_get_graph(const dr_model *model, dr_verb verb);
dr_params *dr_model_get_params(const dr_model *model);
/* Numbers in the weights. */
int64_t dr_model_param_count(const dr_model *model);
/* Floats of one row of latent state, all parts one after another in their order. */
int dr_model_state_width(const dr_model *model);
/* Where the numbers of a part begin in a row of latent state, or -1. */
int dr_model_find_part(const dr_model *model, const char *part);
/* 0 for a model of one task. */
int dr_model_task_count(const dr_model *model);
const char *dr_model_task_name(const dr_model *model, int task);
/* By name, or by number from 0; -1 where there is none. */
int dr_model_find_task(const dr_model *model, const char *text);
/* Gives a row of latent state [state_width] to a task. */
void dr_model_set_task(const dr_model *model, float *state, int task);
/* Whether `output` can be asked of `verb`. */
bool dr_model_has_output(const dr_model *model, dr_verb verb, const char *output);

/* Compiles a verb for up to rows_max rows and the wanted outputs (NULL: all). */
DR_CHECKED dr_code dr_model_compile(dr_compiled **out, const dr_model *model, dr_verb verb,
                                    int rows_max, const char *const *outputs, int output_count,
                                    dr_error *err);

/* ---- probe: a few steps with what they gave at export, which a checkpoint carries ---- */
/* README.md has its layout. */

typedef struct dr_probe dr_probe;

/* Makes inputs from `seed`, computes every output of the model at the mode of every sampling
 * site, and keeps both. The writer is borrowed until destroy: for dr_checkpoint_write(). */
DR_CHECKED dr_code dr_probe_create(dr_probe **out, const dr_model *model, uint64_t seed,
                                   dr_error *err);
const dr_safetensors_writer *dr_probe_get_writer(const dr_probe *probe);
void dr_probe_destroy(dr_probe *probe); /* NULL is fine */
/* Computes a probe's inputs again and compares; what dr_model_open() does. */
DR_CHECKED dr_code dr_probe_check(const dr_safetensors *probe, const dr_model *model,
                                  dr_error *err);

/* ---- states ---- */

/* Copies between a table of latent states [rows, state_width] and rows first_row .. of a compiled
 * graph's state.* inputs (put) or outputs (get). */
void dr_model_put_state(const dr_model *model, dr_compiled *compiled, int first_row, int rows,
                        const float *states);
void dr_model_get_state(const dr_model *model, const dr_compiled *compiled, int first_row, int rows,
                        float *states);
/* The same where it is done often: the parts' places in a compiled graph are looked up once. */
typedef struct {
    int inputs[DR_STATE_PARTS_MAX], outputs[DR_STATE_PARTS_MAX]; /* -1: it is not there */
} dr_state_ports;
void dr_model_find_state(dr_state_ports *out, const dr_model *model, const dr_compiled *compiled);
void dr_model_put_state_at(const dr_state_ports *ports, const dr_model *model,
                           dr_compiled *compiled, int first_row, int rows, const float *states);
void dr_model_get_state_at(const dr_state_ports *ports, const dr_model *model,
                           const dr_compiled *compiled, int first_row, int rows, float *states);

#endif
