/* registry.h: from the daemon's Checkpoint to the caller's dreamd_model; not installed. */
#ifndef DREAMD_REGISTRY_H
#define DREAMD_REGISTRY_H
#include "client/c/internal.h"
#include "dreamd/v1/registry.pb-c.h"

/* Aliases are filled where `model` is given. */
void dreamd__model_fill(dreamd_model *out, const Dreamd__V1__Checkpoint *from,
                        const Dreamd__V1__Model *model);
/* The same for an answer, which may lack its checkpoint. */
int dreamd__model_take(dreamd_model *out, const Dreamd__V1__Checkpoint *checkpoint,
                       const Dreamd__V1__Model *model, dreamd_error *err);

#endif
