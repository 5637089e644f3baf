/* Replies packed by hand are, byte for byte, what protobuf-c makes of them. */
#include "server/wire_pack.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

TestSuite(wire_pack, .timeout = 60);

static void expect_same(const Dreamd__V1__StepResponse *reply)
{
    size_t size = dreamd__v1__step_response__get_packed_size(reply);
    uint8_t *expected = malloc(size + 1), *found = malloc(size + 1);
    cr_assert(eq(sz, dr_wire_packed_size(reply), size));
    cr_assert(eq(sz, dreamd__v1__step_response__pack(reply, expected), size));
    cr_assert(eq(sz, dr_wire_pack(found, reply), size));
    cr_expect(eq(int, memcmp(expected, found, size), 0));
    free(expected);
    free(found);
}

Test(wire_pack, it_knows_all_fields)
{
    cr_expect(eq(u32, dreamd__v1__step_response__descriptor.n_fields, 4));
    cr_expect(eq(u32, dreamd__v1__tensor__descriptor.n_fields, 3));
}

Test(wire_pack, an_empty_reply)
{
    Dreamd__V1__StepResponse reply = DREAMD__V1__STEP_RESPONSE__INIT;
    expect_same(&reply);
}

Test(wire_pack, replies_of_all_sizes)
{
    static const size_t lengths[] = {0, 1, 3, 127, 128, 300, 16383, 16384, 70000};
    static const char *const names[] = {"reward", "",
                                        "observation.a_name_as_long_as_names_of_"
                                        "observations_may_be_in_a_manifest_of_ours"};
    enum { TENSORS = 3 };
    uint8_t *data = calloc(1, 70000);
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
        Dreamd__V1__StepResponse reply = DREAMD__V1__STEP_RESPONSE__INIT;
        Dreamd__V1__Tensor tensors[TENSORS], *pointers[TENSORS];
        ProtobufCBinaryData contents[TENSORS];
        int64_t shape[] = {(int64_t)lengths[l], 1, 65536, INT64_MAX, -1};
        for (size_t i = 0; i < TENSORS; i++) {
            dreamd__v1__tensor__init(&tensors[i]);
            tensors[i].name = (char *)names[i];
            tensors[i].datatype = "FP32";
            tensors[i].n_shape = (l + 2 * i) % 6;
            tensors[i].shape = shape;
            pointers[i] = &tensors[i];
            contents[i] = (ProtobufCBinaryData){.len = lengths[(l + i) % 9], .data = data};
        }
        reply.committed_step_id = l == 0 ? UINT64_MAX : (uint64_t)1 << (7 * l);
        reply.checkpoint =
            "sha256:0123456789012345678901234567890123456789012345678901234567890123";
        reply.n_tensors = reply.n_raw_contents = 1 + l % TENSORS;
        reply.tensors = pointers;
        reply.raw_contents = contents;
        expect_same(&reply);
    }
    free(data);
}
