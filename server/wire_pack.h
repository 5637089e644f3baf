/* wire_pack.h: replies of verbs as bytes, faster than by their descriptors.
 *
 * The bytes are those of protobuf_c_message_pack(), which walks the fields of every message twice; a
 * Step of one row spends more time there than in its checks. */
#ifndef DR_SERVER_WIRE_PACK_H
#define DR_SERVER_WIRE_PACK_H
#include <stddef.h>
#include <stdint.h>

#include "dreamd/v1/simulation.pb-c.h"

size_t dr_wire_packed_size(const Dreamd__V1__StepResponse *reply);
/* Returns the size. */
size_t dr_wire_pack(uint8_t *out, const Dreamd__V1__StepResponse *reply);

#endif
