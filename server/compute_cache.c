/* compute_cache.c: the most recently used graphs and planners of one compute thread. */
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/compute_impl.h"

dr_code dr_compute_cache_init(dr_compute_cache *cache, dr_error *err)
{
    *cache = (dr_compute_cache){
        .keys = dr_mem_zalloc(DR_BATCH_ROWS_MAX, sizeof *cache->keys),
        .graphs = dr_mem_zalloc(DR_GRAPHS_KEPT, sizeof *cache->graphs),
        .planners = dr_mem_zalloc(DR_PLANNERS_KEPT, sizeof *cache->planners),
    };
    if (!cache->keys || !cache->graphs || !cache->planners) {
        dr_compute_cache_deinit(cache);
        return dr_mem_fail(err, "cache of a compute thread");
    }
    return DR_OK;
}

static void drop_graph(dr_kept_graph *kept)
{
    if (kept->model) {
        dr_compiled_destroy(kept->compiled);
        dr_model_release(kept->model);
        *kept = (dr_kept_graph){0};
    }
}

static void drop_planner(dr_kept_planner *kept)
{
    if (kept->model) {
        dr_planner_destroy(kept->planner);
        dr_model_release(kept->model);
        *kept = (dr_kept_planner){0};
    }
}

void dr_compute_cache_deinit(dr_compute_cache *cache)
{
    for (int i = 0; cache->graphs && i < DR_GRAPHS_KEPT; i++) {
        drop_graph(&cache->graphs[i]);
    }
    for (int i = 0; cache->planners && i < DR_PLANNERS_KEPT; i++) {
        drop_planner(&cache->planners[i]);
    }
    dr_mem_free(cache->keys);
    dr_mem_free(cache->graphs);
    dr_mem_free(cache->planners);
    *cache = (dr_compute_cache){0};
}

void dr_compute_cache_forget(dr_compute_cache *cache, const dr_model *model)
{
    for (int i = 0; i < DR_GRAPHS_KEPT; i++) {
        if (cache->graphs[i].model == model) {
            drop_graph(&cache->graphs[i]);
        }
    }
    for (int i = 0; i < DR_PLANNERS_KEPT; i++) {
        if (cache->planners[i].model == model) {
            drop_planner(&cache->planners[i]);
        }
    }
}

/* ---- graphs ---- */

static dr_code compile(dr_kept_graph *kept, const dr_verb_work *work, dr_error *err)
{
    const dr_lane_key *key = &work->work.key;
    const dr_graph *graph = dr_model_get_graph(work->model, (dr_verb)key->verb);
    int graph_count = dr_graph_output_count(graph);
    const char *names[DR_OUTPUTS_MAX];
    int count = 0;
    for (int i = 0; i < graph_count && i < DR_OUTPUTS_MAX; i++) {
        if (key->outputs >> i & 1) {
            names[count++] = dr_graph_output_name(graph, i);
        }
    }
    dr_compiled *compiled;
    dr_code code = dr_model_compile(&compiled, work->model, (dr_verb)key->verb,
                                    (int)work->work.batch_rows, names, count, err);
    if (code != DR_OK) {
        return code;
    }
    dr_model_retain(work->model);
    *kept = (dr_kept_graph){
        .model = work->model, .verb = key->verb, .outputs = key->outputs, .compiled = compiled};
    for (int i = 0; i < graph_count && i < DR_OUTPUTS_MAX; i++) {
        bool wanted = key->outputs >> i & 1;
        kept->output_index[i] =
            wanted ? dr_compiled_find_output(compiled, dr_graph_output_name(graph, i)) : -1;
        DR_ASSERT(!wanted || kept->output_index[i] >= 0);
    }
    return DR_OK;
}

dr_code dr_compute_cache_graph(dr_kept_graph **out, dr_compute_cache *cache,
                               const dr_verb_work *work, dr_error *err)
{
    const dr_lane_key *key = &work->work.key;
    dr_kept_graph *oldest = &cache->graphs[0];
    dr_kept_graph *found = NULL;
    for (int i = 0; i < DR_GRAPHS_KEPT && !found; i++) {
        dr_kept_graph *kept = &cache->graphs[i];
        if (kept->model == work->model && kept->verb == key->verb &&
            kept->outputs == key->outputs) {
            found = kept;
        } else if (kept->used < oldest->used) {
            oldest = kept;
        }
    }
    if (!found) {
        drop_graph(oldest);
        dr_code code = compile(oldest, work, err);
        if (code != DR_OK) {
            return code;
        }
        found = oldest;
    }
    found->used = ++cache->batches;
    *out = found;
    return DR_OK;
}

/* ---- planners ---- */

dr_code dr_compute_cache_planner(dr_planner **out, dr_compute_cache *cache,
                                 const dr_plan_work *work, dr_error *err)
{
    dr_kept_planner *oldest = &cache->planners[0];
    dr_kept_planner *found = NULL;
    for (int i = 0; i < DR_PLANNERS_KEPT && !found; i++) {
        dr_kept_planner *kept = &cache->planners[i];
        /* Settings are zeroed before they are filled: equal ones are equal bytes. */
        if (kept->model == work->model &&
            memcmp(&kept->settings, &work->settings, sizeof kept->settings) == 0) {
            found = kept;
        } else if (kept->used < oldest->used) {
            oldest = kept;
        }
    }
    if (!found) {
        drop_planner(oldest);
        dr_planner *planner;
        dr_code code = dr_planner_create(&planner, work->model, &work->settings, err);
        if (code != DR_OK) {
            return code;
        }
        dr_model_retain(work->model);
        *oldest = (dr_kept_planner){.model = work->model, .planner = planner};
        memcpy(&oldest->settings, &work->settings, sizeof oldest->settings);
        found = oldest;
    }
    found->used = ++cache->batches;
    *out = found->planner;
    return DR_OK;
}
