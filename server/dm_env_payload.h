/* dm_env_payload.h: dm_env_rpc's types beside ours, and the numbers in a payload. */
#ifndef DR_SERVER_DM_ENV_PAYLOAD_H
#define DR_SERVER_DM_ENV_PAYLOAD_H
#include "dm_env_rpc/v1/dm_env_rpc.pb-c.h"
#include "models/base/arena.h"
#include "models/format/space.h"

typedef DmEnvRpc__V1__DataType dr_dm_env_dtype;

/* The elements of a payload, of its own type (BOOL: protobuf_c_boolean). */
typedef struct {
    size_t count;
    const void *data;
} dr_dm_env_elements;

/* One action or observation as a client sees it. */
typedef struct {
    uint64_t uid;
    const char *name;          /* the client's */
    const char *tensor;        /* ours: "action", "observation.image", "reward" */
    const dr_space_leaf *leaf; /* of the model's space; NULL: one FP32 of a head */
    dr_dm_env_dtype dtype;
    bool is_action;
    DmEnvRpc__V1__TensorSpec message;
} dr_dm_env_spec;

/* The type that a part of a space has there. */
dr_dm_env_dtype dr_dm_env_dtype_of(const dr_space_leaf *leaf);
/* Our type of the same form. */
dr_dtype dr_dm_env_ours(dr_dm_env_dtype dtype);
/* "floats", ... */
const char *dr_dm_env_payload_name(int payload_case);
dr_dm_env_elements dr_dm_env_get_elements(const DmEnvRpc__V1__Tensor *tensor);
/* Of a type of numbers. */
double dr_dm_env_get_number_at(dr_dm_env_dtype dtype, const void *data, size_t index);
/* Bounds of a number of a Box or Discrete, as they can be said in its type: those of an action are
 * finite, those of an observation may be infinite. */
double dr_dm_env_low(const dr_dm_env_spec *spec, size_t index);
double dr_dm_env_high(const dr_dm_env_spec *spec, size_t index);
/* A message FloatArray, ... around `data`, which is borrowed; NULL: no memory. */
void *dr_dm_env_new_array(dr_dm_env_dtype dtype, size_t count, void *data, dr_arena *arena);
/* Writes a number into element `index` of data of that type. */
void dr_dm_env_set_number(dr_dm_env_dtype dtype, void *data, size_t index, double value);

#endif
