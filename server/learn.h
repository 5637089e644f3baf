/* learn.h: one run of `dreamd learn`.
 *
 *     cmd_learn.c     options, signals, the real environment
 *     learn_defaults.c  what suits an environment where the user says nothing
 *     learn_run.c     the run: collect, update, evaluate, save
 *     learn_play.c    real episodes, and what they say of the model
 *     learn_report.c  what a person or a program sees of it
 *     learn_save.c    the checkpoint folder and its card
 *
 * A run has a world (then it collects episodes itself: random ones first, then by planning in
 * the model as far as it has come) or a folder of recorded episodes, or both: then the folder is
 * all it learns from, and the world only says how good the result is.
 */
#ifndef DR_SERVER_LEARN_H
#define DR_SERVER_LEARN_H
#include <stdatomic.h>

#include "models/learner/evaluate.h"
#include "models/learner/learner.h"
#include "models/planner/planner.h"
#include "server/options.h"

/* kind, field, default, least, most, help */
#define DR_LEARN_OPTIONS(X)                                                                      \
    X(text, env, "", 0, 0, "real environment to learn in: pendulum, cartpole")                   \
    X(text, episodes, "", 0, 0, "folder of recorded episodes to learn from, instead of --env")   \
    X(text, out, "", 0, 0, "the checkpoint folder to make; must not exist")                      \
    X(text, record, "", 0, 0, "new folder that receives each episode learned from")              \
    X(text, checkpoint_name, "", 0, 0, "the model's name; default: the environment's")           \
    X(text, model_config, "", 0, 0, "JSON file with the model's config, instead of the default") \
    X(count, seed, "0", 0, 1e15, "of everything random")                                         \
    X(count, env_steps, "6000", 0, 1e9, "real steps to collect, random ones included")           \
    X(count, random_steps, "2000", 1, 1e9, "of these, how many with random actions, first")      \
    X(count, updates, "3000", 1, 1e9, "steps of learning")                                       \
    X(count, rows, "16", 1, 4096, "sequences in a batch")                                        \
    X(count, length, "32", 1, 1024, "steps of each")                                             \
    X(number, learning_rate, "0.0005", 1e-9, 1, "of Adam; falls to a tenth in the end")          \
    X(count, evaluate, "20", 0, 10000, "episodes to measure the return over, by planning")       \
    X(flag, json, "false", 0, 0, "one JSON object a line instead of text")

typedef struct {
#define DR_LEARN_FIELD(kind, name, value, least, most, help) dr_option_##kind name;
    DR_LEARN_OPTIONS(DR_LEARN_FIELD)
#undef DR_LEARN_FIELD
} dr_learn_options;

/* Where real transitions come from. */
typedef struct {
    const char *name; /* "Pendulum-v1" */
    int steps_max;    /* of an episode */
    void *ud;
    void (*reset)(void *ud, uint64_t seed, float *observation);
    /* action [dr_episode_action_width()] */
    void (*step)(void *ud, const float *action, float *observation, float *reward, int *terminated,
                 int *truncated);
} dr_learn_world;

typedef struct {
    int episodes; /* 0: not measured */
    double mean, std, least;
    double plan_ms_p50, plan_ms_p99;
} dr_learn_returns;

/* Episodes that the error of imagination is measured on: those with random actions, or recorded
 * ones that were kept back; and those by planning, of which the most balance where a small error
 * grows twentyfold in 15 steps, whoever predicts. */
typedef enum { DR_LEARN_ERRORS_FREE, DR_LEARN_ERRORS_PLANNED, DR_LEARN_ERRORS } dr_learn_errors;

/* What suits an environment, in learn_defaults.c a row each. */
typedef struct {
    const char *env; /* Gymnasium's name, which episodes carry */
    int hold_max;    /* random actions are held for 1 to so many steps */
    float noise[2];  /* on the actions of planned episodes, in turn; settings' action_noise */
    uint64_t env_steps, random_steps, updates, length;
    double learning_rate;
    float observation_scale;
    double value_discount; /* that of planning, where a value ends it */
    const char *config;    /* of the model, JSON */
    dr_plan_settings planning;
} dr_learn_defaults;

