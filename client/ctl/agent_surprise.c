/* agent_surprise.c: dreamctl agent --surprise: how well the model foresaw what really happened. */
#include <math.h>

#include "client/ctl/agent.h"

/* The mean and the largest of what a family has; of other things nothing is said. */
static void add(ctl_surprise_sum *sum, const dreamd_session *session, const char *name)
{
    size_t count = 0;
    const float *value = dreamd_floats(session, name, &count);
    if (value && count == 1) {
        sum->total += (double)*value;
        sum->most = sum->count == 0 ? (double)*value : fmax(sum->most, (double)*value);
        sum->count++;
    }
}

void ctl_surprise_add(ctl_surprise *surprise, const dreamd_session *session, bool is_first)
{
    if (!is_first) { /* nothing leads to a first observation */
        add(&surprise->kl, session, "surprise.kl");
        add(&surprise->error, session, "surprise.error");
    }
}

static json_t *part(const ctl_surprise_sum *sum)
{
    return sum->count
               ? json_pack("{s:f, s:f}", "mean", sum->total / (double)sum->count, "max", sum->most)
               : json_null();
}

json_t *ctl_surprise_json(const ctl_surprise *surprise)
{
    return json_pack("{s:I, s:o, s:o}", "observations",
                     (json_int_t)(surprise->kl.count > surprise->error.count
                                      ? surprise->kl.count
                                      : surprise->error.count),
                     "kl", part(&surprise->kl), "error", part(&surprise->error));
}
