/* version.c: what this program was made of. */
#include <openssl/crypto.h>
#include <protobuf-c/protobuf-c.h>
#include <sqlite3.h>
#include <stdio.h>
#include <uv.h>

#include "models/tensor/kernels.h"
#include "server/http2.h"
#include "server/options.h"
#include "server/version.h"

#ifndef DR_COMMIT
#define DR_COMMIT "unknown"
#endif

const char *dr_version_commit(void)
{
    return DR_COMMIT;
}

const char *dr_version_instruction_set(void)
{
    return dr_kernels_name();
}

void dr_options_print_version(FILE *file)
{
    fprintf(file, "dreamd %s\ncommit %s\ninstruction set %s\n", DR_VERSION, DR_COMMIT,
            dr_version_instruction_set());
    fprintf(file, "libuv %s, nghttp2 %s, protobuf-c %s, sqlite %s, %s\n", uv_version_string(),
            dr_http2_library_version(), protobuf_c_version(), sqlite3_libversion(),
            OpenSSL_version(OPENSSL_VERSION));
}
