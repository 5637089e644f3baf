/* Goal: World Models give the numbers of the independent versions, over closed loops.
 * Method: golden files of tests/golden/world_models (PyTorch, float64, made from the description
 * alone) have weights, inputs, noise, outputs; weights get our names and layouts here. The
 * published CarRacing weights go through the importer, and are driven by their own controller from
 * the first latent of their golden file. */
#include "tests/unit/models/family/parity.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/family/family.h"
#include "tests/support/approx.h"
#include "tests/support/fixture_model.h"
#include "tests/support/temp_dir.h"

#define TOLERANCE 1e-4
enum { ROWS = 2, IMAGE = 64 * 64 };

/* ---- one golden file as a model ---- */

typedef struct {
    const char *name, *config; /* of the manifest, without controller and starts */
    const char *controllers[6], *squash;
    int latent, hidden, channels, starts;
    const char *actions; /* bounds */
    bool restart, bias;
    int observes, steps;
} variant;

#define SIZES \
    "\"latent\": %d, \"hidden\": %d, \"mixtures\": 5, \"vae\": {\"channels\": [3, 4, 5, 6]}, "
static const variant variants[] = {
    {"carracing",
     "\"restart\": false, \"double_step\": false, \"temperature\": 0.7",
     {"z_h", "z", "z_c", "z_c_h", "z_hidden"},
     "car",
     6,
     10,
     3,
     0,
     "\"shape\": [3], \"low\": [-1, 0, 0]",
     false,
     true,
     3,
     5},
    {"carracing_double",
     "\"restart\": false, \"double_step\": true, \"temperature\": 0.7",
     {"z_h"},
     "car",
     6,
     10,
     1,
     0,
     "\"shape\": [3], \"low\": [-1, 0, 0]",
     false,
     true,
     4,
     5},
    {"doom",
     "\"restart\": true, \"double_step\": false, \"temperature\": 1.25",
     {"z_c_h"},
     "tanh",
     5,
     9,
     3,
     ROWS,
     "\"shape\": [1], \"low\": -1",
     true,
     false,
     3,
     9},
};

typedef struct {
    const variant *v;
    const char *controller;
    const dr_safetensors *file;
    dr_manifest *manifest;
    dr_params *params;
    dr_model *model;
    dr_compiled *verbs[DR_VERB_COUNT];
    float *states; /* [ROWS, state_width] */
    bool sampled;
    int tensors; /* compared */
} golden;

static const float *tensor(const golden *g, const char *name, int64_t *count)
{
    const dr_tensor *t = dr_safetensors_find(g->file, name);
    cr_assert(t != NULL, "%s: %s is missing", g->v->name, name);
    *count = (int64_t)(t->bytes / sizeof(float));
    return (const float *)t->data;
}

/* A new param of ours, and the file's weight that fills it. */
static float *add(golden *g, const char *ours, int rank, const int64_t *shape, const char *theirs,
                  const float **from)
{
    char name[80];
    int64_t count, wanted = 1;
    float *values;
    snprintf(name, sizeof name, "weight.%s", theirs);
    *from = tensor(g, name, &count);
    for (int i = 0; i < rank; i++)
        wanted *= shape[i];
    cr_assert(eq(i64, count, wanted), "%s", theirs);
    cr_assert(eq(int, dr_params_add(g->params, ours, rank, shape, &values, NULL), DR_OK));
    return values;
}

/* Theirs [in, out], ours [out, in]; so too for convolutions, in = height * width * channels. */
static void put_kernel(golden *g, const char *ours, int rank, const int64_t *shape,
                       const char *theirs)
{
    const float *from;
    float *to = add(g, ours, rank, shape, theirs, &from);
    int64_t out = shape[0], in = 1;
    for (int i = 1; i < rank; i++)
        in *= shape[i];
    for (int64_t i = 0; i < in; i++)
        for (int64_t o = 0; o < out; o++)
            to[o * in + i] = from[i * out + o];
}

