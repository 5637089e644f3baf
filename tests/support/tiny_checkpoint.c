/* tiny_checkpoint.c: a checkpoint folder of a few hundred bytes. */
#include "tests/support/tiny_checkpoint.h"

#include <stdio.h>

#include "models/format/checkpoint.h"

const char tiny_manifest_format[] =
    "{\"format\": 1, \"family\": \"rssm\", \"name\": \"%s\", \"config\": {\"deter\": 8},\n"
    " \"observation_space\": {\"type\": \"Box\", \"shape\": [3], \"dtype\": \"float32\",\n"
    "                       \"low\": [-1, -1, null], \"high\": [1, 1, null]},\n"
    " \"action_space\": {\"type\": \"Box\", \"shape\": [1], \"dtype\": \"float32\",\n"
    "                  \"low\": -2, \"high\": 2},\n"
    " \"planning\": {\"method\": \"cem\", \"horizon\": 12}}\n";

static dr_code fill(dr_safetensors_writer *writer, const char *name, const float *values,
                    dr_error *err)
{
    const dr_tensor tensor = {
        .dtype = DR_F32, .rank = 2, .shape = {2, 2}, .data = values, .bytes = 16};
    return dr_safetensors_writer_add(writer, name, &tensor, err);
}

dr_code tiny_checkpoint_write(char digest[DR_DIGEST_HEX], const char *folder, const char *name,
                              float value, dr_error *err)
{
    char manifest[1024];
    int length = snprintf(manifest, sizeof manifest, tiny_manifest_format, name);
    const float values[4] = {value, 1, 2, 3};
    dr_safetensors_writer *weights = NULL, *probe = NULL;
    dr_code code = dr_safetensors_writer_create(&weights, err);
    if (code == DR_OK) {
        code = dr_safetensors_writer_create(&probe, err);
    }
    if (code == DR_OK) {
        code = fill(weights, "layer.weight", values, err);
    }
    if (code == DR_OK) {
        code = fill(probe, "in.action", values, err);
    }
    if (code == DR_OK) {
        const dr_checkpoint_parts parts = {.manifest = manifest,
                                           .manifest_length = (size_t)length,
                                           .weights = weights,
                                           .probe = probe,
                                           .card = "# tiny\n"};
        code = dr_checkpoint_write(digest, folder, &parts, err);
    }
    dr_safetensors_writer_destroy(weights);
    dr_safetensors_writer_destroy(probe);
    return code;
}
