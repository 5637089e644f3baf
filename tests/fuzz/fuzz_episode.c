/* fuzz_episode.c: any bytes are either refused, or an episode whose numbers are all finite. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "models/base/check.h"
#include "models/learner/episode.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    dr_episode *e;
    dr_episode_spaces spaces = {0};
    dr_error err;
    if (dr_episode_parse(&e, &spaces, bytes, length, "fuzz", &err) != DR_OK) {
        DR_ASSERT(err.message[0]);
        dr_episode_spaces_deinit(&spaces);
        return 0;
    }
    DR_ASSERT(e->steps >= 1 && e->steps <= DR_EPISODE_STEPS_MAX);
    for (int64_t i = 0; i < ((int64_t)e->steps + 1) * e->observation_width; i++)
        DR_ASSERT(isfinite(e->observation[i]));
    for (int64_t i = 0; i < (int64_t)e->steps * e->action_width; i++)
        DR_ASSERT(isfinite(e->action[i]));
    DR_ASSERT(isfinite(dr_episode_return(e)));
    dr_episode_destroy(e);
    dr_episode_spaces_deinit(&spaces);
    return 0;
}