static void put_vector(golden *g, const char *ours, int64_t width, const char *theirs)
{
    const float *from;
    float *to = add(g, ours, 1, &width, theirs, &from);
    memcpy(to, from, (size_t)width * sizeof *to);
}

/* Theirs [k, k, out, in], ours [out, k, k, in]. */
static void put_deconv(golden *g, const char *ours, int64_t k, int64_t out, int64_t in,
                       const char *theirs)
{
    const float *from;
    float *to = add(g, ours, 4, (int64_t[]){out, k, k, in}, theirs, &from);
    for (int64_t tap = 0; tap < k * k; tap++)
        for (int64_t o = 0; o < out; o++)
            memcpy(to + (o * k * k + tap) * in, from + (tap * out + o) * in,
                   (size_t)in * sizeof *to);
}

static void put_dense(golden *g, const char *ours, int64_t in, int64_t out, const char *weight,
                      const char *bias)
{
    char name[80];
    snprintf(name, sizeof name, "%s.weight", ours);
    put_kernel(g, name, 2, (int64_t[]){out, in}, weight);
    snprintf(name, sizeof name, "%s.bias", ours);
    if (bias)
        put_vector(g, name, out, bias);
}

static void put_vae(golden *g)
{
    static const int channels[] = {3, 4, 5, 6}, kernels[] = {5, 5, 6, 6};
    int in = g->v->channels, latent = g->v->latent;
    char ours[80], theirs[80];
    for (int i = 0; i < 4; in = channels[i++]) {
        snprintf(ours, sizeof ours, "vae.encoder.conv.%d.weight", i);
        snprintf(theirs, sizeof theirs, "enc_conv%d/kernel", i + 1);
        put_kernel(g, ours, 4, (int64_t[]){channels[i], 4, 4, in}, theirs);
        snprintf(ours, sizeof ours, "vae.encoder.conv.%d.bias", i);
        snprintf(theirs, sizeof theirs, "enc_conv%d/bias", i + 1);
        put_vector(g, ours, channels[i], theirs);
    }
    put_dense(g, "vae.encoder.mean", 24, latent, "enc_fc_mu/kernel", "enc_fc_mu/bias");
    put_dense(g, "vae.encoder.logvar", 24, latent, "enc_fc_log_var/kernel", "enc_fc_log_var/bias");
    put_dense(g, "vae.decoder.input", latent, 24, "dec_fc/kernel", "dec_fc/bias");
    in = 24;
    for (int i = 0; i < 4; i++) {
        int out = i == 3 ? g->v->channels : channels[2 - i];
        snprintf(ours, sizeof ours, "vae.decoder.conv.%d.weight", i);
        snprintf(theirs, sizeof theirs, "dec_deconv%d/kernel", i + 1);
        put_deconv(g, ours, kernels[i], out, in, theirs);
        snprintf(ours, sizeof ours, "vae.decoder.conv.%d.bias", i);
        snprintf(theirs, sizeof theirs, "dec_deconv%d/bias", i + 1);
        put_vector(g, ours, out, theirs);
        in = out;
    }
}

