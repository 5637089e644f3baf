/* Goal: surprise.kl and surprise.error are what their definitions say, in every dialect of rssm.
 * Method: both are computed again in double, from parameters and decoded observations that golden
 * files check, on the golden weights and on random ones; sums of probabilities as the publications
 * write them. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/family/rssm.h"
#include "models/tensor/philox.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_world.h"
#include "tests/unit/models/family/references.h"

#define TOLERANCE 1e-4 /* float32 against double, relative */
enum { ROWS = 5 };

typedef struct {
    const char *name;
    dr_rssm_config config;
    dr_compiled *observe;
    float *inputs[DR_SPACE_LEAVES_MAX]; /* observations [ROWS, width]; a run may spoil its own */
} subject;

/* ---- inputs ---- */

static void fill_onehots(float *values, int64_t count, int classes)
{
    for (int64_t i = 0; i < count; i++)
        values[i] = i % classes == i / classes % classes;
}

static const dr_rssm_observation *find_observation(const subject *s, const char *name, int *index)
{
    for (*index = 0; *index < s->config.observation_count; ++*index)
        if (strcmp(s->config.observations[*index].name, name) == 0)
            return &s->config.observations[*index];
    return NULL;
}

static void fill(subject *s)
{
    for (int i = 0; i < dr_compiled_input_count(s->observe); i++) {
        const char *name = dr_compiled_input_name(s->observe, i);
        dr_shape shape = dr_compiled_input_shape(s->observe, i);
        int64_t width = dr_shape_width(shape);
        float *values = dr_compiled_input(s->observe, i);
        const dr_noise_key key = {.seed = 3, .row = (uint32_t)i};
        int leaf;
        const dr_rssm_observation *o = find_observation(s, name, &leaf);
        if (dr_compiled_input_is_noise(s->observe, i))
            continue;
        dr_noise_normal(values, (size_t)(ROWS * width), &key, 1);
        if (strcmp(name, "state.first") == 0)
            memset(values, 0, sizeof(float) * ROWS);
        else if (shape.rank == 2 || (s->config.action_discrete && strcmp(name, "action") == 0) ||
                 (o && o->kind == DR_RSSM_CATEGORY))
            fill_onehots(values, ROWS * width, shape.dim[shape.rank - 1]);
        for (int64_t k = 0; o && o->kind == DR_RSSM_IMAGE && k < ROWS * width; k++)
            values[k] = floorf(fminf(fmaxf(128 + 60 * values[k], 0), 255));
        if (o) {
            s->inputs[leaf] = dr_mem_alloc(sizeof(float) * (size_t)(ROWS * width));
            memcpy(s->inputs[leaf], values, sizeof(float) * (size_t)(ROWS * width));
        }
    }
}

/* ---- the same in double ---- */

static const float *output(const subject *s, const char *name, const char *more, int row)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", name, more);
    int index = dr_compiled_find_output(s->observe, full);
    cr_assert(index >= 0, "%s: no output %s", s->name, full);
    return dr_compiled_output(s->observe, index) +
           row * dr_shape_width(dr_compiled_output_shape(s->observe, index));
}

static double probability(const float *logits, int classes, int k, double unimix)
{
    double sum = 0;
    for (int i = 0; i < classes; i++)
        sum += exp((double)logits[i]);
    return (1 - unimix) * exp((double)logits[k]) / sum + unimix / classes;
}

static double find_kl(const subject *s, int row)
{
    const dr_rssm_config *c = &s->config;
    double kl = 0;
    for (int i = 0; i < c->stoch && c->classes > 0; i++) {
        const float *posterior = output(s, "posterior", ".logits", row) + i * c->classes;
        const float *prior = output(s, "prior", ".logits", row) + i * c->classes;
        for (int k = 0; k < c->classes; k++) {
            double p = probability(posterior, c->classes, k, (double)c->unimix);
            kl += p * log(p / probability(prior, c->classes, k, (double)c->unimix));
        }
    }
    for (int i = 0; i < c->stoch && c->classes == 0; i++) {
        double mean_p = (double)output(s, "posterior", ".mean", row)[i];
        double std_p = (double)output(s, "posterior", ".std", row)[i];
        double mean_q = (double)output(s, "prior", ".mean", row)[i];
        double std_q = (double)output(s, "prior", ".std", row)[i];
        double away = mean_p - mean_q;
        kl += log(std_q / std_p) + (std_p * std_p + away * away) / (2 * std_q * std_q) - 0.5;
    }
    return kl;
}

