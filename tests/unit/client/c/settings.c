/* Planner settings by name. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "client/c/internal.h"
#include "dreamd/v1/simulation.pb-c.h"

static Dreamd__V1__PlannerSettings settings;
static dreamd_error err;

static int parse(const char *text)
{
    dreamd__settings_clear(&settings.base);
    dreamd__v1__planner_settings__init(&settings);
    memset(&err, 0, sizeof err);
    return dreamd__settings_parse(&settings.base, text, &err);
}

static void init(void)
{
    dreamd__v1__planner_settings__init(&settings);
}

static void fini(void)
{
    dreamd__settings_clear(&settings.base);
}

TestSuite(settings, .init = init, .fini = fini);

Test(settings, what_is_not_named_stays_absent)
{
    cr_assert(eq(int, parse(""), DREAMD_OK));
    cr_assert(zero(int, (int)settings.optional_horizon_case));
    cr_assert(eq(str, settings.preset, ""));
}

Test(settings, a_zero_or_false_is_present)
{
    cr_assert(eq(int, parse("warm_start=false, seed=0  action_noise=0"), DREAMD_OK));
    cr_assert(eq(int, (int)settings.optional_warm_start_case,
                 DREAMD__V1__PLANNER_SETTINGS__OPTIONAL_WARM_START_WARM_START));
    cr_assert(not(settings.warm_start));
    cr_assert(eq(int, (int)settings.optional_seed_case,
                 DREAMD__V1__PLANNER_SETTINGS__OPTIONAL_SEED_SEED));
    cr_assert(eq(int, (int)settings.optional_action_noise_case,
                 DREAMD__V1__PLANNER_SETTINGS__OPTIONAL_ACTION_NOISE_ACTION_NOISE));
    cr_assert(zero(int, (int)settings.optional_candidates_case));
}

Test(settings, numbers_text_and_names_are_read)
{
    cr_assert(eq(int,
                 parse("method=mppi horizon=12 discount=0.99 latent_mode=MODE "
                       "seed=18446744073709551615"),
                 DREAMD_OK));
    cr_assert(eq(str, settings.method, "mppi"));
    cr_assert(eq(u32, settings.horizon, 12));
    cr_assert(eq(dbl, settings.discount, 0.99));
    cr_assert(eq(int, (int)settings.latent_mode, DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE));
    cr_assert(eq(u64, settings.seed, UINT64_MAX));
}

Test(settings, the_last_of_two_texts_holds)
{
    cr_assert(eq(int, parse("preset=planet preset=icem"), DREAMD_OK));
    cr_assert(eq(str, settings.preset, "icem"));
}

Test(settings, what_cannot_be_read_is_named)
{
    static const struct {
        const char *text, *part;
    } rows[] = {
        {"horizont=3", "horizont"},
        {"horizon", "name=value"},
        {"=3", "name=value"},
        {"horizon=-1", "whole number"},
        {"horizon=4294967296", "whole"},
        {"horizon=3x", "\"3x\""},
        {"discount=", "a number"},
        {"warm_start=maybe", "true or false"},
        {"latent_mode=maybe", "sample"},
        {"horizon=", "whole number"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert(eq(int, parse(rows[i].text), DREAMD_INVALID_ARGUMENT), "%s", rows[i].text);
        cr_assert(ne(ptr, strstr(err.message, rows[i].part), NULL), "%s: %s", rows[i].text,
                  err.message);
    }
}