/* Theirs has done first, then for each latent its logmix, means, logstds; ours all logmix first. */
static void put_output(golden *g)
{
    int64_t latent = g->v->latent, hidden = g->v->hidden, done = g->v->restart;
    int64_t ours = 15 * latent, theirs = ours + done, count;
    const float *weight = tensor(g, "weight.rnn/output_w", &count);
    const float *bias = tensor(g, "weight.rnn/output_b", &count);
    float *w, *b, *done_w, *done_b;
    dr_params *p = g->params;
    cr_assert(eq(i64, count, theirs));
    int code = dr_params_add(p, "rnn.output.weight", 2, (int64_t[]){ours, hidden}, &w, NULL);
    code += dr_params_add(p, "rnn.output.bias", 1, &ours, &b, NULL);
    for (int64_t row = 0; row < ours; row++) {
        int64_t kind = row / (5 * latent), d = row / 5 % latent, k = row % 5;
        int64_t column = done + d * 15 + kind * 5 + k;
        b[row] = bias[column];
        for (int64_t i = 0; i < hidden; i++)
            w[row * hidden + i] = weight[i * theirs + column];
    }
    if (done) {
        code += dr_params_add(p, "rnn.done.weight", 2, (int64_t[]){1, hidden}, &done_w, NULL);
        code += dr_params_add(p, "rnn.done.bias", 1, (int64_t[]){1}, &done_b, NULL);
        done_b[0] = bias[0];
        for (int64_t i = 0; i < hidden; i++)
            done_w[i] = weight[i * theirs];
    }
    cr_assert(eq(int, code, 0));
}

static void put_controller(golden *g, int actions)
{
    const variant *v = g->v;
    bool c = strstr(g->controller, "_c") != NULL,
         h = g->controller[strlen(g->controller) - 1] == 'h';
    char weight[80], bias[80];
    if (strcmp(g->controller, "z_hidden") == 0) {
        put_dense(g, "controller.hidden", v->latent, 7, "controller/z_hidden/weight_hidden",
                  "controller/z_hidden/bias_hidden");
        put_dense(g, "controller.action", 7, actions, "controller/z_hidden/weight_output",
                  "controller/z_hidden/bias_output");
        return;
    }
    snprintf(weight, sizeof weight, "controller/%s/weight", g->controller);
    snprintf(bias, sizeof bias, "controller/%s/bias", g->controller);
    put_dense(g, "controller.action", v->latent + (c + h) * v->hidden, actions, weight,
              v->bias ? bias : NULL);
}

/* The file's starts, a row each. */
static void put_starts(golden *g)
{
    static const char *const names[][2] = {{"initial.mean.weight", "start.in.mean"},
                                           {"initial.logvar.weight", "start.in.logvar"}};
    int64_t count, shape[] = {g->v->latent, ROWS};
    for (int i = 0; i < 2; i++) {
        float *to;
        const float *from = tensor(g, names[i][1], &count);
        cr_assert(eq(int, dr_params_add(g->params, names[i][0], 2, shape, &to, NULL), DR_OK));
        for (int64_t k = 0; k < count; k++)
            to[k % shape[0] * ROWS + k / shape[0]] = from[k];
    }
}

static void init_golden(golden *g, const variant *v, const char *controller, int starts,
                        const dr_safetensors *file, bool sampled)
{
    char text[1200];
    dr_error err = {0};
    int actions = v->restart ? 1 : 3;
    *g = (golden){.v = v, .controller = controller, .file = file, .sampled = sampled};
    const char *hidden = strcmp(controller, "z_hidden") == 0 ? ", \"hidden\": 7" : "";
    int length = snprintf(
        text, sizeof text,
        "{\"format\": 1, \"family\": \"world_models\", \"name\": \"%s\", \"config\": {" SIZES
        "%s, \"starts\": %d, \"controller\": {\"mode\": \"%s\", \"squash\": \"%s\", \"bias\": "
        "%s%s}}, "
        "\"observation_space\": {\"type\": \"Dict\", \"spaces\": {\"image\": {\"type\": \"Box\", "
        "\"dtype\": \"uint8\", \"shape\": [64, 64, %d], \"low\": 0, \"high\": 255}}}, "
        "\"action_space\": {\"type\": \"Box\", \"dtype\": \"float32\", %s, \"high\": 1}}",
        v->name, v->latent, v->hidden, v->config, starts, controller, v->squash,
        v->bias ? "true" : "false", hidden, v->channels, v->actions);
    cr_assert(eq(int, dr_manifest_parse(&g->manifest, text, (size_t)length, &err), DR_OK), "%s",
              err.message);
    cr_assert(eq(int, dr_params_create(&g->params, &err), DR_OK));
    int64_t inputs = v->latent + actions + v->restart + v->hidden;
    put_vae(g);
    put_dense(g, "rnn.gates", inputs, 4 * v->hidden, "rnn/kernel", "rnn/bias");
    put_output(g);
    put_controller(g, actions);
    if (starts)
        put_starts(g);
    cr_assert(eq(int, dr_model_create(&g->model, g->manifest, g->params, &err), DR_OK), "%s",
              err.message);
    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        cr_assert(
            eq(int, dr_model_compile(&g->verbs[verb], g->model, (dr_verb)verb, ROWS, NULL, 0, &err),
               DR_OK),
            "%s", err.message);
    g->states = dr_mem_zalloc(ROWS * (size_t)dr_model_state_width(g->model), sizeof(float));
}

