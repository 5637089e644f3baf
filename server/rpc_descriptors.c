/* rpc_descriptors.c: the bytes of build/gen/dreamd.desc (protoc --descriptor_set_out). */
#include "server/rpc_descriptors.h"

__asm__(".section .rodata\n"
        ".global dr__descriptor_set, dr__descriptor_set_end\n"
        "dr__descriptor_set:\n"
        ".incbin \"dreamd.desc\"\n"
        "dr__descriptor_set_end:\n"
        ".byte 0\n"
        ".text\n");
