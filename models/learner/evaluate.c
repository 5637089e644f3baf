/* evaluate.c: open-loop errors, one episode after another; its starting places are the rows. */
#include "models/learner/evaluate.h"

#include <math.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/learner/agent.h"
#include "models/learner/learner_impl.h"

enum {
    FILTERED = 10, /* observations before the first place */
    STRIDE = 10,   /* steps between places */
    LONGEST = 50,
    FUTURES = 16,     /* imagined from each place */
    STEPS_MAX = 2000, /* of one episode: the rest of a longer one is left out */
};
const int dr_evaluate_horizons[DR_EVALUATE_HORIZONS] = {1, 5, 15, LONGEST};

typedef struct {
    const dr_model *model;
    int width;            /* of an observation */
    double *mean, *scale; /* [width], of the episodes learned from */
    struct {
        double model, constant, last; /* sums of squares */
        int64_t places;
    } sums[DR_EVALUATE_HORIZONS];
} evaluation;

static void measure_spread(evaluation *ev, const dr_replay *seen)
{
    for (int i = 0; i < ev->width; i++) {
        double sum = 0, squares = 0, count = 0;
        for (size_t k = 0; k < dr_replay_episode_count(seen); k++) {
            const dr_episode *e = dr_replay_get_episode(seen, k);
            for (int t = 0; t <= e->steps; t++) {
                double x = e->observation[(size_t)t * (size_t)ev->width + (size_t)i];
                sum += x;
                squares += x * x;
                count++;
            }
        }
        double mean = sum / count, variance = squares / count - mean * mean;
        ev->mean[i] = mean;
        ev->scale[i] = variance > 1e-12 ? 1 / sqrt(variance) : 1;
    }
}

/* Adds one place: `decoded` [width] beside the truth `horizon` steps behind `now`. */
static void add_place(evaluation *ev, int which, const float *decoded, const float *now)
{
    const float *truth = now + (size_t)dr_evaluate_horizons[which] * (size_t)ev->width;
    for (int i = 0; i < ev->width; i++) {
        double scale = ev->scale[i];
        double model = scale * ((double)decoded[i] - truth[i]);
        double constant = scale * (ev->mean[i] - truth[i]);
        double last = scale * ((double)now[i] - truth[i]);
        ev->sums[which].model += model * model;
        ev->sums[which].constant += constant * constant;
        ev->sums[which].last += last * last;
    }
    ev->sums[which].places++;
}

/* Adds what the decoder says for `row` to out [width], all leaves one after another. */
static void add_decoded(const evaluation *ev, const dr_compiled *step, int row, float *out)
{
    const dr_space *space = dr_model_get_manifest(ev->model)->observation_space;
    for (uint32_t i = 0; i < space->leaf_count; i++) {
        char name[DR__LEAF_NAME_BYTES];
        dr__episode_name_leaf(name, &space->leaves[i]);
        int64_t count = space->leaves[i].count;
        const float *values = dr_compiled_output(step, dr_compiled_find_output(step, name));
        for (int64_t k = 0; k < count; k++)
            *out++ += values[row * count + k] / FUTURES;
    }
}

static int find_horizon(int steps)
{
    for (int i = 0; i < DR_EVALUATE_HORIZONS; i++)
        if (dr_evaluate_horizons[i] == steps)
            return i;
    return -1;
}

/* What one episode is evaluated with; row = place * FUTURES + future. */
typedef struct {
    const dr_episode *episode;
    int places;
    dr_compiled *step;
    float *filtered;    /* [steps + 1, state_width] */
    float *states;      /* [rows, state_width] */
    dr_noise_key *keys; /* [rows] */
    float *decoded;     /* [width] */
} imagination;

static void take_step(const evaluation *ev, imagination *im, int s)
{
    const dr_episode *e = im->episode;
    size_t aw = (size_t)e->action_width;
    float *actions = dr_compiled_input(im->step, dr_compiled_find_input(im->step, "action"));
    for (int row = 0; row < im->places * FUTURES; row++) {
        int t = FILTERED + row / FUTURES * STRIDE + s - 1;
        t = t < e->steps ? t : e->steps - 1; /* past the end nobody looks any more */
        memcpy(actions + (size_t)row * aw, e->action + (size_t)t * aw, aw * sizeof(float));
        im->keys[row] = (dr_noise_key){.row = (uint32_t)row, .step = (uint64_t)s};
    }
    dr_model_put_state(ev->model, im->step, 0, im->places * FUTURES, im->states);
    dr_compiled_run(im->step, im->places * FUTURES, im->keys);
    dr_model_get_state(ev->model, im->step, 0, im->places * FUTURES, im->states);
}

