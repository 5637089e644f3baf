/* learn_save.c: what a run leaves: a checkpoint folder.
 *
 * Nothing in it depends on the clock: the same seed on the same machine gives the same
 * digest.
 */
#include <stdio.h>
#include <string.h>

#include "models/base/file.h"
#include "models/base/mem.h"
#include "models/tensor/kernels.h"
#include "server/learn.h"

enum {
    STARTS_MAX = 256, /* first observations that are kept */
    CONFIG_BYTES_MAX = 1 << 20,
    CARD_BYTES_MAX = 1 << 16,
};

/* ---- manifest ---- */

static dr_code read_config(dr_json **out, const dr_learn *run, dr_error *err)
{
    const dr_learn_options *o = run->options;
    const char *config = run->defaults->config;
    if (!o->model_config[0])
        return dr_json_parse(out, config, strlen(config), "config", NULL, err);
    dr_buf text;
    dr_buf_init(&text, CONFIG_BYTES_MAX);
    dr_code code = dr_file_read(&text, o->model_config, err);
    if (!code)
        code =
            dr_json_parse(out, (const char *)text.bytes, text.length, o->model_config, NULL, err);
    dr_buf_deinit(&text);
    return code ? dr_error_prefix(err, "--model-config") : DR_OK;
}

/* A config that is no object is refused later, by the family. */
static bool has_head(const dr_json *config, const char *name)
{
    dr_json_scope scope;
    dr_error ignored;
    return !dr_json_scope_init(&scope, config, "config", "", &ignored) &&
           dr_json_find(&scope, name);
}

static void write_planning(dr_json_writer *w, const dr_plan_settings *p, bool has_value)
{
    dr_json_write_object(w, "planning");
    dr_json_write_string(w, "method", "cem");
    dr_json_write_int(w, "horizon", p->horizon);
    dr_json_write_int(w, "candidates", p->candidates);
    dr_json_write_int(w, "iterations", p->iterations);
    dr_json_write_int(w, "elites", p->elites);
    dr_json_write_float(w, "initial_std", p->initial_std);
    dr_json_write_float(w, "min_std", p->min_std);
    dr_json_write_float(w, "discount", p->discount);
    dr_json_write_bool(w, "warm_start", p->warm_start);
    if (p->terminal_value && has_value)
        dr_json_write_bool(w, "terminal_value", true);
    dr_json_write_end(w);
}

void dr__learn_write_errors(dr_json_writer *w, const dr_learn *run, dr_learn_errors kind)
{
    if (!run->errors[kind][0].count)
        return;
    dr_json_write_array(w, kind == DR_LEARN_ERRORS_PLANNED ? "errors_planned" : "errors_free");
    for (int i = 0; i < DR_EVALUATE_HORIZONS; i++) {
        const dr_horizon_error *e = &run->errors[kind][i];
        if (!e->count)
            continue;
        dr_json_write_object(w, NULL);
        dr_json_write_int(w, "horizon", dr_evaluate_horizons[i]);
        dr_json_write_float(w, "model", (float)e->model);
        dr_json_write_float(w, "mean", (float)e->constant);
        dr_json_write_float(w, "last_value", (float)e->last);
        dr_json_write_end(w);
    }
    dr_json_write_end(w);
}

static void write_measured(dr_json_writer *w, const dr_learn *run)
{
    if (run->returns.episodes) {
        dr_json_write_object(w, "return_by_planning");
        dr_json_write_int(w, "episodes", run->returns.episodes);
        dr_json_write_float(w, "mean", (float)run->returns.mean);
        dr_json_write_float(w, "std", (float)run->returns.std);
        dr_json_write_float(w, "least", (float)run->returns.least);
        dr_json_write_end(w);
    }
    for (int kind = 0; kind < DR_LEARN_ERRORS; kind++)
        dr__learn_write_errors(w, run, kind);
}

static void write_training(dr_json_writer *w, const dr_learn *run)
{
    const dr_learn_options *o = run->options;
    const dr_replay *replay = dr_learner_get_replay(run->learner);
    dr_json_write_object(w, "training");
    dr_json_write_string(w, "env", dr_replay_get_episode(replay, 0)->env);
    dr_json_write_int(w, "env_steps", run->env_steps);
    dr_json_write_int(w, "planned_steps", run->planned_steps);
    dr_json_write_int(w, "episodes", (int64_t)dr_replay_episode_count(replay));
    dr_json_write_int(w, "updates", dr_learner_update_count(run->learner));
    dr_json_write_int(w, "rows", (int64_t)o->rows);
    dr_json_write_int(w, "length", (int64_t)o->length);
    dr_json_write_number(w, "learning_rate", o->learning_rate);
    dr_json_write_int(w, "seed", (int64_t)o->seed);
    dr_json_write_string(w, "instruction_set", dr_kernels_name());
    write_measured(w, run);
    dr_json_write_end(w);
}

