/* rpc_descriptors.h: what the protos say about themselves, embedded at build time. */
#ifndef DR_SERVER_RPC_DESCRIPTORS_H
#define DR_SERVER_RPC_DESCRIPTORS_H
#include <stdint.h>

/* A packed google.protobuf.FileDescriptorSet of every proto, imports included. */
extern const uint8_t dr__descriptor_set[], dr__descriptor_set_end[];

#endif
