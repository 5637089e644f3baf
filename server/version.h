/* version.h: what --version and GetServerInfo say. */
#ifndef DR_SERVER_VERSION_H
#define DR_SERVER_VERSION_H

#define DR_VERSION "0.1.0"
const char *dr_version_commit(void);
/* The instruction set the kernels choose on this machine. */
const char *dr_version_instruction_set(void);

#endif