static double symlog(double x)
{
    return copysign(log1p(fabs(x)), x);
}

/* What is seen and what is decoded, on the network's scale. */
static void scale(double *seen, double *decoded, const subject *s, const dr_rssm_observation *o)
{
    if (o->kind == DR_RSSM_VECTOR && s->config.decoder_symlog) {
        *seen = symlog(*seen);
        *decoded = symlog(*decoded);
    } else if (o->kind == DR_RSSM_IMAGE && s->config.dialect == DR_RSSM_PLANET) {
        *seen = floor(*seen / 8) / 32 + 1.0 / 64 - 0.5;
        *decoded = *decoded / 256 - 0.5;
    } else if (o->kind == DR_RSSM_IMAGE && o->scale != 1) {
        *seen = *seen / 255 - 0.5;
        *decoded = *decoded / 255 - 0.5;
    }
}

static double find_error(const subject *s, int row)
{
    double sum = 0, elements = 0;
    for (int i = 0; i < s->config.observation_count; i++) {
        const dr_rssm_observation *o = &s->config.observations[i];
        for (int k = 0; o->decoded && k < o->width; k++) {
            double seen = (double)s->inputs[i][row * o->width + k], decoded;
            if (o->kind == DR_RSSM_CATEGORY) {
                decoded = probability(output(s, o->name, ".logits", row), o->width, k, 0);
            } else {
                decoded = (double)output(s, o->name, "", row)[k];
                scale(&seen, &decoded, s, o);
            }
            sum += (seen - decoded) * (seen - decoded);
            elements++;
        }
    }
    return sum / elements;
}

/* ---- tests ---- */

static void expect_close(const subject *s, const char *what, int row, double wanted)
{
    double found = (double)*output(s, what, "", row);
    cr_expect(fabs(found - wanted) <= TOLERANCE * fmax(1, wanted),
              "%s: %s of row %d is %.9g, "
              "expected %.9g",
              s->name, what, row, found, wanted);
}

static void check(const char *name, const dr_model *model)
{
    subject s = {.name = name};
    dr_error err = {0};
    dr_noise_key keys[ROWS];
    double kls = 0;
    cr_assert(eq(int, dr_rssm_configure(&s.config, dr_model_get_manifest(model), &err), DR_OK));
    cr_assert(
        eq(int, dr_model_compile(&s.observe, model, DR_VERB_OBSERVE, ROWS, NULL, 0, &err), DR_OK),
        "%s", err.message);
    fill(&s);
    for (int row = 0; row < ROWS; row++)
        keys[row] = (dr_noise_key){.seed = 9, .row = (uint32_t)row};
    dr_compiled_run(s.observe, ROWS, keys);
    for (int row = 0; row < ROWS; row++) {
        double kl = find_kl(&s, row);
        expect_close(&s, "surprise.kl", row, kl);
        expect_close(&s, "surprise.error", row, find_error(&s, row));
        kls += kl;
    }
    cr_expect(gt(dbl, kls, 0.01), "%s: nothing was surprising", name);
    for (int i = 0; i < s.config.observation_count; i++)
        dr_mem_free(s.inputs[i]);
    dr_compiled_destroy(s.observe);
}

Test(surprise, of_every_reference_is_that_of_its_definition)
{
    for (int i = 0; i < REFERENCES; i++) {
        reference_model model;
        reference_model_open(&model, references[i].name);
        check(references[i].name, model.model);
        reference_model_deinit(&model);
    }
}

