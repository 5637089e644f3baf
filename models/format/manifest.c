/* manifest.c: manifest.json, read and written. */
#include "models/format/manifest.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

static const char FILE_NAME[] = "manifest.json";

int dr_model_name_ok(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t length = strlen(name);
    return length >= 1 && length <= DR_MODEL_NAME_MAX && strspn(name, letters) == length &&
           !strchr("_.-", name[0]);
}

static dr_code check_format(const dr_json_scope *in, dr_error *err)
{
    int64_t format;
    dr_code code = dr_json_get_int(&format, in, "format", 1, INT64_MAX, err);
    if (code == DR_OK && format > DR_MANIFEST_FORMAT) {
        code = dr_json_fail(err, in, "format",
                            "at most %d: this checkpoint was made for a newer dreamd",
                            DR_MANIFEST_FORMAT);
    }
    return code;
}

/* A word that is also a folder's or a URL's: the rule for model names holds for families too. */
static dr_code read_word(char *out, size_t max_bytes, const dr_json_scope *in, const char *key,
                         dr_error *err)
{
    const char *text = "";
    dr_code code = dr_json_get_string(&text, in, key, max_bytes, err);
    if (code == DR_OK && !dr_model_name_ok(text)) {
        code = dr_json_fail(
            err, in, key, "1 to %zu of a-z 0-9 _ . - beginning with a letter or digit", max_bytes);
    }
    if (code == DR_OK) {
        memcpy(out, text, strlen(text) + 1);
    }
    return code;
}

static dr_code read_object(dr_json **out, const dr_json_scope *in, const char *key, dr_error *err)
{
    dr_json_scope inner;
    dr_code code = dr_json_get_object(&inner, in, key, err);
    if (code == DR_OK) {
        *out = dr_json_retain(inner.object);
    }
    return code;
}

static dr_code read_planning(dr_manifest *m, const dr_json_scope *in, dr_error *err)
{
    if (!dr_json_find(in, "planning")) {
        return dr_json_parse(&m->planning, "{}", 2, FILE_NAME, NULL, err);
    }
    dr_code code = read_object(&m->planning, in, "planning", err);
    if (code != DR_OK) {
        return code;
    }
    dr_json_scope planning = dr_manifest_planning(m);
    void *iterator = NULL;
    const char *key;
    for (const dr_json *v; (v = dr_json_next(m->planning, &iterator, &key));) {
        dr_json_kind kind = dr_json_get_kind(v);
        if (kind == DR_JSON_NULL || kind == DR_JSON_ARRAY || kind == DR_JSON_OBJECT) {
            return dr_json_fail(err, &planning, key, "a number, a word, true or false");
        }
    }
    return DR_OK;
}

static dr_code read_fields(dr_manifest *m, const dr_json_scope *in, dr_error *err)
{
    static const char *const keys[] = {"format",   "family",   "name",
                                       "config",   "planning", "observation_space",
                                       "training", "source",   "action_space"};
    dr_code code = check_format(in, err); /* first: a newer format may have other keys */
    if (code == DR_OK) {
        code = dr_json_only_keys(in, keys, DR_COUNT(keys), err);
    }
    if (code == DR_OK) {
        code = read_word(m->family, DR_FAMILY_NAME_MAX, in, "family", err);
    }
    if (code == DR_OK) {
        code = read_word(m->name, DR_MODEL_NAME_MAX, in, "name", err);
    }
    if (code == DR_OK) {
        code = read_object(&m->config, in, "config", err);
    }
    if (code == DR_OK) {
        code = dr_space_parse(&m->observation_space, in, "observation_space", err);
    }
    if (code == DR_OK) {
        code = dr_space_parse(&m->action_space, in, "action_space", err);
    }
    if (code == DR_OK) {
        code = read_planning(m, in, err);
    }
    if (code == DR_OK && dr_json_find(in, "training")) {
        code = read_object(&m->training, in, "training", err);
    }
    if (code == DR_OK && dr_json_find(in, "source")) {
        code = read_object(&m->source, in, "source", err);
    }
    return code;
}

dr_code dr_manifest_parse(dr_manifest **out, const char *text, size_t length, dr_error *err)
{
    static const dr_json_limits limits = {
        .bytes_max = DR_MANIFEST_BYTES_MAX, .depth_max = 32, .values_max = 1 << 17};
    dr_json *json;
    dr_code code = dr_json_parse(&json, text, length, FILE_NAME, &limits, err);
    if (code != DR_OK) {
        return code;
    }
    dr_json_scope in;
    code = dr_json_scope_init(&in, json, FILE_NAME, "", err);
    dr_manifest *m = code == DR_OK ? dr_mem_zalloc(1, sizeof *m) : NULL;
    if (code == DR_OK) {
        code = m ? read_fields(m, &in, err) : dr_mem_fail(err, FILE_NAME);
    }
    dr_json_release(json);
    if (code != DR_OK) {
        dr_manifest_destroy(m);
        return code;
    }
    *out = m;
    return DR_OK;
}

void dr_manifest_destroy(dr_manifest *m)
{
    if (!m) {
        return;
    }
    dr_space_destroy(m->observation_space);
    dr_space_destroy(m->action_space);
    dr_json_release(m->config);
    dr_json_release(m->planning);
    dr_json_release(m->training);
    dr_json_release(m->source);
    dr_mem_free(m);
}

dr_code dr_manifest_write(dr_buf *out, const dr_manifest *m, dr_error *err)
{
    dr_json_writer w;
    dr_json_writer_init(&w, out, 2);
    dr_json_write_object(&w, NULL);
    dr_json_write_int(&w, "format", DR_MANIFEST_FORMAT);
    dr_json_write_string(&w, "family", m->family);
    dr_json_write_string(&w, "name", m->name);
    dr_json_write_value(&w, "config", m->config);
    dr_space_write(&w, "observation_space", m->observation_space);
    dr_space_write(&w, "action_space", m->action_space);
    dr_json_write_value(&w, "planning", m->planning);
    if (m->training) {
        dr_json_write_value(&w, "training", m->training);
    }
    if (m->source) {
        dr_json_write_value(&w, "source", m->source);
    }
    dr_json_write_end(&w);
    return dr_json_writer_finish(&w, err);
}

dr_json_scope dr_manifest_config(const dr_manifest *manifest)
{
    return (dr_json_scope){.object = manifest->config, .file = FILE_NAME, .path = "config"};
}

dr_json_scope dr_manifest_planning(const dr_manifest *manifest)
{
    return (dr_json_scope){.object = manifest->planning, .file = FILE_NAME, .path = "planning"};
}