static void deinit_golden(golden *g)
{
    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        dr_compiled_destroy(g->verbs[verb]);
    dr_mem_free(g->states);
    dr_model_release(g->model);
    dr_params_release(g->params);
    dr_manifest_destroy(g->manifest);
}

/* ---- its walk ---- */

/* Step `step` of a tensor [steps, ROWS, ...], of whatever type; -1: it has no steps. */
static const void *at_step(const golden *g, const char *name, int step, int64_t *width,
                           dr_dtype *dtype)
{
    const dr_tensor *t = dr_safetensors_find(g->file, name);
    cr_assert(t != NULL, "%s: %s is missing", g->v->name, name);
    *width = 1;
    for (int i = step < 0 ? 1 : 2; i < t->rank; i++)
        *width *= t->shape[i];
    *dtype = t->dtype;
    size_t bytes = (size_t)*width * ROWS * dr_dtype_size(t->dtype);
    return (const char *)t->data + (step < 0 ? 0 : (size_t)step * bytes);
}

static void fill(golden *g, dr_compiled *compiled, const char *input, const char *name, int step)
{
    int64_t width;
    dr_dtype dtype;
    const void *from = at_step(g, name, step, &width, &dtype);
    int index = dr_compiled_find_input(compiled, input);
    cr_assert(index >= 0, "%s", input);
    cr_assert(eq(i64, dr_shape_width(dr_compiled_input_shape(compiled, index)), width));
    dr_dtype_to_f32(dr_compiled_input(compiled, index), dtype, from, (size_t)width * ROWS);
}

/* The file's noise, or what stands for the mode. */
static void fill_noise(golden *g, dr_compiled *compiled, const char *verb, int step)
{
    static const char *const sites[][3] = {{"noise.component", "step", "component"},
                                           {"noise.prior", "step", "z"},
                                           {"noise.posterior", "encode", "z"},
                                           {"noise.initial", "start", "z"}};
    for (size_t i = 0; i < sizeof sites / sizeof sites[0]; i++) {
        int index = dr_compiled_find_input(compiled, sites[i][0]);
        if (index < 0)
            continue;
        char name[96];
        size_t count = (size_t)g->v->latent * ROWS;
        float *to = dr_compiled_input(compiled, index);
        snprintf(name, sizeof name, "sampled.%s.in.noise.%s", sites[i][1], sites[i][2]);
        for (size_t k = 0; k < count; k++)
            to[k] = i == 0 ? -1 : 0;
        if (g->sampled && strcmp(verb, "initial") != 0)
            fill(g, compiled, sites[i][0], name, strcmp(verb, "start") == 0 ? -1 : step);
    }
    int start = dr_compiled_find_input(compiled, "noise.start");
    for (int row = 0; start >= 0 && row < ROWS; row++)
        dr_compiled_input(compiled, start)[row] = ((float)row + 0.5f) / ROWS;
}

