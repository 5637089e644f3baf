/* many_clients.h: many connections from one thread, each with one unary Step under way. */
#ifndef DR_TESTS_MANY_CLIENTS_H
#define DR_TESTS_MANY_CLIENTS_H
#include "tests/bench/bench.h"

/* A connection a session id (of one row and an action of one number). Fills the report's times with
 * those of one step as its client sees it, its repetitions and its rate. */
DR_CHECKED dr_code bench_many_clients(bench_report *report, const char *address,
                                      const char *const *session_ids, int count, double seconds,
                                      dr_error *err);

#endif