static void check_tiny(const char *dialect)
{
    static char manifest[4096];
    const char *at = strstr(tiny_model_manifest, "dreamer3_torch");
    tiny_model tiny;
    dr_error err = {0};
    snprintf(manifest, sizeof manifest, "%.*s%s%s", (int)(at - tiny_model_manifest),
             tiny_model_manifest, dialect, at + strlen("dreamer3_torch"));
    cr_assert(eq(int, tiny_model_init_as(&tiny, manifest, 5, &err), DR_OK), "%s", err.message);
    check(dialect, tiny.model);
    tiny_model_deinit(&tiny);
}

Test(surprise, of_the_dialects_without_references_is_that_of_its_definition)
{
    check_tiny("dreamer3_torch");
    check_tiny("sheeprl");
}

/* Nothing is computed for it: the same operations, whether or not the graph could give it. */
Test(surprise, costs_nothing_where_it_is_not_asked_for)
{
    tiny_model tiny;
    dr_error err = {0};
    dr_compiled *without, *with;
    const char *outputs[] = {"state.deter", "state.stoch", "state.first", "surprise.kl"};
    cr_assert(eq(int, tiny_model_init(&tiny, 1, &err), DR_OK));
    cr_assert(eq(int, dr_model_compile(&without, tiny.model, DR_VERB_OBSERVE, 1, outputs, 3, &err),
                 DR_OK));
    cr_assert(
        eq(int, dr_model_compile(&with, tiny.model, DR_VERB_OBSERVE, 1, outputs, 4, &err), DR_OK));
    /* The prior's network alone: 16 x 24 and 24 x 20 weights. */
    double prior = 2.0 * (16 * 24 + 24 * 20);
    double more = dr_compiled_flops_per_row(with) - dr_compiled_flops_per_row(without);
    cr_expect(ge(dbl, more, prior));
    cr_expect(lt(dbl, more, 2 * prior), "%g", more);
    dr_compiled_destroy(without);
    dr_compiled_destroy(with);
    tiny_model_deinit(&tiny);
}

Test(surprise, of_a_picture_is_the_mean_square_where_it_is_0_to_1)
{
    tiny_world world;
    dr_error err = {0};
    dr_compiled *observe;
    cr_assert(eq(int, tiny_world_init(&world, tiny_world_car, &err), DR_OK), "%s", err.message);
    cr_assert(
        eq(int, dr_model_compile(&observe, world.model, DR_VERB_OBSERVE, 1, NULL, 0, &err), DR_OK));
    cr_expect(not(dr_model_has_output(world.model, DR_VERB_OBSERVE, "surprise.kl")));
    int pixels = 64 * 64 * 3, error = dr_compiled_find_output(observe, "surprise.error");
    cr_assert(ge(int, error, 0));
    float seen[64 * 64 * 3];
    int picture = dr_compiled_find_input(observe, "observation"),
        decoded = dr_compiled_find_output(observe, "observation");
    for (int i = 0; i < dr_compiled_input_count(observe); i++)
        memset(dr_compiled_input(observe, i), 0,
               (size_t)dr_shape_width(dr_compiled_input_shape(observe, i)) * sizeof(float));
    for (int i = 0; i < pixels; i++)
        seen[i] = dr_compiled_input(observe, picture)[i] = (float)(i * 7 % 256);
    dr_noise_key key = {.seed = 2};
    dr_compiled_run(observe, 1, &key);
    double sum = 0;
    for (int i = 0; i < pixels; i++)
        sum += pow((double)(dr_compiled_output(observe, decoded)[i] - seen[i]) / 255, 2);
    double found = (double)dr_compiled_output(observe, error)[0];
    cr_expect(lt(dbl, fabs(found - sum / pixels), 1e-5), "%g, expected %g", found, sum / pixels);
    dr_compiled_destroy(observe);
    tiny_world_deinit(&world);
}

Test(surprise, is_absent_where_nothing_is_reconstructed)
{
    tiny_world world;
    dr_error err = {0};
    cr_assert(eq(int, tiny_world_init(&world, tiny_world_doom, &err), DR_OK), "%s", err.message);
    cr_expect(not(dr_model_has_output(world.model, DR_VERB_OBSERVE, "surprise.kl")));
    cr_expect(not(dr_model_has_output(world.model, DR_VERB_OBSERVE, "surprise.error")));
    tiny_world_deinit(&world);
}
