/* wire_impl.h: private to wire*.c. */
#ifndef DR_SERVER_WIRE_IMPL_H
#define DR_SERVER_WIRE_IMPL_H
#include "server/wire.h"

/* INVALID_ARGUMENT of the field "tensors[index].part". */
dr_code dr__wire_fail_tensor(dr_error *err, size_t index, const char *part, const char *name,
                             const char *why);
/* The tensor of that name and its index, or NULL. */
dr_wire_tensor *dr__wire_find(const dr_wire_tensors *tensors, const char *name, size_t *index);

#endif
