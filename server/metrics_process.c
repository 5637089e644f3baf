/* metrics_process.c: what the system says about this process. What it does not say is left out. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "models/base/mem.h"
#include "server/metrics.h"

static void write_memory(dr_exposition *e)
{
    unsigned long long pages, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%llu %llu", &pages, &resident) == 2) {
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        dr_exposition_family(e, "process_resident_memory_bytes", DR_GAUGE,
                             "Memory that is in RAM.");
        dr_exposition_count(e, resident * page, NULL);
        dr_exposition_family(e, "process_virtual_memory_bytes", DR_GAUGE, "Address space.");
        dr_exposition_count(e, pages * page, NULL);
    }
    if (file) {
        fclose(file);
    }
    dr_mem_stats mem = dr_mem_get_stats();
    dr_exposition_family(e, "dreamd_memory_bytes", DR_GAUGE,
                         "Memory that the daemon itself has allocated.");
    dr_exposition_count(e, mem.bytes, NULL);
    dr_exposition_family(e, "dreamd_memory_allocations_total", DR_COUNTER,
                         "Times that the daemon itself asked for memory.");
    dr_exposition_count(e, mem.allocations, NULL);
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

static void write_time(dr_exposition *e)
{
    struct rusage used;
    if (getrusage(RUSAGE_SELF, &used) == 0) {
        dr_exposition_family(e, "process_cpu_seconds_total", DR_COUNTER,
                             "Processor time, user and system.");
        dr_exposition_number(e, seconds(used.ru_utime) + seconds(used.ru_stime), NULL);
    }
}

static void write_descriptors(dr_exposition *e)
{
    DIR *folder = opendir("/proc/self/fd");
    if (folder) {
        uint64_t count = 0;
        for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
            count += entry->d_name[0] != '.';
        }
        closedir(folder);
        dr_exposition_family(e, "process_open_fds", DR_GAUGE, "Open file descriptors.");
        dr_exposition_count(e, count - 1, NULL); /* not the folder's own */
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        dr_exposition_family(e, "process_max_fds", DR_GAUGE, "Most file descriptors allowed.");
        dr_exposition_count(e, limit.rlim_cur, NULL);
    }
}

void dr_metrics_write_process(dr_exposition *e)
{
    write_memory(e);
    write_time(e);
    write_descriptors(e);
}
