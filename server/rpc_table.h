/* rpc_table.h: method path → method and service. */
#ifndef DR_SERVER_RPC_TABLE_H
#define DR_SERVER_RPC_TABLE_H
#include "server/rpc.h"
#include "server/rpc_record.h"

struct dr_rpc_entry {
    const dr_rpc_method *method;
    const dr_rpc_service *service;
    dr_rpc_record *record;
};

typedef struct {
    dr_rpc_entry *entries; /* sorted by path; owned */
    size_t count;
    dr_rpc_service *services; /* owned */
    size_t service_count;
    dr_rpc_record *records; /* one an entry, and a last one for paths that are no method; owned */
} dr_rpc_table;

/* The services given, then the built-in ones. INVALID_ARGUMENT: a path twice. */
DR_CHECKED dr_code dr_rpc_table_init(dr_rpc_table *table, const dr_rpc_service *services,
                                     size_t count, const dr_rpc_service *built_in,
                                     size_t built_in_count, dr_error *err);
void dr_rpc_table_deinit(dr_rpc_table *table);
/* NULL = no such method. */
const dr_rpc_entry *dr_rpc_table_find(const dr_rpc_table *table, const char *path, size_t length);

#endif
