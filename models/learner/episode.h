/* episode.h: one recorded sequence of real transitions, in memory and as a file.
 *
 * Time is Gymnasium's: action[t] leads to reward[t], the flags [t] and observation[t + 1].
 * An observation is flat: the space's leaves one after another, in the space's order.
 *
 * The file is a safetensors file (README.md lists its tensors); the two spaces and where the
 * episode comes from are in its metadata, so that a folder of episodes is all a learner needs.
 */
#ifndef DR_LEARNER_EPISODE_H
#define DR_LEARNER_EPISODE_H
#include <stddef.h>
#include <stdint.h>

#include "models/format/space.h"

enum {
    DR_EPISODE_STEPS_MAX = 1 << 20,
    DR_EPISODE_WIDTH_MAX = 1 << 16,   /* floats of an observation, or of an action */
    DR_EPISODE_BYTES_MAX = 256 << 20, /* of a file */
    DR_EPISODE_FILES_MAX = 1 << 16,   /* in a folder */
    DR_EPISODE_ENV_MAX = 64           /* bytes of the environment's name, with the NUL */
};

typedef struct {
    int observation_width, action_width;
    int steps;                       /* T, transitions recorded */
    int steps_max;                   /* room for so many */
    float *observation;              /* [steps + 1, observation_width] */
    float *action;                   /* [steps, action_width], in the action space's units; of a
                                      * Discrete: one-hots */
    float *reward;                   /* [steps] */
    uint8_t *terminated, *truncated; /* [steps], 0 or 1 */
    char env[DR_EPISODE_ENV_MAX];    /* "Pendulum-v1"; may be "" */
    uint64_t seed;                   /* of the environment's reset */
} dr_episode;

/* Floats of an action in memory: the elements of a Box, the choices of a Discrete. */
int64_t dr_episode_action_width(const dr_space *actions);
/* An episode with room for steps_max transitions, at its first observation
 * [observation_width]. INVALID_ARGUMENT: a size outside the limits above. */
DR_CHECKED dr_code dr_episode_create(dr_episode **out, int observation_width, int action_width,
                                     int steps_max, const float *observation, dr_error *err);
void dr_episode_destroy(dr_episode *episode);
/* Appends a transition; there must be room. observation is what the action led to. */
void dr_episode_add(dr_episode *episode, const float *action, float reward, int terminated,
                    int truncated, const float *observation);
/* Sum of the rewards. */
double dr_episode_return(const dr_episode *episode);

/* ---- files ---- */

/* What the numbers mean; both are owned. */
typedef struct {
    dr_space *observation, *action;
} dr_episode_spaces;
void dr_episode_spaces_deinit(dr_episode_spaces *spaces);

/* Writes a new file. ALREADY_EXISTS where there is one. */
DR_CHECKED dr_code dr_episode_save(const dr_episode *episode, const dr_episode_spaces *spaces,
                                   const char *path, dr_error *err);
/* Reads one. Where spaces->observation is NULL the file's spaces are taken over, otherwise they
 * must be equal. INVALID_ARGUMENT names file, tensor, what was found and what is allowed. */
DR_CHECKED dr_code dr_episode_load(dr_episode **out, dr_episode_spaces *spaces, const char *path,
                                   dr_error *err);

/* The same over memory, borrowed for the call. `what` begins messages. */
DR_CHECKED dr_code dr_episode_parse(dr_episode **out, dr_episode_spaces *spaces, const void *bytes,
                                    size_t length, const char *what, dr_error *err);

/* All *.safetensors of a folder, in the order of their names; any other name is refused. */
typedef struct {
    dr_episode **items; /* owned, as each of them */
    size_t count;
    dr_episode_spaces spaces;
} dr_episode_list;
/* NOT_FOUND: no such folder; INVALID_ARGUMENT: no episode in it, or one that is not sound. */
DR_CHECKED dr_code dr_episode_list_load(dr_episode_list *out, const char *folder, dr_error *err);
void dr_episode_list_deinit(dr_episode_list *list);

#endif
