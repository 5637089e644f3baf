/* imagine_table.c: trajectories as lines of CSV, in the order in which they come.
 *
 *   row,candidate,step,action[0],...,reward,...     a line a step
 *   row,candidate,return                            a line a trajectory
 */
#include <string.h>

#include "client/ctl/ctl.h"

static size_t elements_of(const dreamd_tensor *tensor)
{
    size_t count = 1;
    for (size_t i = 2; i < tensor->rank; i++) {
        count *= (size_t)tensor->shape[i];
    }
    return count;
}

static void print_names(const dreamd_session *session)
{
    printf("row,candidate%s", dreamd_tensor_find(session, "return") ? "" : ",step");
    for (size_t i = 0; i < dreamd_tensor_count(session); i++) {
        const dreamd_tensor *tensor = dreamd_tensor_get(session, i);
        size_t count = elements_of(tensor);
        for (size_t k = 0; k < count; k++) {
            printf(",%s", tensor->name);
            if (tensor->rank > 2) {
                printf("[%zu]", k);
            }
        }
    }
    printf("\n");
}

#define PRINT(wire, type, format, as)                   \
    if (strcmp(tensor->datatype, wire) == 0) {          \
        type x;                                         \
        memcpy(&x, bytes + index * sizeof x, sizeof x); \
        printf("," format, (as)x);                      \
        return;                                         \
    }

/* Floats as they read back exactly; what has no number here (half precision) stays empty. */
static void print_element(const dreamd_tensor *tensor, size_t index)
{
    const char *bytes = tensor->bytes;
    PRINT("FP32", float, "%.9g", double)
    PRINT("FP64", double, "%.17g", double)
    PRINT("INT64", int64_t, "%lld", long long)
    PRINT("INT32", int32_t, "%ld", long)
    PRINT("UINT8", uint8_t, "%u", unsigned)
    PRINT("BOOL", uint8_t, "%u", unsigned)
    printf(",");
}

void ctl_print_chunk(const dreamd_session *session, const dreamd_chunk *chunk, uint32_t candidates,
                     bool is_first)
{
    bool scores = dreamd_tensor_find(session, "return");
    uint32_t steps = scores ? 1 : chunk->steps;
    if (is_first) {
        print_names(session);
    }
    for (uint32_t i = 0; i < chunk->trajectories; i++) {
        uint32_t trajectory = chunk->first_trajectory + i;
        for (uint32_t s = 0; s < steps; s++) {
            printf("%u,%u", trajectory / candidates, trajectory % candidates);
            if (!scores) {
                printf(",%u", chunk->first_step + s);
            }
            for (size_t t = 0; t < dreamd_tensor_count(session); t++) {
                const dreamd_tensor *tensor = dreamd_tensor_get(session, t);
                size_t count = elements_of(tensor);
                for (size_t k = 0; k < count; k++) {
                    print_element(tensor, ((size_t)i * steps + s) * count + k);
                }
            }
            printf("\n");
        }
    }
}
