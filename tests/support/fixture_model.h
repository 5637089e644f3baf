/* fixture_model.h: real checkpoints of public code, which are not in this tree. */
#ifndef DR_TESTS_FIXTURE_MODEL_H
#define DR_TESTS_FIXTURE_MODEL_H
#include <stdbool.h>

/* The folder of a fixture below $DREAMD_FIXTURES. False where it is not there, after a line
 * "SKIPPED: ..." that the run of all tests counts and repeats. */
bool fixture_model_find(char folder[256], const char *name);

/* Runs the importer as a user would, from latest.pt and config.json to a checkpoint in `out`;
 * aborts the test with the importer's message where it fails. Run from the root of the tree. */
void fixture_model_import(const char *fixture, const char *out);
/* The same of any source ("tdmpc2", options behind it), file and config of the fixture. */
void fixture_model_import_as(const char *source, const char *fixture, const char *file,
                             const char *config, const char *out);
/* The same with any words of the command but --out: "world-models 'a.json' 'b.json'". */
void fixture_model_import_words(const char *words, const char *out);

#endif