dr_code dr__learn_write_manifest(dr_buf *out, const dr_learn *run, bool with_training,
                                 dr_error *err)
{
    dr_json *config;
    dr_code code = read_config(&config, run, err);
    if (code)
        return code;
    dr_json_writer w;
    dr_json_writer_init(&w, out, 2);
    dr_json_write_object(&w, NULL);
    dr_json_write_int(&w, "format", DR_MANIFEST_FORMAT);
    dr_json_write_string(&w, "family", "rssm");
    dr_json_write_string(&w, "name", run->name);
    dr_json_write_value(&w, "config", config);
    dr_space_write(&w, "observation_space", run->spaces.observation);
    dr_space_write(&w, "action_space", run->spaces.action);
    write_planning(&w, &run->defaults->planning, has_head(config, "value"));
    if (with_training)
        write_training(&w, run);
    dr_json_write_end(&w);
    dr_json_release(config);
    return dr_json_writer_finish(&w, err);
}

/* ---- card ---- */

typedef struct {
    dr_buf *text;
    dr_error *err;
    dr_code code; /* the first error sticks */
} card;

static void add(card *c, const char *format, ...) DR_PRINTF(2, 3);
static void add(card *c, const char *format, ...)
{
    char line[4096];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (length >= (int)sizeof line)
        length = (int)sizeof line - 1;
    if (!c->code)
        c->code = dr_buf_append(c->text, line, (size_t)length, c->err);
}

static void add_errors(card *c, const dr_learn *run, dr_learn_errors kind, const char *which)
{
    const dr_horizon_error *errors = run->errors[kind];
    if (!errors[0].count)
        return;
    add(c, "\n%s:\n\n| horizon | model | mean | last value |\n| ---: | ---: | ---: | ---: |\n",
        which);
    for (int i = 0; i < DR_EVALUATE_HORIZONS; i++)
        if (errors[i].count)
            add(c, "| %d | %.3f | %.3f | %.3f |\n", dr_evaluate_horizons[i], errors[i].model,
                errors[i].constant, errors[i].last);
}

static void add_quality(card *c, const dr_learn *run)
{
    const dr_learn_returns *r = &run->returns;
    add(c, "\n## Measured quality\n\n");
    if (r->episodes)
        add(c,
            "Return by planning (the defaults of manifest.json) over %d episodes that it never "
            "saw: **%.1f**, standard deviation %.1f, least %.1f.\n",
            r->episodes, r->mean, r->std, r->least);
    else
        add(c, "The return by planning was not measured in this run.\n");
    if (!run->errors[DR_LEARN_ERRORS_FREE][0].count &&
        !run->errors[DR_LEARN_ERRORS_PLANNED][0].count) {
        add(c, "The error of decoded observations was not measured in this run.\n");
        return;
    }
    add(c,
        "\nError of the decoded observation on %zu episodes that it never saw: filtered for some "
        "steps, then imagined with the recorded actions alone (the mean of 16 futures). Root "
        "mean square, each element in units of its standard deviation; beside it the mean "
        "observation, and the last one seen.\n",
        run->unseen_count);
    if (!run->returns.episodes) {
        add_errors(c, run, DR_LEARN_ERRORS_FREE, "Recorded episodes");
        return;
    }
    add_errors(c, run, DR_LEARN_ERRORS_FREE, "Episodes with random actions");
    add_errors(c, run, DR_LEARN_ERRORS_PLANNED,
               "Episodes by planning (mostly balance, where any small error grows fast)");
}

static dr_code write_card(dr_buf *text, const dr_learn *run, dr_error *err)
{
    const dr_learn_options *o = run->options;
    const dr_replay *replay = dr_learner_get_replay(run->learner);
    const char *env = dr_replay_get_episode(replay, 0)->env;
    card c = {text, err, DR_OK};
    add(&c,
        "# %s\n\nA world model of %s: a recurrent state-space model (DreamerV3) with heads for "
        "observation, reward%s and continue; no policy, it acts by planning.\n\n## Made by\n\n"
        "    %s\n\n",
        run->name, env[0] ? env : "an environment without a name",
        dr_params_find(dr_learner_get_params(run->learner), "value.logits.weight") >= 0
            ? ", value (of the episodes' own actions)"
            : "",
        run->command);
    add(&c,
        "%lld real steps in %zu episodes (%lld of them by planning with the model as it was), "
        "%lld updates of %d sequences of %d steps. The losses are those of the public DreamerV3 "
        "code, the optimiser is Adam at %g, falling to a tenth over the last third.\n",
        (long long)run->env_steps, dr_replay_episode_count(replay), (long long)run->planned_steps,
        (long long)dr_learner_update_count(run->learner), (int)o->rows, (int)o->length,
        o->learning_rate);
    add_quality(&c, run);
    add(&c, "\n## Not for\n\nAnything but this environment with these spaces. It knows what its "
            "episodes showed: far from them, and beyond the horizons above, what it imagines "
            "is not to be trusted. It must not steer real machines.\n");
    if (!c.code)
        c.code = dr_buf_append(text, "", 1, err);
    return c.code;
}

