/* cmd_fsck.h: `dreamd fsck`, the program word. */
#ifndef DR_SERVER_CMD_FSCK_H
#define DR_SERVER_CMD_FSCK_H

/* argv[0] is "fsck". Returns the exit code: 0 sound, 1 something is wrong or could not be read,
 * 2 wrong usage. */
int dr_cmd_fsck(int argc, char *const *argv);

#endif
