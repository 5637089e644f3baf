/* torture_daemon: `dreamd serve` whose memory and disk fail when they are told to.
 *
 *     torture_daemon serve [options]        commands on stdin, a line each, answered on stdout:
 *         memory N     the N-th allocation from now on fails, once
 *         disk full    every change of a file, ours and SQLite's, fails with ENOSPC ...
 *         disk ok      ... until now
 *         blocks       how many blocks of memory are alive
 * The end of stdin changes nothing: the daemon ends by its signals.
 */
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/base/file.h"
#include "models/base/mem.h"
#include "server/cmd_serve.h"

static atomic_bool disk_full;

/* ---- what SQLite calls to change a file ---- */

static ssize_t torture_write(int fd, const void *bytes, size_t count)
{
    if (atomic_load(&disk_full)) {
        errno = ENOSPC;
        return -1;
    }
    return write(fd, bytes, count);
}

static ssize_t torture_pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    if (atomic_load(&disk_full)) {
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, bytes, count, offset);
}

static int torture_ftruncate(int fd, off_t length)
{
    if (atomic_load(&disk_full)) {
        errno = ENOSPC;
        return -1;
    }
    return ftruncate(fd, length);
}

static void stand_between(void)
{
    sqlite3_initialize();
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    vfs->xSetSystemCall(vfs, "write", (sqlite3_syscall_ptr)torture_write);
    vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)torture_pwrite);
    vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)torture_pwrite);
    vfs->xSetSystemCall(vfs, "ftruncate", (sqlite3_syscall_ptr)torture_ftruncate);
}

/* ---- commands ---- */

static void set_disk(bool full)
{
    atomic_store(&disk_full, full);
    dr_file_set_fault(full ? DR_FILE_FAULT_FOREVER : DR_FILE_FAULT_NONE, 1, ENOSPC);
}

static void *listen_to_stdin(void *ud)
{
    (void)ud;
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        unsigned long long n;
        if (sscanf(line, "memory %llu", &n) == 1) {
            dr_mem_fail_nth(n);
        } else if (strcmp(line, "disk full\n") == 0 || strcmp(line, "disk ok\n") == 0) {
            set_disk(strcmp(line, "disk full\n") == 0);
        } else if (strcmp(line, "blocks\n") == 0) {
            printf("%llu ", (unsigned long long)dr_mem_get_stats().blocks);
        } else {
            printf("unknown: ");
        }
        printf("done\n");
        fflush(stdout);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "serve") != 0) {
        fprintf(stderr, "usage: torture_daemon serve [options of dreamd serve]\n");
        return 2;
    }
    stand_between();
    pthread_t thread;
    if (pthread_create(&thread, NULL, listen_to_stdin, NULL) != 0) {
        return 1;
    }
    pthread_detach(thread);
    return dr_cmd_serve(argc - 1, argv + 1);
}
