/* probe.c: a few steps that a checkpoint carries, with what they gave at export.
 *
 * One walk, used twice: from the initial state through some observes, then some steps, then a
 * read, with the mode taken at every sampling site. A visitor is handed each input to fill and
 * each output to look at: making a probe records them, checking one compares.
 *
 *     initial.out.<output>    [rows, ...]
 *     observe.in.<input>      [observes, rows, ...]   observe.out, encode.out alike
 *     step.in.<input>         [steps, rows, ...]      step.out alike
 *     read.out.<output>       [rows, ...]             at the last state
 *
 * Inputs are all that the verb has besides state.* and noise.*; outputs may be left out.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/arena.h"
#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/family/family.h"
#include "models/tensor/philox.h"

enum {
    ROWS = 2,      /* of a probe that is made here */
    STEPS = 6,     /* observes, and as many steps */
    ROWS_MAX = 16, /* of a probe that is checked */
    STEPS_MAX = 64,
    NAME_MAX_BYTES = 160,
    RECORDS_MAX = 1024,          /* tensors of a probe */
    PROBE_BYTES_MAX = 256 << 20, /* of a probe that is made */
};
#define TOLERANCE 1e-4

/* One input or output of one step, all rows: `values` [rows * width]. */
typedef struct {
    char name[NAME_MAX_BYTES]; /* "observe.in.action" */
    bool input;                /* to be filled, otherwise to be looked at */
    int step, steps;           /* steps 0: the tensor has no such dimension */
    int rows;
    dr_shape shape; /* of a row */
    float *values;
} visit;

typedef struct walk {
    const dr_model *model;
    int rows, observes, steps;
    dr_code (*visit)(struct walk *walk, const visit *visit, dr_error *err);
    dr_compiled *compiled[DR_VERB_COUNT];
    float *states;
} walk;

/* ---- the walk ---- */

static dr_code visit_inputs(walk *w, dr_verb verb, int step, int steps, dr_error *err)
{
    dr_compiled *compiled = w->compiled[verb];
    /* What is encoded is what is observed: one input in the file serves both. */
    const char *label = dr_verb_name(verb == DR_VERB_ENCODE ? DR_VERB_OBSERVE : verb);
    for (int i = 0; i < dr_compiled_input_count(compiled); i++) {
        const char *name = dr_compiled_input_name(compiled, i);
        if (dr_compiled_input_is_noise(compiled, i) || strncmp(name, "state.", 6) == 0)
            continue;
        visit v = {.input = true,
                   .step = step,
                   .steps = steps,
                   .rows = w->rows,
                   .shape = dr_compiled_input_shape(compiled, i),
                   .values = dr_compiled_input(compiled, i)};
        snprintf(v.name, sizeof v.name, "%s.in.%s", label, name);
        dr_code code = w->visit(w, &v, err);
        if (code != DR_OK)
            return code;
    }
    return DR_OK;
}

static dr_code visit_outputs(walk *w, dr_verb verb, int step, int steps, dr_error *err)
{
    dr_compiled *compiled = w->compiled[verb];
    for (int i = 0; i < dr_compiled_output_count(compiled); i++) {
        visit v = {.step = step,
                   .steps = steps,
                   .rows = w->rows,
                   .shape = dr_compiled_output_shape(compiled, i),
                   .values = (float *)dr_compiled_output(compiled, i)};
        snprintf(v.name, sizeof v.name, "%s.out.%s", dr_verb_name(verb),
                 dr_compiled_output_name(compiled, i));
        dr_code code = w->visit(w, &v, err);
        if (code != DR_OK)
            return code;
    }
    return DR_OK;
}

static dr_code run_verb(walk *w, dr_verb verb, int step, int steps, dr_error *err)
{
    dr_compiled *compiled = w->compiled[verb];
    if (!compiled)
        return DR_OK; /* the family has no such verb */
    dr_noise_key keys[ROWS_MAX];
    for (int row = 0; row < w->rows; row++)
        keys[row] = (dr_noise_key){.row = (uint32_t)row, .step = (uint64_t)step, .mode = 1};
    dr_code code = visit_inputs(w, verb, step, steps, err);
    if (code != DR_OK)
        return code;
    if (verb != DR_VERB_INITIAL)
        dr_model_put_state(w->model, compiled, 0, w->rows, w->states);
    dr_compiled_run(compiled, w->rows, keys);
    if (verb != DR_VERB_READ && verb != DR_VERB_ENCODE)
        dr_model_get_state(w->model, compiled, 0, w->rows, w->states);
    return visit_outputs(w, verb, step, steps, err);
}

