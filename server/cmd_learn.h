/* cmd_learn.h: `dreamd learn`, the program word. */
#ifndef DR_SERVER_CMD_LEARN_H
#define DR_SERVER_CMD_LEARN_H

/* argv[0] is "learn". Returns the exit code: 0 done, 1 failed, 2 wrong usage. */
int dr_cmd_learn(int argc, char *const *argv);

#endif
