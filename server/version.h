/* version.h: what --version and GetServerInfo say. */
#ifndef DR_SERVER_VERSION_H
#define DR_SERVER_VERSION_H
#include <stdbool.h>
#include <stddef.h>

#define DR_VERSION "0.1.0"
const char *dr_version_commit(void);
/* Compiler, flags and sanitizer. */
const char *dr_version_build(void);
/* The instruction set the kernels choose on this machine. */
const char *dr_version_instruction_set(void);
enum { DR_LIBRARIES_MAX = 16 };
/* The library of that index and the version that runs; false behind the last. */
bool dr_version_library(size_t index, const char **name, const char **version);

#endif
