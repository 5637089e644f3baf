/* cmd_models.c: dreamctl models list | show | register | alias | load | unload | delete. */
#include <stdlib.h>
#include <string.h>

#include "client/c/internal.h"
#include "client/ctl/ctl.h"
#include "dreamd/v1/registry.pb-c.h"

#define REGISTER_TIMEOUT_S 60.0

static const char *const help =
    "dreamctl models list\n"
    "dreamctl models show pendulum@latest            one checkpoint in full, with its card\n"
    "dreamctl models register models/zoo/pendulum    send a checkpoint folder\n"
    "dreamctl models register DIR --name mine --alias best\n"
    "dreamctl models alias pendulum@best 3           point an alias at version 3\n"
    "dreamctl models alias pendulum@best --remove\n"
    "dreamctl models load pendulum                   before the first session asks for it\n"
    "dreamctl models unload pendulum\n"
    "dreamctl models delete pendulum@3               one version, from disk as well\n";

typedef struct {
    ctl_arguments arguments;
    dreamd_client *client;
    const char *name, *alias, *expect;
    bool remove;
} state;

static json_t *json_of_model(const dreamd_model *model)
{
    return json_pack("{s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:I}", "name", model->name,
                     "version", (json_int_t)model->version, "aliases", model->aliases, "family",
                     model->family, "checkpoint", model->checkpoint, "parameters",
                     (json_int_t)model->parameters, "bytes", (json_int_t)model->bytes, "row_bytes",
                     (json_int_t)model->row_bytes, "session_rows_max",
                     (json_int_t)model->session_rows_max, "loaded", (int)model->loaded, "sessions",
                     (json_int_t)model->sessions);
}

static int list(state *s, dreamd_error *err)
{
    const char *const columns[] = {
        "name",      "version",          "aliases",    "family", "parameters",
        "row_bytes", "session_rows_max", "checkpoint", "loaded", "sessions",
        NULL};
    dreamd_model *models;
    size_t count;
    int code = dreamd_models_list(&models, &count, s->client, err);
    if (code != DREAMD_OK) {
        return code;
    }
    json_t *rows = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(rows, json_of_model(&models[i]));
    }
    free(models);
    ctl_print_table(&s->arguments.common, rows, columns);
    return DREAMD_OK;
}

static int show(state *s, dreamd_error *err)
{
    Dreamd__V1__GetModelRequest request = DREAMD__V1__GET_MODEL_REQUEST__INIT;
    Dreamd__V1__GetModelResponse *reply;
    request.model = (char *)s->arguments.words[1];
    int code = dreamd__call(&reply, s->client, "/dreamd.v1.Registry/GetModel", &request.base,
                            &dreamd__v1__get_model_response__descriptor, err);
    if (code == DREAMD_OK) {
        ctl_print(&s->arguments.common, ctl_json_of(&reply->base));
        dreamd__v1__get_model_response__free_unpacked(reply, NULL);
    }
    return code;
}

static void on_progress(uint64_t done, uint64_t total, void *ud)
{
    (void)ud;
    ctl_progress("sending", done, total);
}

static int register_folder(state *s, dreamd_error *err)
{
    const dreamd_register_options options = {
        .name = s->name, .alias = s->alias, .checkpoint = s->expect, .progress = on_progress};
    dreamd_model model;
    bool created;
    if (s->arguments.common.timeout_s <= 0) {
        dreamd_set_timeout(s->client, (uint32_t)(REGISTER_TIMEOUT_S * 1000));
    }
    int code =
        dreamd_model_register(&model, &created, s->client, s->arguments.words[1], &options, err);
    ctl_progress_end();
    if (code == DREAMD_OK) {
        json_t *value = json_of_model(&model);
        json_object_set_new(value, "created", json_boolean(created));
        json_object_del(value, "aliases"); /* the daemon's answer does not say them */
        ctl_print(&s->arguments.common, value);
    }
    return code;
}

static int load_or_unload(state *s, dreamd_error *err)
{
    dreamd_model model;
    const char *name = s->arguments.words[1];
    int code = strcmp(s->arguments.words[0], "load") == 0
                   ? dreamd_model_load(&model, s->client, name, err)
                   : dreamd_model_unload(&model, s->client, name, err);
    if (code == DREAMD_OK) {
        json_t *value = json_of_model(&model);
        json_object_del(value, "aliases");
        ctl_print(&s->arguments.common, value);
    }
    return code;
}

