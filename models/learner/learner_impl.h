/* learner_impl.h: what the files of this folder share. */
#ifndef DR_LEARNER_LEARNER_IMPL_H
#define DR_LEARNER_LEARNER_IMPL_H
#include "models/family/rssm.h"
#include "models/format/safetensors.h"
#include "models/learner/learner.h"

#define DR__EPISODE_KIND "dreamd.episode.1" /* metadata "kind" of an episode file */

enum { DR__LEAF_NAME_BYTES = DR_SPACE_KEY_MAX + 16 };
/* "observation" for the leaf of a space that is no Dict, else "observation.KEY". */
void dr__episode_name_leaf(char name[DR__LEAF_NAME_BYTES], const dr_space_leaf *leaf);

/* Who draws, under seeds of the learner's own. */
enum { DR__SITE_REPLAY = 1, DR__SITE_LATENT = 2, DR__SITE_NORMAL = 3, DR__SITE_UNIFORM = 4 };

/* Fills params with first weights (init.c says how). */
void dr__init_params(dr_params *params, uint64_t seed);

/* The losses of an rssm over `length` steps, as a graph on an empty `graph`.
 *   inputs, all of repeat `length`: the observations by name, action, reward, continue, first,
 *   value, uniform [stoch]
 *   outputs, means: loss, loss.observation, loss.reward, loss.continue, loss.dynamics,
 *   loss.representation, loss.value; absent where the config has no such head */
DR_CHECKED dr_code dr__rssm_build_losses(dr_graph *graph, const dr_rssm_config *config, int length,
                                         const dr_learner_options *options, dr_error *err);

#endif
