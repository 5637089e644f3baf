/* agent_dream.c: dreamctl agent --dream: a model's actor inside the world that the model imagines.
 *
 * No environment and no observation: Act once for the first actions, then a call a step, which
 * advances every row that lives and says what the actor does next:
 *
 *     Act -> action -> Step(action) -> reward, continue, action -> Step(action) -> ...
 *
 * A row whose continue falls below a half has ended and is left alone from then on.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/c/session.h"
#include "client/ctl/agent.h"

#define LOWEST_CONTINUE 0.5f

typedef struct {
    const ctl_dream_options *options;
    dreamd_session *session;
    bool has_reward, has_continue;
    uint32_t *alive; /* [alive_count]: rows that go on */
    uint32_t alive_count;
    uint32_t *lived; /* [rows]: steps that each made */
    double *returns; /* [rows] */
    char *action;    /* [alive_count, action_bytes], as the last reply had it */
    size_t action_bytes;
    dreamd_tensor action_tensor; /* describes it */
    int64_t action_shape[DREAMD__RANK_MAX + 1];
    uint64_t row_steps;
    uint32_t steps; /* made by the rows that lived longest */
    double wall_s;
} dream;

static bool has_head(const dreamd_session *session, const char *head)
{
    for (size_t i = 0; i < session->proto->n_heads; i++) {
        if (strcmp(session->proto->heads[i], head) == 0) {
            return true;
        }
    }
    return false;
}

/* Keeps the actions of the last reply, of whatever type: they go back as they came. */
static int take_actions(dream *d, dreamd_error *err)
{
    const dreamd_tensor *tensor = dreamd_tensor_find(d->session, "action");
    if (!tensor || tensor->rank < 1 || tensor->rank > DREAMD__RANK_MAX ||
        tensor->shape[0] != (int64_t)d->alive_count) {
        return dreamd__fail(err, DREAMD_INTERNAL, "the answer has no action of %u rows",
                            d->alive_count);
    }
    if (!d->action) {
        d->action_bytes = tensor->length / d->alive_count;
        d->action = malloc(tensor->length);
        if (!d->action) {
            return dreamd__no_memory(err);
        }
    }
    if (tensor->length != d->action_bytes * d->alive_count) {
        return dreamd__fail(err, DREAMD_INTERNAL, "actions changed their size");
    }
    memcpy(d->action, tensor->bytes, tensor->length);
    memcpy(d->action_shape, tensor->shape, tensor->rank * sizeof *tensor->shape);
    d->action_tensor = (dreamd_tensor){
        .name = "action",
        .datatype = strcmp(tensor->datatype, "INT64") == 0 ? "INT64" : "FP32",
        .shape = d->action_shape,
        .rank = tensor->rank,
        .bytes = d->action,
    };
    return DREAMD_OK;
}

/* Rows that ended leave the list, and their actions with them. */
static void bury(dream *d, const float *continues)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < d->alive_count; i++) {
        if (continues && continues[i] < LOWEST_CONTINUE) {
            continue;
        }
        memmove(d->action + kept * d->action_bytes, d->action + i * d->action_bytes,
                d->action_bytes);
        d->alive[kept++] = d->alive[i];
    }
    d->alive_count = kept;
}

static int step(dream *d, dreamd_error *err)
{
    const char *outputs[4] = {"action"};
    int count = 1;
    if (d->has_reward) {
        outputs[count++] = "reward";
    }
    if (d->has_continue) {
        outputs[count++] = "continue";
    }
    d->action_tensor.length = d->action_bytes * d->alive_count;
    d->action_shape[0] = d->alive_count;
    const dreamd_call_options call = {.rows = d->alive,
                                      .row_count = d->alive_count,
                                      .outputs = outputs,
                                      .tensors = &d->action_tensor,
                                      .tensor_count = 1};
    int code = dreamd_step(d->session, NULL, &call, err);
    if (code == DREAMD_OK) {
        code = take_actions(d, err);
    }
    size_t rewards = 0, continues = 0;
    const float *reward = dreamd_floats(d->session, "reward", &rewards);
    const float *goes_on = dreamd_floats(d->session, "continue", &continues);
    if (code == DREAMD_OK && ((d->has_reward && (!reward || rewards != d->alive_count)) ||
                              (d->has_continue && (!goes_on || continues != d->alive_count)))) {
        code = dreamd__fail(err, DREAMD_INTERNAL, "the answer has no reward or continue of %u rows",
                            d->alive_count);
    }
    if (code != DREAMD_OK) {
        return code;
    }
    for (uint32_t i = 0; i < d->alive_count; i++) {
        d->returns[d->alive[i]] += d->has_reward ? (double)reward[i] : 0;
        d->lived[d->alive[i]]++;
    }
    d->row_steps += d->alive_count;
    bury(d, d->has_continue ? goes_on : NULL);
    return DREAMD_OK;
}

