/* manifest.h: manifest.json, checked field by field.
 *
 *   {"format": 1, "family": "rssm", "name": "pendulum", "config": {...},
 *    "observation_space": {...}, "action_space": {...},
 *    "planning": {...}, "training": {...}, "source": {...}}
 *
 * format, family, name, config and both spaces are required. config belongs to the family,
 * which checks it; here it is an object and no more. planning belongs to the planner in the same
 * way: here it is a flat object of numbers, words and truth values. training and
 * source are kept as they are. Any other key is refused, and a format above 1 is answered with
 * "made for a newer dreamd".
 */
#ifndef DR_FORMAT_MANIFEST_H
#define DR_FORMAT_MANIFEST_H
#include "models/base/buf.h"
#include "models/base/error.h"
#include "models/format/json.h"
#include "models/format/space.h"

enum {
    DR_MANIFEST_FORMAT = 1,
    DR_MANIFEST_BYTES_MAX = 4 << 20,
    DR_FAMILY_NAME_MAX = 31, /* bytes */
    DR_MODEL_NAME_MAX = 64   /* bytes */
};

typedef struct {
    char family[DR_FAMILY_NAME_MAX + 1];
    char name[DR_MODEL_NAME_MAX + 1];
    dr_space *observation_space; /* owned, as all below */
    dr_space *action_space;
    dr_json *config;   /* an object */
    dr_json *planning; /* an object, perhaps empty */
    dr_json *training; /* an object, or NULL */
    dr_json *source;   /* an object, or NULL */
} dr_manifest;

/* INVALID_ARGUMENT with file, path, what was found and what is allowed. */
DR_CHECKED dr_code dr_manifest_parse(dr_manifest **out, const char *text, size_t length,
                                     dr_error *err);
void dr_manifest_destroy(dr_manifest *manifest);
/* Appends it as indented JSON; dr_manifest_parse() gives the same manifest back. */
DR_CHECKED dr_code dr_manifest_write(dr_buf *out, const dr_manifest *manifest, dr_error *err);

/* For the readers of config and planning: messages say "manifest.json: config.KEY ...".
 * Borrowed from the manifest. */
dr_json_scope dr_manifest_config(const dr_manifest *manifest);
dr_json_scope dr_manifest_planning(const dr_manifest *manifest);

/* 1 where `name` is [a-z0-9][a-z0-9_.-]* of at most 64 bytes: a model's name. */
int dr_model_name_ok(const char *name);

#endif
