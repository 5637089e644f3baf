/* wire_plan.h: planner settings on the wire. */
#ifndef DR_SERVER_WIRE_PLAN_H
#define DR_SERVER_WIRE_PLAN_H
#include "server/wire.h"

/* Manifest's defaults, or a preset, and over them what the message says (NULL: nothing); checked.
 * UNIMPLEMENTED names a setting that this build's searches do not have. */
DR_CHECKED dr_code dr_wire_plan_read(dr_plan_settings *out,
                                     const Dreamd__V1__PlannerSettings *message,
                                     const dr_served *served, dr_error *err);
/* All that the method reads; borrows nothing. */
void dr_wire_plan_write(Dreamd__V1__PlannerSettings *out, const dr_plan_settings *settings);

#endif
