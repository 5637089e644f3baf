/* model_write: writes the checkpoint of a tiny rssm model with random weights, probe and card:
 *     model_write FOLDER [SEED]   → FOLDER is made; the seed is the weights (0) */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/tiny_model.h"

int main(int argc, char **argv)
{
    dr_error err = {0};
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: model_write FOLDER [SEED]\n");
        return 2;
    }
    uint64_t seed = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    if (tiny_model_write(argv[1], seed, &err) != DR_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return 0;
}
