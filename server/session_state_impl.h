/* session_state_impl.h: what a row has beside its latent, for who writes and who reads it. Private
 * to session_state*.c. */
#ifndef DR_SERVER_SESSION_STATE_IMPL_H
#define DR_SERVER_SESSION_STATE_IMPL_H
#include "server/session_state.h"

/* Headroom for years of steps before a counter meets its end. */
#define DR_STATE_STEP_MAX (DR_NOISE_STEP_MAX / 2)
#define DR_STATE_COUNT_MAX (UINT32_MAX / 2)

#define DR_STATE_WARM_MADE "warm_start.made"
#define DR_STATE_WARM_STEP "warm_start.step"
#define DR_STATE_WARM_PLAN "warm_start.plan"

typedef struct {
    const char *name;
    dr_dtype dtype;
    size_t offset; /* in dr_row */
    uint64_t most;
} dr_state_field;

enum { DR_STATE_FIELDS = 7 };
extern const dr_state_field dr__state_fields[DR_STATE_FIELDS];

#endif
