/* rpc_table.c: a sorted array; a few dozen paths need no more. */
#include "server/rpc_table.h"

#include <stdlib.h>
#include <string.h>

#include "models/base/mem.h"

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const dr_rpc_entry *)a)->method->path, ((const dr_rpc_entry *)b)->method->path);
}

dr_code dr_rpc_table_init(dr_rpc_table *table, const dr_rpc_service *services, size_t count,
                          const dr_rpc_service *built_in, size_t built_in_count, dr_error *err)
{
    *table = (dr_rpc_table){.service_count = count + built_in_count};
    table->services = dr_mem_zalloc(table->service_count, sizeof *table->services);
    for (size_t i = 0; table->services && i < table->service_count; i++) {
        table->services[i] = i < count ? services[i] : built_in[i - count];
        table->count += table->services[i].method_count;
    }
    table->entries = dr_mem_zalloc(table->count, sizeof *table->entries);
    table->records = dr_mem_zalloc(table->count + 1, sizeof *table->records);
    if (!table->services || !table->entries || !table->records) {
        dr_rpc_table_deinit(table);
        return dr_mem_fail(err, "the table of methods");
    }
    size_t k = 0;
    for (size_t i = 0; i < table->service_count; i++) {
        for (size_t m = 0; m < table->services[i].method_count; m++) {
            table->entries[k] = (dr_rpc_entry){&table->services[i].methods[m], &table->services[i],
                                               &table->records[k]};
            k++;
        }
    }
    qsort(table->entries, table->count, sizeof *table->entries, compare_entries);
    for (size_t i = 1; i < table->count; i++) {
        if (compare_entries(&table->entries[i - 1], &table->entries[i]) == 0) {
            dr_fail(err, DR_INVALID_ARGUMENT, "method %s is registered twice",
                    table->entries[i].method->path);
            dr_rpc_table_deinit(table);
            return DR_INVALID_ARGUMENT;
        }
    }
    return DR_OK;
}

void dr_rpc_table_deinit(dr_rpc_table *table)
{
    dr_mem_free(table->entries);
    dr_mem_free(table->services);
    dr_mem_free(table->records);
    *table = (dr_rpc_table){0};
}

const dr_rpc_entry *dr_rpc_table_find(const dr_rpc_table *table, const char *path, size_t length)
{
    size_t first = 0, limit = table->count;
    while (first < limit) {
        size_t middle = first + (limit - first) / 2;
        const char *known = table->entries[middle].method->path;
        int order = strncmp(known, path, length);
        if (order == 0 && !known[length]) {
            return &table->entries[middle];
        }
        if (order < 0) {
            first = middle + 1;
        } else {
            limit = middle;
        }
    }
    return NULL;
}
