/* agent.h: what dreamctl agent is made of: episodes in a real environment, or a dream. */
#ifndef DREAMD_CTL_AGENT_H
#define DREAMD_CTL_AGENT_H
#include "client/ctl/ctl.h"
#include "client/envs/env.h"

/* ---- agent_episodes.c ---- */

typedef enum { CTL_ACT_PLAN, CTL_ACT_ACTOR, CTL_ACT_RANDOM, CTL_ACT_COUNT } ctl_act;
extern const char *const ctl_act_names[CTL_ACT_COUNT]; /* "plan", "actor", "random" */

typedef struct {
    const char *model;    /* NULL with CTL_ACT_RANDOM, which asks no daemon */
    const char *settings; /* of the planner, or NULL */
    const dr_env_kind *env;
    ctl_act act;
    uint32_t episodes; /* from 1 */
    uint64_t seed;     /* of the session; episode e starts with seed + e */
    bool mode;         /* latents at their mode */
    bool asks_surprise;
} ctl_episodes_options;
/* Plays and prints; returns the exit code. */
int ctl_agent_episodes(const ctl_common *common, const ctl_episodes_options *options);

/* ---- agent_dream.c ---- */

typedef struct {
    const char *model;
    uint32_t rows, steps;
    uint64_t seed;
    bool mode, has_temperature;
    double temperature;
} ctl_dream_options;
/* Dreams and prints; returns the exit code. */
int ctl_agent_dream(const ctl_common *common, const ctl_dream_options *options);

/* ---- agent_surprise.c ---- */

typedef struct {
    double total, most;
    uint64_t count;
} ctl_surprise_sum;
typedef struct {
    ctl_surprise_sum kl, error; /* count 0: the model's family has no such thing */
} ctl_surprise;
/* Takes surprise.* out of the session's last reply; a first observation of an episode counts for
 * nothing. */
void ctl_surprise_add(ctl_surprise *surprise, const struct dreamd_session *session, bool is_first);
json_t *ctl_surprise_json(const ctl_surprise *surprise);

#endif
