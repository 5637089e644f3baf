/* replay.c: runs a fuzz target over files, so that every crash once found stays fixed.
 *
 *   build/tests/fuzz_safetensors tests/fuzz/corpus/safetensors/...
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file || fseek(file, 0, SEEK_END) != 0) {
            perror(argv[i]);
            return 1;
        }
        long length = ftell(file);
        rewind(file);
        /* Exactly the input's size, so that a read past its end is seen. */
        uint8_t *bytes = malloc(length > 0 ? (size_t)length : 1);
        if (!bytes || fread(bytes, 1, (size_t)length, file) != (size_t)length) {
            perror(argv[i]);
            return 1;
        }
        fclose(file);
        LLVMFuzzerTestOneInput(bytes, (size_t)length);
        free(bytes);
    }
    printf("replayed %d inputs\n", argc - 1);
    return 0;
}