static dr_code run_walk(walk *w, dr_error *err)
{
    dr_code code = run_verb(w, DR_VERB_INITIAL, 0, 0, err);
    for (int i = 0; code == DR_OK && i < w->observes; i++) {
        code = run_verb(w, DR_VERB_ENCODE, i, w->observes, err);
        if (code == DR_OK)
            code = run_verb(w, DR_VERB_OBSERVE, i, w->observes, err);
    }
    for (int i = 0; code == DR_OK && i < w->steps; i++)
        code = run_verb(w, DR_VERB_STEP, i, w->steps, err);
    return code == DR_OK ? run_verb(w, DR_VERB_READ, 0, 0, err) : code;
}

static void deinit_walk(walk *w)
{
    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        dr_compiled_destroy(w->compiled[verb]);
    dr_mem_free(w->states);
}

static dr_code init_walk(walk *w, dr_error *err)
{
    w->states =
        dr_mem_zalloc((size_t)w->rows * (size_t)dr_model_state_width(w->model), sizeof *w->states);
    if (!w->states)
        return dr_mem_fail(err, "the states of a probe");
    for (int verb = 0; verb < DR_VERB_COUNT; verb++) {
        if (dr_graph_output_count(dr_model_get_graph(w->model, (dr_verb)verb)) == 0)
            continue;
        dr_code code =
            dr_model_compile(&w->compiled[verb], w->model, (dr_verb)verb, w->rows, NULL, 0, err);
        if (code != DR_OK) {
            deinit_walk(w);
            return code;
        }
    }
    return DR_OK;
}

/* ---- making ---- */

struct dr_probe {
    walk walk; /* first: visitors find the probe behind it */
    uint64_t seed;
    dr_arena arena;
    dr_safetensors_writer *writer;
    int record_count;
    struct {
        char name[NAME_MAX_BYTES];
        float *values; /* [steps or 1, rows, width]; in the arena */
    } records[RECORDS_MAX];
};

/* A leaf's element that has no bounds, or bounds that are not meant, is drawn from a normal. */
static bool is_bounded(const dr_space_leaf *leaf, int64_t i)
{
    return leaf->low[i] > -1e6 && leaf->high[i] < 1e6;
}

static const dr_space_leaf *find_leaf(const dr_manifest *manifest, const char *input)
{
    static const char prefix[] = "observe.in.observation";
    if (strncmp(input, prefix, sizeof prefix - 1) != 0)
        return &manifest->action_space->leaves[0];
    const char *key = input + sizeof prefix - 1;
    return dr_space_find(manifest->observation_space, key[0] == '.' ? key + 1 : key);
}

static void draw_input(const dr_probe *probe, const visit *v)
{
    const dr_space_leaf *leaf = find_leaf(dr_model_get_manifest(probe->walk.model), v->name);
    int64_t width = dr_shape_width(v->shape);
    uint32_t site = 0; /* from the name: each input draws numbers of its own, wherever it stands */
    for (const char *c = v->name; *c; c++)
        site = (site * 31 + (unsigned char)*c) % DR_NOISE_SITE_MAX;
    for (int row = 0; row < v->rows; row++) {
        dr_noise_key key = {.seed = probe->seed, .row = (uint32_t)row, .step = (uint64_t)v->step};
        float *values = v->values + row * width;
        if (!leaf || leaf->kind != DR_SPACE_BOX) {
            float uniform;
            dr_noise_uniform(&uniform, 1, &key, site);
            memset(values, 0, (size_t)width * sizeof *values);
            values[(int64_t)(uniform * (float)width)] = 1.0f; /* uniform < 1 */
            continue;
        }
        DR_ASSERT(leaf->count == width);
        dr_noise_normal(values, (size_t)width, &key, site);
        for (int64_t i = 0; i < width; i++)
            if (is_bounded(leaf, i)) /* the normal squeezed between the bounds */
                values[i] = (float)(leaf->low[i] +
                                    (leaf->high[i] - leaf->low[i]) / (1 + exp(-2.0 * values[i])));
    }
}

