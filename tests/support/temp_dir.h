/* temp_dir.h: a folder of a test's own. */
#ifndef DR_TESTS_TEMP_DIR_H
#define DR_TESTS_TEMP_DIR_H

/* A new folder under TMPDIR (or /tmp). Aborts the test where it cannot be made. */
void temp_dir_make(char path[256]);
/* Removes it with all in it. */
void temp_dir_remove(const char *path);
/* PATH/NAME in one of eight static buffers, used in turn. */
const char *temp_dir_path(const char *path, const char *name);
/* Writes a whole file, replacing one that is there. */
void temp_dir_write(const char *path, const void *bytes, unsigned long length);

#endif
