/* imagine_actions.c: who acts in a trajectory, and the noise of its draws.
 *
 * Candidate 0 of a row draws what the row itself would: so one candidate is what Step would have
 * given. Candidate c > 0 draws its latents as candidate c of a plan does in its first iteration.
 * In both step k is k positions further on; nothing depends on groups, chunks or company.
 */
#include <math.h>
#include <string.h>

#include "server/imagine.h"

/* Where a trajectory's own draws of actions come from: a seed derived from its noise. */
enum { SITE_RANDOM_ACTIONS = 0x8100, NO_BOUND_NORMALS = 1 };

/* ---- noise ---- */

static dr_noise_key find_key(const dr_imagine *im, uint32_t trajectory, uint32_t site)
{
    const dr_noise_key *base = &im->bases[trajectory / im->candidates];
    return (dr_noise_key){.seed = dr_noise_subseed(base, site),
                          .row = trajectory % im->candidates,
                          .mode = base->mode};
}

static dr_noise_key find_act_key(const dr_imagine *im, uint32_t trajectory, dr_noise_key key)
{
    switch (im->policy) {
    case DREAMD__V1__IMAGINE_POLICY__IMAGINE_POLICY_RANDOM:
        key = find_key(im, trajectory, SITE_RANDOM_ACTIONS);
        key.mode = 0;
        break;
    case DREAMD__V1__IMAGINE_POLICY__IMAGINE_POLICY_ACTOR:
        key.mode = 0; /* a session of modes may draw an action all the same, as in Act */
        break;
    default: /* as in Plan */
        key.seed = im->has_plan_seed ? im->plan_seed : key.seed;
        key.mode =
            im->plan_mode ? im->plan_mode == DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE : key.mode;
    }
    return key;
}

void dr_imagine_begin_noise(dr_imagine *im)
{
    dr_rollout *r = &im->rollout;
    size_t plan = (size_t)im->served->action_width * (size_t)im->settings.horizon;
    for (uint32_t i = 0; i < im->group; i++) {
        uint32_t trajectory = im->first + i, row = trajectory / im->candidates;
        r->keys[i] = trajectory % im->candidates == 0
                         ? im->bases[row]
                         : find_key(im, trajectory, DR_PLAN_SITE_LATENTS);
        r->act_keys[i] = find_act_key(im, trajectory, r->keys[i]);
        if (r->act == DR_ACT_PLANNER) {
            r->plan_warm[i] = im->warm && im->has_warm[row];
        }
        if (r->act == DR_ACT_PLANNER && r->plan_warm[i]) {
            memcpy(r->plan_means + i * plan, im->warm + row * plan, plan * sizeof(float));
        }
    }
}

/* A plan's next step begins at the rest of this one's; nothing is known of its last. */
static void shift_plan(dr_imagine *im, uint32_t i)
{
    size_t width = (size_t)im->served->action_width, horizon = (size_t)im->settings.horizon;
    float *mean = im->rollout.plan_means + i * width * horizon;
    memmove(mean, mean + width, (horizon - 1) * width * sizeof *mean);
    memcpy(mean + (horizon - 1) * width, im->served->action_centre, width * sizeof *mean);
    im->rollout.plan_warm[i] = horizon > 1;
}

void dr_imagine_move_noise(dr_imagine *im)
{
    for (uint32_t i = 0; i < im->group; i++) {
        im->rollout.keys[i].step++;
        im->rollout.act_keys[i].step++;
        if (im->rollout.act == DR_ACT_PLANNER && im->settings.warm_start) {
            shift_plan(im, i);
        }
    }
}

/* ---- given actions ---- */

static void gather(dr_imagine *im)
{
    size_t bytes = (size_t)im->given.width * dr_dtype_size(im->given.dtype);
    for (uint32_t i = 0; i < im->group; i++) {
        size_t trajectory = im->first + i;
        size_t sequence = im->given_by_candidate ? trajectory : trajectory / im->candidates;
        memcpy((uint8_t *)im->actions + i * bytes,
               (const uint8_t *)im->given.data +
                   (sequence * im->horizon + im->rollout.step) * bytes,
               bytes);
    }
}

/* ---- drawn actions ---- */

static int64_t draw_choice(const dr_space_leaf *leaf, const dr_noise_key *key)
{
    float uniform;
    dr_noise_uniform(&uniform, 1, key, 0);
    int64_t choice = (int64_t)((double)uniform * (double)leaf->n);
    return leaf->start + (choice < leaf->n ? choice : leaf->n - 1);
}

/* Uniform between bounds; normal where there are none, inside the one that there may be. */
static void draw_box(const dr_imagine *im, const dr_noise_key *key)
{
    const dr_space_leaf *leaf = im->leaf;
    size_t count = (size_t)leaf->count;
    float *to = im->draws, *normals = im->draws + count;
    dr_noise_uniform(to, count, key, 0);
    dr_noise_normal(normals, count, key, NO_BOUND_NORMALS);
    for (size_t i = 0; i < count; i++) {
        double low = leaf->low[i], high = leaf->high[i];
        double drawn = isfinite(low) && isfinite(high)
                           ? low * (1 - (double)to[i]) + high * (double)to[i]
                           : normals[i];
        to[i] = (float)fmin(fmax(drawn, low), high);
    }
}

static void draw(dr_imagine *im)
{
    const dr_rollout *r = &im->rollout;
    for (uint32_t i = 0; i < im->group; i++) {
        if (im->leaf->kind == DR_SPACE_DISCRETE) {
            ((int64_t *)im->actions)[i] = draw_choice(im->leaf, &r->act_keys[i]);
        } else {
            draw_box(im, &r->act_keys[i]);
            size_t count = (size_t)im->leaf->count;
            dr_dtype_from_f32((uint8_t *)im->actions + i * count * dr_dtype_size(im->taken_dtype),
                              im->taken_dtype, im->draws, count);
        }
    }
}

void dr_imagine_put_actions(dr_imagine *im)
{
    if (im->given.data) {
        gather(im);
    } else if (im->policy == DREAMD__V1__IMAGINE_POLICY__IMAGINE_POLICY_RANDOM) {
        draw(im);
    }
}

/* ---- planned actions ---- */

void dr_imagine_convert_plan(dr_imagine *im)
{
    const float *planned = im->rollout.plan_actions;
    size_t width = (size_t)im->served->action_width;
    if (im->leaf->kind != DR_SPACE_DISCRETE) {
        dr_dtype_from_f32(im->actions, im->taken_dtype, planned, im->group * width);
        return;
    }
    for (uint32_t i = 0; i < im->group; i++, planned += width) {
        size_t best = 0;
        for (size_t k = 1; k < width; k++) {
            best = planned[k] > planned[best] ? k : best;
        }
        ((int64_t *)im->actions)[i] = im->leaf->start + (int64_t)best;
    }
}