static dr_code add_record(dr_probe *probe, const visit *v, float **values, dr_error *err)
{
    int64_t width = dr_shape_width(v->shape);
    size_t count = (size_t)(v->steps ? v->steps : 1) * (size_t)v->rows * (size_t)width;
    *values = dr_arena_zalloc(&probe->arena, count, sizeof **values);
    if (!*values || probe->record_count == RECORDS_MAX)
        return dr_fail(err, DR_RESOURCE_EXHAUSTED,
                       "probe: more than %d tensors or %d bytes, or no memory", RECORDS_MAX,
                       PROBE_BYTES_MAX);
    snprintf(probe->records[probe->record_count].name, NAME_MAX_BYTES, "%s", v->name);
    probe->records[probe->record_count++].values = *values;
    dr_tensor tensor = {.dtype = DR_F32, .data = *values, .bytes = count * sizeof **values};
    if (v->steps)
        tensor.shape[tensor.rank++] = v->steps;
    tensor.shape[tensor.rank++] = v->rows;
    for (int i = 0; i < v->shape.rank; i++)
        tensor.shape[tensor.rank++] = v->shape.dim[i];
    return dr_safetensors_writer_add(probe->writer, v->name, &tensor, err);
}

static float *find_record(dr_probe *probe, const char *name)
{
    for (int i = 0; i < probe->record_count; i++)
        if (strcmp(probe->records[i].name, name) == 0)
            return probe->records[i].values;
    return NULL;
}

static dr_code record(walk *w, const visit *v, dr_error *err)
{
    dr_probe *probe = (dr_probe *)w;
    float *values = find_record(probe, v->name);
    if (!values) {
        dr_code code = add_record(probe, v, &values, err);
        if (code != DR_OK)
            return code;
    }
    if (v->input)
        draw_input(probe, v);
    size_t count = (size_t)v->rows * (size_t)dr_shape_width(v->shape);
    memcpy(values + (size_t)v->step * count, v->values, count * sizeof *values);
    return DR_OK;
}

dr_code dr_probe_create(dr_probe **out, const dr_model *model, uint64_t seed, dr_error *err)
{
    dr_probe *probe = dr_mem_zalloc(1, sizeof *probe);
    if (!probe)
        return dr_mem_fail(err, "a probe");
    probe->seed = seed;
    dr_arena_init(&probe->arena, PROBE_BYTES_MAX);
    probe->walk =
        (walk){.model = model, .rows = ROWS, .observes = STEPS, .steps = STEPS, .visit = record};
    dr_code code = dr_safetensors_writer_create(&probe->writer, err);
    if (code == DR_OK)
        code = init_walk(&probe->walk, err);
    if (code == DR_OK) {
        code = run_walk(&probe->walk, err);
        deinit_walk(&probe->walk);
    }
    if (code != DR_OK) {
        dr_probe_destroy(probe);
        return code;
    }
    *out = probe;
    return DR_OK;
}

const dr_safetensors_writer *dr_probe_get_writer(const dr_probe *probe)
{
    return probe->writer;
}

void dr_probe_destroy(dr_probe *probe)
{
    if (!probe)
        return;
    dr_safetensors_writer_destroy(probe->writer);
    dr_arena_deinit(&probe->arena);
    dr_mem_free(probe);
}

/* ---- checking ---- */

typedef struct {
    walk walk; /* first: visitors find the check behind it */
    const dr_safetensors *file;
    bool used[RECORDS_MAX];
} check;

static dr_code find_tensor(const float **values, check *c, const visit *v, dr_error *err)
{
    *values = NULL;
    uint32_t i = 0;
    while (i < dr_safetensors_count(c->file) &&
           strcmp(dr_safetensors_name(c->file, i), v->name) != 0)
        i++;
    if (i == dr_safetensors_count(c->file)) {
        if (!v->input)
            return DR_OK; /* an output that the exporter did not know */
        return dr_fail_field(err, DR_DATA_LOSS, v->name, "probe.safetensors: %s is missing",
                             v->name);
    }
    c->used[i] = true;
    const dr_tensor *tensor = dr_safetensors_tensor(c->file, i);
    int lead = v->steps ? 2 : 1;
    int64_t width = dr_shape_width(v->shape), found = 1;
    for (int d = lead; d < tensor->rank; d++)
        found *= tensor->shape[d];
    if (tensor->dtype != DR_F32 || tensor->rank < lead || found != width ||
        tensor->shape[lead - 1] != v->rows || (v->steps && tensor->shape[0] != v->steps)) {
        char shape[96];
        return dr_fail_field(err, DR_DATA_LOSS, v->name,
                             "probe.safetensors: %s is %s %s, expected F32 of %d steps, %d rows, "
                             "%lld elements",
                             v->name, dr_dtype_name(tensor->dtype),
                             dr_shape_format(shape, sizeof shape, tensor->rank, tensor->shape),
                             v->steps ? v->steps : 1, v->rows, (long long)width);
    }
    *values = tensor->data;
    return DR_OK;
}

