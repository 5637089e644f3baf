/* cmd_agent.c: dreamctl agent: what is asked, and whether it fits together.
 *
 * Episodes in a real environment are agent_episodes.c, the imagined world is agent_dream.c.
 */
#include <string.h>

#include "client/ctl/agent.h"

static const char *const help =
    "dreamctl agent --model pendulum --env pendulum --act plan --episodes 20 --seed 0 --json\n"
    "dreamctl agent --model pendulum --env pendulum --act plan --set \"horizon=15 "
    "candidates=128\"\n"
    "dreamctl agent --model cartpole --env cartpole --act plan --episodes 20\n"
    "dreamctl agent --model pendulum --env pendulum --surprise   and how well it foresaw\n"
    "dreamctl agent --env pendulum --act random       what no model at all is worth\n"
    "dreamctl agent --model carracing --act actor --dream --steps 1000 --rows 64 --temperature 1\n"
    "                                                 the actor in the world that it imagines\n"
    "\nPrints mean_return over the episodes and how long plans took. Ctrl-C closes the session.\n";

typedef struct {
    ctl_arguments parsed;
    const char *env_name, *act_name;
    bool is_dream, has_rows, has_steps;
    ctl_episodes_options episodes;
    ctl_dream_options dream;
} arguments;

static int choose_act(arguments *a)
{
    for (int i = 0; i < CTL_ACT_COUNT; i++) {
        if (strcmp(a->act_name, ctl_act_names[i]) == 0) {
            a->episodes.act = (ctl_act)i;
            return CTL_DONE;
        }
    }
    return ctl_usage("agent", "--act is \"%s\", expected plan, actor or random", a->act_name);
}

/* What belongs to a dream alone, and what does not belong to one. */
static int check_dream(const arguments *a)
{
    if (!a->is_dream) {
        const char *alone = a->has_rows                ? "rows"
                            : a->has_steps             ? "steps"
                            : a->dream.has_temperature ? "temperature"
                                                       : NULL;
        return alone ? ctl_usage("agent", "--%s belongs to --dream", alone) : CTL_DONE;
    }
    if (a->episodes.act != CTL_ACT_ACTOR || a->env_name || a->episodes.settings) {
        return ctl_usage("agent", "--dream takes --act actor, no --env and no --set");
    }
    if (!a->episodes.model) {
        return ctl_usage("agent", "expected --model NAME; see dreamctl models list");
    }
    if (a->dream.rows == 0 || a->dream.steps == 0) {
        return ctl_usage("agent", "--rows and --steps are at least 1");
    }
    return CTL_DONE;
}

static int check_arguments(arguments *a)
{
    if (!a->act_name) {
        a->act_name = a->is_dream ? "actor" : "plan";
    }
    if (a->parsed.word_count > 0) {
        return ctl_usage("agent", "\"%s\" is one word too many", a->parsed.words[0]);
    }
    if (choose_act(a) != CTL_DONE || check_dream(a) != CTL_DONE) {
        return CTL_USAGE;
    }
    if (a->episodes.asks_surprise && (a->is_dream || a->episodes.act == CTL_ACT_RANDOM)) {
        return ctl_usage("agent", "--surprise is of a model that sees a real environment");
    }
    if (a->is_dream) {
        return CTL_DONE;
    }
    const dr_env_kind *kind = a->env_name ? dr_env_find(a->env_name) : NULL;
    if (!kind) {
        char known[128] = "";
        for (size_t i = 0; (kind = dr_env_get(i)); i++) {
            size_t length = strlen(known);
            snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", kind->name);
        }
        return ctl_usage("agent", "--env is \"%s\", expected one of: %s",
                         a->env_name ? a->env_name : "", known);
    }
    if (!a->episodes.model && a->episodes.act != CTL_ACT_RANDOM) {
        return ctl_usage("agent", "expected --model NAME; see dreamctl models list");
    }
    if (a->episodes.episodes == 0 || a->episodes.episodes > 1000000) {
        return ctl_usage("agent", "--episodes is %u, expected 1 to 1000000", a->episodes.episodes);
    }
    a->episodes.env = kind;
    return CTL_DONE;
}

int ctl_cmd_agent(int argc, char **argv)
{
    arguments a = {.episodes = {.episodes = 1}, .dream = {.rows = 64, .steps = 1000}};
    const ctl_option options[] = {
        {"model", CTL_TEXT, &a.episodes.model, NULL, "NAME",
         "name[@version|@alias] of the hosted model"},
        {"env", CTL_TEXT, &a.env_name, NULL, "NAME", "the real environment: pendulum, cartpole"},
        {"act", CTL_TEXT, &a.act_name, NULL, "HOW",
         "plan (search), actor (its action head), random"},
        {"episodes", CTL_U32, &a.episodes.episodes, NULL, "N", "how many (1)"},
        {"seed", CTL_U64, &a.episodes.seed, NULL, "N",
         "of the session; episode e starts with N + e (0)"},
        {"set", CTL_TEXT, &a.episodes.settings, NULL, "N=V ...", "planner settings by name"},
        {"mode", CTL_FLAG, &a.episodes.mode, NULL, NULL, "latents at their mode, no randomness"},
        {"surprise", CTL_FLAG, &a.episodes.asks_surprise, NULL, NULL,
         "also how far observations were from what it expected"},
        {"dream", CTL_FLAG, &a.is_dream, NULL, NULL, "no environment: the imagined world"},
        {"steps", CTL_U32, &a.dream.steps, &a.has_steps, "N", "of the dream (1,000)"},
        {"rows", CTL_U32, &a.dream.rows, &a.has_rows, "N", "of the dream (64)"},
        {"temperature", CTL_NUMBER, &a.dream.temperature, &a.dream.has_temperature, "T",
         "of the dream, where the family defines one"},
        {0},
    };
    if (!ctl_parse(&a.parsed, argc, argv, options, "agent")) {
        return CTL_USAGE;
    }
    if (a.parsed.common.help) {
        ctl_print_help(help, options);
        return CTL_DONE;
    }
    int wrong = check_arguments(&a);
    if (wrong || !a.is_dream) {
        return wrong ? wrong : ctl_agent_episodes(&a.parsed.common, &a.episodes);
    }
    a.dream.model = a.episodes.model;
    a.dream.seed = a.episodes.seed;
    a.dream.mode = a.episodes.mode;
    return ctl_agent_dream(&a.parsed.common, &a.dream);
}