static int delete_version(state *s, dreamd_error *err)
{
    int code = dreamd_model_delete(s->client, s->arguments.words[1], err);
    if (code == DREAMD_OK) {
        ctl_print(&s->arguments.common, json_pack("{s:s}", "deleted", s->arguments.words[1]));
    }
    return code;
}

/* "name@alias VERSION" or "name@alias --remove". */
static int set_alias(state *s, dreamd_error *err)
{
    char name[128];
    const char *at = strchr(s->arguments.words[1], '@');
    char *end = NULL;
    uint64_t version = 0;
    if (!at || !at[1] || at == s->arguments.words[1] || at - s->arguments.words[1] > 127) {
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT, "\"%s\": expected NAME@ALIAS",
                            s->arguments.words[1]);
    }
    if (!s->remove) {
        version = strtoull(s->arguments.words[2], &end, 10);
        if (version == 0 || *end) {
            return dreamd__fail(err, DREAMD_INVALID_ARGUMENT,
                                "version is \"%s\", expected a whole number from 1",
                                s->arguments.words[2]);
        }
    }
    snprintf(name, sizeof name, "%.*s", (int)(at - s->arguments.words[1]), s->arguments.words[1]);
    int code = dreamd_model_set_alias(s->client, name, at + 1, version, err);
    if (code == DREAMD_OK) {
        ctl_print(&s->arguments.common,
                  json_pack("{s:s, s:s, s:I, s:b}", "name", name, "alias", at + 1, "version",
                            (json_int_t)version, "removed", (int)s->remove));
    }
    return code;
}

static const struct {
    const char *name;
    size_t words; /* after it */
    const char *words_name;
    int (*run)(state *s, dreamd_error *err);
} verbs[] = {
    {"list", 0, "", list},
    {"show", 1, "MODEL", show},
    {"register", 1, "FOLDER", register_folder},
    {"alias", 2, "NAME@ALIAS VERSION", set_alias},
    {"load", 1, "MODEL", load_or_unload},
    {"unload", 1, "MODEL", load_or_unload},
    {"delete", 1, "NAME@VERSION", delete_version},
};

static int run(state *s, int (*verb)(state *, dreamd_error *))
{
    dreamd_error err;
    s->client = ctl_connect(&s->arguments.common);
    if (!s->client) {
        return CTL_FAILED;
    }
    int code = verb(s, &err);
    dreamd_disconnect(s->client);
    return code == DREAMD_OK ? CTL_DONE : ctl_fail(&s->arguments.common, &err);
}

int ctl_cmd_models(int argc, char **argv)
{
    state s = {0};
    const ctl_option options[] = {
        {"name", CTL_TEXT, &s.name, NULL, "NAME", "register: instead of the manifest's name"},
        {"alias", CTL_TEXT, &s.alias, NULL, "ALIAS", "register: point it at the new version"},
        {"expect", CTL_TEXT, &s.expect, NULL, "DIGEST", "register: refuse any other checkpoint"},
        {"remove", CTL_FLAG, &s.remove, NULL, NULL, "alias: remove it"},
        {0},
    };
    if (!ctl_parse(&s.arguments, argc, argv, options, "models")) {
        return CTL_USAGE;
    }
    if (s.arguments.common.help) {
        ctl_print_help(help, options);
        return CTL_DONE;
    }
    const char *word = s.arguments.word_count ? s.arguments.words[0] : "list";
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(word, verbs[i].name) == 0) {
            size_t wanted = verbs[i].words - (verbs[i].run == set_alias && s.remove ? 1 : 0);
            if (s.arguments.word_count > 0 && s.arguments.word_count - 1 != wanted) {
                return ctl_usage("models", "expected: dreamctl models %s %s", word,
                                 verbs[i].words_name);
            }
            return run(&s, verbs[i].run);
        }
    }
    return ctl_usage("models",
                     "\"%s\" is none of list, show, register, alias, load, unload, delete", word);
}
