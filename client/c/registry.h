/* registry.h: from the daemon's Checkpoint to the caller's dreamd_model; not installed. */
#ifndef DREAMD_REGISTRY_H
#define DREAMD_REGISTRY_H
#include "client/c/internal.h"
#include "dreamd/v1/registry.pb-c.h"

/* Of an answer, which may lack its checkpoint. Aliases are filled where `model` is given. */
int dreamd__model_take(dreamd_model *out, const Dreamd__V1__Checkpoint *checkpoint,
                       const Dreamd__V1__Model *model, dreamd_error *err);

#endif
