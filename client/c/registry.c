/* registry.c: models and aliases. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/c/registry.h"

#define PATH(method) "/dreamd.v1.Registry/" method

static void copy(char *target, size_t size, const char *source)
{
    snprintf(target, size, "%s", source);
}

/* Aliases are filled where `model` is given. */
static void fill_model(dreamd_model *out, const Dreamd__V1__Checkpoint *from,
                       const Dreamd__V1__Model *model)
{
    *out = (dreamd_model){.version = from->version,
                          .parameters = from->parameters,
                          .bytes = from->bytes,
                          .row_bytes = from->row_bytes,
                          .session_rows_max = from->session_rows_max,
                          .sessions = from->sessions,
                          .loaded = from->loaded};
    copy(out->name, sizeof out->name, from->name);
    copy(out->checkpoint, sizeof out->checkpoint, from->checkpoint);
    copy(out->family, sizeof out->family, from->family);
    size_t length = 0;
    for (size_t i = 0; model && i < model->n_aliases; i++) {
        if (model->aliases[i]->version == from->version && length < sizeof out->aliases) {
            length += (size_t)snprintf(out->aliases + length, sizeof out->aliases - length, "%s%s",
                                       length ? "," : "", model->aliases[i]->alias);
        }
    }
}

/* Adds the checkpoints of one page to a growing array. */
static int add_page(dreamd_model **out, size_t *count, const Dreamd__V1__ListModelsResponse *page,
                    dreamd_error *err)
{
    for (size_t m = 0; m < page->n_models; m++) {
        const Dreamd__V1__Model *model = page->models[m];
        dreamd_model *grown = realloc(*out, (*count + model->n_checkpoints + 1) * sizeof **out);
        if (!grown) {
            return dreamd__no_memory(err);
        }
        *out = grown;
        for (size_t i = 0; i < model->n_checkpoints; i++) {
            fill_model(&grown[(*count)++], model->checkpoints[i], model);
        }
    }
    return DREAMD_OK;
}

int dreamd_models_list(dreamd_model **out, size_t *count, dreamd_client *client, dreamd_error *err)
{
    Dreamd__V1__ListModelsRequest request = DREAMD__V1__LIST_MODELS_REQUEST__INIT;
    char token[256] = "";
    int code;
    *out = NULL;
    *count = 0;
    do {
        Dreamd__V1__ListModelsResponse *reply;
        request.page_token = token;
        code = dreamd__call(&reply, client, PATH("ListModels"), &request.base,
                            &dreamd__v1__list_models_response__descriptor, err);
        if (code == DREAMD_OK) {
            code = add_page(out, count, reply, err);
            copy(token, sizeof token, reply->next_page_token);
            dreamd__v1__list_models_response__free_unpacked(reply, NULL);
        }
    } while (code == DREAMD_OK && token[0]);
    if (code != DREAMD_OK) {
        free(*out);
        *out = NULL;
        *count = 0;
    }
    return code;
}

int dreamd__model_take(dreamd_model *out, const Dreamd__V1__Checkpoint *checkpoint,
                       const Dreamd__V1__Model *model, dreamd_error *err)
{
    if (!checkpoint) {
        return dreamd__fail(err, DREAMD_INTERNAL, "the answer does not describe the checkpoint");
    }
    fill_model(out, checkpoint, model);
    return DREAMD_OK;
}

int dreamd_model_get(dreamd_model *out, dreamd_client *client, const char *model, dreamd_error *err)
{
    Dreamd__V1__GetModelRequest request = DREAMD__V1__GET_MODEL_REQUEST__INIT;
    Dreamd__V1__GetModelResponse *reply;
    request.model = (char *)model;
    int code = dreamd__call(&reply, client, PATH("GetModel"), &request.base,
                            &dreamd__v1__get_model_response__descriptor, err);
    if (code == DREAMD_OK) {
        code = dreamd__model_take(out, reply->checkpoint, reply->model, err);
        dreamd__v1__get_model_response__free_unpacked(reply, NULL);
    }
    return code;
}

int dreamd_model_load(dreamd_model *out, dreamd_client *client, const char *model,
                      dreamd_error *err)
{
    Dreamd__V1__LoadModelRequest request = DREAMD__V1__LOAD_MODEL_REQUEST__INIT;
    Dreamd__V1__LoadModelResponse *reply;
    request.model = (char *)model;
    int code = dreamd__call(&reply, client, PATH("LoadModel"), &request.base,
                            &dreamd__v1__load_model_response__descriptor, err);
    if (code == DREAMD_OK) {
        code = dreamd__model_take(out, reply->checkpoint, NULL, err);
        dreamd__v1__load_model_response__free_unpacked(reply, NULL);
    }
    return code;
}

int dreamd_model_unload(dreamd_model *out, dreamd_client *client, const char *model,
                        dreamd_error *err)
{
    Dreamd__V1__UnloadModelRequest request = DREAMD__V1__UNLOAD_MODEL_REQUEST__INIT;
    Dreamd__V1__UnloadModelResponse *reply;
    request.model = (char *)model;
    int code = dreamd__call(&reply, client, PATH("UnloadModel"), &request.base,
                            &dreamd__v1__unload_model_response__descriptor, err);
    if (code == DREAMD_OK) {
        code = dreamd__model_take(out, reply->checkpoint, NULL, err);
        dreamd__v1__unload_model_response__free_unpacked(reply, NULL);
    }
    return code;
}

int dreamd_model_delete(dreamd_client *client, const char *model, dreamd_error *err)
{
    Dreamd__V1__DeleteCheckpointRequest request = DREAMD__V1__DELETE_CHECKPOINT_REQUEST__INIT;
    Dreamd__V1__DeleteCheckpointResponse *reply;
    request.model = (char *)model;
    int code = dreamd__call(&reply, client, PATH("DeleteCheckpoint"), &request.base,
                            &dreamd__v1__delete_checkpoint_response__descriptor, err);
    if (code == DREAMD_OK) {
        dreamd__v1__delete_checkpoint_response__free_unpacked(reply, NULL);
    }
    return code;
}

int dreamd_model_set_alias(dreamd_client *client, const char *name, const char *alias,
                           uint64_t version, dreamd_error *err)
{
    Dreamd__V1__SetAliasRequest request = DREAMD__V1__SET_ALIAS_REQUEST__INIT;
    Dreamd__V1__SetAliasResponse *reply;
    request.name = (char *)name;
    request.alias = (char *)alias;
    if (version > 0) {
        request.target_case = DREAMD__V1__SET_ALIAS_REQUEST__TARGET_VERSION;
        request.version = version;
    } else {
        request.target_case = DREAMD__V1__SET_ALIAS_REQUEST__TARGET_REMOVE;
        request.remove = true;
    }
    int code = dreamd__call(&reply, client, PATH("SetAlias"), &request.base,
                            &dreamd__v1__set_alias_response__descriptor, err);
    if (code == DREAMD_OK) {
        dreamd__v1__set_alias_response__free_unpacked(reply, NULL);
    }
    return code;
}
