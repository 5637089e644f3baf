/* starts.h: where rows begin an episode.
 *
 *   INITIAL  the family's initial state, drawn where the family draws it
 *   FILE     one of the checkpoint's starts.safetensors, named by its number or drawn:
 *              observation, observation.<key> [count, O...]   real first observations: the latent
 *                  is what Observe makes of one in the initial state, which takes a step of noise
 *              state.<part> [count, ...]                      latents, taken as they are
 *   STATE    latents that were given: with a Reset, or when the session was opened
 */
#ifndef DR_SERVER_STARTS_H
#define DR_SERVER_STARTS_H
#include "server/compute.h"

typedef enum { DR_START_INITIAL, DR_START_FILE, DR_START_STATE } dr_start_source;

/* Sampling sites of the daemon itself (philox.h); those of families are small numbers, those of
 * planners begin at 0x8000. Both are drawn in a session of modes too: a mode is of the model. */
enum { DR_SITE_ENDING = 0xc000, DR_SITE_START };

/* The starts of a checkpoint. */
typedef struct {
    uint32_t count;        /* 0: there are none, and `error` says why */
    dr_error error;        /* FAILED_PRECONDITION */
    uint32_t leaf_count;   /* of observations, as the manifest's space has them; 0: latents */
    dr_verb_input *leaves; /* what Observe takes; names and list are owned, data the file's */
    const dr_tensor *states[DR_STATE_PARTS_MAX]; /* latents, by part */
} dr_starts;

/* Reads and checks the file of the model's checkpoint; what is wrong with it stays in `error`,
 * because all but starts can be served without. RESOURCE_EXHAUSTED without memory. */
DR_CHECKED dr_code dr_starts_init(dr_starts *out, const dr_model *model, dr_error *err);
void dr_starts_deinit(dr_starts *starts);
/* A number below count, each as likely: a function of the row's noise alone. */
uint32_t dr_starts_draw(const dr_starts *starts, const dr_noise_key *key);
/* Copies a latent into a row of state [state_width]. */
void dr_starts_get_state(const dr_starts *starts, const dr_model *model, uint32_t index,
                         float *state);
/* Copies an observation's leaf, in type `dtype`, to `out`. */
void dr_starts_get_observation(const dr_starts *starts, uint32_t leaf, uint32_t index,
                               dr_dtype dtype, void *out);

#endif
