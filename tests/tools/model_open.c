/* model_open: opens checkpoint folders as the daemon does, probe and all, and says what it found:
 *     model_open FOLDER...   → "NAME: COUNT weights", or a message and exit 1 */
#include <stdio.h>

#include "models/family/family.h"

static dr_code open_folder(const char *folder, dr_error *err)
{
    dr_checkpoint *checkpoint;
    dr_model *model;
    dr_code code = dr_checkpoint_open(&checkpoint, folder, err);
    if (code != DR_OK)
        return code;
    code = dr_model_open(&model, checkpoint, err);
    if (code == DR_OK) {
        printf("%s: %lld weights\n", dr_model_get_manifest(model)->name,
               (long long)dr_model_param_count(model));
        dr_model_release(model);
    }
    dr_checkpoint_release(checkpoint);
    return code;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        dr_error err = {0};
        if (open_folder(argv[i], &err) != DR_OK) {
            fprintf(stderr, "%s: %s\n", argv[i], err.message);
            return 1;
        }
    }
    return 0;
}
