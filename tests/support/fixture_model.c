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
    char arguments[640];
    snprintf(arguments, sizeof arguments,
             "dreamerv3-torch '%s/latest.pt' --config '%s/config.json'", fixture, fixture);
    fixture_model_import_as(arguments, out);
}

void fixture_model_import_as(const char *arguments, const char *out)
{
    const char *python = access(".venv/bin/python", X_OK) == 0 ? ".venv/bin/python" : "python3";
    char command[1024];
    snprintf(command, sizeof command, "%s client/python/dreamd-import %s --out '%s' >&2", python,
             arguments, out);
    int status = system(command);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        abort();
    }
}
