/* temp_dir.c: a folder of a test's own. */
#include "tests/support/temp_dir.h"

#include <stdio.h>
#include <stdlib.h>

#include "models/base/check.h"
#include "models/base/file.h"

void temp_dir_make(char path[256])
{
    const char *root = getenv("TMPDIR");
    snprintf(path, 256, "%s/dreamd-test-XXXXXX", root ? root : "/tmp");
    DR_ASSERT(mkdtemp(path));
}

void temp_dir_remove(const char *path)
{
    DR_ASSERT(dr_file_remove(path, NULL) == DR_OK);
}

const char *temp_dir_path(const char *path, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *out = paths[next++ % 8];
    snprintf(out, sizeof paths[0], "%s/%s", path, name);
    return out;
}

void temp_dir_write(const char *path, const void *bytes, unsigned long length)
{
    FILE *file = fopen(path, "wb");
    DR_ASSERT(file && fwrite(bytes, 1, length, file) == length);
    DR_ASSERT(fclose(file) == 0);
}
