/* learn_defaults.c: what suits an environment where the user says nothing: a row each.
 *
 * The pendulum's planning was searched for on its true dynamics, where that costs nothing: more
 * candidates, iterations or steps gain nothing. The cartpole's cannot be: there all plans that
 * keep the pole up are worth the same, to the last step before it is too late (the same search
 * reaches 230 of 500). A learned continue falls before the edge, and so tells plans apart.
 */
#include <string.h>

#include "models/base/check.h"
#include "server/learn.h"

/* The first row of its kind of actions also serves environments that are not here. */
static const dr_learn_defaults table[] = {
    {
        .env = "Pendulum-v1",
        .hold_max = 15, /* a pendulum goes nowhere with actions that change each step */
        .noise = {0.3f, 0.1f},
        .env_steps = 6000,
        .random_steps = 2000,
        .updates = 3000,
        .length = 32,
        .learning_rate = 5e-4,
        .observation_scale = 1,
        .value_discount = 0.99,
        .config = "{\"dialect\": \"dreamer3_torch\", \"deter\": 128, \"stoch\": 16,"
                  " \"classes\": 16, \"hidden\": 128, \"unimix\": 0.01,"
                  " \"encoder\": {\"layers\": 2, \"units\": 128},"
                  " \"decoder\": {\"layers\": 2, \"units\": 128},"
                  " \"reward\": {\"layers\": 2, \"units\": 64},"
                  " \"continue\": {\"layers\": 1, \"units\": 32}}",
        /* Return of 300 episodes on the true dynamics: -155. */
        .planning = {.method = DR_PLAN_CEM,
                     .horizon = 20,
                     .candidates = 32,
                     .iterations = 3,
                     .elites = 5,
                     .initial_std = 0.5f,
                     .min_std = 0.05f,
                     .discount = 1.0f,
                     .warm_start = true},
    },
    {
        .env = "CartPole-v1",
        .hold_max = 3,
        .noise = {0.2f, 0.05f},
        .env_steps = 15000,
        .random_steps = 1000,
        .updates = 5000,
        .length = 32,
        .learning_rate = 5e-4,
        .observation_scale = 30,
        .value_discount = 0.995,
        .config = "{\"dialect\": \"dreamer3_torch\", \"deter\": 64, \"stoch\": 8,"
                  " \"classes\": 8, \"hidden\": 64, \"unimix\": 0.01,"
                  " \"encoder\": {\"layers\": 2, \"units\": 64},"
                  " \"decoder\": {\"layers\": 2, \"units\": 64},"
                  " \"reward\": {\"layers\": 1, \"units\": 16},"
                  " \"continue\": {\"layers\": 1, \"units\": 32},"
                  " \"value\": {\"layers\": 2, \"units\": 32}}",
        .planning = {.method = DR_PLAN_CEM,
                     .horizon = 6,
                     .candidates = 48,
                     .iterations = 2,
                     .elites = 8,
                     .initial_std = 0.5f,
                     .min_std = 0.1f,
                     .discount = 0.995f,
                     .warm_start = true,
                     .terminal_value = true},
    },
};

const dr_learn_defaults *dr__learn_find_defaults(const char *env, const dr_space *actions)
{
    for (size_t i = 0; i < DR_COUNT(table); i++)
        if (strcmp(table[i].env, env) == 0)
            return &table[i];
    return actions->kind == DR_SPACE_DISCRETE ? &table[1] : &table[0];
}

void dr__learn_use_defaults(dr_learn *run, const dr_learn_defaults *defaults)
{
    dr_learn_options *o = run->options;
    const struct {
        const char *name;
        dr_option_count *to, value;
    } counts[] = {
        {"env_steps", &o->env_steps, defaults->env_steps},
        {"random_steps", &o->random_steps, defaults->random_steps},
        {"updates", &o->updates, defaults->updates},
        {"length", &o->length, defaults->length},
    };
    run->defaults = defaults;
    for (size_t i = 0; i < DR_COUNT(counts); i++)
        if (dr_option_is_default(run->option_values, counts[i].name))
            *counts[i].to = counts[i].value;
    if (dr_option_is_default(run->option_values, "learning_rate"))
        o->learning_rate = defaults->learning_rate;
}
