/* fixture_model.c: real checkpoints of public code. */
#include "tests/support/fixture_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

bool fixture_model_find(char folder[256], const char *name)
{
    const char *fixtures = getenv("DREAMD_FIXTURES");
    if (fixtures) {
        snprintf(folder, 256, "%s/%s", fixtures, name);
        if (access(folder, R_OK) == 0)
            return true;
    }
    printf("SKIPPED: %s: DREAMD_FIXTURES is %s\n", name, fixtures ? fixtures : "not set");
    return false;
}

void fixture_model_import(const char *fixture, const char *out)
{
    fixture_model_import_as("dreamerv3-torch", fixture, "latest.pt", "config.json", out);
}

void fixture_model_import_as(const char *source, const char *fixture, const char *file,
                             const char *config, const char *out)
{
    char words[800];
    snprintf(words, sizeof words, "%s '%s/%s' --config '%s/%s'", source, fixture, file, fixture,
             config);
    fixture_model_import_words(words, out);
}

void fixture_model_import_words(const char *words, const char *out)
{
    const char *python = access(".venv/bin/python", X_OK) == 0 ? ".venv/bin/python" : "python3";
    char command[1200];
    snprintf(command, sizeof command, "%s client/python/dreamd-import %s --out '%s' >&2", python,
             words, out);
    int status = system(command);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        abort();
    }
}
