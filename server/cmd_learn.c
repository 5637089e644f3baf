/* cmd_learn.c: `dreamd learn`: a checkpoint from an environment, or from recorded episodes.
 *
 * The only file of the daemon that knows real environments; `dreamd serve` never comes here.
 * Ctrl-C once: the model is saved as it is. Twice: the process ends at once.
 */
#include "server/cmd_learn.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "client/envs/env.h"
#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/tensor/gemm.h"
#include "server/learn.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };
enum { COMMAND_BYTES = 1024 };

static const char usage[] =
    "dreamd learn --env pendulum --out mine             learn in an environment, some minutes\n"
    "dreamd learn --env cartpole --seed 1 --record episodes --out mine   and keep the episodes\n"
    "dreamd learn --episodes episodes --out mine        learn from recorded episodes alone\n"
    "dreamctl models register mine                      let the daemon host it\n"
    "\n"
    "Makes a checkpoint folder: a world model, its planning defaults, and a card with what was\n"
    "measured. With both --env and --episodes the folder is all that is learned from, and the\n"
    "environment measures the result. Ctrl-C saves the model as it is.";

#define DR_OPTION_ROW(kind, name, value, least, most, help) \
    DR_OPTION(dr_learn_options, kind, name, value, least, most, help),
static const dr_option table[] = {DR_LEARN_OPTIONS(DR_OPTION_ROW)};
#undef DR_OPTION_ROW

static atomic_bool stop;

static void ask_to_stop(int signal_number)
{
    (void)signal_number;
    atomic_store(&stop, true);
}

/* ---- the environment ---- */

static void reset_env(void *ud, uint64_t seed, float *observation)
{
    dr_env_reset(ud, seed, observation);
}

/* Which element of a one-hot is the one. */
static float find_choice(const float *action, uint32_t count)
{
    uint32_t choice = 0;
    for (uint32_t i = 1; i < count; i++)
        choice = action[i] > action[choice] ? i : choice;
    return (float)choice;
}

static void step_env(void *ud, const float *action, float *observation, float *reward,
                     int *terminated, int *truncated)
{
    dr_env *env = ud;
    dr_env_transition transition;
    float choice = find_choice(action, env->kind->action_count);
    dr_env_step(&transition, env, env->kind->action_count ? &choice : action);
    memcpy(observation, transition.observation, env->kind->observation_size * sizeof *observation);
    *reward = (float)transition.reward;
    *terminated = transition.terminated;
    *truncated = transition.truncated;
}

/* Where there is no bound: null. */
static void write_box(dr_json_writer *w, const char *key, uint32_t size, const float *low,
                      const float *high)
{
    dr_json_write_object(w, key);
    dr_json_write_string(w, "type", "Box");
    dr_json_write_array(w, "shape");
    dr_json_write_int(w, NULL, size);
    dr_json_write_end(w);
    dr_json_write_string(w, "dtype", "float32");
    for (int side = 0; side < 2; side++) {
        dr_json_write_array(w, side ? "high" : "low");
        for (uint32_t i = 0; i < size; i++)
            dr_json_write_float(w, NULL, side ? high[i] : low[i]);
        dr_json_write_end(w);
    }
    dr_json_write_end(w);
}

static void write_discrete(dr_json_writer *w, const char *key, uint32_t count)
{
    dr_json_write_object(w, key);
    dr_json_write_string(w, "type", "Discrete");
    dr_json_write_int(w, "n", count);
    dr_json_write_end(w);
}

/* The environment's spaces, by way of the JSON that manifests have. */
static dr_code make_spaces(dr_episode_spaces *out, const dr_env_kind *kind, dr_error *err)
{
    dr_buf text;
    dr_json_writer w;
    dr_json *json = NULL;
    dr_json_scope scope;
    dr_buf_init(&text, 1 << 16);
    dr_json_writer_init(&w, &text, 0);
    dr_json_write_object(&w, NULL);
    write_box(&w, "observation_space", kind->observation_size, kind->observation_low,
              kind->observation_high);
    if (kind->action_count)
        write_discrete(&w, "action_space", kind->action_count);
    else
        write_box(&w, "action_space", kind->action_size, kind->action_low, kind->action_high);
    dr_json_write_end(&w);
    dr_code code = dr_json_writer_finish(&w, err);
    if (!code)
        code = dr_json_parse(&json, (const char *)text.bytes, text.length, kind->name, NULL, err);
    if (!code)
        code = dr_json_scope_init(&scope, json, kind->name, "", err);
    if (!code)
        code = dr_space_parse(&out->observation, &scope, "observation_space", err);
    if (!code)
        code = dr_space_parse(&out->action, &scope, "action_space", err);
    dr_json_release(json);
    dr_buf_deinit(&text);
    return code;
}

