/* compute_cache.c: the most recently used graphs of one compute thread. */
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/compute_impl.h"

dr_code dr_compute_cache_init(dr_compute_cache *cache, dr_error *err)
{
    *cache = (dr_compute_cache){
        .keys = dr_mem_zalloc(DR_BATCH_ROWS_MAX, sizeof *cache->keys),
        .graphs = dr_mem_zalloc(DR_GRAPHS_KEPT, sizeof *cache->graphs),
    };
    if (!cache->keys || !cache->graphs) {
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

void dr_compute_cache_deinit(dr_compute_cache *cache)
{
    for (int i = 0; cache->graphs && i < DR_GRAPHS_KEPT; i++) {
        drop_graph(&cache->graphs[i]);
    }
    dr_mem_free(cache->keys);
    dr_mem_free(cache->graphs);
    *cache = (dr_compute_cache){0};
}

void dr_compute_cache_forget(dr_compute_cache *cache, const dr_model *model)
{
    for (int i = 0; i < DR_GRAPHS_KEPT; i++) {
        if (cache->graphs[i].model == model) {
            drop_graph(&cache->graphs[i]);
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
    dr_model_find_state(&kept->state, work->model, compiled);
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
