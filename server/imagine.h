/* imagine.h: one Imagine: whole trajectories, in groups, in chunks.
 *
 *   request ─→ dr_imagine_read ─→ dr_imagine_lay_out ─→ group ─→ rollout ─→ chunk ─→ pieces ─→ call
 *              wrong: status      rows as they are       ↑  ↑   compute    full       loop
 *                                                        │  └── the next steps ─────────┤
 *                                                        └───── the next trajectories ──┘
 *
 * Trajectory t is candidate t % candidates of selected row t / candidates. A group of them is
 * advanced together; the results of some steps gather in its chunk, which leaves as one message,
 * or as several where a step alone is too much for one. So memory depends neither on the horizon
 * nor on the number of trajectories, but for the rows they start from and a return each.
 *
 * While a chunk is filled it belongs to compute, otherwise to the loop (the rollout rests then).
 * Nothing is computed while a full chunk waits for a slow client; one that takes nothing for the
 * session's time to live is given up, so that it does not hold memory for ever.
 */
#ifndef DR_SERVER_IMAGINE_H
#define DR_SERVER_IMAGINE_H
#include "models/format/digest.h"
#include "server/rollout.h"
#include "server/rpc_verbs.h"

/* What is sent of each step. */
typedef struct {
    const char *name;
    dr_dtype dtype;
    int rank; /* of a row */
    int64_t shape[DR_RANK_MAX];
    size_t bytes;        /* of a row */
    const uint8_t *rows; /* [group] of the step that was computed last */
} dr_imagine_output;

/* Some steps of a group, as they leave: piece by piece, output by output, [rows, steps, ...].
 * Every piece has `piece_rows` trajectories but the last. */
typedef struct {
    uint8_t *bytes;
    size_t step_bytes; /* of one trajectory, all outputs; 0: nothing is sent of steps */
    uint32_t steps_max, piece_rows;
    uint32_t first_step, steps, filled;
} dr_imagine_chunk;

typedef struct {
    dr_rollout rollout; /* first */
    dr_loop_item item;
    dr_timer retry; /* the queue was full */
    dr_timer stall; /* the client takes nothing */
    dr_session_watch watch;
    dr_daemon *daemon;
    dr_call *call;
    dr_session *session;
    dr_served *served;
    bool in_queue;       /* the rollout is at work */
    uint32_t first_step; /* of the rollout when it last started */

    /* ---- what is asked ---- */
    const dr_space_leaf *leaf; /* of the action space */
    Dreamd__V1__ImaginePolicy policy;
    bool raw, is_sample, given_by_candidate;
    uint32_t rows, candidates, horizon;
    uint32_t count;            /* of trajectories */
    const uint32_t *selection; /* [rows], or NULL: all */
    dr_wire_outputs wanted;
    dr_verb_input given;       /* GIVEN: [rows, (candidates,) horizon, ...] */
    dr_plan_settings settings; /* PLAN, and of a return */
    bool has_plan_seed;
    uint64_t plan_seed;
    int plan_mode; /* 0 = as the session, or a LatentMode */
    uint64_t chunk_bytes;
    uint64_t step_id; /* committed when the rows were so */

    /* ---- rows as they were ---- */
    float *from;         /* [rows, state_width] */
    dr_noise_key *bases; /* [rows]: where their noise begins */
    uint32_t *ages;      /* [rows] */
    float *warm;         /* [rows, plan's horizon, action_width], PLAN with warm starts */
    bool *has_warm;      /* [rows] */

    /* ---- the group ---- */
    uint32_t group_max, first, group; /* trajectories: most, the first, how many now */
    dr_imagine_output *outputs;
    int output_count;
    dr_imagine_chunk chunk;
    void *actions;  /* [group_max, ...] of the step, as they go in */
    uint8_t *taken; /* likewise as they are sent, where that differs */
    dr_dtype taken_dtype;
    float *draws;                       /* [2, elements of an action] */
    uint8_t *terminated, *truncated;    /* [group_max] */
    const float *reward, *cont, *value; /* [group_max]; NULL where not asked for or absent */
    uint64_t last_outputs;              /* of the verb step, only at the last one */
    double *weights, *sums;             /* [group_max]; NULL without "return" */
    float *returns;                     /* [count], likewise */
    dr_digest *digest;

    /* ---- sending ---- */
    dr_wire_reply reply;  /* a tensor an output, and the return */
    uint32_t pieces_left; /* of a full chunk */
    uint32_t rows_scored; /* of `returns`: sent */
    dr_room room;
} dr_imagine;

/* ---- imagine_read.c ---- */
DR_CHECKED dr_code dr_imagine_read(dr_imagine *im, const Dreamd__V1__ImagineRequest *request,
                                   dr_error *err);
/* ---- imagine_lay_out.c ---- */
/* Memory, and copies of the rows; the rollout is ready but for its group. */
DR_CHECKED dr_code dr_imagine_lay_out(dr_imagine *im, const Dreamd__V1__ImagineRequest *request,
                                      dr_error *err);

/* ---- imagine_actions.c: [compute, or the loop while the rollout rests] ---- */
/* Noise and warm starts of a group that begins. */
void dr_imagine_begin_noise(dr_imagine *im);
/* The actions of the next step, where they are given or drawn. */
void dr_imagine_put_actions(dr_imagine *im);
/* A planner's actions as they go in. */
void dr_imagine_convert_plan(dr_imagine *im);
/* After a step: the next noise positions and warm starts. */
void dr_imagine_move_noise(dr_imagine *im);

/* ---- imagine_take.c: likewise ---- */
void dr_imagine_begin_group(dr_imagine *im, uint32_t first);
void dr_imagine_begin_step(dr_imagine *im);
/* Results of a step into flags, returns and chunk; false: the chunk is full, or the last one. */
bool dr_imagine_take(dr_imagine *im);

#endif
