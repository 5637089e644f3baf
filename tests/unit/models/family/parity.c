/* Goal: the same numbers as the public implementation, over closed loops.
 * Method: the small golden files of this tree, made by an independent PyTorch script, are driven
 * like probes; each family adds its own, and real checkpoints that go through the importer. What
 * is skipped is counted by tensor. The one line that `make check` repeats is printed last. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "models/base/mem.h"
#include "models/family/family.h"
#include "tests/unit/models/family/parity.h"

static dr_model *open_model(const char *folder)
{
    dr_error err = {0};
    dr_checkpoint *checkpoint;
    dr_model *model;
    cr_assert(eq(int, dr_checkpoint_open(&checkpoint, folder, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_model_open(&model, checkpoint, &err), DR_OK), "%s", err.message);
    dr_checkpoint_release(checkpoint);
    return model;
}

static dr_safetensors *open_golden(const char *path)
{
    dr_error err = {0};
    dr_safetensors *golden;
    cr_assert(eq(int, dr_safetensors_open(&golden, path, 1 << 24, &err), DR_OK), "%s", err.message);
    return golden;
}

/* ---- golden files of this tree ---- */

static int compare_golden(const char *name)
{
    char folder[256], path[256];
    snprintf(path, sizeof path, "tests/golden/rssm/%s.safetensors", name);
    snprintf(folder, sizeof folder, "tests/golden/rssm/%s", name);
    if (access(folder, F_OK) != 0)
        snprintf(folder, sizeof folder, "models/zoo/%s", name);
    dr_error err = {0};
    dr_model *model = open_model(folder);
    dr_safetensors *golden = open_golden(path);
    cr_assert(eq(int, dr_probe_check(golden, model, &err), DR_OK), "%s: %s", name, err.message);
    int tensors = 0;
    for (uint32_t i = 0; i < dr_safetensors_count(golden); i++)
        tensors += strstr(dr_safetensors_name(golden, i), ".out.") != NULL;
    dr_safetensors_close(golden);
    dr_model_release(model);
    return tensors;
}

static int compare_goldens(void)
{
    int tensors = 0;
    DIR *folder = opendir("tests/golden/rssm");
    cr_assert(folder != NULL, "run from the root of the tree");
    for (struct dirent *entry; (entry = readdir(folder));) {
        char name[64];
        size_t length = strcspn(entry->d_name, ".");
        if (strcmp(entry->d_name + length, ".safetensors") != 0 || length >= sizeof name)
            continue;
        memcpy(name, entry->d_name, length);
        name[length] = 0;
        tensors += compare_golden(name);
    }
    closedir(folder);
    return tensors;
}

Test(parity, every_golden_tensor_agrees_with_the_public_implementation, .timeout = 300)
{
    parity_count count = {.tensors = compare_goldens()};
    cr_assert(gt(int, count.tensors, 0));
    parity_rssm(&count);
    parity_tdmpc2(&count);
    parity_world_models(&count);
    printf("parity: %d tensors, %d skipped\n", count.tensors, count.skipped);
}