static dr_code compare(walk *w, const visit *v, dr_error *err)
{
    const float *stored;
    dr_code code = find_tensor(&stored, (check *)w, v, err);
    if (code != DR_OK || !stored)
        return code;
    size_t count = (size_t)v->rows * (size_t)dr_shape_width(v->shape);
    size_t first = (size_t)v->step * count;
    if (v->input) {
        memcpy(v->values, stored + first, count * sizeof *stored);
        return DR_OK;
    }
    double scale = 1;
    for (size_t i = 0; i < count * (size_t)(v->steps ? v->steps : 1); i++)
        scale = fmax(scale, fabs(stored[i]));
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)v->values[i] - stored[first + i]) <= TOLERANCE * scale))
            return dr_fail_field(err, DR_DATA_LOSS, v->name,
                                 "probe.safetensors: %s[%zu] is %.7g, the weights give %.7g, "
                                 "expected a difference of at most %.1e",
                                 v->name, first + i, stored[first + i], v->values[i],
                                 TOLERANCE * scale);
    return DR_OK;
}

/* The first input of a verb that the file has. */
static const char *find_input(const dr_safetensors *file, const char *prefix)
{
    for (uint32_t i = 0; i < dr_safetensors_count(file); i++)
        if (strncmp(dr_safetensors_name(file, i), prefix, strlen(prefix)) == 0)
            return dr_safetensors_name(file, i);
    return NULL;
}

/* Steps and rows from the shape of any input; where they disagree, the walk says so. */
static dr_code read_size(int *steps, int *rows, const dr_safetensors *file, const char *prefix,
                         dr_error *err)
{
    const char *name = find_input(file, prefix);
    const dr_tensor *tensor = name ? dr_safetensors_find(file, name) : NULL;
    name = name ? name : prefix; /* for the message */
    if (!tensor || tensor->rank < 2 || tensor->shape[0] < 1 || tensor->shape[0] > STEPS_MAX ||
        tensor->shape[1] < 1 || tensor->shape[1] > ROWS_MAX)
        return dr_fail_field(err, DR_DATA_LOSS, name,
                             "probe.safetensors: %s is %s, expected [1 to %d steps, 1 to %d rows, "
                             "...]",
                             name, tensor ? "out of bounds" : "missing", STEPS_MAX, ROWS_MAX);
    *steps = (int)tensor->shape[0];
    *rows = (int)tensor->shape[1];
    return DR_OK;
}

static dr_code check_all_used(const check *c, dr_error *err)
{
    for (uint32_t i = 0; i < dr_safetensors_count(c->file); i++)
        if (!c->used[i])
            return dr_fail_field(err, DR_DATA_LOSS, dr_safetensors_name(c->file, i),
                                 "probe.safetensors: %s is no input or output of this model",
                                 dr_safetensors_name(c->file, i));
    return DR_OK;
}

dr_code dr_probe_check(const dr_safetensors *probe, const dr_model *model, dr_error *err)
{
    check c = {.walk = {.model = model, .visit = compare}, .file = probe};
    if (dr_safetensors_count(probe) > RECORDS_MAX)
        return dr_fail(err, DR_DATA_LOSS, "probe.safetensors: %u tensors, expected at most %d",
                       dr_safetensors_count(probe), RECORDS_MAX);
    dr_code code = read_size(&c.walk.observes, &c.walk.rows, probe, "observe.in", err);
    if (code == DR_OK)
        code = read_size(&c.walk.steps, &c.walk.rows, probe, "step.in.action", err);
    if (code == DR_OK)
        code = init_walk(&c.walk, err);
    if (code != DR_OK)
        return code;
    code = run_walk(&c.walk, err);
    deinit_walk(&c.walk);
    return code == DR_OK ? check_all_used(&c, err) : code;
}
