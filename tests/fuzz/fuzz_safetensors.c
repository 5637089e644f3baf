/* fuzz_safetensors.c: any bytes are either refused, or every tensor can be read to its end. */
#include <stddef.h>
#include <stdint.h>

#include "models/base/check.h"
#include "models/format/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    dr_safetensors *file;
    dr_error err;
    if (dr_safetensors_parse(&file, bytes, length, "fuzz", &err) != DR_OK) {
        DR_ASSERT(err.message[0]);
        return 0;
    }
    volatile uint8_t sum = 0;
    size_t total = 0;
    for (uint32_t i = 0; i < dr_safetensors_count(file); i++) {
        const dr_tensor *tensor = dr_safetensors_tensor(file, i);
        DR_ASSERT(dr_tensor_check(tensor, &err) == DR_OK);
        DR_ASSERT(dr_safetensors_find(file, dr_safetensors_name(file, i)) == tensor);
        for (size_t j = 0; j < tensor->bytes; j++) {
            sum = (uint8_t)(sum + ((const uint8_t *)tensor->data)[j]);
        }
        total += tensor->bytes;
    }
    DR_ASSERT(total <= length);
    if (dr_safetensors_check_finite(file, &err) != DR_OK) {
        DR_ASSERT(err.message[0]);
    }
    dr_safetensors_close(file);
    return 0;
}
