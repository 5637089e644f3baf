/* cmd_serve.h: `dreamd serve`. */
#ifndef DR_SERVER_CMD_SERVE_H
#define DR_SERVER_CMD_SERVE_H

/* argv[0] is the word "serve"; returns the exit code. */
int dr_cmd_serve(int argc, char *const *argv);

#endif
