/* fuzz_manifest.c: any text is either refused, or written and read back as the same manifest. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "models/base/check.h"
#include "models/format/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    dr_manifest *first, *again;
    dr_error err;
    if (dr_manifest_parse(&first, (const char *)bytes, length, &err) != DR_OK) {
        DR_ASSERT(err.message[0]);
        return 0;
    }
    dr_buf text;
    dr_buf_init(&text, DR_MANIFEST_BYTES_MAX);
    DR_ASSERT(dr_manifest_write(&text, first, &err) == DR_OK);
    DR_ASSERT(dr_manifest_parse(&again, (const char *)text.bytes, text.length, &err) == DR_OK);
    DR_ASSERT(strcmp(first->name, again->name) == 0 && strcmp(first->family, again->family) == 0);
    DR_ASSERT(dr_json_equal(first->config, again->config));
    DR_ASSERT(dr_json_equal(first->planning, again->planning));
    DR_ASSERT(dr_space_equal(first->observation_space, again->observation_space));
    DR_ASSERT(dr_space_equal(first->action_space, again->action_space));
    dr_manifest_destroy(first);
    dr_manifest_destroy(again);
    dr_buf_deinit(&text);
    return 0;
}