static int run(dream *d, dreamd_error *err)
{
    d->has_reward = has_head(d->session, "reward");
    d->has_continue = has_head(d->session, "continue");
    d->alive_count = dreamd_session_get(d->session)->rows;
    d->alive = calloc(d->alive_count, sizeof *d->alive);
    d->lived = calloc(d->alive_count, sizeof *d->lived);
    d->returns = calloc(d->alive_count, sizeof *d->returns);
    if (!d->alive || !d->lived || !d->returns) {
        return dreamd__no_memory(err);
    }
    for (uint32_t i = 0; i < d->alive_count; i++) {
        d->alive[i] = i;
    }
    double started = ctl_now_s();
    int code = dreamd_act(d->session, DREAMD_MODE, NULL, err);
    if (code == DREAMD_OK) {
        code = take_actions(d, err);
    }
    while (code == DREAMD_OK && d->steps < d->options->steps && d->alive_count > 0) {
        code = step(d, err);
        d->steps += code == DREAMD_OK;
        ctl_progress("dreaming", d->steps, d->options->steps);
    }
    d->wall_s = ctl_now_s() - started;
    ctl_progress_end();
    return code;
}

/* Mean and standard deviation of the rows' returns; nulls where the model has no reward. */
static void add_returns(json_t *value, const dream *d, uint32_t rows)
{
    double sum = 0, squares = 0;
    json_t *returns = json_array(), *lived = json_array();
    for (uint32_t i = 0; i < rows; i++) {
        sum += d->returns[i];
        json_array_append_new(returns, json_real(d->returns[i]));
        json_array_append_new(lived, json_integer(d->lived[i]));
    }
    for (uint32_t i = 0; i < rows; i++) {
        squares += (d->returns[i] - sum / rows) * (d->returns[i] - sum / rows);
    }
    double std = rows > 1 ? sqrt(squares / (rows - 1)) : 0;
    json_object_set_new(value, "mean_return", d->has_reward ? json_real(sum / rows) : json_null());
    json_object_set_new(value, "std_return", d->has_reward ? json_real(std) : json_null());
    json_object_set_new(value, "returns", d->has_reward ? json_incref(returns) : json_null());
    json_object_set_new(value, "row_lengths", lived);
    json_decref(returns);
}

static json_t *results(const dream *d)
{
    const dreamd_session_info *info = dreamd_session_get(d->session);
    const Dreamd__V1__Session *proto = d->session->proto;
    json_t *value =
        json_pack("{s:i, s:i, s:I, s:i, s:f, s:f, s:f, s:s, s:I, s:s, s:s}", "rows",
                  (int)info->rows, "steps", (int)d->steps, "row_steps", (json_int_t)d->row_steps,
                  "ended_rows", (int)(info->rows - d->alive_count), "wall_s", d->wall_s,
                  "steps_per_second", d->steps / d->wall_s, "row_steps_per_second",
                  (double)d->row_steps / d->wall_s, "act", "actor", "seed", (json_int_t)info->seed,
                  "model", info->model, "checkpoint", info->checkpoint);
    json_object_set_new(value, "temperature",
                        proto->optional_temperature_case ? json_real(proto->temperature)
                                                         : json_null());
    add_returns(value, d, info->rows);
    return value;
}

int ctl_agent_dream(const ctl_common *common, const ctl_dream_options *options)
{
    dreamd_error err;
    dream d = {.options = options};
    const dreamd_session_options open = {
        .model = options->model,
        .rows = options->rows,
        .has_seed = true,
        .seed = options->seed,
        .latent_mode = options->mode ? DREAMD_MODE : DREAMD_SAMPLE,
        .has_temperature = options->has_temperature,
        .temperature = options->temperature,
        .label = "dreamctl agent --dream",
    };
    dreamd_client *client = ctl_connect(common);
    if (!client) {
        return CTL_FAILED;
    }
    int code = dreamd_session_open(&d.session, client, &open, &err);
    if (code == DREAMD_OK) {
        code = run(&d, &err);
    }
    json_t *value = code == DREAMD_OK ? results(&d) : NULL;
    ctl_close_session(client, d.session);
    dreamd_disconnect(client);
    free(d.alive);
    free(d.lived);
    free(d.returns);
    free(d.action);
    if (code != DREAMD_OK) {
        return ctl_fail(common, &err);
    }
    ctl_print(common, value);
    return CTL_DONE;
}