static void compare(evaluation *ev, imagination *im, int which, int s)
{
    for (int p = 0; p < im->places; p++) {
        int now = FILTERED + p * STRIDE;
        if (now + s > im->episode->steps)
            continue;
        memset(im->decoded, 0, (size_t)ev->width * sizeof *im->decoded);
        for (int f = 0; f < FUTURES; f++)
            add_decoded(ev, im->step, p * FUTURES + f, im->decoded);
        add_place(ev, which, im->decoded,
                  im->episode->observation + (size_t)now * (size_t)ev->width);
    }
}

static void imagine(evaluation *ev, imagination *im)
{
    size_t width = (size_t)dr_model_state_width(ev->model);
    for (int row = 0; row < im->places * FUTURES; row++)
        memcpy(im->states + (size_t)row * width,
               im->filtered + (size_t)(FILTERED + row / FUTURES * STRIDE) * width,
               width * sizeof *im->states);
    for (int s = 1; s <= LONGEST; s++) {
        take_step(ev, im, s);
        int which = find_horizon(s);
        if (which >= 0)
            compare(ev, im, which, s);
    }
}

static dr_code evaluate_episode(evaluation *ev, const dr_episode *e, dr_error *err)
{
    int steps = e->steps < STEPS_MAX ? e->steps : STEPS_MAX;
    imagination im = {.episode = e, .places = (steps - FILTERED) / STRIDE};
    if (im.places < 1)
        return DR_OK;
    size_t width = (size_t)dr_model_state_width(ev->model), rows = (size_t)im.places * FUTURES;
    dr_code code = DR_OK;
    im.filtered = dr_mem_alloc(((size_t)steps + 1) * width * sizeof *im.filtered);
    im.states = dr_mem_alloc(rows * width * sizeof *im.states);
    im.keys = dr_mem_alloc(rows * sizeof *im.keys);
    im.decoded = dr_mem_alloc((size_t)ev->width * sizeof *im.decoded);
    if (!im.filtered || !im.states || !im.keys || !im.decoded)
        code = dr_mem_fail(err, "an evaluation");
    if (!code)
        code = dr_agent_filter(im.filtered, ev->model, steps, e->observation, e->action, err);
    if (!code)
        code = dr_model_compile(&im.step, ev->model, DR_VERB_STEP, (int)rows, NULL, 0, err);
    if (!code)
        imagine(ev, &im);
    dr_compiled_destroy(im.step);
    dr_mem_free(im.decoded);
    dr_mem_free(im.keys);
    dr_mem_free(im.states);
    dr_mem_free(im.filtered);
    return code;
}

static void finish(dr_horizon_error out[DR_EVALUATE_HORIZONS], const evaluation *ev)
{
    for (int i = 0; i < DR_EVALUATE_HORIZONS; i++) {
        double n = (double)ev->sums[i].places * ev->width;
        out[i] = (dr_horizon_error){.count = ev->sums[i].places};
        if (n > 0)
            out[i] = (dr_horizon_error){ev->sums[i].places, sqrt(ev->sums[i].model / n),
                                        sqrt(ev->sums[i].constant / n), sqrt(ev->sums[i].last / n)};
    }
}

dr_code dr_evaluate_errors(dr_horizon_error out[DR_EVALUATE_HORIZONS], const dr_model *model,
                           const dr_replay *seen, const dr_episode *const *unseen,
                           size_t unseen_count, dr_error *err)
{
    const dr_space *space = dr_model_get_manifest(model)->observation_space;
    char name[DR__LEAF_NAME_BYTES];
    dr__episode_name_leaf(name, &space->leaves[0]);
    if (!dr_model_has_output(model, DR_VERB_STEP, name))
        return dr_fail(err, DR_FAILED_PRECONDITION, "the model has no decoder");
    evaluation ev = {.model = model, .width = (int)dr_space_elements(space)};
    ev.mean = dr_mem_zalloc((size_t)ev.width, sizeof *ev.mean);
    ev.scale = dr_mem_zalloc((size_t)ev.width, sizeof *ev.scale);
    dr_code code = ev.mean && ev.scale ? DR_OK : dr_mem_fail(err, "an evaluation");
    if (!code)
        measure_spread(&ev, seen);
    for (size_t i = 0; i < unseen_count && !code; i++)
        code = evaluate_episode(&ev, unseen[i], err);
    if (!code)
        finish(out, &ev);
    dr_mem_free(ev.mean);
    dr_mem_free(ev.scale);
    return code;
}