/* ---- weights and starts ---- */

static dr_code add_weights(dr_safetensors_writer *writer, const dr_params *params, dr_error *err)
{
    dr_code code = DR_OK;
    for (int i = 0; i < dr_params_count(params) && !code; i++) {
        const dr_param *param = dr_params_get(params, i);
        dr_tensor tensor = {.dtype = DR_F32,
                            .rank = param->rank,
                            .data = param->values,
                            .bytes = (size_t)param->count * sizeof(float)};
        memcpy(tensor.shape, param->shape, (size_t)param->rank * sizeof *param->shape);
        code = dr_safetensors_writer_add(writer, param->name, &tensor, err);
    }
    return code;
}

/* The first observation of each episode, leaf by leaf; `table` holds them afterwards. */
static dr_code add_starts(dr_safetensors_writer *writer, const dr_learn *run, float *table,
                          size_t count, dr_error *err)
{
    const dr_replay *replay = dr_learner_get_replay(run->learner);
    const dr_space *space = run->spaces.observation;
    size_t column = 0;
    dr_code code = DR_OK;
    for (uint32_t i = 0; i < space->leaf_count && !code; i++) {
        const dr_space_leaf *leaf = &space->leaves[i];
        size_t width = (size_t)leaf->count;
        for (size_t k = 0; k < count; k++)
            memcpy(table + k * width, dr_replay_get_episode(replay, k)->observation + column,
                   width * sizeof *table);
        dr_tensor tensor = {.dtype = DR_F32,
                            .rank = leaf->rank + 1,
                            .shape = {(int64_t)count},
                            .data = table,
                            .bytes = count * width * sizeof *table};
        memcpy(tensor.shape + 1, leaf->shape, (size_t)leaf->rank * sizeof *leaf->shape);
        char name[DR_SPACE_KEY_MAX + 16];
        snprintf(name, sizeof name, "observation%s%s", leaf->key[0] ? "." : "", leaf->key);
        code = dr_safetensors_writer_add(writer, name, &tensor, err);
        table += count * width;
        column += width;
    }
    return code;
}

dr_code dr__learn_save(char digest[DR_DIGEST_HEX], dr_learn *run, dr_model *model, dr_error *err)
{
    size_t episodes = dr_replay_episode_count(dr_learner_get_replay(run->learner));
    size_t count = episodes < STARTS_MAX ? episodes : STARTS_MAX;
    dr_safetensors_writer *weights = NULL, *starts = NULL;
    dr_probe *probe = NULL;
    dr_buf manifest, text;
    dr_buf_init(&manifest, DR_MANIFEST_BYTES_MAX);
    dr_buf_init(&text, CARD_BYTES_MAX);
    float *table =
        dr_mem_alloc(count * (size_t)dr_space_elements(run->spaces.observation) * sizeof *table);
    dr_code code = table ? DR_OK : dr_mem_fail(err, "the checkpoint");
    if (!code)
        code = dr_safetensors_writer_create(&weights, err);
    if (!code)
        code = add_weights(weights, dr_model_get_params(model), err);
    if (!code)
        code = dr_safetensors_writer_create(&starts, err);
    if (!code)
        code = add_starts(starts, run, table, count, err);
    if (!code)
        code = dr_probe_create(&probe, model, run->options->seed, err);
    if (!code)
        code = dr__learn_write_manifest(&manifest, run, true, err);
    if (!code)
        code = write_card(&text, run, err);
    if (!code) {
        dr_checkpoint_parts parts = {.manifest = (const char *)manifest.bytes,
                                     .manifest_length = manifest.length,
                                     .weights = weights,
                                     .probe = dr_probe_get_writer(probe),
                                     .starts = starts,
                                     .card = (const char *)text.bytes};
        code = dr_checkpoint_write(digest, run->options->out, &parts, err);
    }
    dr_probe_destroy(probe);
    dr_safetensors_writer_destroy(starts);
    dr_safetensors_writer_destroy(weights);
    dr_mem_free(table);
    dr_buf_deinit(&text);
    dr_buf_deinit(&manifest);
    return code;
}