static dr_code find_env(const dr_env_kind **out, const char *name, dr_error *err)
{
    char known[256] = "";
    *out = dr_env_find(name);
    for (size_t i = 0; dr_env_get(i); i++) {
        size_t length = strlen(known);
        snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", dr_env_get(i)->name);
    }
    if (!*out)
        return dr_fail(err, DR_INVALID_ARGUMENT, "--env is \"%s\", expected one of: %s", name,
                       known);
    return DR_OK;
}

/* ---- the command ---- */

static dr_code check_usage(const dr_learn_options *o, dr_error *err)
{
    if (!o->out[0])
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "--out is missing, expected the checkpoint folder to make");
    if (!o->env[0] && !o->episodes[0])
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "neither --env nor --episodes, expected what to learn from");
    if (o->checkpoint_name[0] && !dr_model_name_ok(o->checkpoint_name))
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "--checkpoint-name is \"%s\", expected 1 to %d of a-z 0-9 _ . - beginning "
                       "with a letter or digit",
                       o->checkpoint_name, DR_MODEL_NAME_MAX);
    if (o->record[0] && o->episodes[0])
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "--record with --episodes: those episodes are recorded already");
    return DR_OK;
}

/* "dreamd learn ..." as typed. */
static void join_command(char command[COMMAND_BYTES], int argc, char *const *argv)
{
    size_t length = (size_t)snprintf(command, COMMAND_BYTES, "dreamd");
    for (int i = 0; i < argc && length < COMMAND_BYTES; i++)
        length += (size_t)snprintf(command + length, COMMAND_BYTES - length, " %s", argv[i]);
}

static dr_code run_command(dr_learn_options *o, const dr_option_values *values, const char *command,
                           dr_error *err)
{
    const dr_env_kind *kind = NULL;
    dr_env env;
    dr_learn_world world = {.ud = &env, .reset = reset_env, .step = step_env};
    dr_learn run = {.options = o, .option_values = values, .stop = &stop, .command = command};
    dr_code code = o->env[0] ? find_env(&kind, o->env, err) : DR_OK;
    if (!code && kind) {
        dr_env_init(&env, kind);
        world.name = kind->gymnasium_id;
        world.steps_max = (int)kind->steps_max;
        run.world = &world;
        code = make_spaces(&run.spaces, kind, err);
    }
    run.name = o->checkpoint_name[0] ? o->checkpoint_name : kind ? kind->name : "learned";
    dr_gemm_blas_init(); /* before there is a thread */
    if (!code)
        code = dr_learn_run(&run, err);
    dr_learn_deinit(&run);
    return code;
}

static void catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* the curve's reader may leave: the checkpoint matters */
}

int dr_cmd_learn(int argc, char *const *argv)
{
    dr_learn_options options = {0};
    dr_option_values *values = NULL;
    dr_options_wish wish = DR_OPTIONS_RUN;
    dr_error err = {0};
    char command[COMMAND_BYTES];
    dr_code code =
        dr_options_parse(&values, &options, &wish, table, DR_COUNT(table), argc, argv, &err);
    int done = EXIT_DONE;
    if (!code && wish == DR_OPTIONS_HELP)
        dr_options_print_help(stdout, usage, table, DR_COUNT(table));
    else if (!code && wish == DR_OPTIONS_VERSION)
        dr_options_print_version(stdout);
    else if (!code && wish == DR_OPTIONS_PRINT)
        dr_options_print_config(stdout, values);
    else if (code || check_usage(&options, &err)) {
        fprintf(stderr, "dreamd learn: %s; see dreamd learn --help\n", err.message);
        done = EXIT_USAGE;
    } else {
        catch_interrupts();
        join_command(command, argc, argv);
        code = run_command(&options, values, command, &err);
        if (code)
            fprintf(stderr, "dreamd learn: %s\n", err.message);
        done = code ? EXIT_FAILED : EXIT_DONE;
    }
    dr_option_values_destroy(values);
    return done;
}