typedef struct {
    dr_learn_options *options; /* those nobody set are replaced by the environment's */
    const dr_option_values *option_values;
    const dr_learn_world *world; /* or NULL */
    const atomic_bool *stop;     /* set by Ctrl-C: end soon, with what there is */
    const char *command;         /* as typed, for the card */
    const char *name;            /* of the checkpoint */

    dr_episode_spaces spaces;
    dr_manifest *manifest;
    dr_learner *learner;
    const dr_learn_defaults *defaults;
    int64_t env_steps;     /* real steps learned from */
    int64_t planned_steps; /* of these, by planning */
    dr_episode **unseen;   /* episodes that are never learned from; owned */
    size_t unseen_count;
    size_t unseen_planned; /* of these, by planning: the first ones */

    dr_learner_losses losses; /* means since the last line */
    int64_t losses_count;
    double begin_s; /* monotonic */
    double drawn_s; /* when the progress bar was drawn last */
    dr_learn_returns returns;
    dr_horizon_error errors[DR_LEARN_ERRORS][DR_EVALUATE_HORIZONS];
} dr_learn;

/* Fills the rest of *run (the first five fields and spaces, where there is a world, are the
 * caller's), learns, evaluates and saves. CANCELLED: stopped before there was anything to save. */
DR_CHECKED dr_code dr_learn_run(dr_learn *run, dr_error *err);
/* Frees what the run made. */
void dr_learn_deinit(dr_learn *run);

/* ---- learn_defaults.c ---- */

/* Those of `env`; of an environment without a row, those of one with such actions. */
const dr_learn_defaults *dr__learn_find_defaults(const char *env, const dr_space *actions);
/* Puts them where the user said nothing. */
void dr__learn_use_defaults(dr_learn *run, const dr_learn_defaults *defaults);

/* ---- learn_play.c: CANCELLED where Ctrl-C cuts a plan short ---- */

/* Of training episode `index`. */
uint64_t dr__learn_env_seed(const dr_learn *run, uint64_t index);
DR_CHECKED dr_code dr__learn_play_random(dr_episode **out, const dr_learn *run, uint64_t seed,
                                         dr_error *err);
/* noise: on the actions (dr_plan_settings.action_noise); plan_ms [steps_max] (may be NULL) receives
 * the time of each observe and plan. */
DR_CHECKED dr_code dr__learn_play_planned(dr_episode **out, const dr_learn *run, dr_model *model,
                                          uint64_t seed, float noise, double *plan_ms,
                                          dr_error *err);
/* Takes an episode over that is never learned from. */
DR_CHECKED dr_code dr__learn_keep_unseen(dr_learn *run, dr_episode *episode, dr_error *err);
/* Fills run->returns (where there is a world) and run->errors. */
DR_CHECKED dr_code dr__learn_evaluate(dr_learn *run, dr_model *model, dr_error *err);

/* ---- learn_report.c ---- */

double dr__learn_seconds(void); /* monotonic */
void dr__learn_report_estimate(const dr_learn *run, double update_ms, double plan_ms,
                               double seconds);
/* A line of the learning curve; has_return: what the last episode brought. */
void dr__learn_report_line(dr_learn *run, bool has_return, double last_return);
/* A bar on a terminal, otherwise nothing. */
void dr__learn_report_progress(dr_learn *run);
void dr__learn_report_note(const dr_learn *run, const char *text);
void dr__learn_report_done(const dr_learn *run, const char *digest);

/* ---- learn_save.c ---- */

/* The manifest's JSON without (to begin with) or with the facts of training. */
DR_CHECKED dr_code dr__learn_write_manifest(dr_buf *out, const dr_learn *run, bool with_training,
                                            dr_error *err);
/* A member of an object: "errors_free" or "errors_planned", where it was measured. */
void dr__learn_write_errors(dr_json_writer *w, const dr_learn *run, dr_learn_errors kind);
DR_CHECKED dr_code dr__learn_save(char digest[DR_DIGEST_HEX], dr_learn *run, dr_model *model,
                                  dr_error *err);

#endif