static const char *output_of(const golden *g, const char *name)
{
    if (strcmp(name, "action") == 0) /* that of the file's first controller */
        return g->controller == g->v->controllers[0] ? name : NULL;
    if (strncmp(name, "action.", 7) == 0)
        return strcmp(name + 7, g->controller) == 0 ? "action" : NULL;
    return g->controller == g->v->controllers[0] ? name : NULL;
}

/* Every golden tensor of the verb at this step. */
static void compare(golden *g, dr_compiled *compiled, const char *verb, int step)
{
    char prefix[48];
    int length = snprintf(prefix, sizeof prefix, "%s%s.out.", g->sampled ? "sampled." : "", verb);
    for (uint32_t i = 0; i < dr_safetensors_count(g->file); i++) {
        const char *name = dr_safetensors_name(g->file, i);
        if (strncmp(name, prefix, (size_t)length) != 0)
            continue;
        const char *output = output_of(g, name + length);
        if (!output)
            continue;
        int64_t width;
        dr_dtype dtype;
        const float *wanted = at_step(g, name, step, &width, &dtype);
        int index = dr_compiled_find_output(compiled, output);
        cr_assert(index >= 0 && dtype == DR_F32, "%s: no output %s", name, output);
        cr_assert(eq(i64, dr_shape_width(dr_compiled_output_shape(compiled, index)), width));
        float *found = dr_mem_alloc((size_t)width * ROWS * sizeof *found);
        /* Pictures of the file are in 0..1. */
        float scale = strncmp(output, "observation", 11) == 0 ? 1 / 255.0f : 1;
        for (int64_t k = 0; k < width * ROWS; k++)
            found[k] = dr_compiled_output(compiled, index)[k] * scale;
        approx_result r = approx_compare(found, wanted, (size_t)width * ROWS, TOLERANCE);
        cr_assert(r.error <= r.tolerance, "%s: %s step %d [%zu]: %.8g, expected %.8g", g->v->name,
                  name, step, r.index, (double)found[r.index], (double)wanted[r.index]);
        dr_mem_free(found);
        g->tensors += step <= 0;
    }
}

static void run(golden *g, dr_verb verb, const char *name, int step)
{
    dr_compiled *compiled = g->verbs[verb];
    char action[48];
    snprintf(action, sizeof action, "%s.in.action", name);
    if (verb == DR_VERB_OBSERVE || verb == DR_VERB_STEP)
        fill(g, compiled, "action", action, step);
    if (verb == DR_VERB_OBSERVE || verb == DR_VERB_ENCODE)
        fill(g, compiled, "observation.image", "observe.in.observation.image", step);
    fill_noise(g, compiled, name, step);
    if (verb != DR_VERB_INITIAL && verb != DR_VERB_ENCODE)
        dr_model_put_state(g->model, compiled, 0, ROWS, g->states);
    dr_compiled_run(compiled, ROWS, NULL);
    if (verb != DR_VERB_READ && verb != DR_VERB_ENCODE)
        dr_model_get_state(g->model, compiled, 0, ROWS, g->states);
    compare(g, compiled, name, step);
}

/* The sampled walk puts a row back now and then. */
static void reset_rows(golden *g, const float *initial, int step)
{
    int64_t one;
    dr_dtype dtype;
    const float *first = at_step(g, "sampled.observe.in.is_first", step, &one, &dtype);
    size_t width = (size_t)dr_model_state_width(g->model);
    for (int row = 0; row < ROWS; row++)
        if (first[row] != 0)
            memcpy(g->states + (size_t)row * width, initial, width * sizeof *initial);
}

