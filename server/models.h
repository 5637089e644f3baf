/* models.h: models in memory, ready to be computed with.
 *
 *   reference ("name@latest") ── storage thread: resolve ─→ digest
 *     digest: absent ── storage thread: open, check ── loader: pack, probe ─→ LOADED
 *     LOADED ── unload, or the end ─→ freed
 *
 * A model is loaded on first use or by LoadModel, once for all who wait for it, and stays until
 * it is unloaded. A served model is read-only but for its counts, which belong to the loop.
 */
#ifndef DR_SERVER_MODELS_H
#define DR_SERVER_MODELS_H
#include <stdbool.h>
#include <stdint.h>

#include "models/family/family.h"
#include "models/planner/planner.h"
#include "server/starts.h"
#include "server/surprise.h"
#include "server/store_thread.h"

enum { DR_MODEL_REFERENCE_MAX = 191 /* bytes of "name@version", "name@alias", ... */ };

/* One thing that a verb can give. */
typedef struct {
    const char *name; /* "reward", "observation.image"; the graph's own */
    dr_shape shape;   /* of a row, as the graph has it */
    int64_t width;    /* floats of a row */
    /* The part of a space that it is in, for clamping, shapes and types on the wire, or NULL. */
    const dr_space_leaf *leaf;
} dr_served_output;

typedef struct {
    int count;         /* at most DR_OUTPUTS_MAX: an output set is 64 bits */
    double row_flops;  /* of a row with all outputs */
    uint64_t state;    /* the set of those that are parts of the latent */
    uint64_t defaults; /* those of a Step that names none */
    dr_served_output *list;
} dr_served_verb;

typedef struct dr_served dr_served;
struct dr_served {
    dr_model *model;             /* a reference */
    const dr_manifest *manifest; /* the model's */
    const char *name;            /* the manifest's, for messages */
    char checkpoint[72];         /* "sha256:<64 hex digits>" */
    int state_width, action_width;
    uint32_t batch_rows;  /* the efficient batch */
    float *initial;       /* [state_width]; at the mode, where the family draws it */
    dr_compiled *draws;   /* initial states by noise, where the family draws them [loop] */
    int temperature;      /* column of the state's part, or -1 */
    float *action_centre; /* [action_width]: of a bounded Box the middle, otherwise 0 */
    dr_served_verb verbs[DR_VERB_COUNT];
    dr_plan_settings planning; /* the manifest's defaults, if planning_error is DR_OK */
    dr_error planning_error;
    dr_starts starts; /* of the checkpoint; count 0: none */
    uint64_t loaded_bytes;
    dr_store *holder;       /* where the checkpoint is held while this lives, or NULL */
    uint32_t references;    /* the table's, and one a session or call [loop] */
    uint32_t sessions;      /* that live [loop] */
    uint64_t rows_computed; /* [loop] */
    dr_surprise surprise;   /* of what Observe was asked for [loop] */
    dr_served *next;        /* the table's */
};

/* Learns from the model all that the daemon needs. Keeps a reference. Blocks. [any] */
DR_CHECKED dr_code dr_served_create(dr_served **out, dr_model *model, dr_error *err);
dr_served *dr_served_retain(dr_served *served);
void dr_served_release(dr_served *served);
/* The index of a verb's output, or -1. */
int dr_served_find_output(const dr_served *served, dr_verb verb, const char *name);
/* The set of outputs that are called `name`, or whose names begin with it and a dot. */
uint64_t dr_served_match(const dr_served_verb *outputs, const char *name);
/* Writes the initial state of each key into states [rows, state_width]. [loop] */
void dr_served_put_initial(const dr_served *served, float *states, const dr_noise_key *keys,
                           uint32_t rows);
/* Gives rows of latent state a temperature; 0 leaves them theirs. */
void dr_served_put_temperature(const dr_served *served, float *states, uint32_t rows,
                               double temperature);
/* "observation", or "observation.<key>": the name of a leaf's tensor. */
void dr_leaf_name(char *out, size_t bytes, const char *prefix, const dr_space_leaf *leaf);

/* ---- the table ---- */

typedef struct dr_models dr_models;

DR_CHECKED dr_code dr_models_create(dr_models **out, dr_store_thread *store,
                                    dr_store_thread *loader, dr_error *err);
void dr_models_destroy(dr_models *models);

/* What is asked of the table; embedded in a call's work, zeroed before. */
typedef struct dr_models_wish dr_models_wish;
struct dr_models_wish {
    void (*done)(dr_models_wish *wish);
    /* ---- readable in `done`: served is borrowed for the call of it; or the error ---- */
    dr_served *served;
    char resolved[DR_MODEL_REFERENCE_MAX + 1]; /* "name@version" */
    dr_error error;
    /* ---- the table's ---- */
    dr_models *models;
    dr_store_job job;
    char reference[DR_MODEL_REFERENCE_MAX + 1];
    dr_store_version found;
    dr_store *holder;
    dr_checkpoint *checkpoint; /* on its way to the loader */
    dr_served *made;
    dr_models_wish *next; /* of those that load, or that wait for the same */
    dr_models_wish *followers;
};

/* Finds and loads; `done` comes on the loop, never before this returns. INVALID_ARGUMENT for a
 * reference too long. [loop] */
DR_CHECKED dr_code dr_models_get(dr_models *models, dr_models_wish *wish, const char *reference,
                                 dr_error *err);
/* The loaded model of a digest ("sha256:..." or bare), or NULL. [loop] */
dr_served *dr_models_find(const dr_models *models, const char *checkpoint);
uint32_t dr_models_count(const dr_models *models);
/* What is known of a model of the catalogue, by its name alone. */
typedef enum {
    DR_MODEL_SERVABLE, /* it is there, and what was last tried to load was loaded */
    DR_MODEL_DAMAGED,  /* it could not be, for a reason of its own */
    DR_MODEL_GONE
} dr_model_health;
/* Calls `on_health` whenever something is told; one at a time. [loop] */
void dr_models_watch(dr_models *models,
                     void (*on_health)(void *ud, const char *name, dr_model_health health),
                     void *ud);
void dr_models_count_swap(dr_models *models);
/* For those who change the catalogue. [loop] */
void dr_models_tell(const dr_models *models, const char *name, dr_model_health health);
/* The loaded models, by `next`; newest first. [loop] */
const dr_served *dr_models_first(const dr_models *models);
typedef struct {
    uint64_t loaded;                   /* now */
    uint64_t loads, failures, unloads; /* since the start */
    uint64_t swaps;                    /* a version took the place of one at work */
} dr_models_stats;
dr_models_stats dr_models_get_stats(const dr_models *models);
/* FAILED_PRECONDITION where sessions use it. The table's reference goes; `served` may be freed by
 * it. [loop] */
DR_CHECKED dr_code dr_models_unload(dr_models *models, dr_served *served, dr_error *err);

#endif