/* One controller of one file, at the mode or sampled. Doom's steps begin at its starts. */
static int walk(const variant *v, const char *controller, const dr_safetensors *file, bool sampled)
{
    golden g;
    init_golden(&g, v, controller, 0, file, sampled);
    run(&g, DR_VERB_INITIAL, "initial", -1);
    size_t width = (size_t)dr_model_state_width(g.model);
    float *initial = dr_mem_alloc(width * sizeof *initial);
    memcpy(initial, g.states, width * sizeof *initial);
    for (int t = 0; t < v->observes; t++) {
        if (sampled)
            reset_rows(&g, initial, t);
        run(&g, DR_VERB_ENCODE, "encode", t);
        run(&g, DR_VERB_OBSERVE, "observe", t);
    }
    int tensors = g.tensors;
    if (v->starts) {
        deinit_golden(&g);
        init_golden(&g, v, controller, v->starts, file, sampled);
        run(&g, DR_VERB_INITIAL, "start", -1);
    }
    g.tensors += v->starts ? tensors : 0;
    for (int t = 0; t < v->steps; t++)
        run(&g, DR_VERB_STEP, "step", t);
    run(&g, DR_VERB_READ, "read", -1);
    tensors = g.tensors;
    dr_mem_free(initial);
    deinit_golden(&g);
    return tensors;
}

static int compare_goldens(void)
{
    int tensors = 0;
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        const variant *v = &variants[i];
        char path[96];
        dr_error err = {0};
        dr_safetensors *file;
        snprintf(path, sizeof path, "tests/golden/world_models/%s.safetensors", v->name);
        cr_assert(eq(int, dr_safetensors_open(&file, path, 1 << 24, &err), DR_OK), "%s",
                  err.message);
        int before = tensors, there = 0;
        for (int c = 0; v->controllers[c]; c++)
            for (int sampled = 0; sampled < 2; sampled++)
                tensors += walk(v, v->controllers[c], file, sampled);
        for (uint32_t k = 0; k < dr_safetensors_count(file); k++)
            there += strstr(dr_safetensors_name(file, k), ".out.") != NULL;
        cr_expect(eq(int, tensors - before, there), "%s: every output is compared", v->name);
        dr_safetensors_close(file);
    }
    return tensors;
}

/* ---- the published weights ---- */

enum { CAR_ROWS = 4, CAR_STEPS = 64 };

/* Row `row` of [rows, steps, width] in float64. */
static const double *car_at(const dr_safetensors *file, const char *name, int row, int step,
                            int64_t width)
{
    const dr_tensor *t = dr_safetensors_find(file, name);
    cr_assert(t && t->dtype == DR_F64, "%s", name);
    cr_assert(eq(i64, (int64_t)t->bytes, 8 * CAR_ROWS * CAR_STEPS * width));
    return (const double *)t->data + ((int64_t)row * CAR_STEPS + step) * width;
}

static void car_compare(const dr_safetensors *file, const dr_compiled *compiled, const char *output,
                        const char *name, int step)
{
    int index = dr_compiled_find_output(compiled, output);
    cr_assert(index >= 0, "%s", output);
    int64_t width = dr_shape_width(dr_compiled_output_shape(compiled, index));
    for (int row = 0; row < CAR_ROWS; row++) {
        const double *wanted = car_at(file, name, row, step, width);
        const float *found = dr_compiled_output(compiled, index) + row * width;
        double largest = 1;
        for (int64_t i = 0; i < width; i++)
            largest = fmax(largest, fabs(wanted[i]));
        for (int64_t i = 0; i < width; i++)
            cr_assert(fabs((double)found[i] - wanted[i]) <= TOLERANCE * largest,
                      "%s row %d step %d [%d]: %.8g, expected %.8g", name, row, step, (int)i,
                      (double)found[i], wanted[i]);
    }
}

/* z of the golden's step 0 by Observe, then nothing but the model's own results. */
static void car_drive(const dr_model *model, const dr_safetensors *file)
{
    dr_compiled *verbs[DR_VERB_COUNT];
    dr_noise_key keys[CAR_ROWS];
    dr_error err = {0};
    size_t width = (size_t)dr_model_state_width(model);
    float *states = dr_mem_zalloc(CAR_ROWS * width, sizeof *states);
    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        cr_assert(eq(int,
                     dr_model_compile(&verbs[verb], model, (dr_verb)verb, CAR_ROWS, NULL, 0, &err),
                     DR_OK),
                  "%s", err.message);
    for (int row = 0; row < CAR_ROWS; row++)
        keys[row] = (dr_noise_key){.row = (uint32_t)row, .mode = 1};
    dr_compiled_run(verbs[DR_VERB_INITIAL], CAR_ROWS, keys);
    dr_model_get_state(model, verbs[DR_VERB_INITIAL], 0, CAR_ROWS, states);
    dr_compiled *observe = verbs[DR_VERB_OBSERVE], *step = verbs[DR_VERB_STEP];
    float *seen = dr_compiled_input(observe, dr_compiled_find_input(observe, "observation"));
    for (int row = 0; row < CAR_ROWS; row++)
        for (int i = 0; i < 32; i++)
            seen[row * 32 + i] = (float)car_at(file, "z", row, 0, 32)[i];
    dr_model_put_state(model, observe, 0, CAR_ROWS, states);
    float *ignored = dr_compiled_input(observe, dr_compiled_find_input(observe, "action"));
    for (int i = 0; i < CAR_ROWS * 3; i++)
        ignored[i] = NAN; /* the first observe of a row does not look at it */
    dr_compiled_run(observe, CAR_ROWS, keys);
    dr_compiled *last = observe; /* whose action and z are those of time t */
    for (int t = 0; t < CAR_STEPS; t++) {
        car_compare(file, last, "action", "action", t);
        car_compare(file, last, "state.z", "z", t);
        car_compare(file, last, "state.c", "c", t);
        car_compare(file, last, "state.h", "h", t);
        const float *action = dr_compiled_output(last, dr_compiled_find_output(last, "action"));
        float next[CAR_ROWS * 3];
        memcpy(next, action, sizeof next);
        dr_model_get_state(model, last, 0, CAR_ROWS, states);
        dr_model_put_state(model, step, 0, CAR_ROWS, states);
        memcpy(dr_compiled_input(step, dr_compiled_find_input(step, "action")), next, sizeof next);
        dr_compiled_run(step, CAR_ROWS, keys);
        car_compare(file, step, "prior.logmix", "logmix", t);
        car_compare(file, step, "prior.mean", "mean", t);
        car_compare(file, step, "prior.logstd", "logstd", t);
        last = step;
    }
    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        dr_compiled_destroy(verbs[verb]);
    dr_mem_free(states);
}

static int compare_fixture(int *skipped)
{
    enum { TENSORS = 7 };
    char fixture[256], folder[256], path[900];
    if (!fixture_model_find(fixture, "world_models_carracing")) {
        *skipped += TENSORS;
        return 0;
    }
    temp_dir_make(folder);
    const char *out = temp_dir_path(folder, "carracing");
    snprintf(path, sizeof path,
             "world-models '%s/rnn.json' '%s/controller.json' '%s/initial_z.json'", fixture,
             fixture, fixture);
    fixture_model_import_words(path, out);
    snprintf(path, sizeof path, "%s/golden.safetensors", fixture);
    dr_error err = {0};
    dr_checkpoint *checkpoint;
    dr_model *model;
    dr_safetensors *file;
    cr_assert(eq(int, dr_checkpoint_open(&checkpoint, out, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_model_open(&model, checkpoint, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_safetensors_open(&file, path, 1 << 24, &err), DR_OK), "%s", err.message);
    dr_checkpoint_release(checkpoint);
    cr_expect(eq(u32, dr_safetensors_count(file), TENSORS));
    car_drive(model, file);
    dr_safetensors_close(file);
    dr_model_release(model);
    temp_dir_remove(folder);
    return TENSORS;
}

void parity_world_models(parity_count *count)
{
    count->tensors += compare_goldens();
    count->tensors += compare_fixture(&count->skipped);
}
